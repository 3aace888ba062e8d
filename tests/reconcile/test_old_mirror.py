"""A mirror that was not read when it was due: what both sides agreed on then is no all-clear of now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile.reconciliation import reconcile
from enerflo_sync.reconcile.render import Tone, verdict_text
from enerflo_sync.reconcile.render.verdict import Verdict, is_all_clear
from enerflo_sync.reconcile.report import ReconciliationReport
from tests.mirror.conftest import START, Company

SHIPPED = (Path(__file__).parents[2] / "include" / "config" / "sync.yaml").read_text()
EVERY_QUARTER = '"*/15 * * * *"'

Report = Callable[..., ReconciliationReport]


@pytest.fixture
def company(warehouse: sa.Engine, warehouse_url: str) -> Company:
    """A company whose CRM agrees, polled just now."""
    clock = VirtualClock(START)
    company = Company(warehouse, World(30, seed=3, start=START, clock=clock, per_cause=0), clock)
    make_crm_tables(company.world, warehouse_url)
    company.poll()
    return company


@pytest.fixture
def report(company: Company, tmp_path: Path) -> Report:
    def after(hours: float, schedule: str = EVERY_QUARTER) -> ReconciliationReport:
        company.clock.advance(hours * 3600)
        path = tmp_path / "sync.yaml"
        path.write_text(SHIPPED.replace(EVERY_QUARTER, schedule, 1))
        return reconcile(company.warehouse, load_config(path, {}), "default", now=company.clock.now())

    return after


def test_a_mirror_of_days_ago_is_no_all_clear_and_the_verdict_says_its_age(report: Report) -> None:
    whole = report(0)
    assert (verdict_text(whole).tone, is_all_clear(whole)) == (Tone.GOOD, True)
    old = report(72)
    words = verdict_text(old)
    assert (words.verdict, words.tone, is_all_clear(old)) == (Verdict.OVERDUE, Tone.UNSURE, False)
    assert words.headline.startswith("Enerflo was last read whole 3 d")
    assert "installs as of 2026-03-0" in words.detail


@pytest.mark.parametrize(
    ("hours", "schedule", "is_good"),
    [
        (1.2, EVERY_QUARTER, True),
        (1.6, EVERY_QUARTER, False),
        (26, '"30 9 * * *"', True),
        (27, '"30 9 * * *"', False),
        (33, '"30 9 * * *", time_zone: America/Denver', True),
        (34, '"30 9 * * *", time_zone: America/Denver', False),
    ],
)
def test_how_old_it_may_be_follows_from_the_schedule_and_a_poll_has_an_hour(
    report: Report, hours: float, schedule: str, is_good: bool
) -> None:
    assert is_all_clear(report(hours, schedule)) is is_good


def test_one_list_that_polls_do_not_read_is_enough(company: Company, report: Report) -> None:
    company.clock.advance(7200)
    company.faults = ["403@/api/v3/installs/notes#1-9"]
    company.poll()
    found = report(0)
    assert [table.table_name for table in found.overdue_tables] == ["notes"]
    assert not is_all_clear(found)
    company.faults = []
    company.poll()
    assert is_all_clear(report(0))


def test_milestones_that_are_read_some_in_each_poll_are_in_time_while_polls_come(
    company: Company, report: Report
) -> None:
    company.lean_lists = True
    company.poll(details=100)
    for _ in range(3):
        company.clock.advance(7200)
        company.poll(details=2)
    found = report(0)
    assert found.mirror_as_of is not None
    assert (found.started_at - found.mirror_as_of).total_seconds() > 3600
    assert found.overdue_tables == []


def test_milestones_that_could_not_be_read_are_no_all_clear_until_they_are(
    company: Company, report: Report
) -> None:
    """Enerflo's list is read in time, and does not tell milestones; the reads that do are refused."""
    company.lean_lists = True
    company.poll(details=100)
    company.clock.advance(900)
    company.faults = [f"403@/api/v3/installs/{company.world.install_id(5)}#1-9"]
    company.poll(details=100)
    # One poll that fails is no reason yet, and what it could not read is tried by the next one.
    assert is_all_clear(report(0))
    company.clock.advance(7200)
    company.poll(details=100)
    found = report(0)
    assert [table.table_name for table in found.overdue_tables] == ["milestones"]
    words = verdict_text(found)
    assert (words.verdict, words.tone, is_all_clear(found)) == (Verdict.OVERDUE, Tone.UNSURE, False)
    # The list itself was read just now.
    assert words.headline == "Milestones of 1 install could not be read before the comparison"
    assert "the mirror has" not in words.detail
    company.faults = []
    company.poll(details=100)
    assert is_all_clear(report(0))


def test_what_is_over_budget_stays_so_and_says_the_age_too(company: Company, report: Report) -> None:
    with company.warehouse.begin() as connection:
        connection.execute(sa.text("update crm.installs set panel_count = 1, updated_at = '2026-01-01'"))
    words = verdict_text(report(72))
    assert words.verdict is Verdict.OVER_BUDGET
    assert "Polls were due since" in words.detail
