"""Messages: the news of one event in words, masked as the route requires."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from enerflo_sync.crm.routes import EVENTS, HttpTarget, Level, NotifyEvent, Route
from enerflo_sync.crm.templates import filled
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.notify.look import Group, News
from enerflo_sync.reconcile.render.html import page_environment
from enerflo_sync.reconcile.render.wording import visible

_LONGEST_VALUE = 200
NOT_WATCHED = (
    "What is below is not watched any more by what sync.yaml says now. This does not say that it is well."
)
# Ended facts that a message lists.
_MOST = 10


class MessagePage(StrEnum):
    """The page with more about an event."""

    REPORTS = "reports"
    PLANS = "plans"
    QUALITY = "quality"
    FRESHNESS = "freshness"
    INBOX = "inbox"
    # The task's own page in Airflow; its path is the message's ``page_id``.
    TASK = "task"


_REPORTS, _PLANS, _QUALITY, _FRESHNESS, _INBOX, _TASK = MessagePage


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message for one route.

    :param page_id: the page's subject if there is a single new fact (a plan's hash, a task's path).
    :param count: number of new facts in the message; 0 in a message that something is over.
    """

    account: str
    event: NotifyEvent
    route: str
    subject: str
    text: str
    page: MessagePage
    page_id: str
    count: int

    @property
    def level(self) -> Level:
        """Return the importance of the event."""
        return EVENTS[self.event].level

    @property
    def resolved(self) -> bool:
        """Return whether the message says that something is over."""
        return self.count == 0


# By event: the words for one fact, the words for several, and the page.
_WORDS: dict[NotifyEvent, tuple[str, str, MessagePage]] = {
    NotifyEvent.PROJECT_SUBMITTED: ("1 project was submitted", "{} projects were submitted", _REPORTS),
    NotifyEvent.PROJECT_RECEIVED: ("1 project was received", "{} projects were received", _REPORTS),
    NotifyEvent.PROJECT_RESUBMITTED: (
        "1 project was signed again after a void",
        "{} projects were signed again after a void",
        _REPORTS,
    ),
    NotifyEvent.CHANGE_ORDER_SIGNED: ("1 change order was signed", "{} change orders were signed", _QUALITY),
    NotifyEvent.CHANGE_ORDER_HELD: ("1 change order is held", "{} change orders are held", _QUALITY),
    NotifyEvent.LIFE_CYCLE: (
        "1 step of an install is overdue or out of order",
        "{} steps of installs are overdue or out of order",
        _QUALITY,
    ),
    NotifyEvent.UNEXPLAINED_DIFFERENCES: (
        "more unexplained differences than allowed, in 1 field",
        "more unexplained differences than allowed, in {} fields",
        _REPORTS,
    ),
    NotifyEvent.NO_ALL_CLEAR: (
        "the newest reconciliation is no all-clear",
        "the newest reconciliation is no all-clear",
        _REPORTS,
    ),
    NotifyEvent.PLAN_WAITING: ("a plan waits for an approval", "{} plans wait for an approval", _PLANS),
    NotifyEvent.QUARANTINE_GROWING: (
        "quarantine grows, by 1 cause",
        "quarantine grows, by {} causes",
        _REPORTS,
    ),
    NotifyEvent.ACCOUNT_THROTTLED: (
        "requests are refused (429), at 1 endpoint",
        "requests are refused (429), at {} endpoints",
        _REPORTS,
    ),
    NotifyEvent.RUN_FAILED: ("1 task failed", "{} tasks failed", _TASK),
    NotifyEvent.MIRROR_STALE: (
        "1 list of Enerflo is not read any more",
        "{} lists of Enerflo are not read any more",
        _FRESHNESS,
    ),
    NotifyEvent.RECONCILE_LATE: (
        "nothing was reconciled although it was due",
        "nothing was reconciled although it was due",
        _FRESHNESS,
    ),
    NotifyEvent.WEBHOOKS_SILENT: ("no webhook is ingested", "no webhook is ingested", _FRESHNESS),
    NotifyEvent.BUDGET_EXHAUSTED: (
        "the budget of requests is used up",
        "the budgets of {} API keys are used up",
        _FRESHNESS,
    ),
    NotifyEvent.APPROVAL_EXPIRING: (
        "the time to approve a plan runs out",
        "the time to approve {} plans runs out",
        _PLANS,
    ),
    NotifyEvent.CRM_COPY_LATE: (
        "the CRM's copy is late, in 1 table",
        "the CRM's copy is late, in {} tables",
        _INBOX,
    ),
    NotifyEvent.ACCOUNT_UNUSABLE: (
        "the configuration cannot be read",
        "the configuration cannot be read",
        _TASK,
    ),
}

