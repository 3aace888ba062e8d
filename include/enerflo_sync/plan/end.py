"""Plans that end without being applied, because they expired or a later plan superseded them.

Nobody refused their changes, so these are recorded as superseded; the later plan contains the ones that are
still due.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from enerflo_sync.warehouse.set_back import PLANNED, future_of, note_done, noted_at

SUPERSEDED = "superseded by a later plan"
OVERDUE = "its time was over before it was applied"
# The ledger's ``decided_by`` of approved changes that a later plan superseded.
BY_A_LATER_PLAN = "a later plan"

_END = """
update sync.plans set state = case when expires_at <= now() then 'expired' else 'superseded' end
where account = :account and {which}
returning plan_hash
"""
_OVERDUE = sa.text(
    "/* enerflo-sync plan: plans and approvals whose time is over */"
    + _END.format(which="state in ('open', 'approved') and expires_at <= now()")
)
# A plan that nobody answered in time could still be approved. It ends too, so that it cannot override a
# decision about a later plan.
_WAITS = "(state in ('open', 'approved') or state = 'rejected' and decided_by is null)"
_OTHERS = sa.text(
    "/* enerflo-sync plan: plans that a later one takes the place of */"
    + _END.format(which=f"{_WAITS} and not plan_hash = any(:kept)")
).bindparams(sa.bindparam("kept", type_=sa.ARRAY(sa.Text)))

_OF_ANOTHER_MAPPING = sa.text(
    "/* enerflo-sync plan: plans that were made under another mapping */"
    + _END.format(which=f"{_WAITS} and config_hash <> :config_hash")
)

# The newest plan is found by its time, and its approval ends by it.
_OF_THE_FUTURE = sa.text("""
/* enerflo-sync plan: plans of a clock that was ahead, and was set back since */
update sync.plans set
  created_at = case when created_at > :future then :now else created_at end,
  decided_at = case when decided_at > :future then :now else decided_at end,
  applied_at = case when applied_at > :future then :now else applied_at end,
  expires_at = least(expires_at, :now + make_interval(secs => :seconds))
where account = :account and greatest(created_at, decided_at, applied_at) > :future
""")

# What was read since the clock was found to be set back was read after the request. Else a request whose
# answer was lost would count as unseen until that time comes, and be sent again.
_SENT_IN_THE_FUTURE = sa.text("""
/* enerflo-sync plan: requests of a clock that was ahead, and was set back since */
update sync.plan_changes set sent_at = :found_at, done_at = least(done_at, :found_at)
where account = :account and sent_at is not null and confirmed is null and state <> 'applied'
  and sent_at > :future
""")

# The ledger gets the changes that were approved and not made. Changes that nobody decided about get no ledger
# row. Changes in state ``left_out`` keep it: it shows the next plan that nobody decided about them.
_CHANGES = sa.text("""
/* enerflo-sync plan: what was left to do of plans that ended */
with changes as (
  update sync.plan_changes c set state = 'superseded', done_at = now(),
    reason = case when p.state = 'expired' then :overdue else :superseded end
  from sync.plans p
  where p.account = :account and p.plan_hash = any(:ended)
    and (p.state = 'superseded' or p.decided_by is not null)
    and c.account = p.account and c.plan_hash = p.plan_hash and c.state in ('planned', 'sent')
  returning c.*, p.decided_by
)
insert into sync.ledger (account, table_name, key, op, field, old_value, new_value, losing_value, direction,
  policy, cause, rule, facts, plan_hash, decision, reason, decided_by, run_id, changed_at, observed_at,
  recorded_at)
select account, table_name, key, op, field, before, after, before, direction, policy, cause, rule, facts,
  plan_hash, 'superseded', reason, :by, 'superseded-' || left(plan_hash, 12), changed_at, observed_at, now()
from changes where decided_by is not null
""").bindparams(sa.bindparam("ended", type_=sa.ARRAY(sa.Text)))


def bring_plans_to_present(
    connection: sa.Connection, account: str, now: datetime, lifetime: timedelta
) -> None:
    """Let plans and requests of the future be of the present, as the database's clock was set back.

    :param lifetime: how long a plan may be applied.
    """
    found_at = noted_at(connection, account, PLANNED)
    if found_at is None:
        return
    values = {"account": account, "now": now, "future": future_of(now)}
    connection.execute(_OF_THE_FUTURE, {**values, "seconds": lifetime.total_seconds()})
    connection.execute(_SENT_IN_THE_FUTURE, {**values, "found_at": found_at})
    note_done(connection, account, PLANNED)


def end_overdue_plans(connection: sa.Connection, account: str) -> None:
    """End the account's expired plans, including approved ones."""
    _end_changes(connection, account, connection.execute(_OVERDUE, {"account": account}).scalars().all())


def end_other_plans(connection: sa.Connection, account: str, kept: Sequence[str]) -> None:
    """End the account's waiting plans, except those with the hashes in ``kept``."""
    named = {"account": account, "kept": list(kept)}
    _end_changes(connection, account, connection.execute(_OTHERS, named).scalars().all())


def end_plans_of_another_mapping(connection: sa.Connection, account: str, config_hash: str) -> None:
    """End the account's waiting plans that were made under another mapping: none of them can be applied.

    Runs in the transaction that moves refusals to the present names of tables. A person's later no to such a
    plan would be stored under the former name, where no plan finds it.
    """
    named = {"account": account, "config_hash": config_hash}
    _end_changes(connection, account, connection.execute(_OF_ANOTHER_MAPPING, named).scalars().all())


def _end_changes(connection: sa.Connection, account: str, ended: Sequence[str]) -> None:
    if ended:
        words = {"overdue": OVERDUE, "superseded": SUPERSEDED, "by": BY_A_LATER_PLAN}
        connection.execute(_CHANGES, {"account": account, "ended": list(ended), **words})
