"""Thins the old part of the ledger: of each field the first and the last change before the limit stay."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.agreed.seals import note_rewritten
from enerflo_sync.retention.sweep import BATCH, Gone, Scope, gone_of, note

# The last row before the limit has the value that later rows start from. So the rows that stay still give
# each field's present value, and its value at any time since the limit. Changes that somebody may still have
# to decide about (parked, refused, held) always stay.
_THINNED = [str(one) for one in (Decision.APPLIED, Decision.HANDED_OVER, Decision.MOVED, Decision.SUPERSEDED)]
# Only sealed rows go: the seal over their removal tells them from rows that somebody deleted by hand.
_DOOMED = sa.text("""
/* enerflo-sync prune: rows of the ledger between the first and the last of a field */
create temporary table prune_ledger on commit preserve rows as
select ledger_id, at, size from (
  select l.ledger_id, l.plan_hash, l.recorded_at as at, pg_column_size(l.*) as size,
         row_number() over w > 1 and lead(l.ledger_id) over w is not null as is_between
  from sync.ledger l
  where l.account = :account and l.recorded_at < :before and l.op = 'update' and l.field is not null
    and l.decision = any(:thinned)
    and l.ledger_id <= (select max(settled) from sync.ledger_seals where account = :account)
  window w as (partition by l.table_name, l.key, l.field, l.direction, l.decision order by l.ledger_id)
) l where is_between
  and not exists (select from sync.plans p where p.account = :account and p.plan_hash = l.plan_hash)
""")
_DROP = sa.text("drop table if exists prune_ledger")
_NEXT = sa.text(
    "select ledger_id as id, at, size from prune_ledger where ledger_id > :after order by 1 limit :most"
)
_DELETE = sa.text("""
/* enerflo-sync prune: rows of the ledger that later ones of their field stand for */
delete from sync.ledger where account = :account and ledger_id = any(:ids)
""")


class LedgerSweep:
    """Changes of a field between its first and its last one before the limit, of plans that are pruned."""

    def batches(self, connection: sa.Connection, scope: Scope) -> Iterator[Gone]:
        """Yield what each batch deleted, or would (:meth:`enerflo_sync.retention.sweep.Sweep.batches`)."""
        with connection.begin():
            connection.execute(_DROP)
            connection.execute(_DOOMED, scope.values | {"thinned": _THINNED})
        after = 0
        while True:
            with connection.begin():
                rows = connection.execute(_NEXT, {"after": after, "most": BATCH}).mappings().all()
                if not rows:
                    connection.execute(_DROP)
                    return
                gone, ids = gone_of(rows), [row["id"] for row in rows]
                if scope.writes:
                    connection.execute(_DELETE, {"account": scope.account, "ids": ids})
                    note_rewritten(connection, scope.account, f"pruned by {scope.bound}", ids)
                    note(connection, scope, gone)
                after = ids[-1]
            yield gone
