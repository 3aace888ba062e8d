from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from enerflo_sandbox.adapter import SandboxAdapter, VirtualClock
from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.delivery import FileDrop
from enerflo_sandbox.emitter import Emitter, Mess
from enerflo_sandbox.faults import FaultKind, Faults, ScriptedFault
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World

Connect = Callable[[SandboxApi], "Iterator[tuple[requests.Session, str]]"]


def _session() -> requests.Session:
    session = requests.Session()
    session.headers["api-key"] = "sandbox-key"
    return session


@contextmanager
def by_socket(api: SandboxApi) -> Iterator[tuple[requests.Session, str]]:
    with SandboxServer(api) as server, _session() as session:
        yield session, server.url


@contextmanager
def in_process(api: SandboxApi) -> Iterator[tuple[requests.Session, str]]:
    with _session() as session:
        session.mount("https://enerflo.io", SandboxAdapter(api))
        yield session, "https://enerflo.io"


BOTH = pytest.mark.parametrize("connect", [by_socket, in_process])
CONVERSATION = [
    ("GET", "/api/v3/installs?per_page=7&page=2", None),
    ("GET", "/api/v1/customers?pageSize=3", None),
    ("GET", "/api/v3/installs/1", None),
    ("PUT", "/api/v3/installs/{id}/", {"status_id": 4}),
    ("POST", "/api/v3/installs/{id}/notes", {"note": "Grüße ☀"}),
    ("GET", "/api/v3/installs/{id}/notes", None),
    ("GET", "/_sandbox/truth", None),
]


def _talk(session: requests.Session, base: str, install_id: int) -> list[tuple[int, dict[str, str], bytes]]:
    answers = []
    for method, path, body in CONVERSATION:
        answer = session.request(method, base + path.format(id=install_id), json=body, timeout=10)
        headers = {
            name.lower(): value for name, value in answer.headers.items() if name.lower() != "connection"
        }
        answers.append((answer.status_code, headers, answer.content))
    return answers


def test_the_adapter_answers_exactly_as_the_socket_does() -> None:
    answers = []
    for connect in (by_socket, in_process):
        world = World(50, 7)
        with connect(SandboxApi(world)) as (session, base):
            answers.append(_talk(session, base, next(world.truth.installs()).install_id))
    assert answers[0] == answers[1]
    assert [status for status, _, _ in answers[0]] == [200, 200, 404, 200, 201, 200, 200]


@BOTH
@pytest.mark.parametrize("kind", [FaultKind.DROPPED, FaultKind.ANSWER_LOST])
def test_a_dropped_connection_is_a_connection_error(connect: Connect, kind: FaultKind) -> None:
    api = SandboxApi(World(5, 7), faults=Faults(script=[ScriptedFault(kind)]))
    with connect(api) as (session, base):
        with pytest.raises(requests.exceptions.ConnectionError):
            session.get(f"{base}/api/v3/installs", timeout=10)
        assert session.get(f"{base}/api/v3/installs", timeout=10).status_code == 200


@BOTH
def test_a_body_that_breaks_off_is_a_chunked_encoding_error(connect: Connect) -> None:
    api = SandboxApi(World(5, 7), faults=Faults(script=[ScriptedFault(FaultKind.CUT_BODY)]))
    with connect(api) as (session, base):
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get(f"{base}/api/v3/installs", timeout=10)
        assert session.get(f"{base}/api/v3/installs", timeout=10).status_code == 200


def test_a_slow_answer_is_a_read_timeout_and_takes_virtual_time_only() -> None:
    world = World(5, 7)
    faults = Faults(script=[ScriptedFault(FaultKind.SLOW, last=2)], slow_seconds=45)
    with in_process(SandboxApi(world, faults=faults)) as (session, base):
        with pytest.raises(requests.exceptions.ReadTimeout):
            session.get(f"{base}/api/v3/installs", timeout=(5, 30))
        assert isinstance(world.clock, VirtualClock)
        assert world.clock.monotonic() == 30
        assert session.get(f"{base}/api/v3/installs", timeout=60).status_code == 200
        assert world.clock.monotonic() == 75


