"""The least time between two runs that changes start."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator, BaseOperatorLink, Context

from enerflo_airflow.links import OverviewLink

if TYPE_CHECKING:
    from airflow.sdk import XComArg

# As Airflow calls a run that assets started.
_BY_CHANGES = "asset_triggered"
# The triggerer may be this late; then the task fails, and its retry ends at once.
_LATE = timedelta(minutes=10)


class GatherChangesOperator(BaseOperator):
    """Keeps a run open in the triggerer until the least time since its start is over.

    A DAG with one run at a time starts no other meanwhile. Airflow keeps the events that arrive, and starts
    one run for all of them afterwards. A run that a person or the clock started ends at once.

    :param account: name of the account in sync.yaml.
    :param seconds: the least time.
    """

    template_fields: Sequence[str] = ("account",)
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (OverviewLink(),)
    ui_color: ClassVar[str] = "#f0f0f0"

    def __init__(self, *, account: str, seconds: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.seconds = seconds

    def execute(self, context: Context) -> None:
        """Defer until the time is over, if it is not."""
        run = context["dag_run"]
        if run.run_type != _BY_CHANGES or run.start_date is None:
            return
        until = run.start_date + timedelta(seconds=self.seconds)
        now = datetime.now(UTC)
        if until > now:
            # No worker is needed for the end.
            trigger = DateTimeTrigger(moment=until, end_from_trigger=True)
            # Airflow applies no execution_timeout meanwhile: without a triggerer the run would never end.
            self.defer(trigger=trigger, method_name="execute_complete", timeout=until - now + _LATE)

    def execute_complete(self, context: Context, event: Any = None) -> None:
        """End, where the triggerer left that to a worker."""


def gather_changes(account: str, seconds: int, after: BaseOperator | XComArg) -> None:
    """Add the task that gathers changes to the end of a DAG; none where the least time is 0.

    :param after: the task whose result other DAGs wait for.
    """
    if not seconds:
        return
    task = GatherChangesOperator(
        task_id="gather_changes",
        task_display_name="Let changes gather",
        doc_md="Ends when the next run may start that changes cause: see `rhythm` in sync.yaml.",
        account=account,
        seconds=seconds,
    )
    after >> task
