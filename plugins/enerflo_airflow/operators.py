"""The operators: each runs one job of the engine and returns counts and ids."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, BaseOperatorLink, Context, DagRunState
from airflow.sdk.exceptions import AirflowFailException

from enerflo_airflow.lineage import WithLineage
from enerflo_airflow.links import FreshnessLink, ReportLink
from enerflo_airflow.metrics import send_reconciliation, send_run
from enerflo_airflow.notes import keep_note, poll_note, reconciliation_note
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.process import moving_records

if TYPE_CHECKING:
    from enerflo_sync.warehouse.runs import RunReport


class EnerfloToWarehouseOperator(WithLineage, BaseOperator):
    """Loads into the account's mirror tables what Enerflo lists now.

    Also succeeds if a part could not be read (``state`` = partial), with a note that says so: what was read
    is stored, and the next run reads the rest.

    :param account: name of the account in sync.yaml.
    :param read_resources: what to read; empty uses sync.yaml. (Airflow's own ``resources`` are a task's CPU
        and memory.)
    :param full: read all notes again, whatever the time of the last full read.
    :param accept_shrink: accept, this once, that Enerflo lists far fewer records than before.
    :param accept_company: accept, this once, that the account's key belongs to another company now.
    :return: counts and ids of the run, and ``mirror_changed``.
    """

    template_fields: Sequence[str] = (
        *("account", "read_resources", "full"),
        *("accept_shrink", "accept_company"),
    )
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (FreshnessLink(),)
    ui_color = "#e8f3ec"

    def __init__(
        self,
        *,
        account: str,
        read_resources: Sequence[str] | str | None = None,
        full: bool | str = False,
        accept_shrink: bool | str = False,
        accept_company: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.read_resources = read_resources
        self.full = full
        self.accept_shrink = accept_shrink
        self.accept_company = accept_company

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the poll and return its counts."""
        # Import late: parsing a DAG file does not need the whole engine.
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.lineage import poll_lineage
        from enerflo_sync.jobs.poll import run_poll

        with (
            noted_failure(context),
            moving_records(),
            closing(open_account(str(self.account), reads_enerflo=True)) as opened,
        ):
            report = run_poll(
                opened,
                resources=_resources(self.read_resources),
                full=flag(self.full),
                accept_shrink=flag(self.accept_shrink),
                accept_company=flag(self.accept_company),
                run_id=engine_run_id(context),
            )
            send_run(report, opened)
            self.keep_lineage(poll_lineage, opened, report)
        note = poll_note(report)
        self.log.info("poll_finished state=%s %s", report.state, note)
        keep_note(context, note)
        return counts_of(report, mirror_changed=_mirror_may_have_changed(report, context))


class ReconcileOperator(WithLineage, BaseOperator):
    """Compares the account's mirror tables with the CRM's, and stores the report.

    :param account: name of the account in sync.yaml.
    :param full: compare every row, not only those changed on either side since the last run.
    :param fail_over_budget: fail the task, without a retry, if more differences are unexplained than
        sync.yaml allows, or if nothing can be concluded: no rows matched, or Enerflo was not read when it was
        due. The report is stored in any case.
    :return: ids, and the number of differences.
    """

    template_fields: Sequence[str] = ("account", "full", "fail_over_budget")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (ReportLink(),)
    ui_color = "#e8eef7"

    def __init__(
        self,
        *,
        account: str,
        full: bool | str = False,
        fail_over_budget: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.full = full
        self.fail_over_budget = fail_over_budget

    def execute(self, context: Context) -> dict[str, Any]:
        """Reconcile and return the headline's figures."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.lineage import reconcile_lineage
        from enerflo_sync.jobs.reconcile import run_reconcile
        from enerflo_sync.reconcile.render.verdict import is_all_clear

        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            report = run_reconcile(opened, full=flag(self.full))
            send_reconciliation(report, opened)
            self.keep_lineage(reconcile_lineage, opened, report)
        note = reconciliation_note(report)
        self.log.info("reconciled reconciliation_id=%s %s", report.reconciliation_id, note)
        result = {
            "account": report.account,
            "reconciliation_id": report.reconciliation_id,
            "scope": str(report.scope),
            "differences": report.differences,
            "unexplained": report.unexplained,
            "budget": report.budget,
            "within_budget": report.within_budget,
        }
        # Push before a possible failure, so that a failed task also has its note and its link.
        keep_note(context, note)
        context["ti"].xcom_push(key="return_value", value=result)
        for outlet in self.outlets:
            # The asset's event says what came out.
            context["outlet_events"][outlet].extra = result
        if flag(self.fail_over_budget) and not is_all_clear(report):
            raise AirflowFailException(f"Reconciliation {report.reconciliation_id}: {note}.")
        return result


class noted_failure:  # noqa: N801 - a context manager reads like a function
    """Stores the text of one of our errors as the run's note, and re-raises it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        """Enter the block whose failure is noted."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Store the error, if any, as the note."""
        if isinstance(error, EnerfloSyncError):
            keep_note(self._context, f"failed: {error}")


def engine_run_id(context: Context) -> str:
    """Return the id of this DAG run in ``sync.runs``."""
    return f"{context['ti'].dag_id}/{context['ti'].run_id}"


def counts_of(report: RunReport, *, mirror_changed: bool) -> dict[str, Any]:
    """Return a reading task's result: ids and counts without data of a record."""
    return {
        "account": report.account,
        "run_id": report.run_id,
        "state": str(report.state),
        "read": report.read,
        "applied": report.applied,
        "unchanged": report.unchanged,
        "quarantined": report.quarantined,
        "skipped": report.skipped,
        "requests": report.requests,
        "mirror_changed": mirror_changed,
    }


def changed_mirror(report: RunReport) -> bool:
    """Return whether a run changed records of the mirror; stored events alone do not count."""
    found_gone = sum(
        count
        for what, count in report.reasons.get("notice", {}).items()
        if what.split(":")[-1].strip() in ("absent", "deleted")
    )
    applied = sum(counts["applied"] for name, counts in report.resources.items() if name != "events")
    return bool(applied or found_gone)


def _mirror_may_have_changed(report: RunReport, context: Context) -> bool:
    """Return whether a reconciliation may find something new.

    An earlier try, or a failed run before this one, may have stored pages that this run found unchanged. So
    only the first try after a successful run can report that nothing changed.
    """
    if changed_mirror(report) or context["ti"].try_number > 1:
        return True
    previous = context["ti"].get_previous_dagrun()
    return previous is None or previous.state != DagRunState.SUCCESS


def _resources(names: Sequence[str] | str | None) -> frozenset[PollResource] | None:
    if not names:
        return None
    asked = {names} if isinstance(names, str) else set(names)
    known = {str(resource) for resource in PollResource}
    if unknown := asked - known:
        raise ConfigurationError(
            f"the resource {', '.join(sorted(unknown))} is not known.",
            where="parameter resources",
            next_step=f"Choose among {', '.join(PollResource)}.",
        )
    return frozenset(PollResource(name) for name in asked)


def flag(value: bool | str) -> bool:
    """Return a boolean that may be text from a template."""
    return value if isinstance(value, bool) else str(value).strip().lower() in {"true", "1", "yes"}
