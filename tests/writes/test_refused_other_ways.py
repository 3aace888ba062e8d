"""What a person refused is not reached by another way: another column, table, layout or rule."""

from __future__ import annotations

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import read_refusals, run_reject, run_reopen
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.plan.parts import Part
from enerflo_sync.plan.reopen import WhichRefusals
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.kept import brought
from tests.writes.test_completion import an_install_with, finished
from tests.writes.test_moved_rows import AT_ONCE, ON_HOLD, a_site, at_enerflo
from tests.writes.test_refused import edit, status_at_enerflo
from tests.writes.test_rows_of_one_key import copied, split
from tests.writes.test_tables_of_one_kind import two_sites
from tests.writes.test_wide_milestones import DAY, _widened, edited, of_enerflo

__all__ = ["split"]

ONE_COLUMN = """tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    create_in: []
    fields:
      status: {enerflo: status_name, type: text, fold_case: true, source_of_truth: newest}
"""
TWO_COLUMNS = f"""{ONE_COLUMN}\
      stage: {{enerflo: status_name, type: text, fold_case: true, source_of_truth: newest}}
"""


def _two_columns(desk: Desk) -> None:
    desk.sql("alter table crm.installs add stage text")
    desk.sql("update crm.installs set stage = status")
    mapped(desk, "both", TWO_COLUMNS, AT_ONCE)
    desk.carried()


def refused(desk: Desk, *fields: str) -> None:
    """Let a person refuse what is planned, which are changes of these columns."""
    plans = run_plan(desk.context)
    assert sorted(change.field or "" for plan in plans for change in desk.changes(plan)) == sorted(fields)
    for plan in plans:
        run_reject(desk.context, plan.plan_hash, by="Sam Hill", reason="the customer stays")


def due(desk: Desk) -> list[tuple[str, str | None, str]]:
    return [
        (change.table_name, change.field, change.direction)
        for plan in run_plan(desk.context)
        for change in desk.changes(plan)
    ]


