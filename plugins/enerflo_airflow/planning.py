"""The operators of the way back: plan, a person's approval where one is needed, apply, verify."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any, ClassVar

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowSkipException

from enerflo_airflow.links import PlanLink, ReportLink, plan_address
from enerflo_airflow.notes import NOTE_KEY, apply_note, plan_note, reconciliation_note
from enerflo_airflow.operators import engine_run_id, flag, noted_failure
from enerflo_sync.errors import RetriableError

# What a plan hands on: ids, counts, and sentences without a word of a record.
Planned = dict[str, Any]


class PlanOperator(BaseOperator):
    """Decides about every difference of an account, and stores the plan. Writes nothing on either side.

    :param account: name of the account in sync.yaml.
    :return: the plan's hash, its counts, and the text for the approval.
    """

    template_fields: Sequence[str] = ("account",)
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)
    ui_color = "#f6f0dc"

    def __init__(self, *, account: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account

    def execute(self, context: Context) -> Planned:
        """Plan and return what the next tasks need to know."""
        from enerflo_airflow.hook import workplace
        from enerflo_sync.sync.render import plan_summary

        with noted_failure(context), closing(workplace(str(self.account))) as place:
            plan = place.plan()
        note = plan_note(plan)
        self.log.info("planned plan_hash=%s %s", plan.plan_hash, note)
        context["ti"].xcom_push(key=NOTE_KEY, value=note)
        return {
            "account": plan.account,
            "plan_hash": plan.plan_hash,
            "mode": plan.mode,
            "state": str(plan.state),
            "changes": plan.change_count,
            "waits": plan.waits_for_approval,
            "writes": plan.change_count > 0 and place.writes_anything,
            "summary": plan_summary(plan),
        }


class PlanApprovalOperator(ApprovalOperator):
    """Asks a person about a plan that needs one, by Airflow's own approval; no answer in time is a no.

    What is decided is stored with the plan and, if it was a no, in the ledger. Later tasks are skipped then.

    :param account: name of the account in sync.yaml.
    :param plan: what :class:`PlanOperator` returned.
    :param ask: whether to wait for an answer; otherwise a plan that needs one is left for the command line.
    """

    template_fields: Sequence[str] = ("subject", "body", "account", "plan", "ask")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)

    def __init__(
        self,
        *,
        account: str,
        plan: Any,
        ask: bool | str = True,
        answer_within: timedelta,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            subject="Plan {{ ti.xcom_pull(task_ids='make_plan')['plan_hash'][:12] }} of account " + account,
            body="",
            defaults=self.REJECT,
            response_timeout=answer_within,
            **kwargs,
        )
        self.account = account
        self.plan = plan
        self.ask = ask

    def execute(self, context: Context) -> Any:
        """Wait for a person where the plan needs one; return at once where it does not."""
        plan: Planned = self.plan
        if not plan["writes"]:
            why = "The mode is report: nothing is written." if plan["changes"] else "There is nothing to do."
            raise AirflowSkipException(why)
        if not plan["waits"]:
            return {"needed": False, "plan_hash": plan["plan_hash"]}
        if not flag(self.ask):
            raise AirflowSkipException(
                "The plan waits: enerflo-sync apply --approve, or run it again and ask."
            )
        address = plan_address(plan["account"], plan["plan_hash"])
        self.body = f"{plan['summary']}\n\n[Look at the whole plan]({address}) before you decide."
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Store the decision, and skip what follows a no."""
        from enerflo_airflow.hook import workplace

        if "error" in event:
            # Nobody said anything: the task fails, and the plan goes on waiting.
            return super().execute_complete(context, event)
        person = event.get("responded_by_user") or {}
        who = person.get("name") or person.get("id")
        plan_hash = self.plan["plan_hash"]
        with noted_failure(context), closing(workplace(str(self.account))) as place:
            if who and event.get("chosen_options") == [self.APPROVE]:
                plan = place.approve(plan_hash, by=who)
            else:
                reason = "rejected in Airflow" if who else "nobody answered in time"
                plan = place.reject(plan_hash, by=who, reason=reason)
        note = f"plan {plan_hash[:12]} is {plan.state} ({who or 'nobody answered in time'})"
        context["ti"].xcom_push(key=NOTE_KEY, value=note)
        return super().execute_complete(context, event)


class ApplyPlanOperator(BaseOperator):
    """Makes a plan's changes: the CRM's in one transaction, Enerflo's one by one, each read back.

    Fails, to be tried again, while something of it waits for Enerflo or the warehouse; what moved or could
    not be made is in the note and the next plan.

    :param account: name of the account in sync.yaml.
    :param plan_hash: which plan.
    :return: counts of how its changes ended.
    """

    template_fields: Sequence[str] = ("account", "plan_hash")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)
    ui_color = "#f3e3dc"

    def __init__(self, *, account: str, plan_hash: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.plan_hash = plan_hash

    def execute(self, context: Context) -> dict[str, Any]:
        """Apply and return the counts."""
        from enerflo_airflow.hook import workplace

        with noted_failure(context), closing(workplace(str(self.account), reads_enerflo=True)) as place:
            report = place.apply(str(self.plan_hash), run_id=engine_run_id(context))
        note = apply_note(report)
        self.log.info("applied plan_hash=%s %s", report.plan_hash, note)
        context["ti"].xcom_push(key=NOTE_KEY, value=note)
        counts = ("applied", "moved", "parked", "refused", "waiting")
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
                f"{report.waiting:,} changes wait.",
                where=f"plan {report.plan_hash[:12]}",
                next_step=report.stopped or "They are tried again.",
            )
        return result


class VerifyPlanOperator(BaseOperator):
    """Reconciles what a plan changed, and says whether the two sides are now as it said.

    :param account: name of the account in sync.yaml.
    :param plan_hash: which plan.
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
        """Reconcile and return how many applied changes differ again."""
        from enerflo_airflow.hook import workplace

        with noted_failure(context), closing(workplace(str(self.account))) as place:
            report = place.reconcile()
            found = place.verify(str(self.plan_hash), report)
        note = f"verified {found.applied:,} changes, {found.differing:,} differ again"
        self.log.info("verified plan_hash=%s %s", found.plan_hash, note)
        context["ti"].xcom_push(key=NOTE_KEY, value=f"{note}\n{reconciliation_note(report)}")
        return {
            "account": found.account,
            "plan_hash": found.plan_hash,
            "reconciliation_id": found.reconciliation_id,
            "applied": found.applied,
            "differing": found.differing,
        }
