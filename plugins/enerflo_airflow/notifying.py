"""Notify people by Airflow's connections: a route's notifier, and the task that uses it in a DAG."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from airflow.providers.http.notifications import HttpNotifier
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseHook, BaseNotifier, BaseOperator, BaseOperatorLink, Context, conf
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from enerflo_airflow.accounts import parsed_config
from enerflo_airflow.links import OverviewLink, page_address
from enerflo_airflow.metrics import send_notifications
from enerflo_airflow.notes import keep_note
from enerflo_sync.addresses import Addresses, Place
from enerflo_sync.counted import count_of
from enerflo_sync.errors import ConfigurationError, RetriableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import XComArg

    from enerflo_sync.crm.routes import Route
    from enerflo_sync.notify.message import Message
    from enerflo_sync.notify.notify import NotifyReport

_HTTP_SECONDS = 20
_STATUS = re.compile(r"[45]\d\d\b")


class RouteNotifier(BaseNotifier):
    """Sends one message along one route: an e-mail by the smtp provider, or a post by the http provider.

    :param route: the route of sync.yaml.
    :param message: the message.
    :param seconds: how long an HTTP server has to answer.
    """

    def __init__(
        self, route: Route, message: Message, *, seconds: int = _HTTP_SECONDS, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.route = route
        self.message = message
        self.seconds = seconds

    def notify(self, context: Context) -> None:
        """Send the message.

        :raises ConfigurationError: the connection is not defined.
        :raises RetriableError: the receiver answered with an error status.
        """
        # Each provider raises different errors.
        where = f"Airflow connection {self._connection}"
        try:
            BaseHook.get_connection(self._connection)
        except AirflowNotFoundException:
            raise ConfigurationError(
                "the connection is not defined in Airflow.",
                where=where,
                next_step="Create it under Admin, Connections, or name another one in sync.yaml.",
            ) from None
        try:
            self._provider().notify(context)
        except AirflowException as error:
            # The http provider's text begins with the status; the rest is the receiver's answer.
            if status := _STATUS.match(str(error)):
                raise RetriableError(
                    f"the other side answered {status[0]}.",
                    where=where,
                    next_step="See its address and secret, and the body of the route.",
                ) from None
            raise

    @property
    def _connection(self) -> str:
        target = self.route.email or self.route.http
        assert target is not None  # noqa: S101 - a route has one of the two
        return target.connection

    def _provider(self) -> BaseNotifier:
        # Import late: parsing a DAG file does not need the whole engine.
        from enerflo_sync.notify.message import http_body, mail_html

        link = message_link(self.message)
        if self.route.email is not None:
            email = self.route.email
            return SmtpNotifier(
                to=list(email.to),
                from_email=email.sender,
                subject=self.message.subject,
                html_content=mail_html(self.message, link),
                smtp_conn_id=email.connection,
            )
        assert self.route.http is not None  # noqa: S101 - a route has one of the two
        http = self.route.http
        return HttpNotifier(
            http_conn_id=http.connection,
            endpoint=http.endpoint,
            json=http_body(http, self.message, link),
            extra_options={"timeout": self.seconds},
        )


class NotifyOperator(BaseOperator):
    """Sends unreported news along the routes of sync.yaml.

    Fails, to be retried, while a message cannot be sent. It is a teardown of its DAG, so the run does not
    fail with it.

    :param account: name of the account in sync.yaml.
    :return: counts.
    """

    template_fields: Sequence[str] = ("account",)
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (OverviewLink(),)
    ui_color: ClassVar[str] = "#efe6f5"

    def __init__(self, *, account: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account

    def execute(self, context: Context) -> dict[str, Any]:
        """Find news, send it, and return the counts."""
        from enerflo_airflow.gone import tell_gone
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.notify import run_notify

        def send(route: Route, message: Message) -> None:
            RouteNotifier(route, message).notify(context)

        with closing(open_account(str(self.account))) as opened:
            report = run_notify(opened, send)
        send_notifications(report)
        tell_gone(context)
        self.log.info("told composed=%s sent=%s waiting=%s", report.composed, report.sent, report.waiting)
        if note := _note(report):
            keep_note(context, note)
        if report.waiting:
            raise RetriableError(
                f"{count_of(report.waiting, 'message')} could not be sent.",
                where=f"account {report.account}",
                next_step=" ".join(report.errors),
            )
        counts = ("account", "composed", "sent", "waiting", "given_up")
        return {name: getattr(report, name) for name in counts}


def tell_people(account: str, after: BaseOperator | XComArg) -> None:
    """Add the notifying task to a DAG, if any route of sync.yaml covers the account.

    As a teardown it runs whatever the outcome of the task before it, and its own outcome does not count.
    """
    if not parsed_config().notify.routes_for(account):
        return
    task = NotifyOperator(
        task_id="tell_people",
        task_display_name="Tell people",
        doc_md="Tells what is new on the routes under `notify` in sync.yaml, each thing once.",
        account=account,
        retries=1,
    )
    after >> task.as_teardown()


def message_link(message: Message) -> str:
    """Return the complete address of the page with more; ``""`` if Airflow does not know its own address."""
    base = urlsplit(conf.get("api", "base_url", fallback="") or "")
    if not base.netloc:
        return ""
    to, account = Addresses(), message.account
    match str(message.page):
        case "task":
            return f"{base.scheme}://{base.netloc}{base.path.rstrip('/')}{message.page_id}"
        case "plans" if message.page_id:
            path = to.plan(account, message.page_id)
        case "plans":
            path = to.of(Place.PLANS, account)
        case "quality":
            path = to.of(Place.CHECKS, account)
        case "freshness":
            path = to.of(Place.FRESHNESS, account)
        case "inbox":
            path = to.of(Place.INBOX, account)
        case _:
            path = to.of(Place.REPORTS, account)
    return f"{base.scheme}://{base.netloc}{page_address(path)}"


def _note(report: NotifyReport) -> str:
    parts = [f"told {count_of(report.sent, 'message')}"] if report.sent else []
    parts += [f"{report.waiting:,} could not be sent yet"] if report.waiting else []
    parts += (
        [f"{count_of(report.given_up, 'was', 'were')} given up: enerflo-sync notify"]
        if report.given_up
        else []
    )
    return " · ".join(parts)
