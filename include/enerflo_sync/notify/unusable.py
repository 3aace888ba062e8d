"""Messages about an account whose configuration cannot be read, or can be read again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from enerflo_sync.crm.problems import Problem
from enerflo_sync.crm.routes import EVENTS, NotifyEvent
from enerflo_sync.notify.message import Message, MessagePage, runbook_lines
from enerflo_sync.reconcile.render.wording import utc, visible

# Problems that a message lists; enerflo-sync doctor tells all.
_MOST = 5
_LONGEST = 400


def unusable_message(
    account: str, problems: Sequence[Problem], route: str, *, page: str, runbook: str
) -> Message:
    """Return the message that an account cannot be used, with file, line and what to correct.

    :param page: the path of the task that found out.
    """
    event = NotifyEvent.ACCOUNT_UNUSABLE
    more = [f"- and {len(problems) - _MOST:,} more"] if len(problems) > _MOST else []
    lines = [
        EVENTS[event].says,
        "",
        *(f"- {visible(str(one))[:_LONGEST]}" for one in problems[:_MOST]),
        *more,
        *runbook_lines(event, runbook),
    ]
    return _message(account, route, "its configuration cannot be read", lines, page, count=1)


def usable_message(account: str, route: str, since: datetime, *, is_there: bool, page: str) -> Message:
    """Return the message that an account can be used again.

    :param is_there: False where the configuration does not name it any more.
    """
    words = "its configuration can be read again" if is_there else "there is no such account any more"
    known = f"- its configuration could not be read since {utc(since)}"
    lines = [EVENTS[NotifyEvent.ACCOUNT_UNUSABLE].ended, "", known]
    return _message(account, route, f"resolved: {words}", lines, page, count=0)


def _message(account: str, route: str, words: str, lines: list[str], page: str, *, count: int) -> Message:
    return Message(
        account=account,
        event=NotifyEvent.ACCOUNT_UNUSABLE,
        route=route,
        subject=f"Enerflo {account}: {words}",
        text="\n".join(lines),
        page=MessagePage.TASK,
        page_id=page,
        count=count,
    )
