"""Deletes plans that ended long ago, with their changes, questions and ended refusals; the ledger stays."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.retention.sweep import BATCH, BEGINNING, Gone, Scope, gone_of, note

_ENDED = "greatest({p}.created_at, {p}.expires_at, {p}.decided_at, {p}.applied_at)"

# Plans that jobs still read: the newest plans, the plans that approval rules or an undo refer to, plans with
# changes on their way, and plans of refusals that have not ended.
_KEPT = f"""
  (select distinct on (kind, part) plan_hash from sync.plans where account = :account
   order by kind, part, created_at desc)
  union all
  (select distinct on (kind, part) plan_hash from sync.plans
   where account = :account and state not in ('expired', 'superseded') order by kind, part, created_at desc)
  union all
  (select plan_hash from sync.plans where account = :account and kind = 'sync' and needs_approval
     and mode <> 'report' and change_count > 0 order by created_at desc, part desc limit 1)
  union all
  (select plan_hash from sync.plans where account = :account and applied_at is not null and change_count > 0
   order by applied_at desc limit 1)
  union all
  select p.plan_hash from sync.plans p join sync.agreed_keys k using (account)
  where p.account = :account and p.state = 'applied' and k.columns_before is not null
    and p.created_at >= k.changed_at
  union all
  select u.stands_on from sync.plans u where u.account = :account and u.kind = 'undo'
    and u.stands_on is not null
    and (u.state in ('open', 'approved') or {_ENDED.format(p="u")} >= :before)
  union all
  select plan_hash from sync.refusals where account = :account and ended_at is null
  union all
  select plan_hash from sync.crm_changes where account = :account and ended_at is null"""  # noqa: S608 - constants

# Each plan searches for the effect of a request without a known outcome, until the field has a newer agreed
# value. The last request for a new record whose CRM row has no id is also kept, because without it the record
# would be created twice.
_OPEN_ENDS = """
  exists (select from sync.plan_changes c
    where c.account = p.account and c.plan_hash = p.plan_hash and c.sent_at is not null
      and c.state in ('sent', 'superseded') and not exists (
        select from sync.agreed a where a.account = c.account and a.table_name = c.table_name
          and a.key = c.key and a.field = c.field and a.agreed_at >= c.sent_at))
  or exists (select from sync.plan_changes c
    where c.account = p.account and c.plan_hash = p.plan_hash and c.state = 'handed_over')
  or exists (select from sync.plan_changes c
    where c.account = p.account and c.plan_hash = p.plan_hash and c.op = 'insert'
      and c.direction = 'to_enerflo' and c.sent_at is not null
      and not exists (
        select from sync.agreed a where a.account = c.account and a.table_name = c.table_name
          and a.key = c.key and a.is_link)
      and not exists (
        select from sync.plan_changes n where n.account = c.account and n.table_name = c.table_name
          and n.key = c.key and n.op = c.op and n.direction = c.direction and n.sent_at > c.sent_at
          and (n.accepted_id is not null or c.accepted_id is null)))"""

# An undecided change whose last waiting plan is this one: by this row the next plan knows that the change
# must keep waiting. Changes without an agreed value (a new row, a field that was never equal) are included.
_STILL_WAITS = """
  p.needs_approval and p.kind = 'sync' and p.mode <> 'report' and exists (
    select from sync.plan_changes c
    left join sync.agreed a on a.account = c.account and a.table_name = c.table_name and a.key = c.key
      and a.field = c.field
    where c.account = p.account and c.plan_hash = p.plan_hash and a.agreed_at is not distinct from c.agreed_at
      and (c.state = 'left_out' or p.decided_by is null and c.state in ('planned', 'superseded'))
      and not exists (
        select from sync.plan_changes n join sync.plans q using (account, plan_hash)
        where n.account = c.account and n.table_name = c.table_name and n.key = c.key and n.op = c.op
          and n.field is not distinct from c.field and n.direction = c.direction and q.kind = 'sync'
          and q.created_at > p.created_at))"""

_OLD = sa.text(f"""
/* enerflo-sync prune: plans that ended long ago */
select p.plan_hash, p.created_at, p.created_at as at, p.change_count + 1 as rows,
  (select coalesce(sum(pg_column_size(c.*)), 0) from sync.plan_changes c
   where c.account = p.account and c.plan_hash = p.plan_hash) as size
