"""What an apply could not write to a CRM elsewhere is written later, also where no plan has anything to do."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.carry import run_carry
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.parts import Part
from tests.copies.conftest import CRM, Elsewhere
from tests.copies.interrupted import answer_lost, interrupted
from tests.copies.test_worlds import dates_its_rows, edited_on_both_sides
from tests.writes.conftest import Desk
from tests.writes.test_changes import ALONE, AT_ONCE, counted

pytestmark = pytest.mark.parametrize("elsewhere", ["mariadb"], indirect=True)


@pytest.fixture
def waiting(away: Desk, monkeypatch: pytest.MonkeyPatch) -> int:
    """An install whose approved panel count waits, since the CRM went away in the midst of the apply."""
    away.switched_on("both", CRM, ALONE, AT_ONCE)
    away.carried()
    install = away.a_site().install_id
    counted(away, install, 40)
    plan = away.plan()
    interrupted(away, plan, monkeypatch)
    return install


def test_what_waits_is_written_where_no_plan_has_anything_to_do(
    away: Desk, elsewhere: Elsewhere, waiting: int
) -> None:
    assert away.plan().change_count == 0
    report = run_carry(away.context)
    assert elsewhere.one("installs", enerflo_install_id=waiting)["panel_count"] == 40
    assert report is not None
    assert (report.taken, report.unmade, report.open) == (1, 0, 0)
    away.settled()


def test_after_a_lost_answer_nobody_takes_our_own_time_for_a_persons(
    away: Desk, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database itself moves updated_at with each write, and nobody read the row back after ours."""
    away.switched_on("both", CRM, ALONE, AT_ONCE)
    dates_its_rows(elsewhere)
    away.carried()
    install = away.a_site().install_id
    plan = edited_on_both_sides(away, elsewhere, install)
    interrupted(away, plan, monkeypatch, answer_lost, part=Part(only=["installs.panel_count"]))
    assert run_apply(away.context, plan.plan_hash).applied == 1
    run_poll(away.context)
    plan = away.plan()
    assert not away.changes(plan, table_name="installs", field="status")
    assert [one.field for one in away.undecided(plan)] == ["status"]