@pytest.fixture
def of_two(agreed: Desk) -> tuple[Desk, int]:
    """Two columns of one row that say one field of Enerflo; of one of them a person refused a cancellation."""
    brought(agreed, _two_columns)
    site = int(agreed.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'"))
    edit(agreed, site, status="Cancelled")
    refused(agreed, "status")
    return agreed, site


def test_another_column_of_the_same_field_does_not_send_it(of_two: tuple[Desk, int]) -> None:
    desk, site = of_two
    edit(desk, site, stage="CANCELLED")
    assert due(desk) == []
    desk.carried()
    assert status_at_enerflo(desk, site) == c.IN_PROGRESS
    # Not even if the column of which it was refused says again what Enerflo says.
    edit(desk, site, status="In progress")
    for _ in range(2):
        assert due(desk) == []
    edit(desk, site, status="On Hold", stage="On Hold")
    assert due(desk) == [("installs", "stage", "to_enerflo"), ("installs", "status", "to_enerflo")]


def test_what_both_agreed_on_since_in_the_other_column_lets_nothing_through(of_two: tuple[Desk, int]) -> None:
    desk, site = of_two
    edit(desk, site, stage="IN PROGRESS")
    assert due(desk) == []
    edit(desk, site, stage="Cancelled")
    assert due(desk) == []


def test_the_other_row_of_the_key_does_not_send_it(split: Desk) -> None:
    site = a_site(split)
    copied(split, site, "In progress")
    split.carried()
    split.sql(
        "update crm.installs set status = 'Cancelled', updated_at = clock_timestamp()"
        " where enerflo_install_id = :i and branch = 'east'",
        i=site,
    )
    refused(split, "status")
    split.sql(
        "update crm.installs set status = 'Cancelled', updated_at = clock_timestamp()"
        " where enerflo_install_id = :i and branch = 'west'",
        i=site,
    )
    assert due(split) == []


WORDS = f"""{ONE_COLUMN}\
  board:
    of: installs
    crm_table: crm.board
    key: {{site: install_id}}
    updated_at: updated_at
    create_in: []
    fields:
      word: {{enerflo: status_name, type: text, source_of_truth: newest, values: {{Cancelled: Dead}}}}
"""


def _in_other_words(desk: Desk) -> None:
    desk.sql(
        "create table crm.board as select enerflo_install_id as site, status as word, updated_at"
        " from crm.installs"
    )
    desk.sql("alter table crm.board add primary key (site)")
    desk.sql("update crm.board set word = 'Dead' where word = 'Cancelled'")
    mapped(desk, "both", WORDS, AT_ONCE)
    desk.carried()


def test_another_table_does_not_send_it_in_other_words(agreed: Desk) -> None:
    brought(agreed, _in_other_words)
    site = int(agreed.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'"))
    edit(agreed, site, status="Cancelled")
    refused(agreed, "status")
    agreed.sql("update crm.board set word = 'Dead', updated_at = clock_timestamp() where site = :i", i=site)
    assert due(agreed) == []


@pytest.mark.parametrize("first", ["wide", "long"])
def test_neither_layout_of_milestones_sends_what_was_refused_of_the_other(desk: Desk, first: str) -> None:
    brought(desk, _widened)
    (site, *_) = two_sites(desk)

    def said(layout: str) -> None:
        if layout == "wide":
            edited(desk, site, "PTO_Date__c", DAY)
        else:
            desk.sql(
                "update crm.milestones set completed_at = '2026-03-02 00:00+00', updated_at = now()"
                " where enerflo_install_id = :i and milestone_id = 3907",
                i=site,
            )

    said(first)
    plans = run_plan(desk.context)
    for plan in plans:
        run_reject(desk.context, plan.plan_hash, by="Sam")
    assert {one.direction for one in read_refusals(desk.context)} == {"to_enerflo"}
    said("long" if first == "wide" else "wide")
    assert due(desk) == []
    assert of_enerflo(desk, site, 3907) is None


def test_a_refused_milestone_completes_no_install(agreed: Desk) -> None:
    install = agreed.a_site().install_id
    plan = finished(agreed, install)
    assert len(agreed.changes(plan, rule=LAST_MILESTONE)) == 1
    run_reject(agreed.context, plan.plan_hash, by="Sam")
    at_enerflo(agreed, install, ON_HOLD)
    edit(agreed, install, status="On Hold")
    assert due(agreed) == []


@pytest.mark.parametrize("of_the_last", [True, False])
def test_where_all_are_needed_a_refused_one_keeps_the_install_open(agreed: Desk, of_the_last: bool) -> None:
    agreed.switched_on("both", ("completed_needs: final", "completed_needs: all"))
    install, last, other = _two_open(agreed)
    complete(agreed, install, last if of_the_last else other)
    refused(agreed, "completed_at")
    complete(agreed, install, other if of_the_last else last)
    assert due(agreed) == [("milestones", "completed_at", "to_enerflo")]
    agreed.carried()
    assert status_at_enerflo(agreed, install) == c.IN_PROGRESS


def test_where_the_last_one_is_needed_a_refused_other_one_keeps_nothing_open(agreed: Desk) -> None:
    install, last, other = _two_open(agreed)
    complete(agreed, install, other)
    refused(agreed, "completed_at")
    complete(agreed, install, last)
    assert sorted(due(agreed)) == [
        ("installs", "status", "to_enerflo"),
        ("milestones", "completed_at", "to_enerflo"),
    ]


def _two_open(desk: Desk) -> tuple[int, int, int]:
    """Return an install in progress of which two milestones are open, with the two, the last one first."""
    install = an_install_with(desk, 1)
    rows = desk.sql(
        "select milestone_id from enerflo.milestones where install_id = :i and deleted_at is null"
        " and completed_at is null order by sequence desc limit 2",
        i=install,
    )
    last, other = (int(row["milestone_id"]) for row in rows)
    return install, last, other


def complete(desk: Desk, install: int, milestone: int) -> None:
    desk.sql(
        "update crm.milestones set completed_at = now(), updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=install,
        m=milestone,
    )


TEAMS = """
  {name}:
    of: notes
    crm_table: crm.notes
    where: "team = '{team}'"
    key: [note_id]
    join: {{enerflo_note_id: note_id}}
    updated_at: updated_at
    create_only: true
    create_in: [enerflo]
    delete_in: [crm]
    fields:
      enerflo_install_id: {{enerflo: install_id, type: integer, source_of_truth: enerflo}}
      body: {{enerflo: body, type: text, source_of_truth: review}}
"""


def _of_teams(desk: Desk) -> None:
    desk.sql("alter table crm.notes add team text not null default 'east'")
    desk.sql("update crm.notes set team = 'west' where note_id = (select max(note_id) from crm.notes)")
    tables = "".join(
        TEAMS.format(name=name, team=team) for name, team in (("notes", "east"), ("west", "west"))
    )
    mapped(desk, "both", f"tables:{tables}", AT_ONCE)
    desk.carried()


@pytest.fixture
def teams(agreed: Desk) -> Desk:
    """The notes of two teams, each a table of its own in sync.yaml; rows of one CRM table."""
    brought(agreed, _of_teams)
    return agreed


def refused_note(desk: Desk) -> None:
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, body, updated_at)"
        " select 'n-1', min(enerflo_install_id), 'Not for Enerflo.', now() from crm.notes"
    )
    for plan in run_plan(desk.context):
        assert {change.op for change in desk.changes(plan)} == {"insert"}
        run_reject(desk.context, plan.plan_hash, by="Sam")
    assert due(desk) == []


