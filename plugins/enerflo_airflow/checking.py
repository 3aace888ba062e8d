"""The operators of the checks: judge change orders and life cycles, validate, report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, BaseOperatorLink, Context

from enerflo_airflow.lineage import WithLineage
from enerflo_airflow.links import QualityLink
from enerflo_airflow.metrics import send_checks
from enerflo_airflow.notes import keep_note, quality_note
from enerflo_airflow.operators import engine_run_id, flag, noted_failure

if TYPE_CHECKING:
    from enerflo_sync.quality.report import QualityReport


class HoldChangeOrdersOperator(WithLineage, BaseOperator):
    """Judges change orders that are new or changed, holds those that fail, and judges life cycles.

    :param account: name of the account in sync.yaml.
    :param full: judge all orders and installs again.
    :return: counts.
    """

    template_fields: Sequence[str] = ("account", "full")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (QualityLink(),)
    ui_color = "#f3ead8"

    def __init__(self, *, account: str, full: bool | str = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.full = full

    def execute(self, context: Context) -> dict[str, Any]:
        """Judge, and return the counts."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.lineage import checks_lineage
        from enerflo_sync.jobs.quality import run_quality

        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            report = run_quality(
                opened,
                full=flag(self.full),
                with_expectations=False,
                run_id=f"{engine_run_id(context)}/{self.task_id}",
            )
            self.keep_lineage(checks_lineage, opened, report)
            send_checks(report, opened)
        found = counts(report)
        self.log.info("change_orders_judged checked=%s held=%s", report.checked, report.held)
        if "life_cycle" in found:
            self.log.info("life_cycle_judged %s", found["life_cycle"])
        return found


class ValidateChangeOrdersOperator(BaseOperator):
    """Lets Great Expectations count what was judged, and stores its result in ``sync.quality_runs``.

    Fails if the counts differ. Great Expectations is imported only if there is something to count.

    :param account: name of the account in sync.yaml.
    :return: counts.
    """

    template_fields: Sequence[str] = ("account",)
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (QualityLink(),)
    ui_color = "#f3ead8"

    def __init__(self, *, account: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account

    def execute(self, context: Context) -> dict[str, Any]:
        """Validate, store the note, and return the counts."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.quality import run_quality

        judged = context["ti"].xcom_pull(task_ids="judge_and_hold") or {}
        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            run_id = f"{engine_run_id(context)}/{self.task_id}"
            report = run_quality(opened, with_life_cycle=False, run_id=run_id)
        found = counts(report)
        found["checked"] += int(judged.get("checked") or 0)
        if "life_cycle" in judged:
            found["life_cycle"] = judged["life_cycle"]
        note = quality_note(report, found["checked"], found.get("life_cycle"))
        self.log.info("change_orders_validated %s", note)
        keep_note(context, note)
        return found


def counts(report: QualityReport) -> dict[str, Any]:
    """Return a task's result: counts without data of an order or an install."""
    found: dict[str, Any] = {
        "account": report.account,
        "checked": report.checked or 0,
        "orders": report.orders,
        "held": report.held,
        "released": report.released,
        "warned": report.warned,
        "not_validated": report.not_validated,
    }
    if report.life_cycle:
        names = ("looked_at", "new", "gone", "installs", "not_covered", "total")
        found["life_cycle"] = {name: getattr(report.life_cycle, name) for name in names}
    return found
