"""A CRM that has milestones in columns of its installs: both directions, without guessing a milestone."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from enerflo_sandbox import render
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.plan.report import Change
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_tables_of_one_kind import END, QUICK, last, two_sites

PERMITTING, PTO = 3903, 3907
DAY = date(2026, 3, 2)
# The day begins at midnight in Denver.
MIDNIGHT = datetime(2026, 3, 2, 7, tzinfo=UTC)
TABLE = """
  permits:
    of: milestones
    layout: wide
    crm_table: crm."Opportunity"
    key: {Install_Id__c: install_id}
    updated_at: updated_at
    columns:
      Permit_Date__c:
        {milestone: Permitting, enerflo: completed_at, type: date, time_zone: America/Denver, source_of_truth: newest}
      Permit_Due__c: {milestone: Permitting, enerflo: due_at, type: timestamp, source_of_truth: newest}
      PTO_Date__c: {milestone: 3907, enerflo: completed_at, type: timestamp, source_of_truth: newest}
"""
COLUMNS = '"Permit_Date__c" date, "Permit_Due__c" timestamptz, "PTO_Date__c" timestamptz'


@pytest.fixture
def wide(desk: Desk) -> Desk:
    """All milestones stand in rows of their own; some also in columns of the installs."""
    brought(desk, _widened)
    return desk


def _widened(desk: Desk) -> None:
    desk.sql(
        f'create table crm."Opportunity" ("Id" serial, "Install_Id__c" bigint primary key, {COLUMNS},'
        " updated_at timestamptz)"
    )
    desk.switched_on("both", QUICK, (END, END + TABLE))
    # One install has no row.
    desk.sql(
        'insert into crm."Opportunity" ("Install_Id__c", updated_at) select install_id, \'2020-01-01\''
        " from enerflo.installs where install_id <> (select max(install_id)"
        " from enerflo.milestones where milestone_id = 3903 and due_at is not null)"
    )
    desk.carried()


def said(desk: Desk, site: int, column: str) -> Any:
    return desk.one(f'select "{column}" from crm."Opportunity" where "Install_Id__c" = :s', s=site)


def edited(desk: Desk, site: int, column: str, value: Any) -> None:
    desk.sql(
        f'update crm."Opportunity" set "{column}" = :v, updated_at = now() where "Install_Id__c" = :s',
        v=value, s=site,
    )  # fmt: skip


def of_enerflo(desk: Desk, site: int, milestone: int, column: str = "completed_at") -> Any:
    return desk.one(
        f"select {column} from enerflo.milestones where install_id = :i and milestone_id = :m",
        i=site, m=milestone,
    )  # fmt: skip


def planned(desk: Desk) -> list[Change]:
    """Return the changes of both parts of a new plan."""
    return [change for plan in run_plan(desk.context) for change in desk.changes(plan)]


def due(changes: list[Change]) -> list[tuple[str, str, str | None]]:
    return sorted((one.table_name, one.direction, one.field) for one in changes)


def applied(desk: Desk) -> Counter[str]:
    """Apply all plans that wait; return how many changes ended in which way, and the reasons."""
    ends: Counter[str] = Counter()
    for plan_hash in [
        row["plan_hash"] for row in desk.sql("select plan_hash from sync.plans where state = 'open'")
    ]:
        report = run_apply(desk.context, plan_hash, approved_by="Pat")
        ends += Counter(applied=report.applied, moved=report.moved, parked=report.parked)
        ends.update(reason for reasons in report.reasons.values() for reason in reasons)
    return ends


def test_the_columns_are_filled_from_the_milestones_and_no_row_is_made(wide: Desk) -> None:
    rows = wide.one('select count(*) from crm."Opportunity"')
    assert rows == wide.one("select count(*) - 1 from enerflo.installs") > 30
    for site in two_sites(wide):
        completed = of_enerflo(wide, site, PERMITTING)
        there = wide.one(
            "select (:t at time zone 'America/Denver')::date", t=completed
        ) if completed else None  # fmt: skip
        assert said(wide, site, "Permit_Date__c") == there
        assert said(wide, site, "Permit_Due__c") == of_enerflo(wide, site, PERMITTING, "due_at")
    wide.settled()


def test_an_edit_in_the_crm_is_the_milestones_write_and_reaches_the_long_table(wide: Desk) -> None:
    site = two_sites(wide)[0]
    edited(wide, site, "Permit_Date__c", DAY)
    plan = wide.plan()
    assert due(wide.changes(plan)) == [("permits", "to_enerflo", "Permit_Date__c")]
    assert wide.changes(plan)[0].key == {"Install_Id__c": site}
    wide.world.received.clear()
    assert run_apply(wide.context, plan.plan_hash, approved_by="Pat").applied == 1
    (sent,) = wide.world.received
    assert sent.path == f"/api/v3/installs/{site}/milestones/{PERMITTING}"
    assert of_enerflo(wide, site, PERMITTING) == MIDNIGHT
    # Enerflo's new value is the long table's news, and the wide one does not take it back.
    then = wide.plan()
    assert due(wide.changes(then)) == [("milestones", "to_crm", "completed_at")]
    wide.carried()
    assert (
        wide.crm("milestones", enerflo_install_id=site, milestone_id=PERMITTING)["completed_at"] == MIDNIGHT
    )
    assert said(wide, site, "Permit_Date__c") == DAY
    wide.settled()
    (story,) = run_explain(wide.context, "permits", str(site), field="Permit_Date__c").fields
    assert [(step.direction, step.decision) for step in story.steps][-1] == ("to_enerflo", "applied")
    undo = run_undo(wide.context, plan.plan_hash)
    assert due(wide.changes(undo)) == [("permits", "to_enerflo", "Permit_Date__c")]
    assert run_apply(wide.context, undo.plan_hash, approved_by="Pat").applied == 1
    assert of_enerflo(wide, site, PERMITTING) != MIDNIGHT


def test_an_edit_of_the_long_table_reaches_the_wide_one_which_sends_nothing_back(wide: Desk) -> None:
    site = two_sites(wide)[0]
    wide.sql(
        "update crm.milestones set due_at = :t, updated_at = now()"
        " where enerflo_install_id = :s and milestone_id = :m",
        t=MIDNIGHT, s=site, m=PERMITTING,
    )  # fmt: skip
    wide.carried()
    then = wide.plan()
    assert due(wide.changes(then)) == [("permits", "to_crm", "Permit_Due__c")]
    wide.carried()
    assert said(wide, site, "Permit_Due__c") == MIDNIGHT
    wide.settled()


def test_a_change_at_enerflo_is_written_undone_and_left_undone(wide: Desk) -> None:
    site = two_sites(wide)[0]
    before = said(wide, site, "Permit_Due__c")
    wide.world.set_milestone(site, PERMITTING, {"due": MIDNIGHT})
    run_poll(wide.context)
    plan = wide.plan()
    assert ("permits", "to_crm", "Permit_Due__c") in due(wide.changes(plan))
    assert run_apply(wide.context, plan.plan_hash, approved_by="Pat").waiting == 0
    assert said(wide, site, "Permit_Due__c") == MIDNIGHT
    wide.settled()
    undo = run_undo(wide.context, plan.plan_hash)
    run_apply(wide.context, undo.plan_hash, approved_by="Pat")
    assert said(wide, site, "Permit_Due__c") == before
    assert wide.plan().change_count == 0


@pytest.mark.parametrize(("mode", "direction"), [("crm", "to_crm"), ("enerflo", "to_enerflo")])
def test_a_mode_writes_its_side_alone(wide: Desk, mode: str, direction: str) -> None:
    one, other = two_sites(wide)
    wide.switched_on(mode, QUICK, (END, END + TABLE))
    edited(wide, one, "Permit_Due__c", MIDNIGHT)
    wide.world.set_milestone(other, PERMITTING, {"due": MIDNIGHT})
    run_poll(wide.context)
    found = [one for one in due(planned(wide)) if one[0] == "permits"]
    assert found == [("permits", direction, "Permit_Due__c")]


def test_where_both_moved_the_later_one_stands(wide: Desk) -> None:
    one, other = two_sites(wide)
    # Nobody has touched the rows for an hour, and a plan has seen that.
    wide.sql("update crm.\"Opportunity\" set updated_at = now() - interval '1 hour'")
    wide.plan()
    for site, minutes in ((one, 5), (other, -5)):
        now = wide.one("select now()")
        wide.world.set_milestone(site, PERMITTING, {"due": MIDNIGHT})
        wide.sql(
            'update crm."Opportunity" set "Permit_Due__c" = :v, updated_at = :t where "Install_Id__c" = :s',
            v=MIDNIGHT + timedelta(days=1), t=now - timedelta(minutes=minutes), s=site,
        )  # fmt: skip
    run_poll(wide.context)
    found = {
        change.key["Install_Id__c"]: change.direction
        for change in planned(wide)
        if (change.table_name, change.field) == ("permits", "Permit_Due__c")
    }
    assert found == {one: "to_crm", other: "to_enerflo"}
    # The loser is kept, and both agree in the end.
    wide.carried()
    wide.carried()
    wide.settled()
    assert said(wide, one, "Permit_Due__c") == MIDNIGHT
    assert of_enerflo(wide, other, PERMITTING, "due_at") == MIDNIGHT + timedelta(days=1)


def test_another_milestone_that_changed_later_does_not_make_enerflo_the_later_side(wide: Desk) -> None:
    site = two_sites(wide)[0]
    wide.world.set_milestone(site, PERMITTING, {"due": MIDNIGHT})
    run_poll(wide.context)
    edited(wide, site, "Permit_Due__c", MIDNIGHT + timedelta(days=1))
    # Enerflo's times are whole seconds.
    time.sleep(1.1)
    wide.world.set_milestone(site, PTO, {"completed": MIDNIGHT})
    run_poll(wide.context)
    assert ("permits", "to_enerflo", "Permit_Due__c") in due(planned(wide))


def test_a_milestone_that_a_webhook_brought_alone_is_not_judged_by_its_installs_older_time(
    wide: Desk,
) -> None:
    site = two_sites(wide)[0]
    wide.sql("update crm.\"Opportunity\" set updated_at = now() - interval '1 hour'")
    wide.plan()
    # The install's time moves after both sides agreed.
    wide.world.resubmit_install(site, panel_count=44)
    run_poll(wide.context)
    time.sleep(1.1)
    edited(wide, site, "Permit_Due__c", MIDNIGHT + timedelta(days=1))
    edited(wide, site, "PTO_Date__c", MIDNIGHT + timedelta(days=1))
    time.sleep(1.1)
    wide.sql(
        "update enerflo.milestones set due_at = :v, observed_at = now(), observed_by = 'webhook'"
        " where install_id = :i and milestone_id = :m",
        v=MIDNIGHT, i=site, m=PERMITTING,
    )  # fmt: skip
    plans = run_plan(wide.context)
    # Nothing came for the other milestone.
    found = [change for plan in plans for change in wide.changes(plan)]
    assert [one for one in due(found) if one[0] == "permits"] == [("permits", "to_enerflo", "PTO_Date__c")]
    assert [one.field for plan in plans for one in wide.undecided(plan)] == ["Permit_Due__c"]
    wide.sql(
        "update enerflo.installs set updated_at = now(), observed_at = now() where install_id = :i", i=site
    )
    assert ("permits", "to_crm", "Permit_Due__c") in due(planned(wide))


def test_the_last_milestone_in_a_column_completes_the_install(wide: Desk) -> None:
    site = two_sites(wide)[0]
    assert last(wide, site) == PTO
    edited(wide, site, "PTO_Date__c", wide.one("select date_trunc('second', now()) - interval '1 minute'"))
    plan = wide.plan()
    assert [one.table_name for one in wide.changes(plan, rule=LAST_MILESTONE)] == ["installs"]
    # It is bound to the column: taken back there, the install is not completed either.
    edited(wide, site, "PTO_Date__c", None)
    report = run_apply(wide.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (0, 2)
    edited(wide, site, "PTO_Date__c", wide.one("select date_trunc('second', now()) - interval '1 minute'"))
    wide.carried()
    assert wide.one("select status_name from enerflo.installs where install_id = :i", i=site) == "Completed"


def test_what_moved_since_the_plan_is_left_alone_on_either_side(wide: Desk) -> None:
    one, other = two_sites(wide)
    edited(wide, one, "Permit_Due__c", MIDNIGHT)
    wide.world.set_milestone(other, PERMITTING, {"due": MIDNIGHT})
    run_poll(wide.context)
    assert {found[:2] for found in due(planned(wide))} == {
        ("permits", "to_enerflo"), ("permits", "to_crm"), ("milestones", "to_crm"),
    }  # fmt: skip
    later = MIDNIGHT + timedelta(days=3)
    edited(wide, other, "Permit_Due__c", later)
    wide.world.set_milestone(one, PERMITTING, {"due": later})
    ends = applied(wide)
    assert (ends["applied"], ends["moved"]) == (1, 2)
    assert said(wide, other, "Permit_Due__c") == later
    assert of_enerflo(wide, one, PERMITTING, "due_at") == later


def test_what_a_person_refused_stays_refused_until_both_agree(wide: Desk) -> None:
    site = two_sites(wide)[0]
    edited(wide, site, "Permit_Due__c", MIDNIGHT)
    plan = wide.plan()
    run_reject(wide.context, plan.plan_hash, by="Pat", reason="wrong day")
    then = wide.plan()
    assert wide.changes(then) == []
    assert [one.reason[:14] for one in wide.undecided(then) if one.reason] == ["refused by Pat"]
    # Enerflo says the same by itself: the refusal is over, and nothing is left.
    wide.world.set_milestone(site, PERMITTING, {"due": MIDNIGHT})
    run_poll(wide.context)
    wide.carried()
    wide.carried()
    assert wide.one("select count(*) from sync.refusals where ended_at is null") == 0


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the company call a milestone otherwise."""

    def rename(milestone: int, title: str) -> None:
        changed = [
            render._fixed({**one, "title": title})
            if one["id"] == milestone
            else msgspec.Raw(msgspec.json.encode(one))
            for one in map(msgspec.json.decode, render._DEFINITIONS)
        ]
        monkeypatch.setattr(render, "_DEFINITIONS", tuple(changed))

    return rename