def test_a_new_note_of_another_table_by_now_is_not_sent(teams: Desk) -> None:
    refused_note(teams)
    teams.sql("update crm.notes set team = 'west', updated_at = now() where note_id = 'n-1'")
    assert due(teams) == []
    teams.sql("update crm.notes set body = 'For Enerflo.', updated_at = now() where note_id = 'n-1'")
    assert {table for table, _, _ in due(teams)} == {"west"}
    assert read_refusals(teams.context) == []


def test_a_new_note_under_another_key_is_not_sent(teams: Desk) -> None:
    refused_note(teams)
    teams.sql("update crm.notes set note_id = 'n-2', updated_at = now() where note_id = 'n-1'")
    assert due(teams) == []
    teams.sql("update crm.notes set team = 'west', updated_at = now() where note_id = 'n-2'")
    assert due(teams) == []
    assert len(read_refusals(teams.context)) == 1
    teams.sql("update crm.notes set body = 'For Enerflo.', updated_at = now() where note_id = 'n-2'")
    assert {table for table, _, _ in due(teams)} == {"west"}


def test_another_note_of_the_same_text_is_sent_while_the_refused_one_is_there(teams: Desk) -> None:
    refused_note(teams)
    teams.sql(
        "insert into crm.notes (note_id, enerflo_install_id, body, updated_at)"
        " select 'n-2', enerflo_install_id, body, now() from crm.notes where note_id = 'n-1'"
    )
    (plan,) = run_plan(teams.context)
    assert {change.key["note_id"] for change in teams.changes(plan)} == {"n-2"}


def gone(desk: Desk) -> int:
    """Let a note be deleted at Enerflo, and return it."""
    note = int(desk.one("select min(enerflo_note_id) from crm.notes where team = 'east'"))
    desk.world.delete_note(note)
    run_poll(desk.context, full=True)
    return note


def to_west(desk: Desk, note: int) -> None:
    desk.sql("update crm.notes set team = 'west', updated_at = now() where enerflo_note_id = :n", n=note)


def test_a_row_of_another_table_by_now_is_not_deleted(teams: Desk) -> None:
    note = gone(teams)
    refused(teams, "")
    assert due(teams) == []
    to_west(teams, note)
    assert due(teams) == []
    teams.sql("update crm.notes set body = 'Another text.' where enerflo_note_id = :n", n=note)
    assert due(teams) == [("west", None, "to_crm")]


def test_a_row_that_an_undo_restored_is_not_deleted_as_one_of_another_table(teams: Desk) -> None:
    note = gone(teams)
    plan = teams.plan()
    assert [change.op for change in teams.changes(plan)] == ["delete"]
    assert run_apply(teams.context, plan.plan_hash, approved_by="Pat").applied == 1
    undo = run_undo(teams.context, plan.plan_hash)
    assert run_apply(teams.context, undo.plan_hash, approved_by="Pat").waiting == 0
    assert due(teams) == []
    to_west(teams, note)
    assert due(teams) == []


def test_a_yes_after_all_does_not_send_what_was_refused_of_another_column_since(
    of_two: tuple[Desk, int],
) -> None:
    desk, site = of_two
    first = desk.one(
        "select plan_hash from sync.plans where state = 'rejected' order by decided_at desc limit 1"
    )
    run_reopen(desk.context, WhichRefusals(), by="Pat")
    edit(desk, site, stage="Cancelled")
    plan = desk.plan()
    run_reject(desk.context, plan.plan_hash, by="Ann", part=Part(only=["installs.stage"]))
    with pytest.raises(ConfigurationError, match="Ann refused a change of it since"):
        run_apply(desk.context, first, approved_by="Bob")
    assert status_at_enerflo(desk, site) == c.IN_PROGRESS
