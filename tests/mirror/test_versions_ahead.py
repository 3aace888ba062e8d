"""Raw versions of a first load are committed beside the rows of the page before: nothing is lost between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.errors import RetriableError
from enerflo_sync.mirror import page_store
from enerflo_sync.mirror.batch import Batch
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.warehouse.runs import RunState
from tests.mirror.conftest import START, Company
from tests.refusing import refuse

WITHOUT_ROW = """
    select count(*) from enerflo.install_versions v
    where not exists (select from enerflo.installs i where i.install_id = v.install_id)
"""
WITHOUT_VERSION = """
    select count(*) from enerflo.installs i where not exists (
        select from enerflo.install_versions v
        where v.install_id = i.install_id and v.content_hash = i.content_hash)
"""


@pytest.fixture(autouse=True)
def _small_pages_have_many_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_store, "MANY_CHANGES", 7)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Versions of each batch that came to be stored ahead: how many it had, and how many were left to store."""
    seen: list[tuple[int, int]] = []
    keep = Intake.keep_versions

    def noting(self: Intake, connection: sa.Connection, batch: Batch) -> None:
        had = batch.blocks[-1].rows
        keep(self, connection, batch)
        seen.append((had, batch.blocks[-1].rows))

    monkeypatch.setattr(Intake, "keep_versions", noting)
    return seen


def assert_versions_are_whole(company: Company) -> None:
    assert company.rows("select count(*), count(distinct install_id) from enerflo.install_versions") == [
        (60, 60)
    ]
    assert company.rows(WITHOUT_ROW) == [(0,)]
    assert company.rows(WITHOUT_VERSION) == [(0,)]


def test_a_first_load_keeps_each_version_once_and_a_second_poll_writes_none(
    company: Company, kept: list[tuple[int, int]]
) -> None:
    report = company.poll(per_page=20, read_ahead=1)
    assert report.state is RunState.OK, report.reasons
    assert kept == [(7, 0), (13, 0), (20, 0), (20, 0)]
    company.assert_mirror_is_true()
    assert_versions_are_whole(company)
    assert company.rows("select distinct observed_by, evidence from enerflo.install_versions") == [
        ("poll", f"poll:{report.run_id}")
    ]
    kept.clear()
    assert company.poll(per_page=20, read_ahead=1).applied == 0
    assert kept == []


KILLED = """
    import os, random, signal, sys
    import requests
    from enerflo_sync.clock import SystemClock
    from enerflo_sync.enerflo.budget import UnlimitedBudget
    from enerflo_sync.enerflo.client import EnerfloClient
    from enerflo_sync.mirror import page_store
    from enerflo_sync.mirror.calls import CallCounter
    from enerflo_sync.mirror.intake import Intake
    from enerflo_sync.mirror.poll import PollOptions, poll
    from enerflo_sync.mirror.poll_resources import PollResource
    from enerflo_sync.warehouse.engine import warehouse_engine

    base, url, batches = sys.argv[1], sys.argv[2], int(sys.argv[3])
    page_store.MANY_CHANGES = 7
    store, begun = Intake.store, 0

    def killed(self, connection, batch):
        global begun
        begun += 1
        if begun == batches:
            os.kill(os.getpid(), signal.SIGKILL)
        return store(self, connection, batch)

    Intake.store = killed
    calls = CallCounter()
    client = EnerfloClient(
        requests.Session(), base, "sandbox-key", budget=UnlimitedBudget(), clock=SystemClock(),
        rng=random.Random(1), on_call=calls.add,
    )
    options = PollOptions(per_page=20, min_per_page=5, resources=frozenset({PollResource.INSTALLS}))
    poll(client, warehouse_engine(url), "default", clock=SystemClock(), rng=random.Random(), calls=calls,
         options=options)
"""


