"""A list that lags behind direct reads takes nothing back in time, and no row stays as it is for ever."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.exchange import Request
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.enerflo.installs import read_install
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.mirror.sweep import tombstone
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.warehouse.runs import RunReport
from tests.mirror.conftest import START, Company

LAG = 900
CHANGED = "select install_id, updated_at from enerflo.installs where account = :account"


def lagging(company: Company, seconds: float = LAG) -> SandboxApi:
    company.api_of = SandboxApi(company.world, clock=company.clock, rate_limit=10_000)
    company.poll()
    company.clock.advance(2 * seconds)
    company.api_of.lag_list(seconds)
    return company.api_of


def read_back(company: Company, install_id: int, by: str = "push") -> None:
    """Read an install by itself, as push and webhooks do."""
    seen = Observation(company.account, company.clock.now(), by, f"{by}:test")
    raw = read_install(company.client(CallCounter()), install_id)
    with company.warehouse.begin() as connection:
        Intake(INSTALLS).take_own_answer(connection, raw, seen)


def polled(company: Company, **options: Any) -> RunReport:
    return company.poll(PollResource.INSTALLS, **options)


def status(company: Company, install_id: int) -> int:
    (row,) = company.rows("select status_id from enerflo.installs where install_id = :i", i=install_id)
    return int(row[0])


def milestone(company: Company, install_id: int, milestone_id: int) -> Any:
    ((found,),) = company.rows(
        "select completed_at from enerflo.milestones where install_id = :i and milestone_id = :m",
        i=install_id,
        m=milestone_id,
    )
    return found


@pytest.fixture
def victim(company: Company) -> int:
    return company.world.install_id(30)


@pytest.mark.parametrize("by", ["push", "webhook"])
@pytest.mark.parametrize("confirmations", [0, 50])
def test_a_lagging_list_does_not_undo_what_a_direct_read_brought(
    company: Company, victim: int, by: str, confirmations: int
) -> None:
    lagging(company)
    moment = company.clock.now()
    milestone_id = c.MILESTONES[5].milestone_id
    company.world.set_status(victim, c.VOIDED)
    company.world.set_milestone(victim, milestone_id, {"completed": moment})
    read_back(company, victim, by)
    for _ in range(3):
        report = polled(company, confirmations=confirmations)
        assert report.reasons["skipped"] == {"older_than_the_mirror": 1}
        assert report.state == "ok"
        assert status(company, victim) == c.VOIDED
        assert milestone(company, victim, milestone_id) == moment
    company.clock.advance(LAG)
    assert "skipped" not in polled(company, confirmations=confirmations).reasons
    company.poll()
    company.assert_mirror_is_true()


def _listed_and_read(company: Company, victim: int) -> tuple[int, datetime, bytes]:
    """Let the list show an old change and a direct read a newer one; return the milestone, and that read."""
    lagging(company)
    company.world.set_status(victim, 4)
    company.clock.advance(LAG)
    milestone_id = c.MILESTONES[5].milestone_id
    company.world.set_status(victim, c.VOIDED)
    company.world.set_milestone(victim, milestone_id, {"completed": company.clock.now()})
    asked_at = company.clock.now()
    raw = read_install(company.client(CallCounter()), victim)
    company.clock.advance(1)
    return milestone_id, asked_at, bytes(raw)


def _store(company: Company, raw: bytes, asked_at: datetime) -> None:
    with company.warehouse.begin() as connection:
        seen = Observation(company.account, asked_at, "push", "push:test")
        Intake(INSTALLS).take_own_answer(connection, raw, seen)


def test_a_page_that_waits_does_not_undo_a_direct_read_that_is_stored_meanwhile(
    company: Company, victim: int
) -> None:
    milestone_id, asked_at, raw = _listed_and_read(company, victim)
    lists: list[str] = []

    def store_meanwhile(request: Request, world: World) -> None:
        if request.path == "/api/v3/installs":
            lists.append(request.path)
            # The page that names the victim is prepared, and waits for the next ones.
            if len(lists) == 3:
                _store(company, raw, asked_at)

    company.api_of.before_request = store_meanwhile
    report = polled(company, confirmations=0)
    assert len(lists) == 3
    assert report.reasons["skipped"] == {"older_than_the_mirror": 1}
    assert status(company, victim) == c.VOIDED
    assert milestone(company, victim, milestone_id) == asked_at


def test_a_page_of_installs_that_are_all_new_does_not_undo_one_either(company: Company, victim: int) -> None:
    """Nothing of the page was in the mirror when it was prepared: the direct read brought the record."""
    milestone_id, asked_at, raw = _listed_and_read(company, victim)
    for table in ("milestones", "install_versions", "installs"):
        with company.warehouse.begin() as connection:
            connection.exec_driver_sql(f"delete from enerflo.{table}")
    lists: list[str] = []

    def store_meanwhile(request: Request, world: World) -> None:
        if request.path == "/api/v3/installs":
            lists.append(request.path)
            if len(lists) == 3:
                _store(company, raw, asked_at)

    company.api_of.before_request = store_meanwhile
    report = polled(company, confirmations=0)
    assert report.reasons["skipped"] == {"older_than_the_mirror": 1}
    assert status(company, victim) == c.VOIDED
    assert milestone(company, victim, milestone_id) == asked_at


def test_a_direct_read_that_is_stored_after_a_lagging_page_counts(company: Company, victim: int) -> None:
    milestone_id, asked_at, raw = _listed_and_read(company, victim)
    polled(company, confirmations=0)
    assert status(company, victim) == 4
    _store(company, raw, asked_at)
    assert status(company, victim) == c.VOIDED
    assert milestone(company, victim, milestone_id) == asked_at
    company.clock.advance(LAG)
    company.poll()
    company.assert_mirror_is_true()


def test_a_direct_read_of_before_a_page_that_shows_more_does_not_count(company: Company, victim: int) -> None:
    _, asked_at, raw = _listed_and_read(company, victim)
    company.clock.advance(60)
    company.world.set_status(victim, 4)
    company.clock.advance(LAG)
    polled(company, confirmations=0)
    _store(company, raw, asked_at)
    assert status(company, victim) == 4


def test_two_changes_in_one_second_are_told_apart_by_the_version_that_was_replaced(
    company: Company, victim: int
) -> None:
    lagging(company)
    company.world.set_status(victim, 4)
    read_back(company, victim)
    company.clock.advance(0.2)
    company.world.set_status(victim, c.VOIDED)
    read_back(company, victim)
    company.clock.advance(LAG - 0.1)
    # The list shows the first of the two now, of the same second as the second.
    assert polled(company, confirmations=0).reasons["skipped"] == {"older_than_the_mirror": 1}
    assert status(company, victim) == c.VOIDED


def test_an_edit_of_the_same_second_that_nobody_has_seen_is_taken(company: Company, victim: int) -> None:
    api = lagging(company)
    company.world.set_status(victim, 4)
    read_back(company, victim)
    company.clock.advance(0.2)
    company.world.set_status(victim, c.VOIDED)
    api.lag_list(0)
    polled(company, confirmations=0)
    assert status(company, victim) == c.VOIDED


def test_a_vendor_that_goes_back_for_good_is_believed_after_a_direct_read(
    company: Company, victim: int
) -> None:
    lagging(company).lag_list(0)
    before = status(company, victim)
    company.world.set_status(victim, c.VOIDED)
    read_back(company, victim)
    company.clock.advance(60)
    number = company.world.number_of(victim)
    state = company.world.installs.edit(number)
    # A backup is restored: the status of before, and its time.
    state.status_id, state.updated = before, state.updated - 3600
    company.world._rendered.pop(number)
    report = polled(company)
    assert report.reasons["skipped"] == {"older_than_the_mirror": 1}
    assert status(company, victim) == before
    assert "skipped" not in polled(company).reasons


def test_where_direct_reads_say_nothing_the_list_is_believed_after_a_day(
    company: Company, victim: int
) -> None:
    lagging(company).lag_list(0)
    before = status(company, victim)
    company.world.set_status(victim, c.VOIDED)
    read_back(company, victim)
    number = company.world.number_of(victim)
    state = company.world.installs.edit(number)
    state.status_id, state.updated = before, state.updated - 3600
    company.world._rendered.pop(number)
    polled(company, confirmations=0)
    assert status(company, victim) == c.VOIDED
    company.clock.advance(86_400)
    polled(company, confirmations=0)
    assert status(company, victim) == before


def test_an_install_that_was_found_gone_is_not_revived_by_a_list_of_before(
    company: Company, victim: int
) -> None:
    lagging(company)
    company.world.delete_install(victim)
    with company.warehouse.begin() as connection:
        assert tombstone(connection, INSTALLS, company.account, victim, company.clock.now()) == 1
    company.clock.advance(5)
    living = "select count(*) from enerflo.installs where install_id = :i and deleted_at is null"
    for _ in range(2):
        polled(company)
        assert company.rows(living, i=victim) == [(0,)]
    company.clock.advance(LAG)
    company.poll()
    company.assert_mirror_is_true()


def test_an_install_that_is_restored_is_alive_again_at_once(company: Company, victim: int) -> None:
    company.poll()
    with company.warehouse.begin() as connection:
        assert tombstone(connection, INSTALLS, company.account, victim, company.clock.now()) == 1
    company.clock.advance(5)
    company.poll(full=True)
    company.assert_mirror_is_true()


def test_a_quiet_poll_still_parses_and_writes_nothing(company: Company) -> None:
    lagging(company)
    report = polled(company)
    assert (report.applied, report.unchanged, report.skipped) == (0, 60, 0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["status", "read", "poll", "wait"]), st.integers(0, 3), st.integers(1, 600)
        ),
        max_size=20,
    )
)
def test_the_mirror_never_goes_back_and_is_true_in_the_end(
    warehouse: sa.Engine, steps: list[tuple[str, int, int]]
) -> None:
    clock = VirtualClock(START)
    # An account of its own for each example.
    world = World(4, seed=3, start=START, clock=clock)
    company = Company(warehouse, world, clock, account=uuid4().hex)
    lagging(company)
    seen: dict[int, Any] = {}
    for kind, which, seconds in steps:
        install_id = company.world.install_id(which)
        if kind == "status":
            company.world.set_status(install_id, sorted(c.STATUSES)[seconds % len(c.STATUSES)])
        elif kind == "read":
            read_back(company, install_id)
        elif kind == "poll":
            polled(company, confirmations=seconds % 2 * 50)
        else:
            clock.advance(seconds)
        for row in company.rows(CHANGED, account=company.account):
            assert seen.get(row[0], row[1]) <= row[1]
            seen[row[0]] = row[1]
    clock.advance(LAG + 1)
    company.poll()
    truth = [(row.install_id, row.status_id) for row in world.truth.installs()]
    said = "select install_id, status_id from enerflo.installs where account = :account order by 1"
    assert company.rows(said, account=company.account) == sorted(truth)
