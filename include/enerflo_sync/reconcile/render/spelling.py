"""A sentence about the differences that seem to be mere spelling."""

from __future__ import annotations

from enerflo_sync.reconcile.fit.hints import HINT_TEXTS, Hint
from enerflo_sync.reconcile.render.wording import number
from enerflo_sync.reconcile.report import FieldCount, TableReport

_FIELDS = 8
_NEXT = (
    "enerflo-sync doctor says what settles each, and enerflo-sync suggest writes these lines into a copy of"
    " sync.yaml."
)


def spelling_sentence(table: TableReport) -> str:
    """Return which differences of a table seem to be mere spelling; empty if there are none."""
    hinted = [count for count in table.by_field if count.hints]
    if not hinted:
        return ""
    shown = "; ".join(f"{count.field} {_hints(count)}" for count in hinted[:_FIELDS])
    more = f"; and {len(hinted) - _FIELDS} more fields" if len(hinted) > _FIELDS else ""
    return f"Perhaps mere spelling: {shown}{more}. {_NEXT}"


def hint_label(hint: str) -> str:
    """Return a hint in the form that follows a difference's cause."""
    return hint.replace("_", " ")


def _hints(count: FieldCount) -> str:
    return ", ".join(f"{number(rows)} by {HINT_TEXTS[Hint(hint)]}" for hint, rows in count.hints.items())
