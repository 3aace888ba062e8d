"""A table that `sync.yaml` calls otherwise by now is the same table: what was agreed on and refused goes along."""

from __future__ import annotations

from enerflo_sync.jobs.approval import run_reject
from tests.writes.conftest import Desk

QUICK = ("in_flight_minutes: 30", "in_flight_minutes: 0")
RENAMED = (
    "  installs:\n    crm_table: crm.installs",
    "  jobs:\n    of: installs\n    crm_table: crm.installs",
)


def test_what_a_person_refused_stays_refused(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    site = agreed.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'")
    edit = "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :i"
    agreed.sql(edit, i=site)
    plan = agreed.plan()
    assert [one.field for one in agreed.changes(plan)] == ["status"]
    run_reject(agreed.context, plan.plan_hash, by="Sam Hill", reason="the customer stays")
    assert agreed.plan().change_count == 0
    agreed.switched_on("both", QUICK, RENAMED)
    assert agreed.changes(agreed.plan()) == []


def test_a_row_that_a_person_deleted_is_not_made_again(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    site = agreed.one("select max(enerflo_install_id) from crm.installs")
    agreed.sql("delete from crm.milestones where enerflo_install_id = :i", i=site)
    agreed.sql("delete from crm.installs where enerflo_install_id = :i", i=site)
    assert agreed.plan().change_count == 0
    agreed.switched_on("both", QUICK, RENAMED)
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert plan.undecided


def test_an_edit_is_told_by_what_was_agreed_on_under_the_name_before(agreed: Desk) -> None:
    status = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: "
    review = (status + "newest", status + "review")
    agreed.switched_on("both", QUICK, review, RENAMED)
    site = agreed.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'")
    agreed.sql("update crm.installs set status = 'On Hold' where enerflo_install_id = :i", i=site)
    (change,) = agreed.changes(agreed.plan())
    assert (change.table_name, change.field, change.direction) == ("jobs", "status", "to_enerflo")
    # And back again.
    agreed.switched_on("both", QUICK, review)
    (change,) = agreed.changes(agreed.plan())
    assert (change.table_name, change.rule) == ("installs", "only_side_moved")


def test_of_two_names_for_one_that_is_gone_none_takes_what_is_stored(agreed: Desk) -> None:
    second = (
        "\n  works:\n    of: installs\n    crm_table: crm.installs\n    key: {enerflo_install_id: install_id}"
    )
    fields = "\n    fields:\n      deal_id: {enerflo: deal_id, type: text, source_of_truth: enerflo}\n\n  milestones:"
    agreed.switched_on("both", QUICK, RENAMED, ("\n  milestones:", second + fields))
    agreed.plan()
    assert agreed.one("select count(*) from sync.agreed where table_name = 'installs'") > 0
    assert (
        agreed.one("select count(distinct table_name) from sync.agreed where table_name in ('jobs', 'works')")
        == 2
    )
