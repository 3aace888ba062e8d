"""Which known records are missing, and whose key it is: nothing is deleted on a false answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.exchange import Request
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.mirror.company import AnotherCompanyError
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.warehouse.runs import RunState
from tests.mirror.conftest import START, Company

LIVING = "select count(*) from enerflo.{} where deleted_at is null and absent_since is null"
STORED = [
    *("installs", "milestones", "customers", "notes", "change_orders", "install_statuses", "install_versions")
]


def small(warehouse: sa.Engine, installs: int) -> Company:
    clock = VirtualClock(START)
    return Company(warehouse, World(installs, seed=3, start=START, clock=clock), clock)


def ids(company: Company) -> list[int]:
    return sorted((row.install_id for row in company.world.truth.installs()), reverse=True)


def content(company: Company) -> dict[str, Any]:
    order = "order by t::text"
    return {name: company.rows(f"select t::text from enerflo.{name} t {order}") for name in STORED}


def test_as_many_new_installs_as_missing_ones_hide_nothing(company: Company) -> None:
    company.poll()
    for install_id in ids(company)[:30]:
        company.world.delete_install(install_id)
    for _ in range(30):
        company.world.create_install()
    report = company.poll(PollResource.INSTALLS)
    assert report.state is RunState.PARTIAL
    (reason,) = report.reasons["incomplete"]
    assert "30 of the 60 known installs are missing" in reason
    assert company.rows("select count(*) from enerflo.installs where absent_since is not null") == [(0,)]
    assert company.poll(PollResource.INSTALLS, accept_shrink=True).state is RunState.OK
    company.poll()
    company.assert_mirror_is_true()


@pytest.mark.parametrize("installs", [2, 3, 5, 9])
def test_a_small_company_may_lose_one_install_and_not_two(warehouse: sa.Engine, installs: int) -> None:
    company = small(warehouse, installs)
    company.poll()
    first, second, *_ = ids(company)
    company.world.delete_install(first)
    assert company.poll().state is RunState.OK
    assert company.rows(LIVING.format("installs")) == [(installs - 1,)]
    company.world.delete_install(second)
    if installs > 2:
        # A second one on the same day, too: a source that loses its records one by one is not believed.
        assert company.poll(PollResource.INSTALLS).state is RunState.PARTIAL
        assert company.rows(LIVING.format("installs")) == [(installs - 1,)]
        company.clock.advance(timedelta(days=1, hours=1).total_seconds())
        assert company.poll(PollResource.INSTALLS).state is RunState.OK
        assert company.rows(LIVING.format("installs")) == [(installs - 2,)]


@pytest.mark.parametrize("installs", [3, 8])
def test_two_missing_at_once_of_a_small_company_are_not_believed(warehouse: sa.Engine, installs: int) -> None:
    company = small(warehouse, installs)
    company.poll()
    for install_id in ids(company)[:2]:
        company.world.delete_install(install_id)
    for _ in range(3):
        assert company.poll(PollResource.INSTALLS, confirmations=0).state is RunState.PARTIAL
    assert company.rows(LIVING.format("installs")) == [(installs,)]


def test_notes_and_orders_of_a_missing_install_are_no_second_shrinking(warehouse: sa.Engine) -> None:
    company = small(warehouse, 6)
    company.poll()
    company.world.delete_install(ids(company)[0])
    for _ in range(2):
        assert company.poll(confirmations=0, full=True).state is RunState.OK
    assert company.rows(LIVING.format("installs")) == [(5,)]
    company.assert_mirror_is_true()


def test_a_key_that_answers_for_another_company_changes_nothing(company: Company) -> None:
    company.poll()
    before = content(company)
    company.faults = ["other_company@/api/*#1-9999"]
    for _ in range(3):
        with pytest.raises(AnotherCompanyError, match="--accept-company") as raised:
            company.poll(full=True)
        assert "50001300" in str(raised.value)
    assert content(company) == before
    assert company.rows("select state, count(*) from sync.runs group by 1 order by 1") == [
        ("failed", 3),
        ("ok", 1),
    ]
    company.faults = []
    assert company.poll().state is RunState.OK


@pytest.mark.parametrize("resource", list(PollResource))
def test_no_list_of_another_company_is_stored(company: Company, resource: PollResource) -> None:
    company.poll()
    before = content(company)
    company.faults = ["other_company@/api/*#1-9999"]
    with pytest.raises(AnotherCompanyError):
        company.poll(resource)
    assert content(company) == before


def test_a_key_that_changes_its_company_in_the_middle_of_a_walk_is_refused_there(company: Company) -> None:
    company.poll()
    before = content(company)
    company.faults = ["other_company@/api/*#2-9999"]
    with pytest.raises(AnotherCompanyError):
        company.poll()
    assert content(company) == before


def test_a_person_can_say_that_the_account_has_another_company_now(company: Company) -> None:
    company.poll()
    company.faults = ["other_company@/api/*#1-9999"]
    company.poll(accept_company=True, accept_shrink=True)
    company.poll(accept_shrink=True)
    assert company.rows("select company_id from sync.companies_seen") == [(50_001_300,)]
    assert company.rows("select distinct company_id from enerflo.installs where deleted_at is null") == [
        (50_001_300,)
    ]
    company.faults = []
    with pytest.raises(AnotherCompanyError):
        company.poll()


def test_a_company_all_of_whose_installs_were_deleted_is_read_once_a_person_said_so(company: Company) -> None:
    company.poll()
    for install_id in ids(company):
        company.world.delete_install(install_id)
    with pytest.raises(AnotherCompanyError, match="all its installs were deleted") as raised:
        company.poll()
    assert "another company that has no install" in str(raised.value)
    for _ in range(2):
        company.poll(accept_company=True, accept_shrink=True)
    assert company.rows("select count(*) from enerflo.installs where deleted_at is null") == [(0,)]
    # Nobody has to say it again.
    assert company.poll().state is RunState.OK


def test_a_new_sub_company_is_known_by_the_installs_beside_it(company: Company) -> None:
    company.poll()
    company.rows("select 1")
    with company.warehouse.begin() as connection:
        connection.exec_driver_sql("update sync.companies_seen set company_id = 7")
    assert company.poll().state is RunState.OK
    assert company.rows("select company_id from sync.companies_seen order by 1") == [(7,), (1300,)]


def test_a_mirror_of_before_knows_its_company_by_its_installs(company: Company) -> None:
    company.poll()
    with company.warehouse.begin() as connection:
        connection.exec_driver_sql("delete from sync.companies_seen")
    company.faults = ["other_company@/api/*#1-9999"]
    with pytest.raises(AnotherCompanyError):
        company.poll()
    company.faults = []
    company.poll()
    assert company.rows("select company_id from sync.companies_seen") == [(1300,)]


def test_more_new_installs_than_a_page_holds_are_the_companys_own(company: Company) -> None:
    company.poll()
    for _ in range(45):
        company.world.create_install()
    assert company.poll().state is RunState.OK
    company.assert_mirror_is_true()


def test_a_key_that_is_refused_everything_is_no_partial_run(company: Company) -> None:
    company.poll()
    company.faults = ["403@/api/*#1-9999"]
    with pytest.raises(AuthenticationError, match="refuses everything"):
        company.poll()
    (state,) = company.rows("select state from sync.runs order by started_at desc limit 1")
    assert state == ("failed",)
    assert company.rows(LIVING.format("installs")) == [(60,)]


def test_a_list_that_the_key_may_not_read_leaves_the_others(company: Company) -> None:
    company.faults = ["403@/api/v3/change-orders#1-9"]
    report = company.poll()
    assert report.state is RunState.PARTIAL
    (reason,) = report.reasons["incomplete"]
    assert "403" in reason
    assert "lead" not in reason
    company.faults = ["403@/api/v3/change-orders#1-9"]
    assert company.poll(PollResource.CHANGE_ORDERS).state is RunState.PARTIAL


def test_a_quiet_poll_asks_nothing_more_to_know_its_company(company: Company) -> None:
    company.poll()
    asked: list[str] = []

    def note(request: Request, world: World) -> None:
        asked.append(request.path)

    company.before_request = note
    report = company.poll()
    assert asked.count("/api/v3/installs") == 3
    assert report.requests == len(asked)
