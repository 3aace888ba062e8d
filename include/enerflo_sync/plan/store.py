"""Stores a plan under the hash of its content; a plan that ended and is due again gets a new hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.plan.backfilled import changes_from_backfills
from enerflo_sync.plan.end import end_other_plans, end_overdue_plans
from enerflo_sync.plan.questions import asked_before, note_questions
from enerflo_sync.plan.refused import REFUSED
from enerflo_sync.plan.report import PlanReport, PlanState
from enerflo_sync.plan.second_person import forget_first
from enerflo_sync.warehouse.statistics import note_growth

# The hash covers everything that determines what is written to which record. ``agreed_at`` distinguishes a
# change from the same change in an earlier plan. The text of a row is quoted as safely as that of an array
# and costs half as much. A time is hashed as a number, because its text would depend on settings of the
# session.
_HASH = """
/* enerflo-sync plan: the hash of the content */
select encode(sha256(convert_to(concat_ws('|', cast(:account as text), cast(:kind as text),
  cast(:config_hash as text), coalesce(string_agg(encode(sha256(convert_to(row(
    table_name, key, enerflo_key, op, field, before, after, source_value, direction, policy,
    extract(epoch from agreed_at))::text, 'UTF8')), 'hex'), '' order by position), '')), 'UTF8')), 'hex')
from {changes}
"""
_STORED = "sync.plan_changes where account = :account and plan_hash = :plan_hash"
# How many earlier plans may have had the same content.
_MOST_TIMES = 10_000

_GROUPS = """
/* enerflo-sync plan: counts by group */
with fields as (
  select table_name, direction, op,
         -- For a deletion by mark, the column that is set.
         case when op = 'delete' then (select min(k) from jsonb_object_keys(after) k) else field end as field,
         count(*) as changes, min(position) as first
  from pg_temp.planned group by 1, 2, 3, 4
), rows as (
  select table_name, direction, op, count(*) as rows
  from (select distinct table_name, direction, op, key from pg_temp.planned) r group by 1, 2, 3
)
select table_name, direction, op, min(rows) as rows, sum(changes)::bigint as changes,
       coalesce(jsonb_object_agg(field, changes) filter (where field is not null), '{}') as fields,
       coalesce(jsonb_object_agg(field, first) filter (where field is not null and op = 'update'), '{}')
         as first_of_fields, min(first) as first
from fields join rows using (table_name, direction, op)
group by table_name, direction, op order by min(first)
"""

_REASONS = sa.text(f"""
/* enerflo-sync plan: differences that are not changed, by reason */
select outcome, reason, count(*) as n from pg_temp.decided
where outcome in ('review', 'keep', '{REFUSED}') group by 1, 2 order by 3 desc, 2
""")  # noqa: S608 - a constant

_NOTES = """
/* enerflo-sync plan: what a person should know of its changes */
select reason, count(*) as n from pg_temp.planned where reason is not null group by 1 order by 2 desc, 1
"""

_SPENT = sa.text("""
/* enerflo-sync plan: whether a plan with this hash ended before, so that its changes are due again */
select exists (
  select from sync.plans p
  where p.account = :account and p.plan_hash = :plan_hash
    and (p.state = 'applied' and p.change_count > 0
      or p.state in ('expired', 'superseded') and p.decided_by is not null
      or (p.state <> 'approved' and (p.state <> 'rejected' or p.kind = 'sync') and exists (
        select from sync.plan_changes c where c.account = p.account and c.plan_hash = p.plan_hash
          and c.state not in ('planned', 'left_out', 'superseded')))))
""")

# If a plan with this hash exists, it waits again, unless a person rejected it or it is being applied. An
# approval is not extended when the same plan is made again. All plans without changes are one plan, which
# each round without changes stores again.
_INSERT = sa.text("""
/* enerflo-sync plan: the plan */
insert into sync.plans (account, plan_hash, kind, created_at, expires_at, state, change_count, needs_approval,
  reasons, mode, config_hash, writes_hashes, stands_on, summary, part)
