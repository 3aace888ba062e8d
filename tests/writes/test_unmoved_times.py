"""Under ``newest``: an edit that left its side's time as it was does not lose by that time; a person is asked."""

from __future__ import annotations

import time

import pytest

from enerflo_sync.jobs.apply import run_apply
from tests.writes.conftest import Desk
from tests.writes.test_newest import a_milestone, crm_status, direction, keyed, mirror_status, written_beside

__all__ = ["keyed"]


@pytest.fixture(params=["keyed", "agreed"])
def both(request: pytest.FixtureRequest) -> Desk:
    """An account whose two sides agree, with a unique key in the CRM and without."""
    found: Desk = request.getfixturevalue(request.param)
    return found


def asked(desk: Desk, field: str = "status") -> list[str]:
    """Plan, and return why a person is asked about a field, of which nothing is written."""
    plan = desk.plan()
    assert desk.changes(plan, field=field) == []
    return [str(one.reason) for one in desk.undecided(plan) if one.field == field]


def silent_status(desk: Desk, install: int, value: str) -> None:
    """Edit the CRM's row as somebody does who writes past what keeps its time."""
    crm_status(desk, install, value, "updated_at")


def test_an_edit_of_the_crm_that_left_its_rows_time_as_it_was(both: Desk) -> None:
    install = both.a_site().install_id
    mirror_status(both, install, "On Hold", "now() - interval '1 minute'")
    silent_status(both, install, "Cancelled")
    (reason,) = asked(both)
    assert "or one that did not move with it alone" in reason


def test_an_edit_of_the_crm_that_set_its_rows_time_back(both: Desk) -> None:
    install = both.a_site().install_id
    both.sql("update crm.installs set updated_at = now() where enerflo_install_id = :i", i=install)
    both.plan()
    mirror_status(both, install, "On Hold", "now() - interval '1 minute'")
    crm_status(both, install, "Cancelled", "now() - interval '1 hour'")
    (reason,) = asked(both)
    assert "or one that did not move with it alone" in reason


def test_an_edit_that_moved_its_time_is_judged_by_it(both: Desk) -> None:
    install = both.a_site().install_id
    mirror_status(both, install, "On Hold", "now() - interval '1 minute'")
    crm_status(both, install, "Cancelled")
    assert direction(both) == ["to_enerflo"]


def test_the_time_is_the_one_at_the_last_look(both: Desk) -> None:
    """The row's time moved with another column, and a plan saw it; the edit after that left it as it was."""
    install = both.a_site().install_id
    # The first look is at all rows.
    both.plan()
    both.sql(
        "update crm.installs set panel_type = panel_type, updated_at = now() where enerflo_install_id = :i",
        i=install,
    )
    both.plan()
    mirror_status(both, install, "On Hold", "now() + interval '1 second'")
    silent_status(both, install, "Cancelled")
    assert len(asked(both)) == 1


def test_an_edit_after_our_own_write_that_left_the_time_of_that(both: Desk) -> None:
    install = both.a_site().install_id
    mirror_status(both, install, "On Hold", "now() - interval '1 minute'")
    plan = both.plan()
    assert run_apply(both.context, plan.plan_hash, approved_by="Pat").applied == 1
    silent_status(both, install, "Cancelled")
    mirror_status(both, install, "Completed", "now()")
    assert len(asked(both)) == 1


def test_our_own_write_of_another_column_does_not_move_the_time_of_the_edit(both: Desk) -> None:
    install = both.a_site().install_id
    mirror_status(both, install, "On Hold", "now() - interval '1 minute'")
    silent_status(both, install, "Cancelled")
    assert len(asked(both)) == 1
    written_beside(both, install, "Silfab")
    assert len(asked(both)) == 1


def test_where_one_side_changed_it_that_one_stands(both: Desk) -> None:
    install = both.a_site().install_id
    silent_status(both, install, "Cancelled")
    assert direction(both) == ["to_enerflo"]


@pytest.mark.parametrize("panels", [["Silfab"], ["Silfab", "Jinko"]])
@pytest.mark.parametrize("is_seen", [True, False])
def test_so_does_it_in_a_row_of_which_we_wrote_another_column(
    both: Desk, panels: list[str], is_seen: bool
) -> None:
    """The row is no older one that came back: its time moved forward with each write."""
    install = both.a_site().install_id
    for panel in panels:
        written_beside(both, install, panel)
    if is_seen:
        both.plan()
    silent_status(both, install, "Cancelled")
    assert direction(both) == ["to_enerflo"]


def test_a_change_at_enerflo_that_left_its_records_time_as_it_was(both: Desk) -> None:
    install = both.a_site().install_id
    mirror_status(both, install, "On Hold", "updated_at")
    crm_status(both, install, "Cancelled")
    assert len(asked(both)) == 1


def test_a_milestone_that_changed_before_its_install_is_read_again(both: Desk) -> None:
    """A webhook brings the milestone alone; the install's new time comes with the next poll."""
    install, milestone = a_milestone(both)
    key = "where install_id = :i and milestone_id = :m"
    both.sql(
        f"update enerflo.milestones set due_at = '2031-01-01', observed_at = now() {key}",
        i=install,
        m=milestone,
    )
    both.sql(
        "update crm.milestones set due_at = '2032-01-01', updated_at = now() - interval '1 second'"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=install,
        m=milestone,
    )
    assert len(asked(both, "due_at")) == 1
    both.sql("update enerflo.installs set updated_at = now() where install_id = :i", i=install)
    assert direction(both, "due_at") == ["to_crm"]


