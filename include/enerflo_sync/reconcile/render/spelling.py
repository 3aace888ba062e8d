"""Sentences about differences that seem to be mere spelling, and about those that do not."""

from __future__ import annotations

from enerflo_sync.counted import number
from enerflo_sync.reconcile.fit.hints import HINT_TEXTS, NEWER, Hint
from enerflo_sync.reconcile.report import FieldCount, TableReport

_FIELDS = 8
_NEXT = (
    "enerflo-sync doctor says what settles each: where a line of sync.yaml does, enerflo-sync suggest writes"
    " it into a copy of the file."
)
_BY_TIME = (
    "source_of_truth: newest goes by these times, and enerflo-sync what-if says what such a line would"
    " change."
)


def spelling_sentence(table: TableReport) -> str:
    """Return which differences of a table seem to be mere spelling; empty if there are none."""
    hinted = [count for count in table.by_field if set(count.hints) - set(NEWER)]
    if not hinted:
        return ""
    shown = "; ".join(f"{count.field} {_hints(count)}" for count in hinted[:_FIELDS])
    more = f"; and {len(hinted) - _FIELDS} more fields" if len(hinted) > _FIELDS else ""
    return f"Perhaps mere spelling: {shown}{more}. {_NEXT}"


def newer_sentence(table: TableReport) -> str:
    """Return which side's record is newer where unexplained differences are no spelling; or an empty text."""
    sides = []
    for hint in NEWER:
        rows = {count.field: count.hints[hint] for count in table.by_field if hint in count.hints}
        if rows:
            shown = ", ".join(f"{field} {number(n)}" for field, n in list(rows.items())[:_FIELDS])
            more = f", and {len(rows) - _FIELDS} more fields" if len(rows) > _FIELDS else ""
            sides.append(f"by {HINT_TEXTS[hint]}: {shown}{more}")
    return f"Unexplained, {'; '.join(sides)}. {_BY_TIME}" if sides else ""


def hint_label(hint: str) -> str:
    """Return a hint in the form that follows a difference's cause: ``same instant``, ``newer in the CRM``."""
    return hint.replace("_", " ").replace("in crm", "in the CRM").replace("in enerflo", "in Enerflo")


def _hints(count: FieldCount) -> str:
    return ", ".join(
        f"{number(rows)} by {HINT_TEXTS[Hint(hint)]}"
        for hint, rows in count.hints.items()
        if hint not in NEWER
    )
