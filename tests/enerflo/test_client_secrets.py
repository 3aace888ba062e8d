"""No key, body or query in logs and errors, and what the check of a key says."""

from __future__ import annotations

import logging
import traceback

import pytest

from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.failures import (
    AuthenticationError,
    VendorRefusedError,
)
from enerflo_sync.errors import (
    EnerfloSyncError,
)
from tests.enerflo.test_client import HTML, PATH, PERSONAL_QUERY

from .conftest import KEY, Reply, ScriptedServer


def test_the_check_accepts_a_good_key_and_refuses_a_wrong_one(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [Reply(body=b"true"), Reply(401), Reply(body=b'{"success": false}')]
    client.check()
    with pytest.raises(AuthenticationError, match="key"):
        client.check()
    with pytest.raises(VendorRefusedError):
        client.check()
    assert {asked.path for asked in server.asked} == {"/api/v3/authcheck"}


@pytest.mark.parametrize("missing", [Reply(404), Reply(body=HTML)])
def test_the_check_reads_one_install_where_authcheck_does_not_exist(
    client: EnerfloClient, server: ScriptedServer, missing: Reply
) -> None:
    server.handler = lambda asked: missing if asked.path.endswith("authcheck") else Reply(401)
    with pytest.raises(AuthenticationError):
        client.check()
    assert (server.asked[-1].path, server.asked[-1].query["per_page"]) == ("/api/v3/installs", "1")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(401),
        Reply(404),
        Reply(429, HTML),
        Reply(500),
        Reply(reset=True),
        Reply(body=b'{"success": false, "who": "jane@example.com"}'),
        Reply(body=b'"jane@example.com"'),
        Reply(body=b'{"who": "jane@example.com'),
        Reply(body=b"<p>jane@example.com</p>"),
        Reply(302, headers={"location": "https://files.example/contract.pdf?X-Signature=jane@example.com"}),
    ],
)
def test_neither_logs_nor_errors_hold_a_key_a_body_or_a_query(
    client: EnerfloClient, server: ScriptedServer, reply: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    server.handler = lambda asked: reply
    with caplog.at_level(logging.DEBUG, logger="enerflo_sync"), pytest.raises(EnerfloSyncError) as raised:
        client.get(PATH, PERSONAL_QUERY)
    shown = "\n".join(
        [
            caplog.text,
            str(raised.value),
            repr(raised.value),
            "".join(traceback.format_exception(raised.value)),
            repr(client),
        ]
    )
    assert KEY not in shown
    assert "jane" not in shown
    assert "search" not in shown


def test_no_log_of_the_http_library_holds_the_key(
    client: EnerfloClient, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [Reply(503), Reply()]
    with caplog.at_level(logging.DEBUG):
        client.get(PATH)
    assert caplog.records
    assert KEY not in caplog.text


def test_no_log_of_the_http_library_holds_a_query(
    client: EnerfloClient, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [Reply(503), Reply(reset=True), Reply()]
    with caplog.at_level(logging.DEBUG):
        client.get(PATH, PERSONAL_QUERY)
    assert server.asked[0].query == PERSONAL_QUERY
    assert any(f'"GET {PATH} HTTP/1.1"' in line for line in caplog.messages), "the line is there"
    assert "jane" not in caplog.text
    assert "search" not in caplog.text
