"""The operators that write: plan, apply, verify; and the run that asks a person (:mod:`.approving`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowSkipException

from enerflo_airflow.accounts import account_name
from enerflo_airflow.lineage import WithLineage
from enerflo_airflow.links import PlanLink, ReportLink
from enerflo_airflow.metrics import send_apply, send_plans
from enerflo_airflow.notes import apply_note, carry_note, keep_note, plan_note, reconciliation_note
from enerflo_airflow.operators import engine_run_id, flag, noted_failure
from enerflo_sync.counted import count_of
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.steering import shown

if TYPE_CHECKING:
    from enerflo_sync.plan.report import PlanReport

# Maximum number of approval runs per plan.
_MOST_RUNS = 1_000
# A task's result about a plan: ids, counts, and sentences without data of a record.
Planned = dict[str, Any]


class PlanOperator(BaseOperator):
    """Decides about every difference of an account, and stores the plan. Writes nothing on either side.

    :param account: name of the account in sync.yaml.
    :return: the first plan's hash and counts; ``free``, the hash of the plan to apply at once, and
        ``waiting``, the hash of the plan that needs approval: None if there is none.
    """

    template_fields: Sequence[str] = ("account",)
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)
    ui_color = "#f6f0dc"

    def __init__(self, *, account: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account

    def execute(self, context: Context) -> Planned:
        """Plan, and return what the next tasks need."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.ledger import run_seal
        from enerflo_sync.jobs.plan import run_plan

        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            plans = run_plan(opened)
            send_plans(plans, opened)
            run_seal(opened)
            writes = opened.writes_anything
        note = "\n".join(plan_note(plan) for plan in plans)
        self.log.info("planned plan_hash=%s %s", plans[0].plan_hash, note)
        keep_note(context, note)
        due = [plan for plan in plans if writes and plan.change_count]
        free = [plan.plan_hash for plan in due if not plan.needs_approval or plan.state == "approved"]
        waiting = [plan.plan_hash for plan in due if plan.plan_hash not in free]
        first = plans[0]
        return {
            **_planned(first),
            "changes": sum(plan.change_count for plan in plans),
            "waits": any(plan.waits_for_approval for plan in plans),
            "writes": bool(due),
            "free": free[0] if free else None,
            "waiting": waiting[0] if waiting else None,
        }


class AskForApprovalOperator(TriggerDagRunOperator):
    """Starts the run that asks a person about a plan, so that the planning run waits for nobody.

    A plan that another run already asks about is not asked about again.

    :param account: name of the account in sync.yaml.
    :param plan: the result of :class:`PlanOperator`.
    :param ask: whether to ask; otherwise a waiting plan is left to the command line.
    """

    template_fields: Sequence[str] = ("account", "plan", "ask")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)

    def __init__(self, *, account: str, plan: Any, ask: bool | str = True, **kwargs: Any) -> None:
        super().__init__(trigger_dag_id=account_name("approve", account), **kwargs)
        self.account = account
        self.plan = plan
        self.ask = ask

    def execute(self, context: Context) -> None:
        """Start the run that asks, if a plan waits."""
        plan: Planned = self.plan
        if not plan["writes"]:
            why = "The mode is report: nothing is written." if plan["changes"] else "There is nothing to do."
            raise AirflowSkipException(why)
        plan_hash = plan["waiting"]
        if plan_hash is None:
            raise AirflowSkipException("Nothing waits for a person.")
        if not flag(self.ask):
            raise AirflowSkipException(
                "The plan waits: enerflo-sync apply --approve, or run it again and ask."
            )
        names = [f"ask_{plan_hash[:16]}_{number}" for number in range(1, _MOST_RUNS)]
        runs, ti = {"dag_id": self.trigger_dag_id, "run_ids": names}, context["ti"]
        if ti.get_dr_count(**runs, states=["queued", "running"]):
            raise AirflowSkipException(f"A run of {self.trigger_dag_id} asks about this plan already.")
        self.trigger_run_id = names[ti.get_dr_count(**runs)]
        self.conf = {"plan_hash": plan_hash}
        super().execute(context)


