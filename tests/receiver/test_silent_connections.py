"""Senders that connect and say nothing, or their header byte by byte, change nothing for the others."""

from __future__ import annotations

import gzip
import resource
import socket
import time
from contextlib import ExitStack

import pytest
import requests

from enerflo_sync.receiver.body import unpacked
from enerflo_sync.receiver.outcomes import PostOutcome, RefusedError
from enerflo_sync.receiver.patience import HEADER_SECONDS, MOST_SILENT
from tests.receiver.conftest import SECRET, Running, Start

SILENT = 2_000


@pytest.fixture
def many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < SILENT + 500:
        pytest.skip("this machine allows too few open files")
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(SILENT + 500, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), hard)
    )


def connect(running: Running) -> socket.socket:
    host, _, port = running.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("said", [b"", b"POST /hooks/default/x HTTP/1.1\r\nhost: x\r\nx-slow: "])
def test_two_thousand_silent_connections_change_nothing(start: Start, said: bytes) -> None:
    running = start()
    assert running.post().status_code == 200
    with ExitStack() as stack:
        for _ in range(SILENT):
            one = stack.enter_context(connect(running))
            if said:
                one.sendall(said)
        for _ in range(20):
            began = time.monotonic()
            assert running.post().status_code == 200
            assert time.monotonic() - began < 5
        assert requests.get(f"{running.url}/health", timeout=10).status_code == 200
    assert len(running.files()) == 21


def test_a_connection_without_a_whole_header_is_closed_in_time(start: Start) -> None:
    running = start()
    with connect(running) as slow:
        began = time.monotonic()
        slow.settimeout(1)
        with pytest.raises((BrokenPipeError, ConnectionResetError, EOFError)):
            slow.sendall(b"POST /hooks HTTP/1.1\r\n")
            while time.monotonic() - began < 2 * HEADER_SECONDS:
                time.sleep(0.2)
                slow.sendall(b"x")
        assert HEADER_SECONDS - 1 < time.monotonic() - began < HEADER_SECONDS + 5


def test_a_slow_body_is_no_slow_header(start: Start) -> None:
    running = start()
    with connect(running) as sender:
        sender.sendall(
            f"POST /hooks/default/{SECRET} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{".encode()
        )
        time.sleep(HEADER_SECONDS + 1)
        sender.sendall(b"}")
        assert sender.recv(100).startswith(b"HTTP/1.1 200")


def test_members_of_a_gzip_are_bounded_and_cost_little() -> None:
    member = gzip.compress(b"")
    body = gzip.compress(b"{}") + member * (3_900_000 // len(member))
    began = time.process_time()
    with pytest.raises(RefusedError) as refused:
        unpacked(body, 3_900_000)
    assert time.process_time() - began < 0.5
    assert refused.value.outcome is PostOutcome.TOO_LARGE
    assert unpacked(gzip.compress(b"{") + gzip.compress(b"}") + bytes(100), 100) == b"{}"


def test_the_bounds_leave_room_for_those_who_behave() -> None:
    assert MOST_SILENT < 1_000