def test_a_slow_answer_is_a_read_timeout_behind_the_socket() -> None:
    class Sleeping(VirtualClock):
        def sleep(self, seconds: float) -> None:
            threading.Event().wait(seconds)

    world = World(5, 7)
    faults = Faults(script=[ScriptedFault(FaultKind.SLOW)], slow_seconds=0.5)
    api = SandboxApi(world, clock=Sleeping(world.now()), faults=faults)
    late = pytest.raises(requests.exceptions.ReadTimeout)
    with by_socket(api) as (session, base), late:
        session.get(f"{base}/api/v3/installs", timeout=0.1)


def test_one_connection_serves_many_requests_and_parallel_clients_get_whole_answers() -> None:
    world = World(100, 7)
    api = SandboxApi(world, rate_limit=10_000)
    counts: list[int] = []

    def work(base: str) -> None:
        with _session() as session:
            for page in range(1, 11):
                rows = session.get(f"{base}/api/v3/installs?per_page=10&page={page}", timeout=10).json()[
                    "results"
                ]
                counts.append(len(rows))

    with SandboxServer(api) as server:
        threads = [threading.Thread(target=work, args=(server.url,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server._listener.open) <= 8
    assert counts == [10] * 80
    assert api.usage["sandbox-key"].accepted == 80


def test_parallel_clients_never_pass_the_limit() -> None:
    api = SandboxApi(World(5, 7), rate_limit=50)
    statuses: list[int] = []

    def work(base: str) -> None:
        with _session() as session:
            statuses.extend(
                session.get(f"{base}/api/v3/authcheck", timeout=10).status_code for _ in range(20)
            )

    with SandboxServer(api) as server:
        threads = [threading.Thread(target=work, args=(server.url,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (statuses.count(200), statuses.count(429)) == (50, 30)
    assert api.usage["sandbox-key"].most_in_a_window == 50


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET /x HTTP/1.1\r\nno colon\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_400_and_the_server_lives_on(sent: bytes) -> None:
    with SandboxServer(SandboxApi(World(5, 7))) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(sent)
            assert raw.recv(1000).startswith(b"HTTP/1.1 400 Bad Request")
        assert _session().get(f"{server.url}/api/v3/authcheck", timeout=10).status_code == 200


@BOTH
def test_the_control_routes_steer_the_company(connect: Connect) -> None:
    world = World(400, 7, per_cause=2)
    api = SandboxApi(world)
    with connect(api) as (session, base):
        stepped = session.post(f"{base}/_sandbox/step", json={"minutes": 30, "events": 5}, timeout=10).json()
        assert len(stepped["changes"]) >= 5
        assert stepped == session.get(f"{base}/_sandbox/changes", timeout=10).json()
        deleted = session.post(f"{base}/_sandbox/delete", json={"planted": True}, timeout=10).json()[
            "deleted"
        ]
        assert len(deleted) == 2
        assert session.get(f"{base}/api/v3/installs/{deleted[0]}", timeout=10).status_code == 404
        session.post(f"{base}/_sandbox/faults", json={"script": ["504@/api/v3/installs#1"]}, timeout=10)
        assert session.get(f"{base}/api/v3/installs", timeout=10).status_code == 504
        victim = next(world.truth.installs()).install_id
        session.post(f"{base}/_sandbox/bad", json={"install_id": victim, "kind": "missing_id"}, timeout=10)
        assert "id" not in session.get(f"{base}/api/v3/installs/{victim}", timeout=10).json()
        session.post(f"{base}/api/v3/installs/{victim}/notes", json={"note": "x"}, timeout=10)
        received = session.get(f"{base}/_sandbox/received", timeout=10).json()["received"]
        assert [(one["path"], one["body"]) for one in received] == [
            (f"/api/v3/installs/{victim}/notes", {"note": "x"})
        ]
        usage = session.get(f"{base}/_sandbox/usage", timeout=10).json()
        assert usage["keys"][0]["accepted"] == 4
        assert usage["faults"] == {"504": 1}


@BOTH
def test_a_wrong_control_order_says_what_is_wrong(connect: Connect) -> None:
    with connect(SandboxApi(World(5, 7))) as (session, base):
        kinds = session.post(f"{base}/_sandbox/step", json={"kinds": ["party"]}, timeout=10)
        assert (kinds.status_code, "party" in kinds.text) == (422, True)
        assert session.post(f"{base}/_sandbox/delete", json={"install_id": 1}, timeout=10).status_code == 404
        assert session.get(f"{base}/_sandbox/nothing", timeout=10).status_code == 404


@BOTH
def test_a_step_is_told_by_webhooks_when_asked(connect: Connect, tmp_path: Path) -> None:
    world = World(100, 7, per_cause=1)
    api = SandboxApi(world)
    with connect(api) as (session, base):
        refused = session.post(f"{base}/_sandbox/step", json={"emit": True}, timeout=10)
        assert (refused.status_code, "--webhooks" in refused.text) == (422, True)
        assert session.get(f"{base}/_sandbox/webhooks", timeout=10).json() == {"enabled": False}
        assert world.changes == []

        drop = FileDrop(tmp_path, clock=world.clock)
        api.webhooks = Emitter(world, 1, Mess(loss=0.2, delay=0.3), drop)
        api.webhooks.watch()
        quiet = session.post(f"{base}/_sandbox/step", json={"events": 5}, timeout=10).json()
        assert set(quiet) == {"changes"}
        assert list(tmp_path.iterdir()) == []

        order = {"events": 30, "emit": True}
        told = session.post(f"{base}/_sandbox/step", json=order, timeout=10).json()
        assert told["events"] >= 30
        assert told["pending"] > 0
        listed = session.get(f"{base}/_sandbox/webhooks", timeout=10).json()
        sent = [one for one in listed["recent"] if one["fate"] == "sent"]
        assert (listed["events"], listed["pending"]) == (told["events"], told["pending"])
        assert {one["place"] for one in sent} == {path.name for path in tmp_path.iterdir()}
        assert any(one["fate"] == "lost" and one["sent_at"] is None for one in listed["recent"])

        rest = session.post(f"{base}/_sandbox/webhooks", json={"all": True}, timeout=10).json()
        assert (len(rest["webhooks"]), rest["pending"]) == (told["pending"], 0)
        assert len(listed["recent"]) + told["pending"] == told["events"]
        deleted = session.post(f"{base}/_sandbox/delete", json={"planted": True, "emit": True}, timeout=10)
        assert deleted.json()["events"] in (0, 1, 2)


def test_the_company_answers_while_a_receiver_is_slow() -> None:
    world = World(50, 7)
    reached, free = threading.Event(), threading.Event()

    class Slow:
        def send(self, body: bytes, headers: Mapping[str, str]) -> str:
            reached.set()
            free.wait(10)
            return "200"

        def flush(self) -> frozenset[str]:
            return frozenset()

    api = SandboxApi(world)
    api.webhooks = Emitter(world, 1, Mess(), Slow())
    api.webhooks.watch()
    with by_socket(api) as (session, base):
        order = {"events": 1, "kinds": ["status_changed"], "emit": True}
        step = threading.Thread(target=lambda: requests.post(f"{base}/_sandbox/step", json=order, timeout=20))
        step.start()
        assert reached.wait(10)
        assert session.get(f"{base}/api/v3/authcheck", timeout=5).status_code == 200
        free.set()
        step.join()


def test_a_server_closes_without_a_pause() -> None:
    """Some thousand tests close one: with the 0.5 s of the standard library, ten would take three seconds at least."""
    api = SandboxApi(World(1, seed=1))
    began = time.monotonic()
    for _ in range(10):
        with SandboxServer(api):
            pass
    assert time.monotonic() - began < 3
