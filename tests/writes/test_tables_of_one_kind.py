"""Several CRM tables of one kind: each is planned, written, undone and explained under its own name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.completion import LAST_MILESTONE
from tests.writes.conftest import Desk

DUE = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
END = "      adders: {enerflo: adders, type: json, source_of_truth: enerflo}\n"
QUICK = ("in_flight_minutes: 30", "in_flight_minutes: 0")

PERMITS = """
  permits:
    of: milestones
    crm_table: crm.permits
    key: {site: install_id, permit: milestone_id}
    updated_at: updated_at
    fields:
      title: {enerflo: title, type: text, source_of_truth: enerflo}
      due: {enerflo: due_at, type: timestamp, source_of_truth: newest}
      done: {enerflo: completed_at, type: timestamp, source_of_truth: newest}
"""
SITES = """
  {name}:
    of: installs
    crm_table: crm.{name}
    key: {{id: install_id}}
    updated_at: updated_at
    create_in: []
    fields: {{state: {{enerflo: status_name, type: text, source_of_truth: newest}}}}
"""
REMARKS = """
  remarks:
    of: notes
    crm_table: crm.remarks
    key: [note_id]
    join: {note: note_id}
    create_only: true
    create_in: [crm, enerflo]
    on_insert: {note_id: "e{note_id}"}
    fields:
      site: {enerflo: install_id, type: integer, source_of_truth: enerflo}
      body: {enerflo: body, type: text, source_of_truth: review}