values (:account, :plan_hash, :kind, now(), now() + :lifetime, :state, :change_count, :needs_approval,
  :reasons, :mode, :config_hash, :writes_hashes, :stands_on, :summary, :part)
on conflict (account, plan_hash) do update
set created_at = case when plans.state in ('expired', 'open', 'superseded') or plans.change_count = 0
                        or (plans.state = 'rejected' and plans.decided_by is null)
                      then excluded.created_at else plans.created_at end,
    expires_at = case when plans.state = 'approved' then plans.expires_at else excluded.expires_at end,
    decided_at = case when plans.decided_by is null then null else plans.decided_at end,
    decision_reason = case when plans.decided_by is null then null else plans.decision_reason end,
    part = excluded.part,
    -- A first approval is not extended either.
    first_approval = case when plans.state in ('approved', 'applied')
                            or (plans.state = 'rejected' and plans.decided_by is not null)
                            or (plans.state = 'open' and plans.expires_at > now()
                                and cast(plans.first_approval ->> 'at' as timestamptz) + :lifetime > now())
                          then plans.first_approval end,
    state = case when plans.state = 'approved' then plans.state
                 when plans.state = 'rejected' and plans.decided_by is not null then plans.state
                 else excluded.state end,
    needs_approval = excluded.needs_approval, reasons = excluded.reasons, mode = excluded.mode,
    stands_on = excluded.stands_on, summary = excluded.summary
""").bindparams(
    sa.bindparam("reasons", type_=JSONB),
    sa.bindparam("summary", type_=JSONB),
    sa.bindparam("writes_hashes", type_=JSONB),
    sa.bindparam("lifetime", type_=sa.Interval),
)

# An approval is about the row as it was then. So the digest of a row is updated only while the plan is open;
# if one changes, the first of two approvals was about another row and is deleted.
_CHANGES = sa.text("""
/* enerflo-sync plan: its changes */
insert into sync.plan_changes (account, plan_hash, position, table_name, key, enerflo_key, op, field, before,
  after, source_value, direction, policy, cause, rule, facts, changed_at, observed_at, agreed_at,
  agreed_row, row_digest, reason, state)
select :account, :plan_hash, position, table_name, key, enerflo_key, op, field, before, after, source_value,
  direction, policy, cause, rule, facts, changed_at, observed_at, agreed_at, agreed_row, row_digest,
  reason, 'planned'
from pg_temp.planned
on conflict (account, plan_hash, position) do update set row_digest = excluded.row_digest
where plan_changes.row_digest is distinct from excluded.row_digest and plan_changes.state = 'planned'
  and exists (
    select from sync.plans where account = :account and plan_hash = :plan_hash and state = 'open')
""")

_DUE_AGAIN = sa.text("""
/* enerflo-sync plan: changes of the same plan that a later plan had superseded */
update sync.plan_changes set state = 'planned', reason = null, done_at = null
where account = :account and plan_hash = :plan_hash and state in ('superseded', 'left_out')
  and exists (select from sync.plans where account = :account and plan_hash = :plan_hash and state = 'open')
""")

_UNDECIDED = sa.text(f"""
/* enerflo-sync plan: its questions */
insert into sync.plan_undecided
  (account, plan_hash, position, table_name, key, field, enerflo_value, crm_value, cause, reason, refusal_id)
select :account, :plan_hash, row_number() over (order by table_name, key::text, field), table_name, key,
  field, before, source_value, cause, reason, refusal_id
