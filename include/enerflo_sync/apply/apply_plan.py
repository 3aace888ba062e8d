"""Applies a plan: exactly its changes, first those of the CRM in one transaction, then those of Enerflo."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy
from enerflo_sync.agreed.outcomes import Applying, Decision, record_outcome
from enerflo_sync.apply.crm import apply_to_crm
from enerflo_sync.apply.enerflo.push import push
from enerflo_sync.apply.enerflo.report import PushReport
from enerflo_sync.apply.handed_over import hand_over, record_earlier_arrivals
from enerflo_sync.apply.report import (
    NOT_SWITCHED_ON,
    ApplyReport,
    Outcomes,
    ended_since,
    outcomes_of,
    report_of,
)
from enerflo_sync.apply.still_free import needs_a_person_now, under_two_persons
from enerflo_sync.clock import Clock
from enerflo_sync.copies.carry import carry_changes
from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.copies.fresh_rows import FreshRows
from enerflo_sync.copies.salesforce.carry import carry_to_salesforce
from enerflo_sync.copies.salesforce.session import SalesforceSession
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import Mode, RecordKind
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.plan.decided_plan import (
    BY_RULE,
    WHOLE,
    approve_plan,
    hold_plan,
    wait_again,
)
from enerflo_sync.plan.earlier_decisions import require_no_new_no, require_not_expired
from enerflo_sync.plan.held import move_held
from enerflo_sync.plan.parts import Part, Rest
from enerflo_sync.plan.reads import read_plan
from enerflo_sync.plan.report import PlanReport, PlanState
from enerflo_sync.plan.second_person import first_words, one_is_half
from enerflo_sync.plan.store import SEARCHED, is_as_it_was_made
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import case_folding, live_comparisons
from enerflo_sync.reconcile.meanings import moved_elsewhere
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import server_time, transaction_time, warehouse_errors
from enerflo_sync.warehouse.statistics import note_growth

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

Progress = Callable[[str, int, int], None]
# Carries handed-over changes to a CRM outside the warehouse; returns whether any of the tables is there.
Carry = Callable[[Collection[Comparison]], bool]

_BY_TABLE = sa.text("""
/* enerflo-sync apply: what is left to do */
select table_name, direction, count(*) as number from sync.plan_changes
where account = :account and plan_hash = :plan_hash and state in ('planned', 'sent')
group by table_name, direction
""")

_OF_TABLE = sa.text("""
/* enerflo-sync apply: what is left to do of a table in one direction */
select position from sync.plan_changes
where account = :account and plan_hash = :plan_hash and state in ('planned', 'sent')
  and table_name = :table and direction = :direction