@pytest.mark.parametrize(("batches", "rows"), [(1, 0), (2, 7), (4, 40)])
def test_a_poll_killed_after_versions_and_before_their_rows_is_completed_by_the_next(
    warehouse: sa.Engine, warehouse_url: str, batches: int, rows: int
) -> None:
    world = World(60, seed=3)
    with SandboxServer(SandboxApi(world)) as server:
        killed = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(KILLED), server.url, warehouse_url, str(batches)],
            check=False,
            timeout=60,
            env={**os.environ},
        )
    assert killed.returncode == -signal.SIGKILL
    company = Company(warehouse, world, VirtualClock(world.now()))
    assert company.rows("select count(*) from enerflo.installs") == [(rows,)]
    assert company.rows(WITHOUT_ROW) > [(0,)]
    assert company.rows(WITHOUT_VERSION) == [(0,)]
    company.clock = VirtualClock(max(START, company.rows("select now()")[0][0]))
    report = company.poll(per_page=20, read_ahead=1)
    assert report.state is RunState.OK, report.reasons
    company.assert_mirror_is_true()
    assert_versions_are_whole(company)
    assert company.poll().applied == 0


@pytest.mark.parametrize("table", ["install_versions", "installs"])
def test_a_record_that_the_warehouse_refuses_is_put_aside_alone(
    company: Company, kept: list[tuple[int, int]], table: str
) -> None:
    victim = sorted(row.install_id for row in company.world.truth.installs())[30]
    refuse(company.warehouse, table, "install_id", victim)
    report = company.poll(PollResource.INSTALLS, per_page=20, read_ahead=1)
    assert sum(had != left for had, left in kept) == (4 if table == "installs" else 3)
    assert (report.state, report.applied, report.quarantined) == (RunState.PARTIAL, 59, 1)
    assert company.rows("select reason, key from sync.quarantine") == [
        ("refused_by_the_warehouse", {"install_id": victim})
    ]
    assert company.rows("select count(*) from enerflo.installs") == [(59,)]
    assert company.rows(WITHOUT_VERSION) == [(0,)]


def test_two_first_loads_at_once_keep_each_version_once(company: Company) -> None:
    other = Company(company.warehouse, company.world, company.clock)
    together = threading.Barrier(2, timeout=20)
    reports = []

    def load(one: Company) -> None:
        together.wait()
        reports.append(one.poll(per_page=20, read_ahead=1))

    threads = [threading.Thread(target=load, args=(one,)) for one in (company, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.state for report in reports] == [RunState.OK, RunState.OK]
    company.assert_mirror_is_true()
    assert_versions_are_whole(company)


def test_a_warehouse_that_goes_away_beside_the_rows_is_said_so(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def gone(keep: Callable[..., None]) -> Callable[..., None]:
        def second_time(*arguments: Any) -> None:
            calls.append(arguments)
            if len(calls) > 1:
                raise psycopg.OperationalError("server closed the connection unexpectedly")
            keep(*arguments)

        return second_time

    monkeypatch.setattr(Intake, "keep_versions", gone(Intake.keep_versions))
    with pytest.raises(RetriableError, match="warehouse"):
        company.poll(PollResource.INSTALLS, per_page=20, read_ahead=1)
    assert company.rows("select count(*) from enerflo.installs") == [(7,)]
    assert {thread.name for thread in threading.enumerate()}.isdisjoint({"read-ahead", "raw-versions_0"})


def test_a_poll_that_fails_stores_nothing_more_ahead(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    over = threading.Event()
    keep = Intake.keep_versions

    def slow_from_the_second(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) > 1:
            over.wait(20)
        keep(*arguments)

    def gone(*_: object) -> None:
        # Until then the second is under way, and the third one waits.
        time.sleep(0.5)
        threading.Timer(1.5, over.set).start()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(Intake, "keep_versions", slow_from_the_second)
    monkeypatch.setattr(Intake, "store", gone)
    with pytest.raises(RetriableError, match="warehouse"):
        company.poll(PollResource.INSTALLS, per_page=20, read_ahead=1)
    assert over.is_set()
    assert len(calls) == 2