def seen_anew(desk: Desk) -> None:
    """Let every install of the company be another one than before, and poll."""
    for site in two_sites(desk):
        desk.world.set_milestone(site, 3902, {"due": desk.one("select now()")})
    run_poll(desk.context)


def test_between_two_milestones_of_one_title_nothing_is_chosen(wide: Desk, renamed: Any) -> None:
    site = two_sites(wide)[0]
    edited(wide, site, "Permit_Due__c", MIDNIGHT)
    plan = wide.plan()
    # The second one appears between plan and apply: neither is written.
    renamed(3904, "permitting ")
    report = run_apply(wide.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked) == (0, 1)
    assert "2 milestones called 'Permitting'" in str(report.reasons)
    seen_anew(wide)
    then = wide.plan()
    assert [one for one in due(wide.changes(then)) if one[0] == "permits"] == []
    asked = {
        (one.field, one.cause, one.reason)
        for one in wide.undecided(then)
        if one.table_name == "permits" and one.key["Install_Id__c"] == site
    }
    words = "the install has more than one milestone of this title: rename one at Enerflo, or map its id"
    assert asked == {(name, "duplicate_identity", words) for name in ("Permit_Date__c", "Permit_Due__c")}


def test_a_title_that_was_changed_at_enerflo_is_no_other_milestones(wide: Desk, renamed: Any) -> None:
    site = two_sites(wide)[0]
    edited(wide, site, "Permit_Due__c", MIDNIGHT)
    plan = wide.plan()
    renamed(PERMITTING, "Building permit")
    report = run_apply(wide.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked) == (0, 1)
    assert f"milestone {PERMITTING} is not called 'Permitting' any more" in str(report.reasons)
    # The other installs have it still: this one's is missing, and its value in the CRM stays.
    then = wide.plan()
    assert [one for one in due(wide.changes(then)) if one[0] == "permits"] == []
    assert any(reason.startswith("missing milestone: ") for reason in then.kept)
    assert said(wide, site, "Permit_Due__c") == MIDNIGHT
    assert wide.one(
        "select count(*) from sync.differences where table_name = 'permits' and cause = 'missing_in_enerflo'"
        " and field = 'Permit_Due__c' and key = jsonb_build_object('Install_Id__c', cast(:s as bigint))"
        " and reconciliation_id = (select reconciliation_id from sync.reconciliations"
        "   order by started_at desc limit 1)",
        s=site,
    ) == 1  # fmt: skip