from sync.plans p
where p.account = :account and p.state in ('applied', 'rejected', 'expired', 'superseded')
  and p.created_at < :before and {_ENDED.format(p="p")} < :before
  and (p.created_at, p.plan_hash) > (:after_at, :after_hash)
  and p.plan_hash not in (select plan_hash from ({_KEPT}) k (plan_hash) where plan_hash is not null)
  and not ({_OPEN_ENDS}) and not ({_STILL_WAITS})
order by p.created_at, p.plan_hash limit :most
""")  # noqa: S608 - constants
_LOCK = sa.text("""
/* enerflo-sync prune: plans that nobody changes at this moment */
select plan_hash from sync.plans where account = :account and plan_hash = any(:plans)
  and state in ('applied', 'rejected', 'expired', 'superseded')
for update skip locked
""")
_DELETE = (
    "delete from sync.plan_changes where account = :account and plan_hash = any(:plans)",
    "delete from sync.plan_undecided where account = :account and plan_hash = any(:plans)",
    "delete from sync.crm_changes where account = :account and plan_hash = any(:plans)"
    " and ended_at is not null",
    "delete from sync.refusals where account = :account and plan_hash = any(:plans) and ended_at is not null",
    "delete from sync.plans where account = :account and plan_hash = any(:plans)",
)

_PENDING = sa.text("""
/* enerflo-sync prune: the oldest plan that waits */
select plan_hash, created_at, expires_at, needs_approval from sync.plans
where account = :account and state in ('open', 'approved') and expires_at > now() and change_count > 0
  and created_at < :before
order by created_at limit 1
""")
# How many plans are read together; a plan with more changes than a batch is deleted by itself.
_PLANS = 100


def refuse_shorter_than_pending(connection: sa.Connection, scope: Scope) -> None:
    """Require that no waiting plan is older than the limit, in the caller's transaction.

    :raises ConfigurationError: a waiting plan is older, and rows that it needs would be deleted.
    """
    row = connection.execute(_PENDING, scope.values).first()
    if row is not None:
        waits = "waits for approval" if row.needs_approval else "waits to be applied"
        raise ConfigurationError(
            f"the plan {row.plan_hash[:12]} of {row.created_at:%Y-%m-%d %H:%M} UTC {waits} until"
            f" {row.expires_at:%Y-%m-%d %H:%M} UTC, and {scope.bound} is shorter than that.",
            where=f"account {scope.account}, {scope.bound.partition(':')[0]}",
            next_step="Apply or reject the plan first, or raise the option.",
        )


class PlansSweep:
    """Plans with their changes and questions, ended refusals, and ended handed-over changes."""

    def batches(self, connection: sa.Connection, scope: Scope) -> Iterator[Gone]:
        """Yield what each batch deleted, or would (:meth:`enerflo_sync.retention.sweep.Sweep.batches`)."""
        after = {"after_at": BEGINNING, "after_hash": ""}
        while True:
            with connection.begin():
                rows = list(connection.execute(_OLD, scope.values | after | {"most": _PLANS}).mappings())
            if not rows:
                return
            while rows:
                some, rows = _first(rows)
                after = {"after_at": some[-1]["created_at"], "after_hash": some[-1]["plan_hash"]}
                with connection.begin():
                    if scope.writes:
                        some = _delete(connection, scope, some)
                if some:
                    yield gone_of(some)


def _first(rows: list[sa.RowMapping]) -> tuple[list[sa.RowMapping], list[sa.RowMapping]]:
    """Return the first plans, together no larger than a batch unless it is a single plan, and the others."""
    total = 0
    for at, row in enumerate(rows):
        total += row["rows"]
        if at and total > BATCH:
            return rows[:at], rows[at:]
    return rows, []


def _delete(connection: sa.Connection, scope: Scope, rows: list[sa.RowMapping]) -> list[sa.RowMapping]:
    named = {"account": scope.account, "plans": [row["plan_hash"] for row in rows]}
    free = set(connection.scalars(_LOCK, named))
    some = [row for row in rows if row["plan_hash"] in free]
    named["plans"] = sorted(free)
    for statement in _DELETE:
        connection.execute(sa.text(f"/* enerflo-sync prune: plans that ended long ago */ {statement}"), named)
    if some:
        note(connection, scope, gone_of(some))
    return some