class FindPlanOperator(BaseOperator):
    """Looks up a plan by its hash, in its present state.

    :param account: name of the account in sync.yaml.
    :param plan_hash: the plan's hash.
    :return: the plan's hash, its counts, and the text for the approval.
    """

    template_fields: Sequence[str] = ("account", "plan_hash")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)
    ui_color = "#f6f0dc"

    def __init__(self, *, account: str, plan_hash: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.plan_hash = plan_hash

    def execute(self, context: Context) -> Planned:
        """Return what the approval needs."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.plan import read_stored_plan

        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            return _planned(read_stored_plan(opened, str(self.plan_hash)))


def _planned(plan: PlanReport) -> Planned:
    from enerflo_sync.plan.render import plan_summary

    return {
        "account": plan.account,
        "plan_hash": plan.plan_hash,
        "mode": plan.mode,
        "state": str(plan.state),
        "changes": plan.change_count,
        "waits": plan.waits_for_approval,
        "summary": plan_summary(plan),
    }


class ApplyPlanOperator(WithLineage, BaseOperator):
    """Makes a plan's changes: the CRM's in one transaction, Enerflo's one by one, each read back.

    Fails, to be retried, while changes wait for Enerflo or the warehouse. Is skipped if somebody rejected the
    plan, or a later plan took its place, after it was approved. The note and the next plan contain
    the changes whose value has moved or that could not be made.

    :param account: name of the account in sync.yaml.
    :param plan_hash: the plan's hash; without one the task is skipped.
    :return: counts of the changes' outcomes.
    """

    template_fields: Sequence[str] = ("account", "plan_hash")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)
    ui_color = "#f3e3dc"

    def __init__(self, *, account: str, plan_hash: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.plan_hash = plan_hash

    def execute(self, context: Context) -> dict[str, Any]:
        """Apply and return the counts."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.apply import run_apply
        from enerflo_sync.jobs.ledger import run_seal
        from enerflo_sync.jobs.lineage import apply_lineage
        from enerflo_sync.jobs.plan import read_stored_plan
        from enerflo_sync.plan.earlier_decisions import decided_words

        if not self.plan_hash:
            self._carry(context)
            raise AirflowSkipException("There is nothing that may be applied without a person.")
        with (
            noted_failure(context),
            closing(open_account(str(self.account), reads_enerflo=True)) as opened,
        ):
            plan = read_stored_plan(opened, str(self.plan_hash))
            if plan.state == "rejected" and plan.decided_by:
                # Somebody said no after the task that asks was done.
                keep_note(context, shown(f"plan {plan.plan_hash[:12]} is {decided_words(plan)}"))
                raise AirflowSkipException("Somebody rejected the plan: nothing is written.")
            try:
                report = run_apply(opened, str(self.plan_hash), run_id=engine_run_id(context))
            except ConfigurationError:
                # Read again: the later plan may have been made while this task began.
                now = read_stored_plan(opened, str(self.plan_hash))
                if now.state != "superseded" or now.kind == "undo":
                    # No later plan has what an undo should take back, so somebody must ask for it again.
                    raise
                self._leave_to_later_plan(context, plan.plan_hash)
            send_apply(report, opened)
            self.keep_lineage(apply_lineage, opened, report)
            run_seal(opened)
        note = apply_note(report)
        self.log.info("applied plan_hash=%s %s", report.plan_hash, note)
        keep_note(context, note)
        counts = ("applied", "handed_over", "moved", "parked", "refused", "waiting")
        result = {
            "account": report.account,
            "plan_hash": report.plan_hash,
            "run_id": report.run_id,
            "decided_by": report.decided_by,
            **{name: getattr(report, name) for name in counts},
        }
        context["ti"].xcom_push(key="return_value", value=result)
        if report.waiting:
            raise RetriableError(
                f"{count_of(report.waiting, 'change waits', 'changes wait')}.",
                where=f"plan {report.plan_hash[:12]}",
                next_step=report.stopped or "They are tried again.",
            )
        return result

    def _leave_to_later_plan(self, context: Context, plan_hash: str) -> NoReturn:
        """End without an error: the later plan has what is still due, and is asked about by itself."""
        words = "was superseded before all of it was written: what is still due is in a later plan"
        keep_note(context, f"plan {plan_hash[:12]} {words}")
        raise AirflowSkipException("A later plan took the plan's place: this one is not written any more.")

    def _carry(self, context: Context) -> None:
        """Bring what an earlier apply left open to the CRM, where that is outside the warehouse."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.carry import run_carry

        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            report = run_carry(opened)
        if report is not None and (report.taken or report.unmade or report.open):
            note = carry_note(report)
            self.log.info("carried account=%s %s", report.account, note)
            keep_note(context, note)


class VerifyPlanOperator(BaseOperator):
    """Reconciles what a plan changed, and reports whether both sides now have the planned values.

    :param account: name of the account in sync.yaml.
    :param plan_hash: the plan's hash.
    :return: ids and counts.
    """

    template_fields: Sequence[str] = ("account", "plan_hash")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (ReportLink(), PlanLink())
    ui_color = "#e8eef7"

    def __init__(self, *, account: str, plan_hash: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.plan_hash = plan_hash

    def execute(self, context: Context) -> dict[str, Any]:
        """Reconcile, and return how many applied changes differ again."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.apply import run_verify
        from enerflo_sync.jobs.reconcile import run_reconcile

        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            report = run_reconcile(opened)
            found = run_verify(opened, str(self.plan_hash), report)
        verified = found.applied - found.not_compared
        note = (
            f"verified {count_of(verified, 'change')}, {count_of(found.differing, 'differs', 'differ')} again"
        )
        if found.not_compared:
            others = count_of(found.not_compared, "other was", "others were")
            note += f"; {others} not checked (reconcile: false, on_insert, sent along)"
        self.log.info("verified plan_hash=%s %s", found.plan_hash, note)
        keep_note(context, f"{note}\n{reconciliation_note(report)}")
        return {
            "account": found.account,
            "plan_hash": found.plan_hash,
            "reconciliation_id": found.reconciliation_id,
            "applied": found.applied,
            "differing": found.differing,
            "not_compared": found.not_compared,
        }
