"""Where either side's change is taken: an older state that comes back with its old time overwrites no later edit."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.test_newest import crm_status, direction, keyed, mirror_status, written_beside
from tests.writes.test_refused import status_at_enerflo

__all__ = ["keyed"]

OLDER_ROW = "the time of the CRM's row is earlier than it was when both sides agreed"
OLDER_RECORD = "the time of Enerflo's record is earlier than it was when both sides agreed"


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


def backed_up(desk: Desk, table: str = "installs") -> Callable[[], None]:
    """Copy a table of the CRM; return what restores it from the copy."""
    desk.sql(f"create table crm.backup as select * from crm.{table}")

    def restore() -> None:
        desk.sql(f"delete from crm.{table}")
        desk.sql(f"insert into crm.{table} select * from crm.backup")

    return restore


def written_over_backup(desk: Desk) -> tuple[int, Callable[[], None]]:
    """Write an install's status into the CRM; return the install, and what restores its row of before."""
    install = desk.a_site().install_id
    restore = backed_up(desk)
    mirror_status(desk, install, "On Hold", "now()")
    desk.carried()
    assert desk.crm("installs", enerflo_install_id=install)["status"] == "On Hold"
    return install, restore


def saved_again(desk: Desk, install: int) -> None:
    """Save a row in the CRM, as somebody does who means what it says."""
    desk.sql("update crm.installs set updated_at = now() where enerflo_install_id = :i", i=install)


def test_a_table_that_is_restored_from_a_backup_overwrites_no_later_edit_at_enerflo(both: Desk) -> None:
    install = both.a_site().install_id
    restore = backed_up(both)
    both.world.set_status(install, 4)
    run_poll(both.context)
    both.carried()
    assert both.crm("installs", enerflo_install_id=install)["status"] == "On Hold"
    restore()
    (reason,) = asked(both)
    assert OLDER_ROW in reason
    # The question stands for as long as the row does.
    assert len(asked(both)) == 1
    both.carried()
    assert status_at_enerflo(both, install) == 4


def test_our_own_write_of_another_column_does_not_make_the_restored_row_a_later_one(both: Desk) -> None:
    install, restore = written_over_backup(both)
    restore()
    assert OLDER_ROW in asked(both)[0]
    for panel in ("Silfab", "Jinko"):
        written_beside(both, install, panel)
        (reason,) = asked(both)
        assert OLDER_ROW in reason
    saved_again(both, install)
    assert direction(both) == ["to_enerflo"]


def test_nor_does_a_write_of_ours_that_was_planned_before_the_row_was_restored(both: Desk) -> None:
    install, restore = written_over_backup(both)
    both.sql(
        "update enerflo.installs set panel_type = 'Silfab', observed_at = now() where install_id = :i",
        i=install,
    )
    plan = both.plan()
    restore()
    assert run_apply(both.context, plan.plan_hash, approved_by="Pat").applied == 1
    for panel in ("Jinko", "Qcells"):
        assert OLDER_ROW in asked(both)[0]
        written_beside(both, install, panel)
    assert OLDER_ROW in asked(both)[0]


NEWEST = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest"
REVIEW = NEWEST.replace("newest", "review")


@pytest.fixture(params=["reviewed from the beginning", "reviewed since then"])
def reviewed(request: pytest.FixtureRequest, agreed: Desk) -> Desk:
    """An account of which a person decides what both sides changed; its pairs may be older than the option."""
    if "since" in request.param:
        agreed.carried()
    agreed.switched_on("both", (NEWEST, REVIEW))
    agreed.carried()
    return agreed


def test_nor_where_a_person_decides_what_both_sides_changed(reviewed: Desk) -> None:
    install, restore = written_over_backup(reviewed)
    restore()
    (reason,) = asked(reviewed)
    assert OLDER_ROW in reason
    saved_again(reviewed, install)
    assert direction(reviewed) == ["to_enerflo"]


def test_nor_there_where_we_write_another_column_of_the_row(reviewed: Desk) -> None:
    install, restore = written_over_backup(reviewed)
    restore()
    assert OLDER_ROW in asked(reviewed)[0]
    written_beside(reviewed, install, "Silfab")
    assert OLDER_ROW in asked(reviewed)[0]


