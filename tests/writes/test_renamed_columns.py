"""A column of the CRM that is called otherwise by now is the same one: what was refused and agreed on goes along."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.test_changed_mapping import QUICK, STATUS
from tests.writes.test_identity import KEY, OWN_KEY, in_progress, projects, status_of
from tests.writes.test_refused import refused_cancellation
from tests.writes.test_renamed_tables import RENAMED
from tests.writes.test_twins import edited, twin
from tests.writes.test_undo import applied
from tests.writes.test_unmoved_times import asked, crm_status, mirror_status, silent_status, written_beside

WORDS = ", values: {On Hold: On Hold}"
STAGE = (STATUS, STATUS.replace("status: {", "stage: {"))


def renamed(desk: Desk, also: str = "") -> None:
    desk.sql("alter table crm.installs rename status to stage")
    desk.switched_on("both", QUICK, (STATUS, STAGE[1].replace("}", f"{also}}}")))


def renamed_table(desk: Desk) -> None:
    desk.switched_on("both", QUICK, RENAMED)


@pytest.mark.parametrize("also", ["", WORDS])
def test_what_a_person_refused_stays_refused(agreed: Desk, also: str) -> None:
    agreed.switched_on("both", QUICK)
    refused_cancellation(agreed)
    renamed(agreed, also)
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    (one,) = (one for one in agreed.undecided(plan) if one.field == "stage")
    assert one.reason.startswith("refused by Sam Hill")
    # And back again.
    agreed.sql("alter table crm.installs rename stage to status")
    agreed.switched_on("both", QUICK)
    assert agreed.changes(agreed.plan()) == []


def test_an_edit_after_the_renaming_is_told_by_what_was_agreed_on_before(agreed: Desk) -> None:
    review = (STATUS, STATUS.replace("newest", "review"))
    agreed.switched_on("both", QUICK, review)
    assert agreed.plan().change_count == 0
    sites = agreed.sql(
        "select enerflo_install_id as i from crm.installs where status = 'In progress' limit 2"
    )
    agreed.sql("alter table crm.installs rename status to stage")
    # Before the first plan: one that nobody knows to be an edit, since it may be another column.
    agreed.sql("update crm.installs set stage = 'On Hold' where enerflo_install_id = :i", **sites[0])
    agreed.switched_on("both", QUICK, (STATUS, review[1].replace("status: {", "stage: {")))
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert [one.reason for one in agreed.undecided(plan)] == ["the two sides never agreed on it"]
    agreed.sql("update crm.installs set stage = 'On Hold' where enerflo_install_id = :i", **sites[1])
    (change,) = agreed.changes(agreed.plan())
    assert (change.direction, change.rule) == ("to_enerflo", "only_side_moved")
    # And back again, where pairs of the name before are left of the first row.
    agreed.sql("alter table crm.installs rename stage to status")
    agreed.switched_on("both", QUICK, review)
    assert agreed.changes(agreed.plan()) == []
    assert {one.reason for one in agreed.undecided(agreed.plan())} == {"the two sides never agreed on it"}


def test_what_an_undo_left_apart_stays_so(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    site = agreed.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'")
    agreed.sql(
        "update enerflo.installs set status_name = 'On Hold', updated_at = now(), observed_at = now() where install_id = :i",
        i=site,
    )
    plan = agreed.plan()
    applied(agreed, plan)
    undo = run_undo(agreed.context, plan.plan_hash)
    applied(agreed, undo)
    assert agreed.plan().change_count == 0
    renamed(agreed)
    assert agreed.changes(agreed.plan()) == []


@pytest.mark.parametrize("also", ["", WORDS])
def test_what_is_left_of_two_rows_proposes_nothing_under_another_name(desk: Desk, also: str) -> None:
    projects(desk, unique=False, status="crm")
    install = in_progress(desk)[0]
    twin(desk, install, "copy", "In progress")
    desk.carried()
    edited(desk, "copy", "On Hold")
    desk.carried()
    desk.sql("delete from crm.installs where project_id = :id", id=f"p-{install}")
    desk.carried()
    desk.sql("alter table crm.installs rename status to stage")
    stage = STATUS.replace("status: {", "stage: {").replace("newest}", f"crm{also}}}")
    desk.switched_on("both", (KEY, OWN_KEY), (STATUS, stage))
    plan = desk.plan()
    assert desk.changes(plan) == []
    assert {one.cause for one in desk.undecided(plan) if one.field == "stage"} == {"duplicate_identity"}
    desk.carried()
    assert status_of(desk, install) == "In progress"


def test_a_refused_write_to_the_crm_stays_refused_where_the_words_change_with_the_name(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    install = agreed.a_site().install_id
    mirror_status(agreed, install, "On Hold", "now()")
    plan = agreed.plan()
    assert [one.direction for one in agreed.changes(plan)] == ["to_crm"]
    run_reject(agreed.context, plan.plan_hash, by="Sam Hill", reason="the customer stays")
    renamed(agreed, WORDS)
    (reason,) = asked(agreed, "stage")
    assert reason.startswith("refused by Sam Hill")


@pytest.mark.parametrize(("rename", "field"), [(renamed, "stage"), (renamed_table, "status")])
@pytest.mark.parametrize("agreed_once", [True, False])
def test_an_edit_that_a_plan_saw_under_the_name_before_is_not_later_than_enerflos(
    agreed: Desk, rename: Callable[[Desk], None], field: str, agreed_once: bool
) -> None:
    """The time of the row moved on by another column, after Enerflo's change."""
    agreed.switched_on("both", QUICK)
    install = agreed.a_site().install_id
    if not agreed_once:
        agreed.sql("delete from sync.agreed where table_name = 'installs' and field = 'status'")
    crm_status(agreed, install, "Cancelled")
    assert len(agreed.changes(agreed.plan())) == 1
    mirror_status(agreed, install, "On Hold", "now()")
    agreed.sql("update crm.installs set updated_at = now() where enerflo_install_id = :i", i=install)
    rename(agreed)
    for _ in range(2):
        assert len(asked(agreed, field)) == 1


