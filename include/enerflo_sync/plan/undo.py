"""The undo of a plan: a plan that restores the values before it, under the same rules as any plan.

A value that changed since is not restored, nor is a write that Enerflo's API cannot reverse: these become
questions with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa

from enerflo_sync.agreed.arrivals import record_arrivals
from enerflo_sync.agreed.changed_meanings import follow_meanings
from enerflo_sync.agreed.renamed_tables import follow_names
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.plan.approval import approval_reasons
from enerflo_sync.plan.decide import MAKE_DECIDED, note_decisions
from enerflo_sync.plan.end import end_plans_of_another_mapping
from enerflo_sync.plan.leaving import ask_about_leaving
from enerflo_sync.plan.make import keep_not_switched_on, make_planned
from enerflo_sync.plan.on_its_way import require_no_copy_is_written, withdraw_handed_over
from enerflo_sync.plan.parked import writes_hashes
from enerflo_sync.plan.reads import read_plan
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.plan.store import store_plan
from enerflo_sync.plan.undo_crm import undo_in_crm
from enerflo_sync.plan.undo_enerflo import undo_in_enerflo
from enerflo_sync.plan.undoing import (
    MAKE_UNDOING,
    leave_redirected,
    leave_unmapped,
    leave_unvoided,
    note_other_writes,
)
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import case_folding, live_comparisons
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors

# The row lock keeps the retention job from pruning the plan before the undo refers to it.
_KEEP = sa.text("""
/* enerflo-sync undo: the plan that is undone */
select from sync.plans where account = :account and plan_hash = :plan_hash for key share
""")

_ANY_CHANGE = sa.text("select exists (select from pg_temp.planned)")


def make_undo(engine: sa.Engine, config: SyncConfig, account: str, plan_hash: str) -> PlanReport:
    """Store the plan that reverses the applied changes of a plan, and return it; nothing is applied yet.

    The undo is approved and applied like any other plan, and supersedes older waiting plans. If the plan has
    no applied change, the undo is empty and supersedes only plans of another mapping. To make the same undo
    again gives the same plan with the same hash.

    :param plan_hash: the hash of the plan to undo, or its first eight characters; it may itself be an undo.
    :raises ConfigurationError: there is no such plan, the mapping does not fit the live tables, or the former
        name of a renamed table is ambiguous.
    :raises RetriableError: another plan or apply of the account is running, or the warehouse is away.
    """
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with (
        warehouse_errors("undo"),
        snapshot.connect() as connection,
        alone(connection, account),
        connection.begin(),
    ):
        undone = read_plan(connection, account, plan_hash)
        connection.execute(_KEEP, {"account": account, "plan_hash": undone.plan_hash})
        fold = case_folding(connection)
        comparisons = live_comparisons(connection, config, account, fold, all_tables=True)
        comparisons = follow_names(connection, comparisons, config, account)
        comparisons = follow_meanings(connection, comparisons, account)
        end_plans_of_another_mapping(connection, account, config.hash(account))
        record_arrivals(connection, comparisons, account)
        _reverse(connection, comparisons, account, undone)
        leave_unvoided(connection, comparisons, account, config.statuses.voided)
        keep_not_switched_on(connection, comparisons)
        note_decisions(connection)
        ask_about_leaving(connection, comparisons, account)
        make_planned(connection, comparisons, account)
        require_no_copy_is_written(connection, comparisons, str(config.file))
        found = store_plan(
            connection,
            account,
            kind="undo",
            mode=str(config.widest_mode(account)),
            config_hash=config.hash(account),
            writes_hashes=writes_hashes(config, account),
            stands_on=undone.plan_hash,
            reasons=approval_reasons(connection, config, account),
            lifetime=timedelta(hours=config.approval.expires_hours),
            ends_others=bool(connection.scalar(_ANY_CHANGE)),
        )
    with warehouse_errors("undo"), engine.connect() as connection:
        return read_plan(connection, account, found)


def _reverse(
    connection: sa.Connection, comparisons: Sequence[Comparison], account: str, undone: PlanReport
) -> None:
    """Fill ``decided`` with the reverse of each applied change of a plan."""
    plan_hash = undone.plan_hash
    values = {"account": account, "plan_hash": plan_hash}
    connection.exec_driver_sql(MAKE_DECIDED)
    connection.exec_driver_sql(MAKE_UNDOING, values)
    note_other_writes(connection, comparisons, account, plan_hash)
    leave_unmapped(connection, comparisons)
    leave_redirected(connection, account)
    for comparison in comparisons:
        undo_in_crm(connection, comparison, account)
        withdraw_handed_over(connection, comparison, account, plan_hash)
        undo_in_enerflo(connection, comparison, account)
