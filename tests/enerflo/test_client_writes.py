"""Writes of the client: sent once, and in doubt where their answer was lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.failures import (
    OutcomeUnknownError,
    PermissionRefusedError,
    VendorRefusedError,
)
from enerflo_sync.errors import (
    FatalError,
    NotFoundError,
    RetriableError,
)
from tests.enerflo.test_client import HTML, PATH, RecordingBudget, throttled

from .conftest import Reply, ScriptedServer


def nested(levels: int) -> bytes:
    """An answer of this many levels, the outermost an object."""
    return b'{"id": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


def test_a_write_is_sent_as_json_and_its_answer_returned(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    bodies = [b'"Lead Updated"', nested(64)]
    server.script = [Reply(201, b'{"id": 7}'), Reply(204, b""), *(Reply(body=body) for body in bodies)]
    assert client.send("POST", PATH, {"note": "ünï"}) == b'{"id": 7}'
    assert client.send("PUT", PATH, {}) == b""
    assert [client.send("PUT", PATH, {}) for _ in bodies] == bodies
    assert server.asked[0].method == "POST"
    assert server.asked[0].body == '{"note":"ünï"}'.encode()
    assert server.asked[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500),
        Reply(502),
        Reply(503, headers={"retry-after": "5"}),
        Reply(504),
        Reply(408),
        Reply(reset=True),
        Reply(body=HTML),
        Reply(body=b'{"id": 1', no_length=True),
        Reply(body=b'{"id": 1}', cut=3),
        # Python 3.11 decodes less than 1,000 levels, 3.13 less than 10,000.
        *(Reply(body=nested(levels)) for levels in (65, 900, 5_000, 50_000)),
    ],
)
def test_a_write_that_may_have_arrived_is_never_sent_twice(
    client: EnerfloClient, server: ScriptedServer, reply: Reply
) -> None:
    server.script = [reply]
    with pytest.raises(OutcomeUnknownError, match="may or may not") as raised:
        client.send("PUT", PATH, {"status_id": 4})
    assert isinstance(raised.value, RetriableError)
    assert len(server.asked) == 1


def test_what_became_of_a_write_is_not_lost_with_what_its_answer_says_about_the_limit(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer
) -> None:
    budget = RecordingBudget()

    def away(*_news: object) -> None:
        raise RetriableError("somebody else holds a lock.")

    budget.observe = away  # type: ignore[method-assign]
    client = new_client(server.url, budget=budget)
    server.script = [Reply(body=b'{"note_id": 7}'), Reply(504), Reply(422)]
    assert client.send("POST", PATH, {}) == b'{"note_id": 7}'
    with pytest.raises(OutcomeUnknownError):
        client.send("POST", PATH, {})
    with pytest.raises(VendorRefusedError):
        client.send("POST", PATH, {})


def test_a_write_that_was_throttled_is_sent_again(client: EnerfloClient, server: ScriptedServer) -> None:
    server.script = [throttled(retry_after="3"), Reply(body=b'{"id": 1}')]
    assert client.send("PUT", PATH, {}) == b'{"id": 1}'
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(body=b'{"success": false}'), VendorRefusedError),
        (Reply(body=b'"Access not Permitted"'), PermissionRefusedError),
        (Reply(422), VendorRefusedError),
        (Reply(404), NotFoundError),
    ],
)
def test_a_write_that_was_refused_says_so(
    client: EnerfloClient, server: ScriptedServer, reply: Reply, kind: type[FatalError]
) -> None:
    server.script = [reply]
    with pytest.raises(kind):
        client.send("PUT", PATH, {})
    assert len(server.asked) == 1
