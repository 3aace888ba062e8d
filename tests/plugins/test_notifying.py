"""Messages arrive: at a real mail server and at a real HTTP server, and failures say why."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from enerflo_airflow.notifying import RouteNotifier, message_link

from enerflo_sync.crm.routes import NotifyEvent, Route
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.notify.message import Message, MessagePage

PLAN = Message(
    account="default",
    event=NotifyEvent.PLAN_WAITING,
    route="ops",
    subject="Enerflo default: a plan waits for an approval",
    text="A plan waits for an approval.\n\n- plan aaaa, changes 7 & <more>, {{ ti.task_id }}",
    page=MessagePage.PLANS,
    page_id="a" * 64,
    count=1,
)
LINK = f"http://localhost:8080/plugin/enerflo-reports/enerflo/plans/default/{'a' * 64}"


class Mailbox:
    """What a mail server got."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.refuses = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refuses:
            return "554 no"
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """A mail server on the loopback, known to Airflow as smtp_default."""
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "sync@example.com", "retry_limit": 1}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
    yield box
    controller.stop()


class Posts(ThreadingHTTPServer):
    """What a chat's address got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[tuple[str, Any]] = []
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    server: Posts

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append((self.path, body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Posts]:
    """An HTTP server on the loopback, known to Airflow as the connection chat."""
    server = Posts()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    connection = {"conn_type": "http", "host": f"http://127.0.0.1:{server.server_port}"}
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", json.dumps(connection))
    yield server
    server.shutdown()
    server.server_close()


def route(**target: Any) -> Route:
    return Route.model_validate(target)


def test_an_email_arrives_with_the_words_and_the_way_to_the_page(mailbox: Mailbox) -> None:
    to = ["ops@example.com", "second@example.com"]
    RouteNotifier(route(email={"to": to}), PLAN).notify({})
    ((recipients, mail),) = mailbox.mails
    assert recipients == to
    assert mail["Subject"] == PLAN.subject
    assert mail["From"] == "sync@example.com"
    html = mail.get_body(("html",)).get_content()
    # The text is taken as it is: neither as HTML nor as a template of Airflow's.
    assert "- plan aaaa, changes 7 &amp; &lt;more&gt;, {{ ti.task_id }}" in html
    assert f'<a href="{LINK}">' in html


def test_an_email_is_from_whom_the_route_says(mailbox: Mailbox) -> None:
    RouteNotifier(route(email={"to": ["ops@example.com"], "sender": "crm@example.com"}), PLAN).notify({})
    assert mailbox.mails[0][1]["From"] == "crm@example.com"


def test_a_post_has_the_body_that_the_route_says(chat: Posts) -> None:
    body = {"text": "*{subject}*\n{link}", "blocks": [{"level": "{level}", "n": 3}]}
    RouteNotifier(route(http={"connection": "chat", "endpoint": "hooks/1", "body": body}), PLAN).notify({})
    assert chat.bodies == [
        ("/hooks/1", {"text": f"*{PLAN.subject}*\n{LINK}", "blocks": [{"level": "warning", "n": 3}]})
    ]


def test_a_post_says_everything_unless_told_otherwise(chat: Posts) -> None:
    RouteNotifier(route(http={"connection": "chat"}), PLAN).notify({})
    assert chat.bodies[0][1] == {"text": f"{PLAN.subject}\n{PLAN.text}\n{LINK}"}


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_answer_that_is_an_error_is_said_with_its_status(chat: Posts, status: int) -> None:
    chat.status = status
    with pytest.raises(RetriableError, match=f"Airflow connection chat: the other side answered {status}"):
        RouteNotifier(route(http={"connection": "chat"}), PLAN).notify({})


@pytest.mark.parametrize(
    "target", [{"email": {"to": ["a@b.c"], "connection": "nobody"}}, {"http": {"connection": "nobody"}}]
)
def test_a_connection_that_is_not_there_is_said(target: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Airflow connection nobody: the connection is not defined"):
        RouteNotifier(route(**target), PLAN).notify({})


def test_a_mail_server_that_refuses_is_an_error(mailbox: Mailbox) -> None:
    mailbox.refuses = True
    with pytest.raises(Exception, match="554"):
        RouteNotifier(route(email={"to": ["a@b.c"]}), PLAN).notify({})


def test_every_page_has_an_address() -> None:
    for page in set(MessagePage) - {MessagePage.TASK}:
        assert message_link(Message(**{**_fields(), "page": page})).startswith(
            "http://localhost:8080/plugin/"
        )
    task = Message(**{**_fields(), "page": MessagePage.TASK, "page_id": "/dags/d/runs/r/tasks/t"})
    assert message_link(task) == "http://localhost:8080/dags/d/runs/r/tasks/t"


def _fields() -> dict[str, Any]:
    return {name: getattr(PLAN, name) for name in PLAN.__struct_fields__}
