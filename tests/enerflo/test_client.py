"""What the client does with each kind of answer, over real sockets."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from enerflo_sync.enerflo.client import Call, EnerfloClient, RetryPolicy, Timeout
from enerflo_sync.enerflo.failures import (
    AnswerTooHeavyError,
    AuthenticationError,
    PermissionRefusedError,
    VendorRefusedError,
)
from enerflo_sync.errors import (
    ConfigurationError,
    ContractDriftError,
    FatalError,
    NotFoundError,
    RetriableError,
)

from .conftest import KEY, Asked, JumpingClock, Reply, ScriptedServer

PATH = "/api/v3/installs/12345"
PERSONAL_QUERY: dict[str, str | int] = {"search": "jane@example.com"}
HTML = b"<!DOCTYPE html><html><body>Too many requests</body></html>"
THROTTLED = Reply(
    429, HTML, {"content-type": "text/html", "x-ratelimit-limit": "300", "x-ratelimit-remaining": "0"}
)


def throttled(**headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(429, HTML, {**THROTTLED.headers, **named})


class RecordingBudget:
    """A budget that never waits and remembers what it was told."""

    def __init__(self) -> None:
        self.acquired = 0
        self.observed: list[tuple[object, ...]] = []

    def acquire(self) -> None:
        self.acquired += 1

    def observe(
        self,
        limit: int | None,
        remaining: int | None,
        reset_at: datetime | None,
        retry_after: float | None,
        throttled: bool,
    ) -> None:
        self.observed.append((limit, remaining, reset_at, retry_after, throttled))


def test_a_read_returns_the_body_as_it_came(client: EnerfloClient, server: ScriptedServer) -> None:
    server.script = [Reply(body=b'{"id": 12345,  "name": "a"}')]
    assert client.get(PATH, {"page": 1}) == b'{"id": 12345,  "name": "a"}'
    assert server.asked[0].query == {"page": "1"}


def test_the_key_is_sent_as_a_header_and_nowhere_else(client: EnerfloClient, server: ScriptedServer) -> None:
    server.script = [Reply()]
    client.get(PATH, {"page": 1})
    asked = server.asked[0]
    assert asked.headers["api-key"] == KEY
    assert KEY not in asked.path + str(asked.query)


def test_a_compressed_body_is_decompressed(client: EnerfloClient, server: ScriptedServer) -> None:
    body = b'{"a": "' + b"x" * 3_000_000 + b'"}'
    server.script = [Reply(body=gzip.compress(body), headers={"content-encoding": "gzip"})]
    assert client.get(PATH) == body


def test_the_connection_is_used_again_after_good_and_bad_answers(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [
        Reply(body=b'{"a": "' + b"x" * 700_000 + b'"}'),
        Reply(404, HTML),
        Reply(503, HTML),
        Reply(),
    ]
    client.get(PATH)
    with pytest.raises(NotFoundError):
        client.get(PATH)
    client.get(PATH)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, VendorRefusedError),
        (401, AuthenticationError),
        (403, PermissionRefusedError),
        (404, NotFoundError),
        (405, VendorRefusedError),
        (422, VendorRefusedError),
    ],
)
def test_a_refusal_is_raised_at_once_and_not_tried_again(
    client: EnerfloClient, server: ScriptedServer, status: int, kind: type[FatalError]
) -> None:
    server.script = [Reply(status, b'{"message": "jane@example.com"}')]
    with pytest.raises(kind) as raised:
        client.get(PATH, {"search": "jane@example.com"})
    assert isinstance(raised.value, FatalError)
    assert str(raised.value).startswith(f"GET {PATH}: ")
    assert str(status) in str(raised.value)
    assert raised.value.next_step
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_fault_is_tried_again(client: EnerfloClient, server: ScriptedServer, status: int) -> None:
    server.script = [Reply(status, HTML), Reply(status, HTML), Reply(body=b'{"id": 1}')]
    assert client.get(PATH) == b'{"id": 1}'


def test_retry_after_in_seconds_is_kept_to(
    client: EnerfloClient, server: ScriptedServer, clock: JumpingClock
) -> None:
    server.script = [throttled(retry_after="41"), Reply()]
    client.get(PATH)
    assert len(clock.slept) == 1
    assert 41 <= clock.slept[0] <= 42


def test_retry_after_as_a_date_is_read_by_the_servers_own_clock(
    client: EnerfloClient, server: ScriptedServer, clock: JumpingClock
) -> None:
    server.script = [
        Reply(
            503,
            HTML,
            {"date": "Thu, 21 Mar 2024 16:19:04 GMT", "retry-after": "Thu, 21 Mar 2024 16:19:34 GMT"},
        ),
        Reply(),
    ]
    client.get(PATH)
    assert 30 <= clock.slept[0] <= 31


def test_a_429_that_only_names_the_reset_waits_for_it(
    client: EnerfloClient, server: ScriptedServer, clock: JumpingClock
) -> None:
    server.script = [throttled(date="Thu, 21 Mar 2024 16:19:04 GMT", x_ratelimit_reset="1711037985"), Reply()]
    client.get(PATH)
    assert 41 <= clock.slept[0] <= 42


def test_waits_without_retry_after_are_jittered_and_grow_within_the_cap(
    client: EnerfloClient, server: ScriptedServer, clock: JumpingClock
) -> None:
    server.handler = lambda asked: Reply(500)
    for _ in range(20):
        with pytest.raises(RetriableError):
            client.get(PATH)
    by_try = [clock.slept[number::5] for number in range(5)]
    for number, waits in enumerate(by_try):
        assert len(set(waits)) > 10
        assert all(0 <= wait <= 2**number for wait in waits)
    assert sum(by_try[4]) > sum(by_try[0])


def test_tries_are_bounded_and_the_error_says_how_many_and_when_to_come_back(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.handler = lambda asked: throttled(retry_after="7")
    with pytest.raises(RetriableError, match=r"429.*6 times") as raised:
        client.get(PATH)
    assert len(server.asked) == 6
    assert raised.value.retry_after == 7


def test_a_wait_beyond_the_bound_is_not_begun(
    client: EnerfloClient, server: ScriptedServer, clock: JumpingClock
) -> None:
    server.handler = lambda asked: throttled(retry_after="3600")
    with pytest.raises(RetriableError) as raised:
        client.get(PATH)
    assert raised.value.retry_after == 3600
    assert (len(server.asked), clock.slept) == (1, [])


def test_time_spent_trying_is_bounded_in_all(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer, clock: JumpingClock
) -> None:
    server.handler = lambda asked: throttled(retry_after="20")
    with pytest.raises(RetriableError):
        new_client(server.url, retry=RetryPolicy(attempts=100, total_seconds=100)).get(PATH)
    assert 60 <= sum(clock.slept) <= 100


def test_success_false_in_a_200_is_a_refusal(client: EnerfloClient, server: ScriptedServer) -> None:
    server.script = [Reply(body=b'{"success": false, "message": "jane@example.com"}')]
    with pytest.raises(VendorRefusedError, match="success: false") as raised:
        client.get(PATH)
    assert "jane" not in str(raised.value)
    assert len(server.asked) == 1


def test_success_true_and_a_nested_false_are_no_refusal(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [Reply(body=b'{"success": true, "data": {"success": false}}')]
    client.get(PATH)


@pytest.mark.parametrize("body", [b'"Access not Permitted"', b"Access not Permitted", b" Unauthorized\n"])
def test_a_bare_text_that_refuses_access_is_a_permission_refusal(
    client: EnerfloClient, server: ScriptedServer, body: bytes
) -> None:
    server.script = [Reply(body=body)]
    with pytest.raises(PermissionRefusedError):
        client.get(PATH)
    assert len(server.asked) == 1


def test_any_other_bare_text_is_a_refusal_that_does_not_quote_it(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [Reply(body=b'"hello jane"')]
    with pytest.raises(VendorRefusedError) as raised:
        client.get(PATH)
    assert "jane" not in str(raised.value)


@pytest.mark.parametrize("body", [HTML, b"null", b"17", b'{"a": nope}'])
def test_what_stays_no_json_is_contract_drift_after_three_tries(
    client: EnerfloClient, server: ScriptedServer, body: bytes
) -> None:
    server.handler = lambda asked: Reply(body=body)
    with pytest.raises(ContractDriftError, match="3 times"):
        client.get(PATH)
    assert len(server.asked) == 3


def test_an_html_page_that_passes_is_tried_again(client: EnerfloClient, server: ScriptedServer) -> None:
    server.script = [Reply(body=HTML), Reply(body=b'{"id": 1}')]
    assert client.get(PATH) == b'{"id": 1}'


@pytest.mark.parametrize("body", [b"", b'{"id": 1, "name": "ja', b'[{"id": 1}, '])
def test_json_that_stays_cut_off_is_retriable(
    client: EnerfloClient, server: ScriptedServer, body: bytes
) -> None:
    server.handler = lambda asked: Reply(body=body)
    with pytest.raises(RetriableError, match="3 times"):
        client.get(PATH)
    assert len(server.asked) == 3


def test_a_body_shorter_than_announced_is_tried_again(client: EnerfloClient, server: ScriptedServer) -> None:
    server.script = [Reply(body=b'{"id": 1}', cut=4), Reply(body=b'{"id": 1}')]
    assert client.get(PATH) == b'{"id": 1}'


def test_a_cut_body_without_an_announced_length_is_tried_again(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [Reply(body=b'{"id": 1}', cut=4, no_length=True), Reply(body=b'{"id": 1}')]
    assert client.get(PATH) == b'{"id": 1}'


def test_a_byte_order_mark_and_raw_control_characters_do_not_spoil_an_answer(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [Reply(body=b'\xef\xbb\xbf\n{"note": "a\x00b\tc"}')]
    assert client.get(PATH) == b'{"note": "a b c"}'


def test_dropped_connections_are_tried_again_and_bounded(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [Reply(reset=True), Reply()]
    assert client.get(PATH) == b"{}"
    server.handler = lambda asked: Reply(reset=True)
    with pytest.raises(RetriableError, match="dropped the connection"):
        client.get(PATH)
    assert len(server.asked) == 2 + 6


def test_an_answer_over_the_size_cap_is_given_up(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer
) -> None:
    server.handler = lambda asked: Reply(body=b'{"a": "' + b"x" * 2_000_000 + b'"}')
    client = new_client(server.url, max_body_bytes=1_000_000)
    with pytest.raises(FatalError, match="larger than 1000000 bytes"):
        client.get(PATH)
    with pytest.raises(AnswerTooHeavyError):
        client.read(PATH, None, lambda body: body, shrinkable=True)
    assert len(server.asked) == 2


def test_a_heavy_answer_is_raised_at_once_only_where_less_can_be_asked_for(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    server.script = [Reply(504), Reply(503), Reply(504)]
    with pytest.raises(AnswerTooHeavyError):
        client.read(PATH, None, lambda body: body, shrinkable=True)
    with pytest.raises(AnswerTooHeavyError):
        client.read(PATH, None, lambda body: body, shrinkable=True)
    assert len(server.asked) == 3


def test_redirects_are_not_followed(client: EnerfloClient, server: ScriptedServer) -> None:
    target = ScriptedServer()
    server.script = [Reply(302, headers={"location": f"{target.url}/login?signature=topsecret"})]
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1") as raised:
        client.get(PATH)
    assert "topsecret" not in str(raised.value)
    assert target.asked == []
    target.close()


def test_the_budget_is_asked_before_and_told_after_each_attempt(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer, clock: JumpingClock
) -> None:
    budget = RecordingBudget()
    server.script = [
        throttled(retry_after="41", date="Thu, 21 Mar 2024 16:19:04 GMT", x_ratelimit_reset="1711037985"),
        Reply(headers={"x-ratelimit-remaining": "299"}),
    ]
    began = clock.now()
    new_client(server.url, budget=budget).get(PATH)
    assert budget.acquired == 2
    assert budget.observed == [
        (300, 0, began + timedelta(seconds=41), 41.0, True),
        (None, 299, None, None, False),
    ]


def test_each_attempt_is_reported_under_its_endpoint(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer
) -> None:
    calls: list[Call] = []
    server.script = [Reply(429, HTML), Reply(reset=True), Reply(body=b'{"id": 12}'), Reply(404)]
    client = new_client(server.url, on_call=calls.append)
    client.get(PATH)
    with pytest.raises(NotFoundError):
        client.get("/api/v3/installs/find/3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    assert [(call.endpoint, call.status, call.throttled, call.failed) for call in calls] == [
        ("/api/v3/installs/{id}", 429, True, True),
        ("/api/v3/installs/{id}", None, False, True),
        ("/api/v3/installs/{id}", 200, False, False),
        ("/api/v3/installs/find/{id}", 404, False, True),
    ]
    assert calls[2].bytes == len(b'{"id": 12}')


def test_a_slow_trickle_ends_at_the_total_time_out(
    new_client: Callable[..., EnerfloClient], server: ScriptedServer
) -> None:
    from enerflo_sync.clock import SystemClock

    server.handler = lambda asked: Reply(body=b'{"a": "' + b"x" * 1000 + b'"}', trickle=True)
    client = new_client(
        server.url,
        clock=SystemClock(),
        timeout=Timeout(connect=1, read=1, total=0.3),
        retry=RetryPolicy(attempts=1),
    )
    with pytest.raises(RetriableError, match="did not answer"):
        client.get(PATH)


def test_a_second_thread_can_use_the_client_at_the_same_time(
    client: EnerfloClient, server: ScriptedServer
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def echo(asked: Asked) -> Reply:
        return Reply(body=b'{"page": ' + asked.query["page"].encode() + b"}")

    server.handler = echo
    with ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(lambda page: client.get(PATH, {"page": page}), range(40)))
    assert bodies == [b'{"page": %d}' % page for page in range(40)]