def test_tables_that_contradict_each_other_are_a_question(wide: Desk) -> None:
    site = two_sites(wide)[0]
    edited(wide, site, "Permit_Due__c", MIDNIGHT)
    wide.sql(
        "update crm.milestones set due_at = :t, updated_at = now()"
        " where enerflo_install_id = :s and milestone_id = :m",
        t=MIDNIGHT + timedelta(days=1), s=site, m=PERMITTING,
    )  # fmt: skip
    plan = wide.plan()
    assert wide.changes(plan) == []
    assert sorted((one.table_name, one.field, one.reason) for one in wide.undecided(plan)) == [
        ("milestones", "due_at", "the table permits says something else of the same record"),
        ("permits", "Permit_Due__c", "the table milestones says something else of the same record"),
    ]
    # Another milestone of the same install contradicts nothing.
    wide.sql(
        "update crm.milestones m set due_at = e.due_at from enerflo.milestones e where e.install_id = :s"
        " and e.milestone_id = :m and m.enerflo_install_id = :s and m.milestone_id = :m",
        s=site, m=PERMITTING,
    )  # fmt: skip
    wide.sql(
        "update crm.milestones set due_at = :t, updated_at = now()"
        " where enerflo_install_id = :s and milestone_id = 3904",
        t=MIDNIGHT + timedelta(days=1), s=site,
    )  # fmt: skip
    assert due(planned(wide)) == [
        ("milestones", "to_enerflo", "due_at"),
        ("permits", "to_enerflo", "Permit_Due__c"),
    ]
    # Nor where the CRM is the source of truth for the column.
    crm = TABLE.replace(
        "due_at, type: timestamp, source_of_truth: newest", "due_at, type: timestamp, source_of_truth: crm"
    )
    wide.switched_on("both", QUICK, (END, END + crm))
    assert ("milestones", "to_enerflo", "due_at") in due(planned(wide))


def test_a_column_of_another_milestone_by_now_overwrites_nothing_as_an_edit_of_enerflo(wide: Desk) -> None:
    due_at = "{milestone: Permitting, enerflo: due_at, type: timestamp, source_of_truth: newest}"
    other = due_at.replace("Permitting", "3902").replace("newest", "review")
    wide.switched_on("both", QUICK, (END, END + TABLE.replace(due_at, other)))
    changes = [one for one in planned(wide) if one.field == "Permit_Due__c"]
    assert {one.rule for one in changes} <= {"fills_gap"}
    asked = wide.sql("select distinct reason from sync.plan_undecided where field = 'Permit_Due__c'")
    assert [row["reason"] for row in asked] == ["the two sides never agreed on it"]
