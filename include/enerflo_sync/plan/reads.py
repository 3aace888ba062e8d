"""Reads stored plans: one plan, the newest plans, a plan's changes and its questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.plan.report import Change, Group, PlanReport, PlanState, Undecided
from enerflo_sync.plan.second_person import FirstApproval
from enerflo_sync.warehouse.pruned import Pruning, pruning_of

_READ = sa.text("""
/* enerflo-sync plan: one plan */
select p.*, coalesce((
    select jsonb_object_agg(state, n) from (
      select state, count(*) as n from sync.plan_changes c
      where c.account = p.account and c.plan_hash = p.plan_hash and :counted
      group by state) s), '{}') as states
from sync.plans p where p.account = :account and p.plan_hash like :plan_hash
limit 2
""")


def read_plan(connection: sa.Connection, account: str, plan_hash: str, *, counted: bool = True) -> PlanReport:
    """Return a stored plan.

    :param plan_hash: the plan's hash, or at least its first eight characters.
    :param counted: whether the plan's changes are counted by state.
    :raises ConfigurationError: there is no such plan, or more than one.
    """
    text = plan_hash.strip().lower()
    rows: Sequence[sa.RowMapping] = []
    if len(text) >= 8 and text.isalnum():
        named = {"account": account, "plan_hash": f"{text}%", "counted": counted}
        rows = connection.execute(_READ, named).mappings().all()
    if not rows and (pruned := _pruned(connection, account, text)) is not None:
        raise ConfigurationError(
            f"the plan was {pruned}; the ledger keeps what it did.",
            where=f"plan {plan_hash}",
            next_step="Its changes can be neither shown nor undone any more; enerflo-sync explain says of a"
            " record what it wrote.",
        )
    if len(rows) != 1:
        raise ConfigurationError(
            "there is no such plan." if not rows else "more than one plan has a hash that begins like this.",
            where=f"plan {plan_hash}",
            next_step="Make one with enerflo-sync plan, and take the hash that it prints.",
        )
    return _plan_of(rows[0])


_LEDGER = sa.text("""
/* enerflo-sync plan: whether the ledger knows a plan */
select max(recorded_at) from sync.ledger where account = :account and plan_hash like :plan_hash
""")


def _pruned(connection: sa.Connection, account: str, text: str) -> Pruning | None:
    """Return the pruning that removed a plan which the ledger still names; None if there was no such plan."""
    if len(text) < 8 or not text.isalnum():
        return None
    at = connection.scalar(_LEDGER, {"account": account, "plan_hash": f"{text}%"})
    return None if at is None else pruning_of(connection, account, "plans", at)


_READ_ALL = sa.text("""
/* enerflo-sync plan: plans, the newest first */
select p.*, jsonb_build_object() as states
from sync.plans p
where p.account = :account and (cast(:state as text) is null or p.state = :state)
  and (cast(:made_at as timestamptz) is null or p.created_at <= :made_at
    and (p.created_at < :made_at or (p.part, p.plan_hash) > (cast(:part as int), cast(:plan_hash as text))))
order by p.created_at desc, p.part, p.plan_hash limit :most
""")

_READ_NAMED = sa.text("""
/* enerflo-sync plan: plans by their hashes */
select p.*, jsonb_build_object() as states
from sync.plans p where p.account = :account and p.plan_hash = any(:hashes)
""").bindparams(sa.bindparam("hashes", type_=sa.ARRAY(sa.Text)))

# The sort key of a plan in lists: the time when it was made, its part of the round, its hash.
PlanPosition = tuple[datetime, int, str]


def read_plans(
    connection: sa.Connection,
    account: str,
    *,
    most: int,
    state: PlanState | None = None,
    after: PlanPosition | None = None,
) -> list[PlanReport]:
    """Return the account's newest plans, without counts of their changes by state.

    :param after: the position of the plan after which the list begins.
    """
    made_at, part, plan_hash = after or (None, None, None)
    values = {"account": account, "most": most, "state": state and str(state)}
    values |= {"made_at": made_at, "part": part, "plan_hash": plan_hash}
    return [_plan_of(row) for row in connection.execute(_READ_ALL, values).mappings()]


def read_named_plans(connection: sa.Connection, account: str, hashes: Sequence[str]) -> list[PlanReport]:
    """Return the plans with these full hashes, without counts of their changes by state."""
    values = {"account": account, "hashes": list(hashes)}
    return [_plan_of(row) for row in connection.execute(_READ_NAMED, values).mappings()]


def _plan_of(row: sa.RowMapping) -> PlanReport:
    summary = row["summary"]
    own = {"state", "groups", "undecided", "kept", "from_backfills", "notes", "refused"}
    own |= {"first_approved_by", "first_approved_at"}
    first = FirstApproval.of(row["first_approval"])
    return PlanReport(
        **{name: row[name] for name in PlanReport.__struct_fields__ if name not in own},
        state=PlanState(row["state"]),
        groups=msgspec.convert(summary["groups"], list[Group]),
        undecided=summary["undecided"],
        kept=summary["kept"],
        # Plans of an earlier version lack this key.
        from_backfills=summary.get("from_backfills", 0),
        notes=summary.get("notes", {}),
        refused=summary.get("refused", {}),
        first_approved_by=None if first is None else first.by,
        first_approved_at=None if first is None else first.at,
    )


_SELECT_CHANGES = sa.text("""
/* enerflo-sync plan: changes */
select position, table_name, key, op, field, before, after, direction, policy, cause, rule, state, reason
from (
  select c.*, row_number() over (partition by table_name, direction, op, field order by position) as nth
  from sync.plan_changes c where c.account = :account and c.plan_hash = :plan_hash
) c where cast(:most as bigint) is null or nth <= :most
order by position
""")


def read_changes(
    connection: sa.Connection, account: str, plan_hash: str, *, most: int | None = None
) -> Iterator[Change]:
    """Yield a plan's changes in their order, unmasked.

    :param most: how many changes of each group and field at most; None means all.
    """
    values = {"account": account, "plan_hash": plan_hash, "most": most}
    streaming = connection.execution_options(stream_results=True, max_row_buffer=1000)
    for row in streaming.execute(_SELECT_CHANGES, values).mappings():
        yield Change(**row)


_SELECT_UNDECIDED = sa.text("""
/* enerflo-sync plan: what it leaves to a person */
select table_name, key, field, enerflo_value, crm_value, cause, reason, refusal_id
from sync.plan_undecided where account = :account and plan_hash = :plan_hash
order by refusal_id is not null, position limit :most
""")


def read_undecided(
    connection: sa.Connection, account: str, plan_hash: str, *, most: int | None = None
) -> list[Undecided]:
    """Return a plan's questions, followed by the changes that a person refused before, unmasked."""
    values = {"account": account, "plan_hash": plan_hash, "most": most}
    return [Undecided(**row) for row in connection.execute(_SELECT_UNDECIDED, values).mappings()]