@pytest.mark.parametrize(("rename", "field"), [(renamed, "stage"), (renamed_table, "status")])
def test_a_question_whose_evidence_our_own_write_has_hidden_stands_under_another_name(
    agreed: Desk, rename: Callable[[Desk], None], field: str
) -> None:
    agreed.switched_on("both", QUICK)
    install = agreed.a_site().install_id
    mirror_status(agreed, install, "On Hold", "now() - interval '1 minute'")
    silent_status(agreed, install, "Cancelled")
    assert len(asked(agreed)) == 1
    written_beside(agreed, install, "Silfab")
    assert len(asked(agreed)) == 1
    rename(agreed)
    for _ in range(2):
        assert len(asked(agreed, field)) == 1
    # Whoever saves the row again says when.
    agreed.sql("update crm.installs set updated_at = now() where enerflo_install_id = :i", i=install)
    assert [one.direction for one in agreed.changes(agreed.plan(), field=field)] == ["to_enerflo"]


LABEL = STATUS.replace("newest", "enerflo")
TWO = f"{LABEL}\n      label: {LABEL.removeprefix('status: ')}"


@pytest.mark.parametrize("now", [("stage", "word"), ("word", "stage"), ("stage", "label")])
def test_a_refused_write_stays_refused_where_columns_of_one_field_are_renamed_at_once(
    agreed: Desk, now: tuple[str, str]
) -> None:
    """Which column got which name cannot be told: one question too many is better than a refused write."""
    agreed.sql("alter table crm.installs add label text")
    agreed.sql("update crm.installs set label = status")
    agreed.switched_on("both", QUICK, (STATUS, TWO))
    agreed.carried()
    install = agreed.a_site().install_id
    mirror_status(agreed, install, "On Hold", "now()")
    agreed.sql("update crm.installs set label = 'On Hold' where enerflo_install_id = :i", i=install)
    plan = agreed.plan()
    assert [one.field for one in agreed.changes(plan)] == ["status"]
    run_reject(agreed.context, plan.plan_hash, by="Sam Hill", reason="the customer stays")
    before = agreed.one("select count(*) from sync.refusals where ended_at is null")
    agreed.sql("alter table crm.installs rename status to s")
    agreed.sql("alter table crm.installs rename label to l")
    agreed.sql(f"alter table crm.installs rename s to {now[0]}")
    agreed.sql(f"alter table crm.installs rename l to {now[1]}")
    named = TWO.replace("status: {", f"{now[0]}: {{").replace("label: {", f"{now[1]}: {{")
    agreed.switched_on("both", QUICK, (STATUS, named))
    for _ in range(2):
        assert agreed.changes(agreed.plan()) == []
        (reason,) = asked(agreed, now[0])
        assert reason.startswith("refused by Sam Hill")
    assert agreed.one("select count(*) from sync.refusals where ended_at is null") >= before
