"""Faults, shifting pages, kills and two polls at once: after the dust settles the mirror is true."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.exchange import Request
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.errors import ContractDriftError, RetriableError
from enerflo_sync.mirror import page_store
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.page_store import MOST_PAGES
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.warehouse.runs import RunState
from tests.mirror.conftest import START, Company


@pytest.mark.parametrize(
    "fault",
    ["429", "500", "502", "503", "504", "dropped", "truncated_json", "cut_body", "answer_lost", "html_page"],
)
def test_a_fault_in_the_middle_of_the_walk_costs_nothing_but_time(company: Company, fault: str) -> None:
    company.faults = [f"{fault}@/api/v3/installs#2", f"{fault}@/api/v3/installs/notes#2"]
    report = company.poll()
    assert report.state is RunState.OK, report.reasons
    company.assert_mirror_is_true()


def test_a_page_that_is_too_large_for_the_server_is_asked_for_in_halves(company: Company) -> None:
    company.largest_page = 8
    report = company.poll(per_page=40)
    assert report.state is RunState.OK
    company.assert_mirror_is_true()


def test_a_refused_resource_is_reported_and_the_others_go_on(company: Company) -> None:
    company.faults = ["success_false@/api/v1/customers#1-9"]
    report = company.poll()
    assert report.state is RunState.PARTIAL
    assert "customers" in " ".join(report.reasons["incomplete"])
    assert company.mirror("customers", ["customer_id"]) == set()
    assert len(company.mirror("installs", ["install_id"])) == 60


def test_an_account_that_stays_down_fails_the_run_and_keeps_what_was_committed(company: Company) -> None:
    company.faults = ["503@/api/v3/installs#2-99"]
    with pytest.raises(RetriableError):
        company.poll()
    assert company.rows("select state from sync.runs") == [("failed",)]
    assert len(company.mirror("installs", ["install_id"])) == 20
    company.faults = []
    company.poll()
    company.assert_mirror_is_true()


def test_installs_deleted_while_pages_are_read_hide_no_other_install(company: Company) -> None:
    newest = sorted((row.install_id for row in company.world.truth.installs()), reverse=True)

    def delete_from_the_first_page(request: Request, world: World) -> None:
        if request.path == "/api/v3/installs" and request.parameters()["page"] == "2" and newest:
            for install_id in newest[:5]:
                world.delete_install(install_id)
            newest.clear()

    company.before_request = delete_from_the_first_page
    company.poll()
    expected = {(row.install_id,) for row in company.world.truth.installs()}
    assert expected <= company.mirror("installs", ["install_id"])
    company.before_request = None
    company.poll()
    company.assert_mirror_is_true()


def test_installs_signed_while_pages_are_read_are_in_the_mirror_after_the_next_poll(company: Company) -> None:
    made = 0

    def sign_one(request: Request, world: World) -> None:
        nonlocal made
        if request.path == "/api/v3/installs" and made < 7:
            world.create_install()
            made += 1

    company.before_request = sign_one
    report = company.poll()
    assert report.unchanged > 0
    company.before_request = None
    company.poll()
    company.assert_mirror_is_true()


def test_two_polls_at_once_agree(company: Company) -> None:
    company.poll()
    company.world.step(minutes=60, events=20)
    other = Company(company.warehouse, company.world, company.clock)
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda one: one.poll(full=True), [company, other]))
    assert {report.state for report in reports} == {RunState.OK}
    company.assert_mirror_is_true()


def test_an_older_answer_never_overwrites_a_newer_one(company: Company) -> None:
    """A slow reader holds an old page while a quick one stores the new state."""
    company.poll()
    install_id = company.rows("select max(install_id) from enerflo.installs")[0][0]
    quick = Company(company.warehouse, company.world, company.clock)
    slow = Company(company.warehouse, company.world, company.clock)
    overtaken = False

    def overtake(request: Request, world: World) -> None:
        # The slow reader already holds page 1 when it asks for page 2.
        nonlocal overtaken
        if request.path == "/api/v3/installs" and request.parameters()["page"] == "2" and not overtaken:
            overtaken = True
            company.clock.advance(5)
            world.void_install(install_id)
            quick.poll(PollResource.INSTALLS)

    slow.before_request = overtake
    company.world.set_status(install_id, 4)
    slow.poll(PollResource.INSTALLS, read_ahead=3)
    assert overtaken
    status = company.rows("select status_name from enerflo.installs where install_id = :id", id=install_id)
    assert status == [("Voided",)]


def test_a_first_page_that_is_stored_in_two_is_stored_whole(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_store, "MANY_CHANGES", 7)
    report = company.poll(per_page=20, read_ahead=1)
    assert report.state is RunState.OK, report.reasons
    company.assert_mirror_is_true()
    assert len(company.rows("select install_id from enerflo.installs")) == 60
    again = company.poll(per_page=20, read_ahead=1)
    assert again.state is RunState.OK, again.reasons
    company.assert_mirror_is_true()


def test_a_warehouse_that_goes_away_while_the_next_page_is_awaited_is_said_so(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def hold_back(request: Request, _world: World) -> None:
        if request.path == "/api/v3/installs" and int(request.parameters()["page"]) > MOST_PAGES + 1:
            over.wait(10)

    def gone(*_: object) -> None:
        threading.Timer(0.2, over.set).start()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    company.before_request = hold_back
    monkeypatch.setattr(Intake, "store", gone)
    with pytest.raises(RetriableError, match="warehouse"):
        company.poll(PollResource.INSTALLS, per_page=2, min_per_page=1, read_ahead=1)
    assert over.is_set()
    assert [thread.name for thread in threading.enumerate() if thread.name == "read-ahead"] == []


class SteadyClock(VirtualClock):
    """Moves only while nobody is between a granted request and its answer: a minute never passes in there.

    Without that a request that was granted at 59 s could reach the vendor at 119 s, since another sleeps.
    """

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self._calm = threading.Condition()
        self._busy: set[int] = set()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        me = threading.get_ident()
        with self._calm:
            self._busy.add(me)
        try:
            yield
        finally:
            with self._calm:
                self._busy.discard(me)
                self._calm.notify_all()

    def advance(self, seconds: float) -> None:
        me = threading.get_ident()
        with self._calm:
            was_busy = me in self._busy
            self._busy.discard(me)
            self._calm.notify_all()
            self._calm.wait_for(lambda: not self._busy)
            super().advance(seconds)
            if was_busy:
                self._busy.add(me)


def test_two_polls_at_once_on_one_key_stay_under_its_limit(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.limit = 12
    company.clock = clock = SteadyClock(company.clock.now())
    call = EnerfloClient._call

    def steadily(*arguments: Any, **options: Any) -> Any:
        with clock.under_way():
            return call(*arguments, **options)

    monkeypatch.setattr(EnerfloClient, "_call", steadily)
    vendor = SandboxApi(company.world, clock=company.clock, rate_limit=12)
    others = [
        Company(company.warehouse, company.world, company.clock, limit=12, api_of=vendor) for _ in range(2)
    ]
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda one: one.poll(per_page=5), others))
    usage = vendor.usage[DEFAULT_KEY]
    assert {report.state for report in reports} == {RunState.OK}
    assert sum(report.requests for report in reports) > 2 * 12
    assert usage.most_in_a_window <= 12
    assert company.rows("select sum(throttled) from sync.api_calls") == [(0,)]
    company.assert_mirror_is_true()


KILLED = """
    import os, random, signal, sys
    import requests
    import sqlalchemy as sa
    from enerflo_sync.clock import SystemClock
    from enerflo_sync.enerflo.budget import UnlimitedBudget
    from enerflo_sync.enerflo.client import EnerfloClient
    from enerflo_sync.mirror.calls import CallCounter
    from enerflo_sync.mirror.poll import PollOptions, poll
    from enerflo_sync.warehouse.engine import warehouse_engine

    base, url, pages, after_commit = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "commit"
    engine = warehouse_engine(url)
    stored = 0

    def kill(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def progress(resource, done, total):
        global stored
        stored += 1
        if stored == pages:
            kill() if after_commit else sa.event.listen(engine, "commit", kill)

    calls = CallCounter()
    client = EnerfloClient(
        requests.Session(), base, "sandbox-key", budget=UnlimitedBudget(), clock=SystemClock(),
        rng=random.Random(1), on_call=calls.add,
    )
    poll(client, engine, "default", clock=SystemClock(), rng=random.Random(), calls=calls,
         options=PollOptions(per_page=10, min_per_page=5), progress=progress)
"""


@pytest.mark.parametrize("moment", ["commit", "before"])
@pytest.mark.parametrize("pages", [1, 3, 5, 8])
def test_a_poll_killed_anywhere_is_completed_by_the_next(
    warehouse: sa.Engine, warehouse_url: str, pages: int, moment: str
) -> None:
    world = World(60, seed=3)
    with SandboxServer(SandboxApi(world)) as server:
        code = textwrap.dedent(KILLED)
        killed = subprocess.run(
            [sys.executable, "-c", code, server.url, warehouse_url, str(pages), moment],
            check=False,
            timeout=60,
            env={**os.environ},
        )
    assert killed.returncode == -signal.SIGKILL
    company = Company(warehouse, world, VirtualClock(world.now()))
    assert company.rows("select state, finished_at from sync.runs") == [("failed", None)]
    company.clock = VirtualClock(max(START, company.rows("select now()")[0][0]))
    report = company.poll()
    assert report.state is RunState.OK
    company.assert_mirror_is_true()
    assert company.poll().applied == 0


def test_html_that_stays_is_contract_drift_and_the_other_resources_go_on(company: Company) -> None:
    company.faults = ["html_page@/api/v3/change-orders#1-9"]
    report = company.poll()
    assert report.state is RunState.PARTIAL
    assert "change_orders" in " ".join(report.reasons["incomplete"])
    assert ContractDriftError.__name__ not in report.reasons