""")

_ENDED = sa.text("""
/* enerflo-sync apply: nothing of the plan is left to do */
update sync.plans set state = 'applied', applied_at = :now
where account = :account and plan_hash = :plan_hash
""")


@dataclass(frozen=True)
class Approval:
    """What a person approves of a plan. Without a person, only what the rules allow is applied.

    :param by: the person who approves a plan that waits for an approval.
    :param part: the part to approve; the other changes stay open, or are refused by the same person.
    :param known: the plan as it was when this person approved it; by default, as it is now.
    """

    by: str | None = None
    part: Part = WHOLE
    known: PlanReport | None = None


@dataclass(frozen=True)
class Systems:
    """The systems outside the warehouse that changes go to.

    :param enerflo: opens the account's client; called only if a change is sent to Enerflo.
    :param crm: the CRM's own database, if its tables are not in the warehouse.
    :param salesforce: opens a session at Salesforce, for tables whose changes are carried there.
    """

    enerflo: Callable[[], EnerfloClient]
    crm: CrmConnections | None = None
    salesforce: Callable[[], SalesforceSession] | None = None


def apply_plan(
    engine: sa.Engine,
    systems: Systems,
    config: SyncConfig,
    account: str,
    plan_hash: str,
    approval: Approval = Approval(),
    *,
    clock: Clock,
    rng: random.Random,
    calls: CallCounter,
    run_id: str | None = None,
    progress: Progress | None = None,
) -> ApplyReport:
    """Apply a plan, or the changes that are left of it, and return the outcomes of its changes.

    The process may be killed at any time and run again. A plan that was applied is left as it is.

    :raises ConfigurationError: nothing may be written (mode), or the plan may not be applied: it expired, was
        rejected, needs an approval, or the mapping or the CRM's database changed since it was made.
    :raises ConflictError: somebody rejected it since it was as ``approval`` knows it.
    :raises RetriableError: another plan or apply is running, or the warehouse or Enerflo is away.
    """
    with warehouse_errors("apply"), engine.connect() as connection, alone(connection, account):
        run = Run(connection, account, "apply", clock, rng, run_id=run_id)
        with connection.begin():
            plan = read_plan(connection, account, plan_hash, counted=False)
        if plan.state is PlanState.APPLIED:
            with connection.begin():
                outcomes = outcomes_of(connection, plan)
            return report_of(plan, outcomes, run.run_id, None, already=True)
        with connection.begin():
            plan, reasons = _allowed(connection, config, plan, approval)
        if reasons:
            raise _needs_approval(plan, reasons)
        if plan.state is not PlanState.APPROVED:
            with connection.begin():
                outcomes = outcomes_of(connection, plan)
            nothing = f"{first_words(plan)} Nothing was written."
            return report_of(plan, outcomes, run.run_id, None, message=nothing)
        applying = Applying(account, plan.plan_hash, run.run_id, plan.decided_by or BY_RULE)
        stopped: list[str] = []
        with connection.begin():
            before = sum(count for state, _, count in outcomes_of(connection, plan) if state == "applied")
        with run.recording(calls):
            carry = _carrying(connection, systems, config, applying, clock, stopped)
            tick = progress or (lambda _name, _done, _total: None)
            _Application(connection, run, systems, carry, config, plan, applying, clock, tick, stopped).make()
            with connection.begin():
                outcomes = outcomes_of(connection, plan)
                plan = _ended(connection, plan, outcomes)
                _note_outcomes(connection, sum(number for *_, number in outcomes))
        return report_of(plan, outcomes, run.run_id, stopped[0] if stopped else None, before=before)


def _needs_approval(plan: PlanReport, reasons: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(
        first_words(plan) or f"it needs a person's approval. {' '.join(reasons)}",
        where=f"plan {plan.plan_hash[:12]}",
        next_step='Look at it, then apply it with --approve "NAME".',
    )


def _allowed(
    connection: sa.Connection,
    config: SyncConfig,
    plan: PlanReport,
    approval: Approval,
) -> tuple[PlanReport, Sequence[str]]:
    """Return the approved plan if it may be applied now; from then on it can no longer be rejected.

    If stricter rules now require a person, return the waiting plan and the reasons instead; the caller must
    commit this state.
    """
    known = approval.known or plan
    plan = hold_plan(connection, plan.account, plan.plan_hash, counted=False)
    now = server_time(connection)
    where = f"plan {plan.plan_hash[:12]}"
    again = "Make a new one with enerflo-sync plan."
    planned = {group.table_name for group in plan.groups}
    # A plan of a table that sync.yaml does not name any more is one of another mapping.
    is_mapped = planned <= config.tables_for(plan.account).keys()
    if is_mapped and {config.mode_of(plan.account, table) for table in planned} <= {Mode.REPORT}:
        raise ConfigurationError(
            "nothing may be written: the mode is report.",
            where=str(config.spot("accounts", plan.account, "mode")),
            next_step="Set mode: crm, enerflo or both, for the account or for a table, and plan again.",
        )
    require_not_expired(plan, now)
    if not is_as_it_was_made(connection, plan):
        raise ConfigurationError("its changes were edited since it was made.", where=where, next_step=again)
    if plan.config_hash != config.hash(plan.account):
        raise ConfigurationError("the mapping changed since it was made.", where=where, next_step=again)
    if moved := moved_elsewhere(connection, config, plan.account, sorted(planned)):
        raise ConfigurationError(
            f"the CRM of {moved[0]} is another database than when it was made.", where=where, next_step=again
        )
    if approval.by is not None:
        require_no_new_no(known, plan)
        plan = under_two_persons(connection, config, plan)
        return approve_plan(connection, plan, approval.by, now, config=config, part=approval.part), ()
    if approval.part.rest is Rest.REFUSE:
        raise ConfigurationError(
            "nobody is named who refuses the rest.", where="--rest", next_step='Add --approve "NAME".'
        )
    if plan.state is PlanState.REJECTED:
        who = plan.decided_by or "nobody answered in time"
        raise ConfigurationError(
            f"it was rejected ({who}).", where=where, next_step='Approve it with --approve "NAME" after all.'
        )
    plan = under_two_persons(connection, config, plan)
    if (half := one_is_half(connection, config, plan)) is not plan:
        return half, half.reasons
    if reasons := needs_a_person_now(connection, config, plan):
        return plan, reasons
    if plan.waits_for_approval:
        raise _needs_approval(plan, plan.reasons)
    if plan.state is PlanState.OPEN:
        return approve_plan(connection, plan, BY_RULE, now, config=config, part=approval.part), ()
    return plan, ()


@dataclass(frozen=True)
class _Application:
    """One application of an approved plan.

    :param stopped: gets the reason if the remaining changes have to wait.
    """

    connection: sa.Connection
    run: Run
    systems: Systems
    carry: Carry
    config: SyncConfig
    plan: PlanReport
    applying: Applying
    clock: Clock
    tick: Progress
    stopped: list[str]

    def make(self) -> None:
        """Make the changes of the CRM, then those of Enerflo, and count them in the run's report."""
        record_earlier_arrivals(self.connection, self.config, self.plan.account)
        with self.connection.begin():
            comparisons = _comparisons(self.connection, self.config, self.plan.account)
            orders = self.config.tables_of(self.plan.account, RecordKind.CHANGE_ORDERS)
            if self.plan.kind != "undo" and any(group.table_name in orders for group in self.plan.groups):
                move_held(self.connection, self.applying, server_time(self.connection))
            left = _refuse_not_switched_on(self.connection, self.config, self.applying)
            counts = self._write_crm(comparisons, left["to_crm"])
            since = transaction_time(self.connection)
        if self.carry(comparisons.values()):
            with self.connection.begin():
                counts = ended_since(self.connection, self.plan, since)
        tally = Tally(read=sum(left.values()), applied=counts[Decision.APPLIED])
        others = {str(n): counts[n] for n in (Decision.HANDED_OVER, Decision.MOVED, Decision.PARKED)}
        if left["to_enerflo"]:
            sent = self._send(comparisons)
            tally.applied += sent.applied
            for name in ("moved", "parked", "refused", "waiting"):
                others[name] = others.get(name, 0) + getattr(sent, name)
            # Carries the ids of records that were created at Enerflo to their CRM rows.
            self.carry(comparisons.values())
        tally.skipped = tally.read - tally.applied
        for name, count in others.items():
            if count:
                tally.because("skipped", name, count)
        self.run.count("changes", tally)

    def _write_crm(self, comparisons: dict[str, Comparison], left: int) -> Counter[str]:
        """Hand over changes of copied tables, write the other changes of the CRM, and count the outcomes."""
        is_undo = self.plan.kind == "undo"
        evidence = f"{self.plan.kind}:{self.plan.stands_on}"
        handed = hand_over(
            self.connection,
            self.applying,
            comparisons,
            undone=self.plan.stands_on if is_undo else None,
            evidence=evidence,
            file=str(self.config.file),
        )
        return handed + apply_to_crm(
            self.connection,
            self.applying,
            comparisons,
            evidence=evidence,
            by=AgreedBy.UNDO if is_undo else AgreedBy.PUSH,
            progress=self.tick,
            total=left - sum(handed.values()),
        )

    def _send(self, comparisons: dict[str, Comparison]) -> PushReport:
        """Send the changes of Enerflo, and note why some of them wait."""
        crm = self.systems.crm
        sent = push(
            self.systems.enerflo(),
            self.connection,
            self.applying,
            self.config,
            comparisons,
            clock=self.clock,
            component_keys=ComponentKeys(**self.config.change_orders.model_dump()),
            fresh=FreshRows(crm, self.config, self.plan.account) if crm is not None else None,
            progress=lambda name, done, total: self.tick(name, done, total or 0),
        )
        if sent.stopped:
            self.stopped.append(sent.stopped)
        return sent


