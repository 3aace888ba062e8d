"""Deletes differences and reports of reconciliations that are too old."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from enerflo_sync.retention.sweep import BATCH, BEGINNING, Gone, Scope, gone_of, note

# The next incremental reconciliation needs the newest one, and a waiting plan is shown with its
# reconciliation.
_NEEDED = """
  select reconciliation_id from (
    select reconciliation_id from sync.reconciliations where account = :account and finished_at is not null
    order by compared_until desc, started_at desc limit 1) newest
  union all
  select reconciliation_id from (
    select reconciliation_id from sync.reconciliations
    where account = :account and finished_at is not null and scope = 'full'
    order by compared_until desc, started_at desc limit 1) newest_full
  union all
  select stands_on from sync.plans
  where account = :account and kind = 'sync' and state in ('open', 'approved') and stands_on is not null"""

_OLD = sa.text(f"""
/* enerflo-sync prune: reconciliations whose differences are too old */
select r.reconciliation_id, r.compared_until as at from sync.reconciliations r
where r.account = :account and r.compared_until < :before and r.reconciliation_id not in ({_NEEDED})
  and exists (select from sync.differences d
    where d.account = r.account and d.reconciliation_id = r.reconciliation_id)
order by r.compared_until
""")  # noqa: S608 - a constant
_COUNT = sa.text("""
/* enerflo-sync prune: differences of one reconciliation */
select count(*) as rows, coalesce(sum(pg_column_size(d.*)), 0) as size from sync.differences d
where d.account = :account and d.reconciliation_id = :id
""")
_DELETE = sa.text("""
/* enerflo-sync prune: some differences of one reconciliation */
with gone as (
  delete from sync.differences where ctid = any(array(
    select ctid from sync.differences where account = :account and reconciliation_id = :id limit :most))
  returning pg_column_size(differences.*) as size
)
select count(*) as rows, coalesce(sum(size), 0) as size from gone
""")

# A report is kept as long as a plan refers to it.
_OLD_REPORTS = sa.text(f"""
/* enerflo-sync prune: reports that are too old */
select r.reconciliation_id as id, r.started_at as at,
  coalesce(pg_column_size(r.report), 0) + coalesce(pg_column_size(r.summary), 0) as size
from sync.reconciliations r
where r.account = :account and r.started_at < :before and r.compared_until < :before
  and (r.started_at, r.reconciliation_id) > (:after_at, :after_id) and r.reconciliation_id not in ({_NEEDED})
  and not exists (select from sync.plans p where p.account = r.account and p.stands_on = r.reconciliation_id)
order by r.started_at, r.reconciliation_id limit :most
""")  # noqa: S608 - a constant
_DELETE_REPORTS = (
    sa.text("""
/* enerflo-sync prune: differences of reports that are too old */
delete from sync.differences where account = :account and reconciliation_id = any(:ids)
"""),
    sa.text("""
/* enerflo-sync prune: reports that are too old */
delete from sync.reconciliations where account = :account and reconciliation_id = any(:ids)
"""),
)


class DifferencesSweep:
    """Differences of reconciliations; their reports stay, with counts and samples."""

    def batches(self, connection: sa.Connection, scope: Scope) -> Iterator[Gone]:
        """Yield what each batch deleted, or would (:meth:`enerflo_sync.retention.sweep.Sweep.batches`)."""
        with connection.begin():
            old = connection.execute(_OLD, scope.values).all()
        for name, at in old:
            named = {"account": scope.account, "id": name}
            while True:
                with connection.begin():
                    statement, more = (_DELETE, {"most": BATCH}) if scope.writes else (_COUNT, {})
                    rows, size = connection.execute(statement, named | more).one()
                    gone = Gone(rows, int(size), at, at)
                    if rows and scope.writes:
                        note(connection, scope, gone)
                if rows:
                    yield gone
                if not scope.writes or rows < BATCH:
                    break


class ReportsSweep:
    """Reports of reconciliations, with any remaining differences."""

    def batches(self, connection: sa.Connection, scope: Scope) -> Iterator[Gone]:
        """Yield what each batch deleted, or would (:meth:`enerflo_sync.retention.sweep.Sweep.batches`)."""
        after = {"after_at": BEGINNING, "after_id": ""}
        while True:
            with connection.begin():
                named = scope.values | after | {"most": BATCH // 10}
                rows = connection.execute(_OLD_REPORTS, named).mappings().all()
                if not rows:
                    return
                gone = gone_of(rows)
                if scope.writes:
                    for statement in _DELETE_REPORTS:
                        ids = [row["id"] for row in rows]
                        connection.execute(statement, {"account": scope.account, "ids": ids})
                    note(connection, scope, gone)
            after = {"after_at": rows[-1]["at"], "after_id": rows[-1]["id"]}
            yield gone