def test_so_does_no_record_that_enerflo_restores_there(reviewed: Desk) -> None:
    install = reviewed.a_site().install_id
    crm_status(reviewed, install, "On Hold")
    reviewed.carried()
    assert status_at_enerflo(reviewed, install) == 4
    mirror_status(reviewed, install, "In progress", "now() - interval '2 days'")
    (reason,) = asked(reviewed)
    assert OLDER_RECORD in reason


def test_so_does_no_date_of_a_restored_milestone(agreed: Desk) -> None:
    install = agreed.a_site().install_id
    milestone = agreed.one(
        "select min(milestone_id) from crm.milestones where enerflo_install_id = :i and due_at is not null",
        i=install,
    )
    restore = backed_up(agreed, "milestones")
    agreed.sql(
        "update enerflo.milestones set due_at = '2031-01-01', observed_at = now()"
        " where install_id = :i and milestone_id = :m",
        i=install,
        m=milestone,
    )
    plan = agreed.plan()
    assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 1
    restore()
    assert [OLDER_ROW in reason for reason in asked(agreed, "due_at")] == [True]


def test_what_enerflo_restores_overwrites_no_edit_of_the_crm_that_was_sent(both: Desk) -> None:
    install = both.a_site().install_id
    columns = "status_id, status_name, updated_at"
    (before,) = both.sql(f"select {columns} from enerflo.installs where install_id = :i", i=install)
    crm_status(both, install, "On Hold")
    both.carried()
    assert status_at_enerflo(both, install) == 4
    both.sql(
        f"update enerflo.installs set ({columns}) = (:status_id, :status_name, :updated_at),"
        " observed_at = now() where install_id = :i",
        i=install,
        **before,
    )
    (reason,) = asked(both)
    assert OLDER_RECORD in reason
    both.carried()
    assert both.crm("installs", enerflo_install_id=install)["status"] == "On Hold"


def test_an_edit_after_that_answers_the_question(both: Desk) -> None:
    install, restore = written_over_backup(both)
    restore()
    assert len(asked(both)) == 1
    saved_again(both, install)
    assert direction(both) == ["to_enerflo"]


def test_so_does_declaring_enerflo_the_source_of_truth_for_a_while(agreed: Desk) -> None:
    install = agreed.a_site().install_id
    restore = backed_up(agreed)
    mirror_status(agreed, install, "On Hold", "now()")
    agreed.carried()
    restore()
    assert len(asked(agreed)) == 1
    agreed.switched_on("both", (NEWEST, NEWEST.replace("newest", "enerflo")))
    agreed.carried()
    assert agreed.crm("installs", enerflo_install_id=install)["status"] == "On Hold"
    agreed.switched_on("both")
    assert agreed.plan().change_count == 0


def test_a_row_with_its_old_time_and_the_agreed_value_is_the_base_of_the_next_edit(both: Desk) -> None:
    """An import that keeps its source's times brings our own write with an earlier time than we gave it."""
    install = both.a_site().install_id
    mirror_status(both, install, "On Hold", "now()")
    both.carried()
    crm_status(both, install, "On Hold", "now() - interval '10 minutes'")
    assert both.plan().change_count == 0
    crm_status(both, install, "Cancelled", "now() - interval '5 minutes'")
    assert direction(both) == ["to_enerflo"]


def test_a_row_that_returns_after_our_write_whose_time_a_trigger_set(agreed: Desk) -> None:
    """A server of the CRM that is an hour behind dates all writes, ours too."""
    install = agreed.a_site().install_id
    agreed.sql(
        "create function crm.dates() returns trigger language plpgsql as"
        " $$begin new.updated_at \\:= clock_timestamp() - interval '1 hour'; return new; end$$"
    )
    agreed.sql("create trigger dates before update on crm.installs for each row execute function crm.dates()")
    mirror_status(agreed, install, "On Hold", "now()")
    agreed.carried()
    time.sleep(0.1)
    agreed.sql("update crm.installs set status = 'Cancelled' where enerflo_install_id = :i", i=install)
    assert direction(agreed) == ["to_enerflo"]


def test_an_older_row_that_takes_nothing_away_is_no_question(agreed: Desk) -> None:
    """A null overwrites nothing here, whatever its row's time is."""
    install = agreed.a_site().install_id
    agreed.plan()
    agreed.sql("alter table crm.installs alter status drop not null")
    agreed.sql(
        "update crm.installs set status = null, updated_at = updated_at - interval '1 hour'"
        " where enerflo_install_id = :i",
        i=install,
    )
    assert asked(agreed) == []
