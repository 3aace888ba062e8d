"""The operators of a backfill: estimate, a person's approval if it is large, one chunk, the report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowSkipException
from airflow.utils.types import DagRunType

from enerflo_airflow.links import RunLink
from enerflo_airflow.metrics import send_backfill
from enerflo_airflow.notes import backfill_note, keep_note
from enerflo_airflow.operators import flag, noted_failure
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.process import moving_records
from enerflo_sync.steering import shown

if TYPE_CHECKING:
    from enerflo_sync.backfill.request import BackfillRequest
    from enerflo_sync.jobs.context import AccountContext


# Chunks read in parallel; the workers' other slots stay free for live work.
AT_ONCE = 2


class Choice(StrEnum):
    """How to choose the installs."""

    WINDOW = "window"
    IDS = "ids"
    EVERYTHING = "everything"


class EstimateBackfillOperator(BaseOperator):
    """Finds what a backfill has to read, and estimates it, without writing into the mirror.

    A run of Airflow's own backfill reads its data interval, whatever the form says.

    :param account: name of the account in sync.yaml.
    :param choice: a :class:`Choice`.
    :param start: the first day, ISO; ``end`` the last one.
    :param ids: install ids and deal uuids, separated by spaces, commas or lines.
    :return: the backfill's id, its requests, and the text for the approval.
    """

    template_fields: Sequence[str] = ("account", "choice", "start", "end", "ids")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (RunLink(),)
    ui_color = "#e8f3ec"

    def __init__(
        self, *, account: str, choice: str, start: str = "", end: str = "", ids: str = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.choice = choice
        self.start = start
        self.end = end
        self.ids = ids

    def execute(self, context: Context) -> dict[str, Any]:
        """Estimate, and return what the next tasks need."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.backfill.texts import estimate_lines
        from enerflo_sync.jobs.backfill import open_backfills

        with (
            noted_failure(context),
            closing(open_account(str(self.account), reads_enerflo=True)) as opened,
        ):
            report = open_backfills(opened, workers=AT_ONCE).estimate(self._request(context, opened))
        lines = [shown(line) for line in estimate_lines(report)]
        self.log.info("estimated backfill=%s %s", report.backfill_id, "; ".join(lines))
        keep_note(context, "\n".join([f"backfill {report.backfill_id}", *lines]))
        return {
            "account": report.account,
            "backfill_id": report.backfill_id,
            "words": report.words,
            "requests": report.estimate.requests if report.estimate else 0,
            "summary": "\n".join(f"- {line}" for line in lines),
        }

    def _request(self, context: Context, opened: AccountContext) -> BackfillRequest:
        from enerflo_sync.backfill.ids import ids_of_text
        from enerflo_sync.backfill.request import named_request, whole_request, window_request

        now = opened.clock.now()
        run = context["dag_run"]
        begin, end = run.data_interval_start, run.data_interval_end
        if run.run_type == DagRunType.BACKFILL_JOB and begin is not None and end is not None:
            return window_request(begin.isoformat(), end.isoformat(), now=now)
        match Choice(str(self.choice)):
            case Choice.WINDOW:
                return window_request(str(self.start) or None, str(self.end) or None, now=now)
            case Choice.IDS:
                return named_request(*ids_of_text(str(self.ids), "the form's ids"))
            case Choice.EVERYTHING:
                return whole_request()


