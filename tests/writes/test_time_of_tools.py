"""A tool that carries our changes into the CRM moves the rows' times: that answers no question and makes no edit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.plan import make as planning
from enerflo_sync.plan.decided_plan import Part
from tests.writes.conftest import Desk
from tests.writes.test_changes import copied, copy_shows
from tests.writes.test_changes_of_rows import copied_as_said, new_install
from tests.writes.test_newest import crm_status, direction, mirror_status

__all__ = ["copied"]


def handed_beside(desk: Desk, install: int, panels: int) -> None:
    """Hand another column of the row to a tool."""
    desk.sql(
        "update enerflo.installs set panel_count = :n, observed_at = now() where install_id = :i",
        n=panels,
        i=install,
    )
    plan = desk.plan()
    part = Part(only=["installs.panel_count"])
    assert run_apply(desk.context, plan.plan_hash, approved_by="Pat", part=part).handed_over == 1
    time.sleep(1.1)


def carried_beside(desk: Desk, install: int, panels: int) -> None:
    """Let a tool write another column of the row, as our plan says, and the copy show it."""
    handed_beside(desk, install, panels)
    copy_shows(desk, install, panel_count=panels)


def asked(desk: Desk) -> str:
    """Plan, and return why a person is asked about the status, of which nothing is written."""
    plan = desk.plan()
    assert desk.changes(plan, field="status") == []
    return str(next(one.reason for one in desk.undecided(plan) if one.field == "status"))


def test_an_edit_of_before_does_not_become_the_later_one(copied: Desk) -> None:
    install = copied.a_site().install_id
    copied.plan()
    crm_status(copied, install, "On Hold")
    time.sleep(1.1)
    mirror_status(copied, install, "Completed", "now()")
    assert direction(copied) == ["to_crm"]
    carried_beside(copied, install, 77)
    assert "does not tell whether the CRM or Enerflo changed it later" in asked(copied)


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("updated_at", "does not tell whether the CRM or Enerflo changed it later"),
        ("updated_at - interval '1 day'", "is earlier than it was when both sides agreed"),
    ],
)
def test_a_question_stands(copied: Desk, at: str, words: str) -> None:
    install = copied.a_site().install_id
    copied.plan()
    if "day" not in at:
        mirror_status(copied, install, "Completed", "now() - interval '1 second'")
    crm_status(copied, install, "On Hold", at)
    assert words in asked(copied)
    for panels in (77, 78):
        carried_beside(copied, install, panels)
        assert words in asked(copied)


def test_an_edit_after_it_is_the_later_one_again(copied: Desk) -> None:
    install = copied.a_site().install_id
    copied.plan()
    carried_beside(copied, install, 77)
    copied.plan()
    mirror_status(copied, install, "Completed", "now()")
    time.sleep(1.1)
    crm_status(copied, install, "On Hold")
    assert direction(copied) == ["to_enerflo"]


@pytest.fixture
def shown_too_late(copied: Desk, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What the copy comes to show between a plan's look for arrivals and its look at the rows."""
    shows: list[Callable[[], None]] = []
    look = planning.record_arrivals

    def too_early(*args: Any) -> None:
        look(*args)
        while shows:
            shows.pop()()

    monkeypatch.setattr(planning, "record_arrivals", too_early)
    return shows


def test_a_change_that_arrives_while_a_plan_is_made_is_nobodys_edit(
    copied: Desk, shown_too_late: list[Callable[[], None]]
) -> None:
    install = copied.a_site().install_id
    mirror_status(copied, install, "On Hold", "now()")
    plan = copied.plan()
    assert run_apply(copied.context, plan.plan_hash, approved_by="Pat").handed_over == 1
    time.sleep(1.1)
    mirror_status(copied, install, "Completed", "now()")
    time.sleep(1.1)
    shown_too_late.append(lambda: copy_shows(copied, install, status="On Hold"))
    assert "to_enerflo" not in direction(copied)
    assert direction(copied) == ["to_crm"]


def test_nor_is_a_new_row_that_appears_meanwhile(
    copied: Desk, shown_too_late: list[Callable[[], None]]
) -> None:
    install = new_install(copied)
    assert run_apply(copied.context, copied.plan().plan_hash, approved_by="Pat").handed_over > 0
    time.sleep(1.1)
    mirror_status(copied, install, "On Hold", "now()")
    time.sleep(1.1)
    shown_too_late.append(lambda: copied_as_said(copied, "installs", "enerflo_install_id"))
    assert "to_enerflo" not in direction(copied)
    assert direction(copied) == ["to_crm"]


def test_nor_makes_it_an_edit_of_before_the_later_one(
    copied: Desk, shown_too_late: list[Callable[[], None]]
) -> None:
    install = copied.a_site().install_id
    copied.plan()
    crm_status(copied, install, "On Hold")
    time.sleep(1.1)
    mirror_status(copied, install, "Completed", "now()")
    handed_beside(copied, install, 77)
    shown_too_late.append(lambda: copy_shows(copied, install, panel_count=77))
    assert "does not tell whether the CRM or Enerflo changed it later" in asked(copied)


def test_where_one_side_changed_it_that_one_stands(copied: Desk) -> None:
    install = copied.a_site().install_id
    carried_beside(copied, install, 77)
    copied.plan()
    crm_status(copied, install, "On Hold", "updated_at")
    assert direction(copied) == ["to_enerflo"]
