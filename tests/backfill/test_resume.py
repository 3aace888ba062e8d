"""Killed in any phase, resumed: at most a page of each chunk twice, and the world of one that never stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.exchange import Request
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.backfill.backfills import Backfills
from enerflo_sync.backfill.report import BackfillReport
from enerflo_sync.backfill.request import whole_request
from enerflo_sync.backfill.store import State
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.warehouse.alone import alone
from tests.backfill.conftest import Desk

ROOT = Path(__file__).resolve().parents[2]

KILLED = """
    import os, random, signal, sys
    sys.path[:0] = [sys.argv[5], sys.argv[5] + "/include"]
    import requests
    import sqlalchemy as sa
    from enerflo_sync.backfill.context import BackfillOptions, Context
    from enerflo_sync.backfill.request import whole_request
    from enerflo_sync.backfill.backfills import Backfills
    from enerflo_sync.clock import SystemClock
    from enerflo_sync.enerflo.budget import UnlimitedBudget
    from enerflo_sync.enerflo.client import EnerfloClient
    from enerflo_sync.mirror.calls import CallCounter
    from enerflo_sync.warehouse.engine import warehouse_engine

    base, url, phrase, nth = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    engine = warehouse_engine(url)
    seen = 0

    def maybe_kill(text):
        global seen
        seen += phrase in text
        if seen >= nth:
            os.kill(os.getpid(), signal.SIGKILL)

    @sa.event.listens_for(engine, "before_cursor_execute")
    def statement(_connection, _cursor, text, *_):
        maybe_kill(text)

    @sa.event.listens_for(engine, "commit")
    def commit(_connection):
        maybe_kill("commit")

    calls = CallCounter()

    class Counted(CallCounter):
        def add(self, call):
            super().add(call)
            maybe_kill("request " + call.endpoint)

    calls = Counted()
    client = EnerfloClient(
        requests.Session(), base, "sandbox-key", budget=UnlimitedBudget(), clock=SystemClock(),
        rng=random.Random(1), on_call=calls.add,
    )
    options = BackfillOptions(per_page=10, min_per_page=5, chunk_seconds=0.5)
    Backfills(Context(client, engine, "default", SystemClock(), random.Random(1), calls, options)).backfill(
        whole_request(), backfill_id="b"
    )