# By event: the words for its end, and what an ended fact's identity is.
_ENDED: dict[NotifyEvent, tuple[str, str]] = {
    NotifyEvent.RUN_FAILED: ("the task fails no more", ""),
    NotifyEvent.MIRROR_STALE: ("Enerflo is read again", ""),
    NotifyEvent.RECONCILE_LATE: ("both sides are reconciled again", ""),
    NotifyEvent.WEBHOOKS_SILENT: ("webhooks arrive again", ""),
    NotifyEvent.BUDGET_EXHAUSTED: ("requests are sent again", "API key"),
    NotifyEvent.APPROVAL_EXPIRING: ("a plan was decided about, replaced, or its time ran out", "plan"),
    NotifyEvent.CRM_COPY_LATE: ("the CRM's copy is not late any more", ""),
    NotifyEvent.ACCOUNT_UNUSABLE: ("the configuration can be read again, or the account was removed", ""),
}
_EMPTIED = (
    "The drop is empty, and nothing that lay there was ingested: somebody took it away. Webhooks that come"
    " are ingested once the DAG enerflo_webhooks is switched on."
)
_LONGEST_KEY = 12


def compose(news: News, account: str, name: str, route: Route, *, runbook: str) -> Message:
    """Return one event's message for a route; personal data is masked unless the route permits it.

    :param runbook: where the runbook is; a message about a state names its section.
    """
    one, several, page = _WORDS[news.event]
    if news.ended:
        return _resolved(news, account, name, page)
    subject = f"Enerflo {account}: {one if news.facts == 1 else several.format(f'{news.facts:,}')}"
    if news.facts_in_all > news.facts and not EVENTS[news.event].is_news:
        subject += f" ({news.facts_in_all:,} in all)"
    return Message(
        account=account,
        event=news.event,
        route=name,
        subject=subject,
        text="\n".join([*_lines(news, frozenset(route.personal_data)), *runbook_lines(news.event, runbook)]),
        page=page,
        page_id=news.key if page is MessagePage.PLANS else "",
        count=news.facts,
    )


def _resolved(news: News, account: str, name: str, page: MessagePage) -> Message:
    words, label = _ENDED[news.event]
    ended = EVENTS[news.event].ended
    if not news.is_watched:
        words, ended = "not watched any more", NOT_WATCHED
    elif news.was_emptied:
        words, ended = "no webhook waits in the drop any more", _EMPTIED
    still = f" ({news.facts_in_all:,} remain)" if news.facts_in_all else ""
    keys = [
        f"- {label} {visible(key)[:_LONGEST_KEY] if label else visible(key)}" for key in news.ended[:_MOST]
    ]
    more = [f"- and {len(news.ended) - _MOST:,} more"] if len(news.ended) > _MOST else []
    return Message(
        account=account,
        event=news.event,
        route=name,
        subject=f"Enerflo {account}: resolved: {words}{still}",
        text="\n".join([ended, "", *(" ".join(key.split()) for key in keys), *more]),
        page=page,
        page_id="",
        count=0,
    )


def runbook_lines(event: NotifyEvent, runbook: str, *more: str) -> list[str]:
    """Return the lines that name a state's section of the runbook; news has none.

    :param more: names of other sections that help.
    """
    if EVENTS[event].is_news:
        return []
    return ["", f"Runbook: {runbook}#{event}{''.join(f', {runbook}#{one.lower()}' for one in more)}"]


def _lines(news: News, shown: frozenset[PersonalData]) -> Iterator[str]:
    yield EVENTS[news.event].says
    for group in news.groups:
        yield ""
        if group.cause:
            yield f"{visible(group.cause)}: {group.facts:,}"
        yield from _group_lines(group, shown)


def _group_lines(group: Group, shown: frozenset[PersonalData]) -> Iterator[str]:
    for line in group.lines:
        yield "- " + ", ".join(_words(line, shown))
    if group.facts > len(group.lines):
        yield f"- and {group.facts - len(group.lines):,} more"


def _words(line: Sequence[Sequence[Any]], shown: frozenset[PersonalData]) -> Iterator[str]:
    for label, value, kind in line:
        if value is None:
            continue
        held = PersonalData(kind) if kind else PersonalData.NONE
        words = visible(str(value if held in shown else mask(value, held)))[:_LONGEST_VALUE]
        yield f"{label} {words}".strip()


def http_body(target: HttpTarget, message: Message, link: str) -> dict[str, Any]:
    """Return the JSON body for a target, its texts filled in."""
    values = {
        "event": str(message.event),
        "level": str(message.level),
        "account": message.account,
        "subject": message.subject,
        "text": message.text,
        "link": link,
        "count": message.count,
        "state": "resolved" if message.resolved else "firing",
    }

    def fill(part: Any) -> Any:
        match part:
            case dict():
                return {name: fill(value) for name, value in part.items()}
            case list():
                return [fill(value) for value in part]
            case str():
                return filled(part, values)
            case _:
                return part

    body: dict[str, Any] = fill(target.body)
    return body


def mail_html(message: Message, link: str) -> str:
    """Return the message as an e-mail's HTML."""
    template = page_environment("enerflo_sync.notify").get_template("mail.html.j2")
    return template.render(message=message, link=link)
