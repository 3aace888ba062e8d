"""A tool that writes an older change of ours after a newer one: that is no edit by a person."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.report import Undecided
from tests.writes.conftest import Desk
from tests.writes.kept import brought

HANDED = ("    crm_table: crm.installs\n", "    crm_table: crm.installs\n    write_to: changes\n")
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")
STATUS = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest}"
STATUSES = {4: "On Hold", 1304: "Cancelled", 323: "Pending KCA"}


@pytest.fixture(params=["newest", "review"])
def overtaken(agreed: Desk, request: pytest.FixtureRequest) -> tuple[Desk, int]:
    """An account to whose tool three statuses were handed over; the copy shows the last one."""
    agreed.switched_on("both", HANDED, AT_ONCE, (STATUS, STATUS.replace("newest", request.param)))
    install = brought(agreed, _overtaken)
    return agreed, install


def _overtaken(desk: Desk) -> int:
    install = int(desk.one("select min(install_id) from enerflo.installs where status_name = 'In progress'"))
    for status in STATUSES:
        desk.world.set_status(install, status)
        run_poll(desk.context)
        desk.carried()
        desk.sql("update sync.crm_changes set acknowledged_at = now()")
    copy_shows(desk, install, "Pending KCA")
    assert desk.plan().change_count == 0
    return install


def copy_shows(desk: Desk, install: int, status: str) -> None:
    desk.sql(
        "update crm.installs set status = :status, updated_at = now() where enerflo_install_id = :id",
        status=status,
        id=install,
    )


def to_enerflo(desk: Desk) -> tuple[list[Any], list[Undecided]]:
    """Return what the plans send to Enerflo, and their questions."""
    plans = run_plan(desk.context)
    sent = [one.after for plan in plans for one in desk.changes(plan, direction="to_enerflo")]
    return sent, [one for plan in plans for one in desk.undecided(plan)]


@pytest.mark.parametrize("late", ["On Hold", "Cancelled"])
def test_an_older_change_that_comes_through_last_is_a_question(
    overtaken: tuple[Desk, int], late: str
) -> None:
    desk, install = overtaken
    copy_shows(desk, install, late)
    for _ in range(2):
        sent, (asked,) = to_enerflo(desk)
        assert (sent, asked.field, asked.crm_value) == ([], "status", late)
        assert "a tool may have written it late" in asked.reason
    copy_shows(desk, install, "Pending KCA")
    assert to_enerflo(desk) == ([], [])


def test_another_value_is_an_edit_by_a_person_as_always(overtaken: tuple[Desk, int]) -> None:
    desk, install = overtaken
    copy_shows(desk, install, "In progress")
    assert to_enerflo(desk) == (["In progress"], [])


def test_so_is_an_older_value_that_comes_long_after(overtaken: tuple[Desk, int]) -> None:
    desk, install = overtaken
    desk.sql("update sync.crm_changes set ended_at = ended_at - interval '25 hours'")
    copy_shows(desk, install, "On Hold")
    assert to_enerflo(desk) == (["On Hold"], [])
