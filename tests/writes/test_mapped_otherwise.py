"""What was handed over and waits, and is mapped otherwise by now, is carried to the CRM with no former meaning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.test_changes import (
    ALONE,
    AT_ONCE,
    HANDED,
    ON_HOLD,
    approved,
    copied,
    copy_shows,
    handed,
    install,
)
from tests.writes.test_changes_of_rows import DELETED_TOO, new_install

__all__ = ["copied", "install"]

COUNT = "      panel_count: {enerflo: panel_count, type: integer, source_of_truth: enerflo}\n"
STATUS = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest}"


def remapped(desk: Desk, *edits: tuple[str, str]) -> None:
    desk.switched_on("both", HANDED, *edits, ALONE, AT_ONCE)


def called(word: str) -> tuple[str, str]:
    return STATUS, STATUS.replace("newest", f"newest, values: {{On Hold: {word}}}")


def on_hold_is_paused(desk: Desk) -> None:
    """Let the CRM call On Hold Paused, and both sides agree on it."""
    remapped(desk, called("Paused"))
    desk.sql("update crm.installs set status = 'Paused' where status = 'On Hold'")
    desk.carried()


@pytest.mark.parametrize("by", ["plan", "undo"])
@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (
            (COUNT, COUNT.replace("enerflo: panel_count", "enerflo: install_id")),
            "sync.yaml maps it otherwise",
        ),
        ((COUNT, ""), "sync.yaml does not let"),
        ((COUNT, COUNT.replace("enerflo}", "enerflo, direction: to_enerflo}")), "sync.yaml does not let"),
    ],
)
def test_a_change_of_a_column_that_is_mapped_otherwise_waits_no_more(
    copied: Desk, install: int, edit: tuple[str, str], reason: str, by: str
) -> None:
    plan, _ = approved(copied)
    assert [row["after"] for row in handed(copied)] == [40]
    remapped(copied, edit)
    copied.plan() if by == "plan" else run_undo(copied.context, plan.plan_hash)
    (row,) = handed(copied, every=True)
    assert row["state"] == "superseded"
    assert row["reason"].startswith(reason)
    (change,) = copied.changes(plan)
    assert change.state == "superseded"


def test_the_same_mapping_and_another_way_to_compare_leave_a_change_on_its_way(
    copied: Desk, install: int
) -> None:
    approved(copied)
    remapped(copied, (COUNT, COUNT.replace("enerflo}", "newest, protected: true}")))
    assert copied.plan().change_count == 0
    assert [row["state"] for row in handed(copied, every=True)] == ["open"]


def test_a_word_that_changed_takes_the_place_of_the_one_that_waits(copied: Desk, install: int) -> None:
    on_hold_is_paused(copied)
    copied.world.set_status(install, ON_HOLD)
    run_poll(copied.context)
    approved(copied)
    assert {row["after"] for row in handed(copied)} == {"Paused", 40}
    remapped(copied, called("Waiting"))
    plan = copied.plan()
    # The count waits on.
    assert [row["after"] for row in handed(copied)] == [40]
    (change,) = copied.changes(plan, key={"enerflo_install_id": install})
    assert (change.field, change.after) == ("status", "Waiting")
    copied.sql("update crm.installs set status = 'Waiting' where status = 'Paused'")
    run_apply(copied.context, plan.plan_hash, approved_by="Pat")
    # A tool had taken the former word over, which is no edit by a person.
    copy_shows(copied, install, status="Paused")
    plan = copied.plan()
    assert (plan.change_count, plan.undecided) == (0, {})
    assert {row["after"] for row in handed(copied)} == {"Waiting", 40}
    copy_shows(copied, install, status="Waiting", panel_count=40)
    copied.settled()


@pytest.mark.parametrize("is_new", [True, False])
def test_a_word_that_arrives_when_it_stands_for_nothing_any_more_is_not_left_apart(
    copied: Desk, install: int, is_new: bool
) -> None:
    on_hold_is_paused(copied)
    one = new_install(copied) if is_new else install
    copied.world.set_status(one, ON_HOLD)
    run_poll(copied.context)
    approved(copied)
    assert "Paused" in {row["after"] for row in handed(copied) if row["key"] == {"enerflo_install_id": one}}
    copied.sql("update sync.crm_changes set acknowledged_at = now()")
    remapped(copied)
    if is_new:
        copied.sql("insert into crm.installs (enerflo_install_id, updated_at) values (:id, now())", id=one)
    copy_shows(copied, one, status="Paused")
    plan = copied.plan()
    # The CRM says a word that is no status any more. It is our own, so Enerflo's value is written anew.
    (change,) = [
        row for row in copied.changes(plan, key={"enerflo_install_id": one}) if row.field == "status"
    ]
    assert (change.direction, change.before, change.after) == ("to_crm", "Paused", "On Hold")


@pytest.mark.parametrize("rule", ["newest", "review", "enerflo", "crm"])
def test_a_word_of_ours_that_arrives_when_it_stands_for_another_status_is_never_sent_to_enerflo(
    copied: Desk, install: int, rule: str
) -> None:
    on_hold_is_paused(copied)
    copied.world.set_status(install, ON_HOLD)
    run_poll(copied.context)
    approved(copied)
    copied.sql("update sync.crm_changes set acknowledged_at = now()")
    remapped(copied, (STATUS, STATUS.replace("newest", f"{rule}, values: {{Completed: Paused}}")))
    # The tool writes later than Enerflo changed.
    copy_shows(copied, install, status="Paused")
    plan = copied.plan()
    changes = [
        row for row in copied.changes(plan, key={"enerflo_install_id": install}) if row.field == "status"
    ]
    assert [row.direction for row in changes if row.direction == "to_enerflo"] == []
    asked = [row.field for row in copied.undecided(plan) if row.key == {"enerflo_install_id": install}]
    assert [row.after for row in changes] == ["On Hold"] or "status" in asked


def test_nor_is_it_sent_when_the_word_stands_for_yet_another_status(copied: Desk, install: int) -> None:
    on_hold_is_paused(copied)
    copied.world.set_status(install, ON_HOLD)
    run_poll(copied.context)
    approved(copied)
    copied.sql("update sync.crm_changes set acknowledged_at = now()")
    for status in ("Completed", "In progress"):
        remapped(copied, (STATUS, STATUS.replace("newest", f"crm, values: {{{status}: Paused}}")))
        copy_shows(copied, install, status="Paused")
        plan = copied.plan()
        assert ("status", install) in of_status(copied.undecided(plan))
        assert ("status", install) not in of_status(copied.changes(plan))
    # What a person says in the CRM is sent.
    copy_shows(copied, install, status="Completed")
    changes = copied.changes(copied.plan(), key={"enerflo_install_id": install})
    assert ("to_enerflo", "Completed") in {(row.direction, row.after) for row in changes}


def of_status(rows: Iterable[Any]) -> set[tuple[str | None, int]]:
    return {(row.field, row.key["enerflo_install_id"]) for row in rows if "enerflo_install_id" in row.key}


def test_a_new_row_is_made_with_no_value_of_a_column_that_is_mapped_otherwise(copied: Desk) -> None:
    install = new_install(copied)
    approved(copied)
    remapped(copied, (COUNT, COUNT.replace("enerflo: panel_count", "enerflo: survey_id")))
    plan = copied.plan()
    assert handed(copied) == []
    changes = copied.changes(plan, key={"enerflo_install_id": install})
    assert {change.op for change in changes} == {"insert"}
    survey = copied.one("select survey_id from enerflo.installs where install_id = :id", id=install)
    assert {change.after for change in changes if change.field == "panel_count"} <= {survey}


def test_a_new_row_that_a_tool_took_over_is_not_handed_over_again(copied: Desk) -> None:
    install = new_install(copied)
    approved(copied)
    copied.sql("update sync.crm_changes set acknowledged_at = now()")
    remapped(copied, called("Paused"))
    assert copied.changes(copied.plan(), key={"enerflo_install_id": install}) == []
    assert {row["state"] for row in handed(copied, every=True)} == {"open"}


def test_a_value_of_a_new_row_whose_column_is_not_mapped_any_more_is_not_called_arrived(copied: Desk) -> None:
    install = new_install(copied)
    plan, _ = approved(copied)
    copied.sql("update sync.crm_changes set acknowledged_at = now()")
    remapped(copied, (COUNT, ""))
    copied.sql("insert into crm.installs (enerflo_install_id, updated_at) values (:id, now())", id=install)
    copied.plan()
    states = {row["column"]: row["state"] for row in handed(copied, every=True)}
    assert states["panel_count"] == "superseded"
    assert "arrived" not in states.values()
    assert "applied" not in {one.state for one in copied.changes(plan, key={"enerflo_install_id": install})}


@pytest.mark.parametrize(
    "edit",
    [
        ("crm_table: crm.installs\n", "crm_table: crm.others\n"),
        ("crm_table: crm.installs\n", "crm_table: crm.installs\n    where: enerflo_install_id > 4400070\n"),
        ("key: {enerflo_install_id: install_id}\n    updated_at: updated_at\n    fields:\n      deal_id",
         "key: {crm_id: install_id}\n    updated_at: updated_at\n    fields:\n      deal_id"),
    ],
)  # fmt: skip
def test_a_deletion_waits_no_more_where_rows_are_found_otherwise(
    copied: Desk, install: int, edit: tuple[str, str]
) -> None:
    remapped(copied, DELETED_TOO)
    copied.plan()
    copied.sql("update enerflo.installs set deleted_at = now() where install_id = :id", id=install)
    plan, _ = approved(copied)
    assert [row["op"] for row in handed(copied)] == ["delete"]
    copied.sql("alter table crm.installs add crm_id bigint")
    copied.sql("update crm.installs set crm_id = enerflo_install_id")
    copied.sql(
        "create table crm.others as select * from crm.installs where enerflo_install_id <> :id", id=install
    )
    copied.sql("alter table crm.others add primary key (enerflo_install_id)")
    remapped(copied, edit, DELETED_TOO)
    copied.plan()
    (row,) = (row for row in handed(copied, every=True) if row["plan_hash"] == plan.plan_hash)
    assert (row["state"], row["reason"]) == (
        "superseded",
        "sync.yaml maps it otherwise since it was handed over",
    )
    assert [one.state for one in copied.changes(plan, op="delete")] == ["superseded"]


def test_what_waits_for_a_table_that_is_mapped_no_more_is_ended(copied: Desk, install: int) -> None:
    approved(copied)
    text = (copied.folder / "sync.yaml").read_text()
    first, rest = text.split("  installs:\n    crm_table", 1)
    (copied.folder / "sync.yaml").write_text(first + rest[rest.index("\n  milestones:") + 1 :])
    copied.read_configuration()
    copied.plan()
    (row,) = handed(copied, every=True)
    assert (row["state"], row["reason"]) == ("superseded", "sync.yaml does not map its table any more")
