"""The real jobs of the way back: plan, apply and carry, and people who approve plans or say no to them."""

from __future__ import annotations

from collections.abc import Sequence

from enerflo_sync.apply.apply_plan import Approval, Systems, apply_plan
from enerflo_sync.apply.carry import CarryReport, carry_open_changes
from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.copies.refresh import refresh_copies
from enerflo_sync.copies.salesforce.login import SalesforceLogin
from enerflo_sync.copies.salesforce.session import SalesforceSession
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.plan.decided_plan import WHOLE, reject_plan
from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.parts import Part, Rest
from enerflo_sync.plan.reopen import Refusal, WhichRefusals, reopen
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.plan.undo import make_undo
from enerflo_sync.reconcile.reconciliation import reconcile
from tests.simulation.jobs import Job, Jobs
from tests.simulation.meddling import Meddling
from tests.simulation.process import End, Process
from tests.simulation.salesforce import ADDRESS, Salesforce
from tests.simulation.selectors import ChosenPart, drawn_part, key_text
from tests.simulation.statements import Server
from tests.simulation.troubles import Trouble
from tests.simulation.writes import UnderWay

APPROVER = "The simulation"


class JobsBothWays(Jobs):
    """Plans, applies and carries beside the jobs that read."""

    salesforce: Salesforce | None
    meddling: Meddling

    def make_plan(self, *, end_at: int | None = None, end: End = End.KILLED) -> PlanReport | None:
        """Reconcile and plan; return the plan, None where that was killed or failed."""

        def job(_process: Process, warehouse: Server) -> PlanReport:
            config = self.configuration()
            self._copy(warehouse)
            report = reconcile(warehouse.engine, config, self.account)
            if self.promises.spelled is not None:
                self.promises.spelled.report = report
            return make_plan(warehouse.engine, config, self.account, report.reconciliation_id)

        if self.meddling.branches is not None:
            self.meddling.branches.let_none_be_empty()
        with self.promises.planning() as was_made:
            plan = self._run("plan", job, end_at, end)
            if plan is not None:
                was_made(plan.plan_hash)
        if self.team is not None:
            self.team.planned(None if plan is None else plan.plan_hash, self.configuration())
        return plan

    def apply(self, *, end_at: int | None = None, end: End = End.KILLED) -> ApplyReport | None:
        """Approve and apply the plan that waits, or go on with it; None where there is none or it failed."""
        self._undo_now_and_then()
        plan_hash = self.waiting_plan()
        self._reopen_now_and_then()
        self._approve_too_late()
        if plan_hash is None or self._refuses(plan_hash):
            return None
        chosen = self._chosen_part(plan_hash)

        refusals = self.promises.refusals
        refusals.leave_out(plan_hash, () if chosen is None else chosen.others)
        part = WHOLE if chosen is None else chosen.part
        with self.promises.undone.applying(plan_hash):
            report = self._run("apply", self._applying(plan_hash, part), end_at, end)
        if self.team is not None and report is not None:
            self.team.applied(plan_hash, self.configuration())
        if chosen is not None and chosen.part.rest is Rest.REFUSE and refusals.was_decided(plan_hash):
            refusals.refuse(chosen.others)
        return report

    def _applying(self, plan_hash: str, part: Part) -> Job:
        """Return the job that approves a plan, or a part of it, and applies that."""

        def job(process: Process, warehouse: Server) -> ApplyReport:
            calls = CallCounter()
            self._copy(warehouse)
            systems = Systems(
                lambda: self._client(process, calls),
                self._crm_database(),
                lambda: self._salesforce_session(process),
            )
            return apply_plan(
                warehouse.engine,
                systems,
                self.configuration(),
                self.account,
                plan_hash,
                Approval(APPROVER, part),
                clock=process.clock,
                rng=self._rng,
                calls=calls,
            )

        return job

    def carry(self) -> CarryReport | None:
        """Carry open changes to Salesforce; return the report, None where that was killed or failed."""

        def job(process: Process, warehouse: Server) -> CarryReport:
            return carry_open_changes(
                warehouse.engine,
                lambda: self._salesforce_session(process),
                self.configuration(),
                self.account,
                clock=process.clock,
            )

        report: CarryReport | None = self._run("carry", job, None, End.KILLED)
        return report

    def _salesforce_session(self, process: Process) -> SalesforceSession:
        assert self.salesforce is not None
        login = SalesforceLogin(ADDRESS, "sync.yaml", token="given")
        return SalesforceSession(login, self.salesforce.session_of(process), process.clock)

    def _copy(self, warehouse: Server) -> None:
        """Bring the copies of the CRM's tables up to date, where these are in a database of their own."""
        crm = self._crm_database()
        if crm is not None:
            refresh_copies(warehouse.engine, crm, self.configuration(), self.account)

    def _crm_database(self) -> CrmConnections | None:
        """Return the way of the process that runs to the CRM's own database; None where it has none."""
        engine = self.crms[len(self._running) - 1].engine
        return CrmConnections(lambda: engine) if self.shape.elsewhere else None

    def _approve_too_late(self) -> None:
        """Now and then approve a plan that a later one took the place of: nothing of it may be applied."""
        if not self._people_may_say_no(0.3):
            return
        row = self._crm.execute(
            "select plan_hash from sync.plans where state = 'superseded' and account = %s"
            " order by created_at desc, part limit 1",
            [self.account],
        ).fetchone()
        if row is not None and self._run("apply", self._applying(row[0], WHOLE), None, End.KILLED):
            self.promises.watch.breaks(f"plan {row[0][:12]} was superseded, and applied")

    def _people_may_say_no(self, share: float) -> bool:
        rate = 0.0 if self._quiet else share * self.plan.rate(Trouble.REFUSALS)
        return bool(rate) and self._people_say.random() < rate

    def _chosen_part(self, plan_hash: str) -> ChosenPart | None:
        """Now and then choose a part of a plan that waits, to be approved without the rest.

        Who goes on with an application that was cut off approves what was approved then, and no more.
        """
        if self.promises.refusals.was_decided(plan_hash):
            return self._chosen.get(plan_hash)
        self._chosen.pop(plan_hash, None)
        if not self._people_may_say_no(0.6):
            return None
        self.promises.watch.look()
        if changes := self.promises.refusals.planned(plan_hash):
            self._chosen[plan_hash] = drawn_part(self._people_say, self.shape, changes)
        return self._chosen.get(plan_hash)

    def _refuses(self, plan_hash: str) -> bool:
        """Now and then say no to a plan that waits, or to a part; return whether nothing of it is left."""
        if not self._people_may_say_no(0.5):
            return False
        self.promises.watch.look()
        changes = self.promises.refusals.planned(plan_hash)
        if not changes:
            return False
        chosen = ChosenPart(WHOLE, changes, ())
        if self._people_say.random() < 0.5:
            chosen = drawn_part(self._people_say, self.shape, changes)

        def job(process: Process, warehouse: Server) -> PlanReport:
            with warehouse.engine.begin() as connection:
                return reject_plan(
                    connection,
                    self.account,
                    plan_hash,
                    who="Ann",
                    reason="not now",
                    now=process.clock.now(),
                    config=self.configuration(),
                    part=chosen.part,
                )

        if self._run("reject", job, None, End.KILLED) is None:
            return False
        refused_all = chosen.part.rest is Rest.REFUSE
        self.promises.refusals.refuse([*chosen.chosen, *(chosen.others if refused_all else ())])
        return refused_all or not chosen.others

    def _reopen_now_and_then(self) -> None:
        """Now and then open again what was refused: of a table, of a record, or of one field."""
        active = self.promises.refusals.active
        if not active or not self._people_may_say_no(0.3):
            return
        one, rng = self._people_say.choice(active), self._people_say
        by_key, by_field = rng.random() < 0.7, rng.random() < 0.5
        which = WhichRefusals(
            table=self.shape.yaml.says.table(one.table),
            key=key_text(self.shape, one.table, one.key) if by_key else None,
            field=self.shape.yaml.says.column(one.table, one.column) if by_field and one.column else None,
        )

        def job(_process: Process, warehouse: Server) -> Sequence[Refusal]:
            with warehouse.engine.begin() as connection:
                return reopen(connection, self.configuration(), self.account, which, by="Bob")

        for opened in self._run("reopen", job, None, End.KILLED) or ():
            self.promises.refusals.reopen(opened)

    def _undo_now_and_then(self) -> None:
        """Now and then plan to take back one of the last plans; a person may say no to that, too."""
        # A tool that carries changes has an order of its own, in which an undo may come too late.
        rate = 0.0 if self._quiet or self.shape.copied else 0.5 * self.plan.rate(Trouble.UNDONE)
        if not rate or self._takes_back.random() >= rate:
            return
        plan_hash = self.promises.undone.choose(self._takes_back, self.account)
        if plan_hash is None:
            return

        def job(_process: Process, warehouse: Server) -> PlanReport:
            self._copy(warehouse)
            return make_undo(warehouse.engine, self.configuration(), self.account, plan_hash)

        undo = self._run("undo", job, None, End.KILLED)
        self.promises.refusals.note_plans()
        if self.team is not None:
            self.team.planned(None if undo is None else undo.plan_hash, self.configuration())

    def waiting_plan(self) -> str | None:
        """Return the hash of the plan that is open or not yet applied to its end."""
        row = self._crm.execute(
            "select plan_hash from sync.plans where state in ('open', 'approved') and account = %s"
            " order by created_at desc, part limit 1",
            [self.account],
        ).fetchone()
        return None if row is None else row[0]

    def _sent(self, table: str) -> tuple[UnderWay, ...]:
        """Return the changes of a table that the outbox says, committed, to be under way."""
        tables = [table, "permits"] if table == "milestones" else [table]
        query = (
            "select plan_hash, position, field, enerflo_key from told.plan_changes"
            " where state = 'sent' and table_name = any(%s)"
        )
        return tuple(
            UnderWay(plan, position, column, tuple((key or {}).values()))
            for plan, position, column, key in self._crm.execute(query, [tables])
        )
