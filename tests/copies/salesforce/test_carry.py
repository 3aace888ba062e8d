"""Approved changes of a copied table go straight to Salesforce, each only where it still fits what stands there."""

from __future__ import annotations

import pytest

from enerflo_sync.copies.salesforce.reasons import NO_RECORD
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.carry import run_carry
from enerflo_sync.jobs.undo import run_undo
from tests.copies.salesforce.conftest import BOTH, TO, Office
from tests.copies.salesforce.fake import refused

SIZE = "System_Size__c"


def test_a_change_goes_to_salesforce_once_and_the_copy_says_that_it_arrived(office: Office) -> None:
    id_ = office.moves(office.install())
    plan, report = office.applied()
    assert (report.handed_over, report.parked, report.moved) == (1, 0, 0)
    assert office.company.writes == [("PATCH", id_, {SIZE: 9.99})]
    assert office.company.headers[0]["If-Unmodified-Since"] == "Wed, 01 Jan 2020 00:00:00 GMT"
    assert office.company.headers[0]["Sforce-Auto-Assign"] == "FALSE"
    assert office.states() == [("open", True, None)]
    # It is on its way: neither planned nor sent again.
    assert office.desk.plan().change_count == 0
    office.copy()
    assert office.desk.plan().change_count == 0
    assert [row["state"] for row in office.handed()] == ["arrived"]
    assert [change.state for change in office.desk.changes(plan)] == ["applied"]
    assert len(office.company.writes) == 1


def test_nothing_is_asked_of_salesforce_where_nothing_is_open(office: Office) -> None:
    office.applied()
    assert (office.company.calls, office.company.logins) == ([], 0)


def test_many_records_are_read_together_and_written_one_by_one(office: Office) -> None:
    for number in range(3):
        office.moves(office.install(number))
    office.applied()
    assert [method for method, _ in office.company.calls] == ["GET", "POST", "PATCH", "PATCH", "PATCH"]
    assert office.company.logins == 1


def test_what_moved_at_salesforce_is_not_overwritten(office: Office) -> None:
    id_ = office.moves(office.install())
    plan = office.desk.plan()
    # The copy does not show it yet.
    office.company.edit(id_, System_Size__c=5.5)
    office.company.records[id_]["LastModifiedDate"] = "2021-01-01T00:00:00.000+0000"
    report = run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.moved, report.handed_over) == (1, 0)
    assert "says something else than when the plan was made" in str(report.reasons)
    assert office.company.writes == []
    assert office.company.records[id_][SIZE] == 5.5


def test_another_field_that_a_person_edits_is_no_obstacle(office: Office) -> None:
    id_ = office.moves(office.install())
    plan = office.desk.plan()
    office.company.edit(id_, Permit_Approved_Date__c="2026-01-01")
    run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert office.company.records[id_][SIZE] == 9.99
    assert office.company.records[id_]["Permit_Approved_Date__c"] == "2026-01-01"


@pytest.mark.parametrize("field", [SIZE, "Name"])
def test_an_edit_between_our_read_and_our_write_is_seen(office: Office, field: str) -> None:
    id_ = office.moves(office.install())
    plan = office.desk.plan()

    def edited(method: str, path: str) -> None:
        office.company.before = None
        office.company.edit(id_, **{field: 4.5 if field == SIZE else "Another name"})

    office.company.before = edited
    report = run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    record = office.company.records[id_]
    if field == SIZE:
        assert (report.moved, record[SIZE], office.company.writes) == (1, 4.5, [])
    else:
        # The edited field is none of ours: the change is tried again against the record as it is by now.
        assert (report.moved, record[SIZE], record["Name"]) == (0, 9.99, "Another name")
        assert office.states() == [("open", True, None)]


def test_a_record_that_was_modified_this_very_second_is_read_again_first(office: Office) -> None:
    id_ = office.moves(office.install())
    plan = office.desk.plan()
    office.company.edit(id_, Name="Just now")
    run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    # An edit within the same second has the same Last-Modified: the condition would let us write over it.
    assert office.clock.waited >= 2
    assert office.company.records[id_][SIZE] == 9.99
    assert [path for method, path in office.company.calls if method == "POST"].count(
        "/composite/sobjects/Opportunity"
    ) >= 2


def test_a_record_that_never_stands_still_is_left_alone(office: Office) -> None:
    id_ = office.moves(office.install())
    plan = office.desk.plan()
    office.company.before = lambda method, path: office.company.edit(id_, Name="Restless")
    report = run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert report.moved == 1
    assert "modified or locked at each attempt" in str(report.reasons)
    assert office.company.writes == []


def test_a_record_that_names_another_install_by_now_is_not_written(office: Office) -> None:
    id_ = office.moves(office.install())
    plan = office.desk.plan()
    office.company.records[id_]["Enerflo_Install_Id__c"] = str(office.install(1))
    report = run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert report.moved == 1
    assert "another record of Enerflo" in str(report.reasons)
    assert office.company.writes == []


def test_a_record_that_does_not_count_any_more_is_not_written(office: Office) -> None:
    id_ = office.moves(office.install())
    plan = office.desk.plan()
    office.company.records[id_]["RecordTypeName"] = "Roofing"
    report = run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.moved, office.company.writes) == (1, [])


def test_a_record_that_was_deleted_is_not_written(office: Office) -> None:
    id_ = office.moves(office.install())
    plan = office.desk.plan()
    office.company.records[id_]["IsDeleted"] = True
    report = run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert report.parked == 1
    assert "no such record" in str(report.reasons)