"""

# Searching, planning, in and between chunks, in the other lists, at the end.
PHASES = [
    ("request /api/v3/installs", 4),
    ("INSERT INTO sync.backfill_chunks", 1),
    ("INSERT INTO sync.backfill_pages", 2),
    ("UPDATE sync.backfill_chunks", 14),
    *(("commit", nth) for nth in (9, 17, 27, 36, 43)),
    *(("UPDATE sync.backfills SET", nth) for nth in (3, 4)),
    ("DELETE FROM sync.backfill_pages", 1),
]


@pytest.mark.parametrize(("phrase", "nth"), PHASES)
def test_killed_in_any_phase_and_resumed_it_ends_as_if_never_stopped(
    warehouse: sa.Engine, warehouse_url: str, phrase: str, nth: int
) -> None:
    world = World(100, seed=3)
    asked: list[str] = []

    def note(request: Request, _world: World) -> None:
        if request.path == "/api/v3/installs" and request.parameters()["per_page"] == "10":
            asked.append(request.parameters()["page"])

    api = SandboxApi(world, rate_limit=100_000, before_request=note)
    with SandboxServer(api) as server:
        words = [server.url, warehouse_url, phrase, str(nth), str(ROOT)]
        killed = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(KILLED), *words],
            check=False, timeout=60, env={**os.environ}, capture_output=True,
        )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-800:]
    sampled, asked[:] = asked[:1], asked[1:]
    desk = Desk(warehouse, world, VirtualClock(world.now()))
    desk.clock = VirtualClock(max(desk.clock.now(), desk.rows("select now()")[0][0]))
    desk.before_request = note
    report = resumed(desk)
    assert report.state is State.FINISHED
    assert not report.is_partial, report.reasons
    polled = Desk(warehouse, world, desk.clock, account="polled")
    desk.before_request = None
    polled.poll()
    expected = polled.content()
    for table, rows in desk.content().items():
        assert rows == expected[table], table
    assert desk.rows("select count(*) from enerflo.installs where absent_since is not null") == [(0,)]
    assert desk.rows("select state from sync.runs where account = 'default'") == [("ok",)]
    again = len(asked) - len(set(asked))
    # What the kill took, and the first chunk's look at the second: its end is open to new installs.
    assert again <= 2, (sampled, asked)


def resumed(desk: Desk) -> BackfillReport:
    """Go on with the killed backfill, or start it where it was not stored yet."""
    backfills = desk.backfills(per_page=10, chunk_seconds=0.5)
    for _ in range(50):
        try:
            if desk.rows("select 1 from sync.backfills"):
                return backfills.resume("b")
            return backfills.backfill(whole_request(), backfill_id="b")
        except RetriableError:
            # The server has not noticed yet that the killed process is gone.
            time.sleep(0.1)
    raise AssertionError("the lock of a dead process is held")


def test_a_key_that_loses_its_rights_in_the_middle_ends_it_and_it_goes_on_with_a_new_one(desk: Desk) -> None:
    request = desk.window(desk.day(500), desk.day(200))
    asked = 0

    def revoke(asked_for: Request, _world: World) -> None:
        nonlocal asked
        is_reading = bool(desk.rows("select 1 from sync.backfills where state = 'reading'"))
        asked += is_reading and asked_for.path == "/api/v3/installs"
        if asked == 4 and desk.api is not None:
            desk.api.keys = frozenset({"new-key"})

    desk.before_request = revoke
    with pytest.raises(AuthenticationError):
        desk.backfill(request, per_page=5)
    ((backfill_id, state),) = desk.rows("select backfill_id, state from sync.backfills")
    assert state == "reading"
    assert desk.rows("select state, reasons->'failed' from sync.runs") == [
        ("failed", {"AuthenticationError": 1})
    ]
    stored = desk.mirrored()
    assert stored
    desk.before_request, desk.key = None, "new-key"
    backfills = desk.backfills(per_page=5)
    assert desk.api is not None
    desk.api.keys = frozenset({"new-key"})
    report = backfills.resume(backfill_id)
    assert report.state is State.FINISHED
    assert desk.mirrored() == desk.of_window(request) > stored


def test_a_resume_with_another_window_is_refused(desk: Desk) -> None:
    backfills = desk.backfills()
    first = backfills.estimate(desk.window(desk.day(500), desk.day(200)))
    with pytest.raises(ConfigurationError, match="is asked for now"):
        backfills.resume(first.backfill_id, desk.window(desk.day(500), desk.day(201)))
    assert (
        backfills.resume(first.backfill_id, desk.window(desk.day(500), desk.day(200))).state is State.FINISHED
    )


def test_a_resume_with_another_mapping_is_refused(desk: Desk) -> None:
    first = desk.backfills(mapping_hash="old").estimate(desk.window(desk.day(500), desk.day(200)))
    before = dict(desk.api.requests) if desk.api else {}
    backfills = desk.backfills(mapping_hash="new")
    with pytest.raises(ConfigurationError, match="the mapping has changed"):
        backfills.resume(first.backfill_id)
    assert desk.api is not None
    assert not desk.api.requests
    assert before


@pytest.mark.parametrize("state", ["finished", "superseded", "unknown"])
def test_only_what_is_unfinished_is_resumed(desk: Desk, state: str) -> None:
    request = desk.window(desk.day(500), desk.day(400))
    backfills = desk.backfills()
    first = backfills.estimate(request)
    if state == "superseded":
        backfills.estimate(request)
    elif state == "finished":
        backfills.resume(first.backfill_id)
    with pytest.raises(ConfigurationError, match=r"has ended|taken its place|no such backfill"):
        backfills.resume("b-0" if state == "unknown" else first.backfill_id)


def test_the_second_of_two_at_once_is_refused_and_other_windows_are_not(desk: Desk) -> None:
    request, other = desk.window(desk.day(500), desk.day(400)), desk.window(desk.day(399), desk.day(300))
    second: list[str] = []

    def start_another(asked: Request, _world: World) -> None:
        desk.before_request = None
        if desk.api is not None:
            desk.api.before_request = None
        try:
            desk.backfills().backfill(request)
        except RetriableError as error:
            second.append(str(error))
        desk.backfills().backfill(other)

    desk.before_request = start_another
    report = desk.backfill(request)
    assert report.state is State.FINISHED
    assert "another backfill of" in second[0]
    assert desk.mirrored() == desk.of_window(request) | desk.of_window(other)


def test_a_chunk_is_read_by_one_at_a_time(desk: Desk) -> None:
    backfills = desk.backfills()
    first = backfills.estimate(desk.window(desk.day(500), desk.day(400)))
    (chunk, *_) = backfills.start(first.backfill_id)
    number = chunk.chunk.number
    with (
        desk.warehouse.connect() as connection,
        alone(connection, "default", f"reading of chunk {number} of {first.backfill_id}"),
        pytest.raises(RetriableError, match="another reading of chunk"),
    ):
        backfills.read(first.backfill_id, number)


def test_the_steps_apart_do_what_the_whole_does(desk: Desk) -> None:
    request = desk.window(desk.day(500), desk.day(300))
    backfills: Backfills = desk.backfills(per_page=10, chunk_seconds=0.5)
    estimated = backfills.estimate(request)
    left = backfills.start(estimated.backfill_id)
    assert len(left) > 3
    with pytest.raises(RetriableError, match="not read yet"):
        backfills.finish(estimated.backfill_id)
    with pytest.raises(RetriableError, match="not read yet"):
        backfills.read(estimated.backfill_id, left[-1].chunk.number)
    order: Callable[[Any], Any] = lambda one: (not one.chunk.source.is_of_installs, -one.chunk.number)  # noqa: E731
    for stored in sorted(left, key=order):
        backfills.read(estimated.backfill_id, stored.chunk.number)
    report = backfills.finish(estimated.backfill_id)
    assert backfills.finish(estimated.backfill_id) == report
    assert desk.mirrored() == desk.of_window(request)
    assert json.dumps([chunk.label for chunk in report.chunks])