"""


@pytest.fixture
def several(desk: Desk) -> Desk:
    """Milestones stand in permits too; two installs in tables of their own beside the one of all."""
    desk.sql(
        "create table crm.permits (site bigint, permit bigint, title text, due timestamptz, done timestamptz,"
        " updated_at timestamptz default now(), primary key (site, permit))"
    )
    for name in ("residential", "commercial"):
        desk.sql(f"create table crm.{name} (id bigint primary key, state text, updated_at timestamptz)")
    sites = "".join(SITES.format(name=name) for name in ("residential", "commercial"))
    desk.switched_on("both", QUICK, (END, END + PERMITS + sites))
    for name, site in zip(("residential", "commercial"), two_sites(desk), strict=True):
        desk.sql(
            f"insert into crm.{name} select install_id, status_name, '2020-01-01' from enerflo.installs"
            " where install_id = :site",
            site=site,
        )
    desk.carried()
    return desk


def two_sites(desk: Desk) -> list[int]:
    """Return two installs in progress of which the last milestone is open."""
    found = desk.sql(
        "select i.install_id from enerflo.installs i where i.status_name = 'In progress'"
        " and (select m.completed_at from enerflo.milestones m where m.install_id = i.install_id"
        "      order by m.sequence desc limit 1) is null order by 1 limit 2"
    )
    return [row["install_id"] for row in found]


def last(desk: Desk, site: int) -> int:
    return int(
        desk.one(
            "select milestone_id from enerflo.milestones where install_id = :i order by sequence desc limit 1",
            i=site,
        )
    )


def of_enerflo(desk: Desk, site: int, permit: int) -> Any:
    (row,) = desk.sql(
        "select * from enerflo.milestones where install_id = :i and milestone_id = :m", i=site, m=permit
    )
    return row


def test_a_row_is_made_in_each_and_an_edit_of_one_reaches_the_other(several: Desk) -> None:
    rows = several.one("select count(*) from crm.milestones")
    assert several.one("select count(*) from crm.permits") == rows > 100
    site = two_sites(several)[0]
    permit = last(several, site)
    several.sql(
        "update crm.permits set due = :due, updated_at = now() where site = :s and permit = :p",
        due=DUE, s=site, p=permit,
    )  # fmt: skip
    plan = several.plan()
    changes = several.changes(plan)
    assert [(one.table_name, one.direction, one.field) for one in changes] == [
        ("permits", "to_enerflo", "due")
    ]
    assert changes[0].key == {"site": site, "permit": permit}
    assert run_apply(several.context, plan.plan_hash, approved_by="Pat").applied == 1
    assert of_enerflo(several, site, permit)["due_at"] == DUE
    # Enerflo's value is the other table's news.
    then = several.plan()
    assert [(one.table_name, one.direction) for one in several.changes(then)] == [("milestones", "to_crm")]
    several.carried()
    assert several.crm("milestones", enerflo_install_id=site, milestone_id=permit)["due_at"] == DUE
    several.settled()
    (story,) = run_explain(several.context, "permit", f"{site}/{permit}", field="due").fields
    assert [(step.direction, step.decision) for step in story.steps][-1] == ("to_enerflo", "applied")
    # What is undone is undone under the table's name, and the other table follows.
    undo = run_undo(several.context, plan.plan_hash)
    assert [(one.table_name, one.field) for one in several.changes(undo)] == [("permits", "due")]
    assert run_apply(several.context, undo.plan_hash, approved_by="Pat").applied == 1
    assert of_enerflo(several, site, permit)["due_at"] != DUE


def test_the_last_milestone_of_any_table_completes_the_install_where_its_row_is(several: Desk) -> None:
    several.switched_on(
        "both", QUICK, (END, END + PERMITS + "".join(SITES.format(name=n) for n in ("residential", "commercial"))),
        ("fold_case: true, source_of_truth: newest}\n      system", "fold_case: true, direction: to_crm}\n      system"),
    )  # fmt: skip
    first, second = two_sites(several)
    several.sql(
        "update crm.permits set done = now(), updated_at = now() where (site, permit) in ((:a, :b), (:c, :d))",
        a=first, b=last(several, first), c=second, d=last(several, second),
    )  # fmt: skip
    plan = several.plan()
    completed = several.changes(plan, rule=LAST_MILESTONE)
    assert [(one.table_name, one.key) for one in completed] == [
        ("residential", {"id": first}),
        ("commercial", {"id": second}),
    ]
    several.carried()
    for site in (first, second):
        assert (
            several.one("select status_name from enerflo.installs where install_id = :i", i=site)
            == "Completed"
        )
    several.carried()
    assert several.crm("residential", id=first)["state"] == "Completed"
    several.carried()
    several.settled()


def test_an_install_in_two_tables_is_completed_by_one_request(several: Desk) -> None:
    site = two_sites(several)[0]
    several.sql(
        "update crm.milestones set completed_at = now(), updated_at = now()"
        " where enerflo_install_id = :s and milestone_id = :m",
        s=site, m=last(several, site),
    )  # fmt: skip
    assert len(several.changes(several.plan(), rule=LAST_MILESTONE)) == 1
    several.world.received.clear()
    several.carried()
    puts = [one for one in several.world.received if one.path == f"/api/v3/installs/{site}"]
    assert len(puts) == 1


def test_a_note_of_a_second_table_is_sent_once_and_comes_to_the_first(desk: Desk) -> None:
    desk.sql("create table crm.remarks (note_id text primary key, note bigint, site bigint, body text)")
    desk.switched_on("both", QUICK, (END, END + REMARKS))
    desk.carried()
    assert desk.one("select count(*) from crm.remarks") == desk.one("select count(*) from crm.notes")
    site = two_sites(desk)[0]
    # The same key in both tables: two notes.
    desk.sql("insert into crm.remarks values ('n-1', null, :s, 'Roof is wet')", s=site)
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, body, updated_at) values ('n-1', :s, 'Gate is shut', now())",
        s=site,
    )
    desk.world.received.clear()
    desk.carried()
    assert len(desk.world.received) == 2
    mine = desk.crm("remarks", note_id="n-1")["note"]
    other = desk.crm("notes", note_id="n-1")["enerflo_note_id"]
    assert None not in (mine, other)
    assert mine != other
    desk.carried()
    assert desk.crm("notes", enerflo_note_id=mine)["body"] == "Roof is wet"
    assert desk.crm("remarks", note=other)["body"] == "Gate is shut"
    desk.settled()


@pytest.mark.parametrize("policy", ["newest", "crm"])
def test_two_tables_that_contradict_each_other_are_a_question_and_no_ping_pong(
    several: Desk, policy: str
) -> None:
    crm = [
        (f"{name}, source_of_truth: newest", f"{name}, source_of_truth: {policy}")
        for name in (
            "due: {enerflo: due_at, type: timestamp",
            "due_at: {enerflo: due_at, type: timestamp, precision: second",
        )
    ]
    several.switched_on("both", QUICK, (END, END + PERMITS), *crm)
    several.carried()
    site = two_sites(several)[0]
    permit = last(several, site)
    for table, columns in (
        ("permits", ("due", "site", "permit")),
        ("milestones", ("due_at", "enerflo_install_id", "milestone_id")),
    ):
        several.sql(
            f"update crm.{table} set {columns[0]} = :due, updated_at = now() where {columns[1]} = :s and {columns[2]} = :p",
            due=DUE if table == "permits" else DUE.replace(day=9), s=site, p=permit,
        )  # fmt: skip
    several.world.received.clear()
    plan = several.plan()
    assert several.changes(plan) == []
    assert sorted((one.table_name, one.field, one.reason) for one in several.undecided(plan)) == [
        ("milestones", "due_at", "the table permits says something else of the same record"),
        ("permits", "due", "the table milestones says something else of the same record"),
    ]
    # A person has both say the same: one request, and nothing is left.
    several.sql(
        "update crm.milestones set due_at = :due, updated_at = now() where enerflo_install_id = :s and milestone_id = :p",
        due=DUE, s=site, p=permit,
    )  # fmt: skip
    several.carried()
    assert len(several.world.received) == 1
    assert of_enerflo(several, site, permit)["due_at"] == DUE
    several.settled()


@pytest.mark.parametrize("policy", ["newest", "crm"])
def test_two_columns_of_one_table_that_contradict_each_other_are_a_question(
    agreed: Desk, policy: str
) -> None:
    status = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: "
    second = f"{status}{policy}}}\n      stage: {status.partition(': ')[2]}{policy}}}"
    agreed.sql("alter table crm.installs add stage text")
    agreed.sql("update crm.installs set stage = status")
    agreed.switched_on("both", QUICK, (status + "newest}", second))
    agreed.carried()
    site = agreed.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'")
    change = "update crm.installs set status = :status, stage = :stage, updated_at = now() where enerflo_install_id = :s"
    agreed.sql(change, status="On Hold", stage="Cancelled", s=site)
    agreed.world.received.clear()
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert sorted((one.field, one.reason) for one in agreed.undecided(plan)) == [
        ("stage", "the column status says something else of the same field"),
        ("status", "the column stage says something else of the same field"),
    ]
    # A person has both say the same: one request, and nothing is left.
    agreed.sql(change, status="On Hold", stage="On Hold", s=site)
    agreed.carried()
    assert len(agreed.world.received) == 1
    agreed.settled()


SECOND = """  sites:
    of: installs
    crm_table: crm.installs
    key: {{enerflo_install_id: install_id}}
    fields:
      customer_name: {field}

  milestones:
    crm_table"""
BEFORE_MILESTONES = "  milestones:\n    crm_table"


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("{enerflo: deal_id, type: text, source_of_truth: enerflo}", 40),
        ("{enerflo: deal_id, type: text, source_of_truth: enerflo, direction: none}", 0),
        ("{enerflo: customer_name, type: text, source_of_truth: enerflo}", 0),
    ],
)
def test_two_tables_that_fill_one_column_of_the_crm_with_different_things_are_a_question(
    agreed: Desk, field: str, asked: int
) -> None:
    agreed.switched_on("crm", QUICK, (BEFORE_MILESTONES, SECOND.format(field=field)))
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert plan.undecided == (
        {"the table installs maps its column to something else": asked} if asked else {}
    )
    # What the other table would write is a question as well, where the column differs for both.
    agreed.sql(
        "update crm.installs set customer_name = 'Nobody', updated_at = now() where panel_count is not null"
    )
    plan = agreed.plan()
    wanted = {one.table_name for one in agreed.changes(plan)}
    assert wanted == (set() if asked else {"installs", "sites"} if "none" not in field else {"installs"})
