"""The events that can be reported, and the routes of sync.yaml that decide who gets which message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from enerflo_sync.crm.options import Options
from enerflo_sync.crm.templates import columns_of
from enerflo_sync.masking import PersonalData

_Lax = Field(strict=False)


class Level(StrEnum):
    """How much an event matters, least first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Return its place among the levels, 0 for the least."""
        return list(Level).index(self)


class NotifyEvent(StrEnum):
    """The events that can be reported."""

    PROJECT_SUBMITTED = "project_submitted"
    PROJECT_RECEIVED = "project_received"
    PROJECT_RESUBMITTED = "project_resubmitted"
    CHANGE_ORDER_SIGNED = "change_order_signed"
    CHANGE_ORDER_HELD = "change_order_held"
    LIFE_CYCLE = "life_cycle"
    UNEXPLAINED_DIFFERENCES = "unexplained_differences"
    NO_ALL_CLEAR = "no_all_clear"
    PLAN_WAITING = "plan_waiting"
    QUARANTINE_GROWING = "quarantine_growing"
    ACCOUNT_THROTTLED = "account_throttled"
    RUN_FAILED = "run_failed"
    MIRROR_STALE = "mirror_stale"
    RECONCILE_LATE = "reconcile_late"
    WEBHOOKS_SILENT = "webhooks_silent"
    BUDGET_EXHAUSTED = "budget_exhausted"
    APPROVAL_EXPIRING = "approval_expiring"
    CRM_COPY_LATE = "crm_copy_late"
    ACCOUNT_UNUSABLE = "account_unusable"


@dataclass(frozen=True)
class EventInfo:
    """The properties of an event.

    :param is_news: it happens once; otherwise it is a state that lasts, and is reported again only when it
        becomes worse or comes back.
    :param again_at: a state is reported again when it is this many times what was reported; None: never.
    :param ended: what a message says when the state ends; empty if the end is not reported.
    :param by_airflow: a callback of Airflow reports it, which works without a warehouse.
    """

    level: Level
    says: str
    is_news: bool = False
    again_at: float | None = None
    ended: str = ""
    by_airflow: bool = False


EVENTS: Mapping[NotifyEvent, EventInfo] = {
    NotifyEvent.PROJECT_SUBMITTED: EventInfo(Level.INFO, "A project was submitted to an installer.", True),
    NotifyEvent.PROJECT_RECEIVED: EventInfo(Level.INFO, "A project was received from a sales team.", True),
    NotifyEvent.PROJECT_RESUBMITTED: EventInfo(
        Level.WARNING, "A project whose contract was voided is signed again; the newest version stands.", True
    ),
    NotifyEvent.CHANGE_ORDER_SIGNED: EventInfo(Level.INFO, "A change order was signed.", True),
    NotifyEvent.CHANGE_ORDER_HELD: EventInfo(
        Level.WARNING, "A change order fails a check and is held back from the CRM."
    ),
    NotifyEvent.LIFE_CYCLE: EventInfo(
        Level.WARNING, "The history of an install does not fit its life-cycle, or a step is overdue."
    ),
    NotifyEvent.UNEXPLAINED_DIFFERENCES: EventInfo(
        Level.ERROR,
        "The newest reconciliation found more unexplained differences than the budget allows.",
        again_at=2,
    ),
    NotifyEvent.NO_ALL_CLEAR: EventInfo(
        Level.ERROR, "The newest reconciliation is no all-clear, however few differences it found."
    ),
    NotifyEvent.PLAN_WAITING: EventInfo(Level.WARNING, "A plan waits for an approval."),
    NotifyEvent.QUARANTINE_GROWING: EventInfo(
        Level.WARNING, "Input of one cause stands in quarantine, and there is more of it.", again_at=2
    ),
    NotifyEvent.ACCOUNT_THROTTLED: EventInfo(
        Level.WARNING, "Enerflo refused requests within the last two hours: too many (429).", again_at=2
    ),
    NotifyEvent.RUN_FAILED: EventInfo(
        Level.ERROR,
        "A task of a DAG failed for good, and its run with it.",
        ended="The task fails no more.",
        by_airflow=True,
    ),
    NotifyEvent.MIRROR_STALE: EventInfo(
        Level.ERROR,
        "A list of Enerflo was not read whole although a poll was due.",
        ended="The lists below were read whole again.",
    ),
    NotifyEvent.RECONCILE_LATE: EventInfo(
        Level.ERROR,
        "No reconciliation ended although one was due: nobody knows whether both sides agree.",
        ended="A reconciliation ended again.",
    ),
    NotifyEvent.WEBHOOKS_SILENT: EventInfo(
        Level.ERROR,
        "No webhook was ingested for so many hours, although some were before, polls found changes, or files"
        " wait in the drop.",
        ended="Webhooks arrive again.",
    ),
    NotifyEvent.BUDGET_EXHAUSTED: EventInfo(
        Level.WARNING,
        "Enerflo accepts no request now: the budget of the API key is used up.",
        ended="Requests with the API keys below may be sent again.",
    ),
    NotifyEvent.APPROVAL_EXPIRING: EventInfo(
        Level.WARNING,
        "A plan waits for an approval, and its time runs out soon.",
        ended="The plans below were decided about, replaced, or their time ran out.",
    ),
    NotifyEvent.CRM_COPY_LATE: EventInfo(
        Level.WARNING,
        "The CRM's copy does not show changes that were handed over, or was not brought up to date.",
        again_at=2,
        ended="Nothing handed over to the tables below is late any more, and no copy of them is old.",
    ),
    NotifyEvent.ACCOUNT_UNUSABLE: EventInfo(
        Level.ERROR,
        "The configuration of an account cannot be read: none of its jobs runs.",
        ended="The configuration of the account can be read again, or the account was removed.",
        by_airflow=True,
    ),
}

# Names that a route's texts may use.
TEXT_NAMES = ("event", "level", "account", "subject", "text", "link", "count", "state")


def _body(value: Any) -> Any:
    match value:
        case dict():
            for one in value.values():
                _body(one)
        case list():
            for one in value:
                _body(one)
        case str():
            if unknown := sorted(set(columns_of(value)) - set(TEXT_NAMES)):
                names = ", ".join(f"{{{name}}}" for name in TEXT_NAMES)
                raise ValueError(f"one of the names {names}, and not {{{unknown[0]}}}")
        case _:
            pass
    return value


def _address(value: str) -> str:
    name, at, host = value.partition("@")
    if not (name and at and host) or any(c.isspace() for c in value):
        raise ValueError("an e-mail address, name@host")
    return value


Address = Annotated[str, AfterValidator(_address)]


class EmailTarget(Options):
    """An e-mail by an Airflow connection of type SMTP."""

    to: list[Address] = Field(description="Who gets it.", min_length=1)
    sender: Address | None = Field(None, description="Who it is from; the connection's from_email if unset.")
    connection: str = Field("smtp_default", description="Airflow connection of type smtp.")


class HttpTarget(Options):
    """A post to an address: Slack, Teams, or any webhook."""

    connection: str = Field(description="Airflow connection of type http: its host, and its secret.")
    endpoint: str | None = Field(None, description="What follows the connection's host in the address.")
    body: Annotated[dict[str, Any], AfterValidator(_body)] = Field(
        {"text": "{subject}\n{text}\n{link}"},
        description="The JSON that is posted; in its texts {name} takes one of "
        + ", ".join(TEXT_NAMES)
        + ".",
    )


class Route(Options):
    """One way to reach somebody, and the events that it carries."""

    events: list[Annotated[NotifyEvent, _Lax]] = Field(
        list(NotifyEvent), description="What is told; everything if unset.", min_length=1
    )
    level: Annotated[Level, _Lax] = Field(Level.INFO, description="Only events that matter so much, or more.")
    accounts: list[str] = Field([], description="Only of these accounts; of all if empty.")
    personal_data: list[Annotated[PersonalData, _Lax]] = Field(
        [], description="Classes of personal data that are not masked on this route."
    )
    email: EmailTarget | None = Field(None, description="By e-mail.")
    http: HttpTarget | None = Field(None, description="By HTTP.")

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.email is None) == (self.http is None):
            raise ValueError("either email or http, and not both")
        return self

    def takes(self, event: NotifyEvent, account: str) -> bool:
        """Return whether the route carries an event of an account."""
        return (
            event in self.events
            and EVENTS[event].level.rank >= self.level.rank
            and (not self.accounts or account in self.accounts)
        )


class NotifyOptions(Options):
    """Who gets which messages, and the limits from which a state is reported."""

    routes: dict[str, Route] = Field(
        default_factory=dict, description="Routes by name. Without any, nobody is told anything."
    )
    news_days: int = Field(7, ge=1, le=90, description="What happened longer ago is no news.")
    historical: bool = Field(False, description="Tell what a backfill found as well.")
    quarantine: int = Field(1, ge=1, description="Open items of one cause from which on they are told.")
    throttled: int = Field(10, ge=1, description="Requests refused in two hours from which on it is told.")
    silent_hours: int = Field(24, ge=1, description="Hours without a webhook after which it is told.")
    stale_hours: float = Field(
        2,
        gt=0,
        description="Hours that a list, a copy of the CRM or a report may be old after its renewal was due.",
    )
    blocked_minutes: float = Field(
        1, ge=0, le=60, description="An API key that must wait for longer than this is told."
    )
    expiring_hours: float = Field(
        4, gt=0, description="A plan that waits is told again when it has so many hours left."
    )
    runbook: str = Field(
        "docs/runbook.md",
        description="Where your people find the runbook; messages add the name of its section to it.",
    )

    def routes_for(self, account: str) -> dict[str, Route]:
        """Return the routes that carry any event of an account."""
        return {
            name: route
            for name, route in self.routes.items()
            if any(route.takes(event, account) for event in NotifyEvent)
        }