def test_a_refused_record_is_parked_by_code_and_fields_and_the_others_go_on(office: Office) -> None:
    refusing, other = office.moves(office.install()), office.moves(office.install(1))
    office.company.rule = lambda record: (
        refused(400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", SIZE) if record["Id"] == refusing else None
    )
    _, report = office.applied()
    assert (report.parked, report.handed_over) == (1, 1)
    (reason,) = report.reasons["parked"]
    assert reason == f"Salesforce refuses the record (FIELD_CUSTOM_VALIDATION_EXCEPTION: {SIZE})"
    assert [path for _, path, _ in office.company.writes] == [other]


def test_a_field_that_may_not_be_written_is_parked_before_anything_is_sent(office: Office) -> None:
    install = office.install()
    id_ = office.moves(install)
    office.desk.sql(
        "update enerflo.installs set customer_name = 'A new name' where install_id = :id", id=install
    )
    office.company.locked = {SIZE}
    _, report = office.applied()
    assert report.reasons["parked"] == {f"the field Opportunity.{SIZE} is not updateable for our user": 1}
    assert office.company.writes == [("PATCH", id_, {"Name": "A new name"})]


def test_a_later_change_takes_the_place_of_one_that_the_copy_does_not_show_yet(office: Office) -> None:
    install = office.install()
    id_ = office.moves(install)
    office.applied()
    office.moves(install, "7.77")
    _, report = office.applied()
    assert (report.moved, report.handed_over) == (0, 1)
    assert [body for _, _, body in office.company.writes] == [{SIZE: 9.99}, {SIZE: 7.77}]
    office.copy()
    assert office.desk.plan().change_count == 0
    assert office.company.records[id_][SIZE] == 7.77


def test_two_tables_of_one_object_write_the_same_record_one_after_the_other(office: Office) -> None:
    (install,) = (
        row["install_id"]
        for row in office.desk.sql(
            "select i.install_id from enerflo.installs i join enerflo.milestones m using (account, install_id)"
            " where m.title = 'Permitting' and m.completed_at is not null and m.deleted_at is null"
            " and i.deleted_at is null and i.status_name <> 'Voided' order by 1 limit 1"
        )
    )
    office.mapped(BOTH)
    id_ = office.moves(install)
    office.desk.sql(
        "update enerflo.milestones set completed_at = '2026-03-02T05:00:00Z'"
        " where install_id = :id and title = 'Permitting'",
        id=install,
    )
    _, report = office.applied()
    assert (report.parked, report.moved, report.handed_over) == (0, 0, 2)
    # 05:00 UTC is the evening before in Denver.
    assert office.company.writes == [
        ("PATCH", id_, {SIZE: 9.99}),
        ("PATCH", id_, {"Permit_Approved_Date__c": "2026-03-01"}),
    ]
    office.copy()
    assert office.desk.plan().change_count == 0
    assert [state for state, _, _ in office.states()] == ["arrived", "arrived"]


def test_what_salesforce_took_is_not_looked_at_again(office: Office) -> None:
    id_ = office.moves(office.install())
    before = office.company.records[id_][SIZE]
    office.applied()
    # Before the next copy a person takes it back: that is an edit, which the copy will bring.
    office.company.edit(id_, System_Size__c=before)
    other = office.moves(office.install(1))
    office.applied()
    assert [path for _, path, _ in office.company.writes] == [id_, other]
    assert office.states() == [("open", True, None)] * 2
    assert office.company.records[id_][SIZE] == before


def test_an_undo_writes_the_value_back_by_the_same_way(office: Office) -> None:
    id_ = office.moves(office.install())
    before = office.company.records[id_][SIZE]
    plan, _ = office.applied()
    office.copy()
    office.desk.plan()
    undo = run_undo(office.desk.context, plan.plan_hash)
    run_apply(office.desk.context, undo.plan_hash, approved_by="Pat")
    assert office.company.records[id_][SIZE] == pytest.approx(float(before))


def test_no_value_of_salesforce_is_logged_or_stored(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    office.moves(office.install())
    office.company.rule = lambda record: refused(400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", SIZE)
    office.applied()
    kept = str(office.desk.sql("select * from sync.crm_changes")) + str(office.desk.ledger()) + caplog.text
    assert "A secret value stands here" not in kept
    assert "the-consumer-secret" not in kept
    assert "00D-token" not in kept


def test_a_mode_that_writes_nothing_by_now_carries_nothing(office: Office) -> None:
    office.moves(office.install())
    office.company.limit, office.company.used = 100, 100
    office.applied()
    office.company.used = 0
    office.mapped(TO, mode="enerflo")
    run_carry(office.desk.context)
    assert office.company.writes == []
    assert office.states() == [("open", False, None)]


def test_a_record_that_salesforce_does_not_have_any_more_is_asked_about_until_the_copy_says_so(
    office: Office,
) -> None:
    """It was merged into another one, and the copy does not know."""
    id_ = office.moves(office.install())
    office.company.edit(id_, IsDeleted=True)
    _, report = office.applied()
    assert (report.parked, report.moved, office.company.writes) == (1, 0, [])
    for _ in range(2):
        plan = office.desk.plan()
        assert plan.change_count == 0
        (asked,) = office.desk.undecided(plan)
        assert str(asked.reason).endswith(NO_RECORD)
    office.copy()
    plan = office.desk.plan()
    assert plan.change_count == 0
    (asked,) = office.desk.undecided(plan)
    assert asked.cause == "deleted_in_crm"
