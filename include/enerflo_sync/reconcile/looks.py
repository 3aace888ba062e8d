"""``sync.crm_looks``: how far each job has seen each CRM table (:mod:`.observation`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa


class Look(msgspec.Struct, frozen=True):
    """How far a job has seen one CRM table.

    :param from_xid: rows of this transaction and later ones were not visible yet; None: rows have no
        transaction.
    :param signature: digest of the columns and options that the hashes cover.
    :param unchanged_since: ``sync.crm_rows`` has only rows that changed after this; None: it has all rows.
    """

    seen_until: datetime
    signature: str
    from_xid: int | None = None
    unchanged_since: datetime | None = None


_LOOKS = sa.text("""
/* enerflo-sync observe: how far CRM tables were seen */
select table_name, seen_until, signature, from_xid, unchanged_since from sync.crm_looks
where account = :account
  and (table_name, looker) in (select * from unnest(cast(:tables as text[]), cast(:lookers as text[])))
""")

_NOTE = sa.text("""
/* enerflo-sync observe: CRM tables were seen */
insert into sync.crm_looks (account, table_name, looker, seen_until, signature, from_xid, unchanged_since)
select :account, l.* from unnest(
  cast(:tables as text[]), cast(:lookers as text[]), cast(:seen_until as timestamptz[]),
  cast(:signature as text[]), cast(:from_xid as bigint[]), cast(:unchanged_since as timestamptz[])) l
on conflict (account, table_name, looker) do update
set seen_until = excluded.seen_until, signature = excluded.signature, from_xid = excluded.from_xid,
    unchanged_since = excluded.unchanged_since
""")


def find_looks(connection: sa.Connection, account: str, lookers: Mapping[str, str]) -> dict[str, Look]:
    """Return how far a job has seen each CRM table, for the tables at which it ever looked.

    :param lookers: for each table the name of the job.
    """
    if not lookers:
        return {}
    named = {"account": account, "tables": [*map(str, lookers)], "lookers": [*lookers.values()]}
    return {table: Look(*look) for table, *look in connection.execute(_LOOKS, named)}


def note_looks(
    connection: sa.Connection, account: str, looks: Mapping[str, Look], lookers: Mapping[str, str]
) -> None:
    """Store how far a job has seen each CRM table.

    :param lookers: for each table the name of the job.
    """
    if looks:
        named = {
            "account": account,
            "tables": [*map(str, looks)],
            "lookers": [lookers[name] for name in looks],
        }
        columns = {name: [getattr(look, name) for look in looks.values()] for name in Look.__struct_fields__}
        connection.execute(_NOTE, {**named, **columns})


def since_look(look: Look) -> dict[str, Any]:
    """Return the parameters of the statements that find changes since a look."""
    return {"crm_since": look.seen_until, "crm_from_xid": look.from_xid}
