"""CRM columns of times whose type got or lost a zone: the first changes of such a column wait for a person.

Nobody edited these times, and yet each may mean another moment now. With ``review`` each is a question. With
any other ``source_of_truth`` a plan would write the moments to Enerflo, or Enerflo's times over them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.key_changes import was_approved
from enerflo_sync.reconcile.meanings import CLOCK, STORED_AS

# Keys stored with a field's meaning: the column's former type, and when its type changed.
_BEFORE, _AT = "clock_before", "clock_at"
_SUFFIX = STORED_AS.format("")

_CHANGED = sa.text(f"""
/* enerflo-sync plan: columns of times that got or lost a zone since a person last approved */
select left(table_name, -{len(_SUFFIX)}) as name, columns from sync.agreed_keys
where account = :account and right(table_name, {len(_SUFFIX)}) = '{_SUFFIX}'
  and jsonb_path_exists(columns, '$.*.{_BEFORE}') order by 1
""")  # noqa: S608 - constants


def noted_clock(
    connection: sa.Connection,
    account: str,
    place: tuple[str, str],
    before: Mapping[str, Any] | None,
    meaning: Mapping[str, Any],
    now: str,
) -> dict[str, str]:
    """Return the note to store with a field's meaning: a change that nobody approved yet; empty without one.

    :param place: the table's name and the field's.
    :param before: the field's stored meaning, None if there is none.
    :param now: when a change is noticed first.
    """
    stored, present = before or {}, meaning.get(CLOCK)
    first = stored.get(_BEFORE) or stored.get(CLOCK)
    if first is None or present is None or first == present:
        return {}
    since = stored.get(_AT) if stored.get(CLOCK) == present else now
    if since is None or was_approved(connection, account, _sentence(*place, first, present), since):
        return {}
    return {_BEFORE: first, _AT: since}


def changed_clocks(connection: sa.Connection, account: str) -> Iterator[tuple[str, str, str]]:
    """Yield table and field of each change that nobody has approved yet, with the sentence for the plan."""
    for row in connection.execute(_CHANGED, {"account": account}):
        for field, meaning in sorted(row.columns.items()):
            if _BEFORE in meaning:
                yield row.name, field, _sentence(row.name, field, meaning[_BEFORE], meaning[CLOCK])


def _sentence(table: str, field: str, before: str, present: str) -> str:
    return (
        f"The CRM's column of {table}.{field} changed from {before} to {present}: its times may be others"
        " now, without an edit. Of which zone times without one are, time_zone says."
    )