from pg_temp.decided where outcome in ('review', '{REFUSED}') and :part = 1
""")  # noqa: S608 - a constant

# The columns by which changes are found.
SEARCHED = ("account", "plan_hash", "position", "table_name", "op", "field", "direction", "state")


def store_plan(
    connection: sa.Connection,
    account: str,
    *,
    kind: str,
    mode: str,
    config_hash: str,
    writes_hashes: Mapping[str, str],
    stands_on: str,
    reasons: Sequence[str],
    lifetime: timedelta,
    rules: str = "",
    part: int = 1,
    ends_others: bool = True,
    beside: Sequence[str] = (),
) -> str:
    """Store the changes in ``planned`` and the questions in ``decided`` as a plan, and return its hash.

    A plan without changes counts as applied. The questions of a round are stored with its first part.

    :param rules: the hash of the approval rules under which the plan was made.
    :param ends_others: whether other waiting plans end now.
    :param beside: the hashes of waiting plans that do not end.
    """
    end_overdue_plans(connection, account)
    same = {"account": account, "kind": kind, "config_hash": config_hash}
    content_hash = connection.scalar(sa.text(_HASH.format(changes="pg_temp.planned")), same)
    plan_hash = _unspent(connection, account, content_hash)
    named = {"account": account, "plan_hash": plan_hash}
    groups = [dict(row) for row in connection.exec_driver_sql(_GROUPS, {}).mappings()]
    # The position of the first change of each field, from which samples are read.
    first = [[group.pop("first_of_fields"), group.pop("first")] for group in groups]
    before = asked_before(connection, account)
    others: dict[str, dict[str, int]] = {"review": {}, "keep": {}, REFUSED: {}}
    for outcome, reason, count in connection.execute(_REASONS) if part == 1 else ():
        others[outcome][reason] = count
    count = sum(group["changes"] for group in groups)
    if ends_others:
        end_other_plans(connection, account, [plan_hash, *beside])
    connection.execute(
        _INSERT,
        {
            **named,
            "kind": kind,
            "lifetime": lifetime,
            "state": str(PlanState.OPEN if count else PlanState.APPLIED),
            "change_count": count,
            "needs_approval": bool(reasons),
            "reasons": list(reasons),
            "mode": mode,
            "config_hash": config_hash,
            "writes_hashes": dict(writes_hashes),
            "stands_on": stands_on,
            "part": part,
            "summary": {
                "groups": groups,
                "first": first,
                "undecided": others["review"],
                "kept": others["keep"],
                "notes": {row.reason: row.n for row in connection.exec_driver_sql(_NOTES)},
                "refused": others[REFUSED],
                "rules": rules,
                "from_backfills": changes_from_backfills(connection) if kind == "sync" else 0,
            },
        },
    )
    connection.execute(_DUE_AGAIN, named)
    if connection.execute(_CHANGES, named).rowcount:
        forget_first(connection, account, plan_hash)
    connection.execute(
        sa.text("delete from sync.plan_undecided where account = :account and plan_hash = :plan_hash"), named
    )
    connection.execute(_UNDECIDED, {**named, "part": part})
    # The plan may be applied at once, before the server's own autovacuum has looked at it.
    note_growth(connection, "sync.plan_changes", count, *SEARCHED)
    note_questions(connection, account, plan_hash, before)
    return plan_hash


def _unspent(connection: sa.Connection, account: str, content_hash: str) -> str:
    """Return the hash for a plan of this content.

    If a plan with the same content ended before, the new plan needs another hash, because the ledger has only
    one outcome for each change of a plan.
    """
    plan_hash, times = content_hash, 0
    while connection.scalar(_SPENT, {"account": account, "plan_hash": plan_hash}):
        times += 1
        plan_hash = _once_more(content_hash, times)
    return plan_hash


def _once_more(content_hash: str, times: int) -> str:
    return hashlib.sha256(f"{content_hash}|{times}".encode()).hexdigest()


def is_as_it_was_made(connection: sa.Connection, plan: PlanReport) -> bool:
    """Return whether a plan's stored changes still match its hash."""
    same = {
        "account": plan.account,
        "plan_hash": plan.plan_hash,
        "kind": plan.kind,
        "config_hash": plan.config_hash,
    }
    content_hash = connection.scalar(sa.text(_HASH.format(changes=_STORED)), same)
    hashes = (_once_more(content_hash, times) for times in range(1, _MOST_TIMES))
    return plan.plan_hash == content_hash or plan.plan_hash in hashes