def test_nor_is_it_judged_by_the_time_that_its_install_got_from_our_own_write(both: Desk) -> None:
    """The time of the install moved since both sides agreed on the milestone, and not with the milestone."""
    install, milestone = a_milestone(both)
    crm_status(both, install, "On Hold")
    both.carried()
    key = "install_id = :i and milestone_id = :m"
    time.sleep(1.1)
    both.sql(
        f"update crm.milestones set due_at = '2032-01-01', updated_at = now() where enerflo_{key}",
        i=install,
        m=milestone,
    )
    time.sleep(1.1)
    both.sql(
        "update enerflo.milestones set due_at = '2031-01-01', observed_at = now(), observed_by = 'webhook'"
        f" where {key}",
        i=install,
        m=milestone,
    )
    assert len(asked(both, "due_at")) == 1
    both.sql(
        "update enerflo.installs set updated_at = now(), observed_at = now() where install_id = :i", i=install
    )
    assert direction(both, "due_at") == ["to_crm"]


def test_pairs_of_an_older_version_get_their_time_at_the_first_look(both: Desk) -> None:
    install = both.a_site().install_id
    # Long before the last look.
    both.sql("update enerflo.installs set observed_at = observed_at - interval '1 day'")
    both.plan()
    both.sql("update sync.agreed set crm_time = null, enerflo_time = null")
    # As the older version named its looks.
    both.sql("update sync.watermarks set name = replace(name, '/times', '')")
    both.sql("update sync.crm_looks set looker = replace(looker, '/times', '')")
    both.plan()
    mirror_status(both, install, "On Hold", "now()")
    silent_status(both, install, "Cancelled")
    assert len(asked(both)) == 1


@pytest.mark.parametrize("agreed_once", [True, False])
def test_an_edit_that_a_plan_saw_is_not_later_than_enerflos_because_another_column_was_edited(
    both: Desk, agreed_once: bool
) -> None:
    """The plan waited for its approval, and the time of the row moved on by the other column."""
    install = both.a_site().install_id
    if not agreed_once:
        both.sql("delete from sync.agreed where table_name = 'installs' and field = 'status'")
    crm_status(both, install, "Cancelled")
    for _ in range(2):
        assert direction(both) == ["to_enerflo"]
    mirror_status(both, install, "On Hold", "now()")
    # A column that is not mapped.
    both.sql("update crm.installs set updated_at = now() where enerflo_install_id = :i", i=install)
    for _ in range(2):
        (reason,) = asked(both)
        assert "does not tell whether the CRM or Enerflo changed it later" in reason
    # What Enerflo says next comes after the question, and what the CRM says next has a time of its own.
    mirror_status(both, install, "Pending KCA", "now()")
    assert direction(both) == ["to_crm"]
    crm_status(both, install, "On Hold")
    assert direction(both) == ["to_enerflo"]


def test_a_change_at_enerflo_within_the_second_of_that_plan_may_have_come_after_it(both: Desk) -> None:
    """Enerflo's times are of whole seconds."""
    install = both.a_site().install_id
    crm_status(both, install, "Cancelled")
    assert direction(both) == ["to_enerflo"]
    mirror_status(both, install, "On Hold", "date_trunc('second', (select max(created_at) from sync.plans))")
    both.sql("update crm.installs set updated_at = now() where enerflo_install_id = :i", i=install)
    assert len(asked(both)) == 1


def test_a_plan_that_saw_enerflos_change_came_after_it_also_within_its_second(both: Desk) -> None:
    install = both.a_site().install_id
    mirror_status(both, install, "On Hold", "date_trunc('second', clock_timestamp())")
    crm_status(both, install, "Cancelled")
    for _ in range(2):
        assert direction(both) == ["to_enerflo"]
        both.sql("update crm.installs set updated_at = now() where enerflo_install_id = :i", i=install)


@pytest.mark.parametrize("agreed_once", [True, False])
def test_an_edit_is_later_than_the_plan_that_saw_another_value(both: Desk, agreed_once: bool) -> None:
    """Whatever the row's time says, which an edit of another column has moved before that plan."""
    install = both.a_site().install_id
    if not agreed_once:
        both.sql("delete from sync.agreed where table_name = 'installs' and field = 'status'")
    both.sql(
        "update crm.installs set updated_at = now() - interval '1 hour' where enerflo_install_id = :i",
        i=install,
    )
    mirror_status(both, install, "On Hold", "now() - interval '1 minute'")
    assert direction(both) == ["to_crm"]
    silent_status(both, install, "Cancelled")
    for _ in range(2):
        (reason,) = asked(both)
        assert "or one that did not move with it alone" in reason
    # Enerflo's next change comes after it, and a row that is saved again says when.
    mirror_status(both, install, "Pending KCA", "now()")
    assert direction(both) == ["to_crm"]
    crm_status(both, install, "Cancelled")
    assert direction(both) == ["to_enerflo"]