def _carrying(
    connection: sa.Connection,
    systems: Systems,
    config: SyncConfig,
    applying: Applying,
    clock: Clock,
    stopped: list[str],
) -> Carry:
    """Return the function that carries handed-over changes to a CRM outside the warehouse (:data:`Carry`)."""
    account, run_id = applying.account, applying.run_id
    crm, salesforce = systems.crm, systems.salesforce

    def carry(comparisons: Collection[Comparison]) -> bool:
        if crm is not None:
            carry_changes(connection, crm, config, comparisons, account, run_id)
        there = salesforce is not None and any(comparison.mapping.to_salesforce for comparison in comparisons)
        if there and salesforce is not None and not stopped:
            why = carry_to_salesforce(connection, salesforce, config, comparisons, account, run_id, clock)
            stopped.extend([why] if why else [])
        return crm is not None or there

    return carry


def _comparisons(connection: sa.Connection, config: SyncConfig, account: str) -> dict[str, Comparison]:
    fold = case_folding(connection)
    found = live_comparisons(connection, config, account, fold, all_tables=True)
    return {comparison.name: comparison for comparison in found}


def _refuse_not_switched_on(
    connection: sa.Connection, config: SyncConfig, applying: Applying
) -> dict[str, int]:
    """Refuse changes that the mode of their table does not allow; count the others by direction."""
    left = {"to_crm": 0, "to_enerflo": 0}
    named = {"account": applying.account, "plan_hash": applying.plan_hash}
    for table, direction, number in connection.execute(_BY_TABLE, named).all():
        mode = config.mode_of(applying.account, table)
        if direction in mode.writes:
            left[direction] += number
        else:
            reason = f"{NOT_SWITCHED_ON} (mode {mode})"
            which = {**named, "table": table, "direction": direction}
            positions = connection.execute(_OF_TABLE, which).scalars().all()
            record_outcome(
                connection, applying, positions, Decision.REFUSED, server_time(connection), reason=reason
            )
    return left


# The columns by which the outcomes of earlier changes are found.
_OF_LEDGER = ("account", "table_name", "key", "plan_hash", "op", "field", "direction", "decision")


def _note_outcomes(connection: sa.Connection, number: int) -> None:
    """Let PostgreSQL know of many outcomes: a plan or an undo looks up the history of each change."""
    note_growth(connection, "sync.ledger", number, *_OF_LEDGER)
    note_growth(connection, "sync.plan_changes", number, *SEARCHED)


def _ended(connection: sa.Connection, plan: PlanReport, outcomes: Outcomes) -> PlanReport:
    """Mark the plan as applied if no change is left to make, or open it again for the part not approved."""
    if any(state in {"planned", "sent"} for state, _, _ in outcomes):
        return plan
    if any(state == "left_out" for state, _, _ in outcomes):
        wait_again(connection, plan)
        return msgspec.structs.replace(plan, state=PlanState.OPEN)
    now = server_time(connection)
    connection.execute(_ENDED, {"account": plan.account, "plan_hash": plan.plan_hash, "now": now})
    return msgspec.structs.replace(plan, state=PlanState.APPLIED, applied_at=now)
