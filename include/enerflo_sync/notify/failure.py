"""Messages about a task that failed or works again, made without a warehouse."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

import msgspec

from enerflo_sync.crm.routes import EVENTS, NotifyEvent
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.notify.message import NOT_WATCHED, Message, MessagePage, runbook_lines
from enerflo_sync.reconcile.render.wording import utc, visible

_LONGEST_TEXT = 1_000
_KILLED = (
    "The task ended without an error of its own: it was killed, ran out of memory, or its worker is gone."
)
_SHARED = "- Other tasks that fail by the same cause are not told one by one."


class FailedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task of Airflow, and since when it fails.

    :param name: the task's name for people.
    :param map_index: the index of a mapped task; -1 for any other.
    """

    account: str
    dag_id: str
    run_id: str
    task_id: str
    name: str
    since: datetime
    map_index: int = -1

    @property
    def path(self) -> str:
        """Return the path of the task's page in Airflow."""
        path = f"/dags/{quote(self.dag_id)}/runs/{quote(self.run_id, safe='')}/tasks/{quote(self.task_id)}"
        return f"{path}/mapped/{self.map_index}" if self.map_index >= 0 else path


def error_text(error: object, *, is_ours: bool = False) -> str:
    """Return what a message may say of an error.

    The text of an unknown error may hold a row or an address, so only its type is named.

    :param error: None or a text where the task was ended from outside.
    :param is_ours: the text was written by this project, whatever the type is.
    """
    if isinstance(error, EnerfloSyncError) or (is_ours and error is not None):
        return visible(str(error))[:_LONGEST_TEXT]
    if isinstance(error, BaseException):
        return f"An unexpected {type(error).__name__}; the task's log has more."
    return _KILLED


def failed_message(
    failed: FailedTask, route: str, error: object, text: str, *, is_shared: bool, runbook: str
) -> Message:
    """Return the message that a task failed.

    :param text: of :func:`error_text`.
    :param is_shared: the cause may fail other tasks, which are not told one by one.
    """
    family = [type(error).__name__] if isinstance(error, EnerfloSyncError) else []
    lines = [
        EVENTS[NotifyEvent.RUN_FAILED].says,
        "",
        f"- {failed.name} (task {failed.task_id} of {failed.dag_id}, run {failed.run_id})",
        f"- {text}",
        *([_SHARED] if is_shared else []),
        *runbook_lines(NotifyEvent.RUN_FAILED, runbook, *family),
    ]
    return _message(failed, route, f"{failed.dag_id} failed: {failed.name}", lines, count=1)


def recovered_message(failed: FailedTask, route: str) -> Message:
    """Return the message that a task fails no more."""
    lines = [
        EVENTS[NotifyEvent.RUN_FAILED].ended,
        "",
        f"- {failed.name} (task {failed.task_id} of {failed.dag_id}) failed since {utc(failed.since)}",
    ]
    return _message(failed, route, f"resolved: {failed.dag_id} fails no more: {failed.name}", lines, count=0)


def unwatched_message(failed: FailedTask, route: str) -> Message:
    """Return the message that the DAG of a failing task is there no more, so that nobody looks any more."""
    lines = [
        NOT_WATCHED,
        "",
        f"- {failed.name} (task {failed.task_id} of {failed.dag_id}) failed since {utc(failed.since)}",
    ]
    return _message(failed, route, f"resolved: not watched any more: {failed.dag_id}", lines, count=0)


def _message(failed: FailedTask, route: str, subject: str, lines: list[str], *, count: int) -> Message:
    return Message(
        account=failed.account,
        event=NotifyEvent.RUN_FAILED,
        route=route,
        subject=f"Enerflo {failed.account}: {subject}",
        text="\n".join(lines),
        page=MessagePage.TASK,
        page_id=failed.path,
        count=count,
    )