class BackfillApprovalOperator(ApprovalOperator):
    """Asks a person to approve a backfill of many requests, by Airflow's own approval; no answer means no.

    :param estimate: the result of :class:`EstimateBackfillOperator`.
    :param limit: number of requests that needs no approval, as the form says.
    :param most: the highest limit that counts, whatever the form says.
    :param estimate_only: end after the estimate.
    """

    template_fields: Sequence[str] = ("subject", "body", "estimate", "limit", "estimate_only")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (RunLink(),)

    def __init__(
        self,
        *,
        account: str,
        estimate: Any,
        limit: int | str,
        most: int,
        estimate_only: bool | str,
        answer_within: timedelta,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            subject="Backfill {{ ti.xcom_pull(task_ids='estimate')['backfill_id'] }} of account " + account,
            body="",
            defaults=self.REJECT,
            response_timeout=answer_within,
            **kwargs,
        )
        self.estimate = estimate
        self.limit = limit
        self.most = most
        self.estimate_only = estimate_only

    def execute(self, context: Context) -> Any:
        """Wait for a person if the estimate exceeds the limit."""
        if flag(self.estimate_only):
            raise AirflowSkipException(
                f"Only an estimate: enerflo-sync backfill --resume {self.estimate['backfill_id']}"
            )
        if self.estimate["requests"] <= min(int(self.limit), self.most):
            return {"needed": False}
        self.body = f"{self.estimate['words']}\n\n{self.estimate['summary']}"
        return super().execute(context)


class StartBackfillOperator(BaseOperator):
    """Starts to read an estimated backfill, and lists its unread chunks.

    :return: per chunk, its number and its label; chunks of installs first.
    """

    template_fields: Sequence[str] = ("account", "backfill_id", "of_installs")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (RunLink(),)

    def __init__(self, *, account: str, backfill_id: str, of_installs: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.backfill_id = backfill_id
        self.of_installs = of_installs

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return the chunks."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.backfill import open_backfills

        with (
            noted_failure(context),
            closing(open_account(str(self.account), reads_enerflo=True)) as opened,
        ):
            left = open_backfills(opened).start(str(self.backfill_id))
        return [
            {"number": one.chunk.number, "label": one.chunk.label}
            for one in left
            if one.chunk.source.is_of_installs is flag(self.of_installs)
        ]


class ReadChunkOperator(BaseOperator):
    """Reads one chunk of a backfill; a retry continues where the last try stopped.

    :param chunk: the chunk's number and label from :class:`StartBackfillOperator`.
    """

    template_fields: Sequence[str] = ("account", "backfill_id", "chunk")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (RunLink(),)
    ui_color = "#e8f3ec"

    def __init__(self, *, account: str, backfill_id: str, chunk: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.backfill_id = backfill_id
        self.chunk = chunk

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the chunk and return its counts."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.backfill import open_backfills

        if not isinstance(self.chunk, dict):
            raise ConfigurationError("a part has a number and a label.", where="the mapped task")
        context["chunk_label"] = self.chunk["label"]  # type: ignore[typeddict-unknown-key]
        with (
            noted_failure(context),
            moving_records(for_long=True),
            closing(open_account(str(self.account), reads_enerflo=True)) as opened,
        ):
            stored = open_backfills(opened).read(str(self.backfill_id), int(self.chunk["number"]))
        progress = stored.progress
        self.log.info("backfill_chunk number=%s rows=%s", self.chunk["number"], progress.rows)
        return {"rows": progress.rows, "requests": progress.requests, "state": str(progress.state)}


class FinishBackfillOperator(BaseOperator):
    """Finishes a backfill whose chunks are read, and reports its result beside the estimate.

    :return: counts, and ``mirror_changed``.
    """

    template_fields: Sequence[str] = ("account", "backfill_id")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (RunLink(),)
    ui_color = "#e8eef7"

    def __init__(self, *, account: str, backfill_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.backfill_id = backfill_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Finish and return the counts."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.backfill import open_backfills

        with (
            noted_failure(context),
            moving_records(for_long=True),
            closing(open_account(str(self.account), reads_enerflo=True)) as opened,
        ):
            report = open_backfills(opened).finish(str(self.backfill_id))
        send_backfill(report)
        note = backfill_note(report)
        self.log.info("backfill_finished backfill=%s %s", report.backfill_id, note)
        keep_note(context, note)
        counts = ("read", "new", "changed", "unchanged", "quarantined", "skipped", "missing", "requests")
        return {
            "account": report.account,
            "backfill_id": report.backfill_id,
            **{name: getattr(report, name) for name in counts},
            "mirror_changed": bool(report.new or report.changed or report.missing),
        }
