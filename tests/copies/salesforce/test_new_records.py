"""Records are made at Salesforce once, by an external id, and deleted only where it is said that they may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from enerflo_sync.copies.salesforce.carry import TableCarrier
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.carry import run_carry
from tests.copies.salesforce.conftest import TO, Office, id_of, killed_at, opened, revived
from tests.copies.salesforce.fake import refused
from tests.writes.conftest import Desk

MADE = TO.replace("create_in: []", "create_in: [crm]\n    on_insert: {RecordTypeName: Solar}")
OUTSIDE = TO.replace("create_in: []", "create_in: [crm]")
DELETED = TO.replace("create_in: []", "create_in: []\n    delete_in: [crm]")
ALLOWED = DELETED.replace("{object: Opportunity}", "{object: Opportunity, delete: true}")


@pytest.fixture
def lacking(agreed: Desk) -> Iterator[Office]:
    """An office whose company has no record of its first install."""
    first = "(select min(i.install_id) from enerflo.installs i where i.deleted_at is null"
    lacks = f"delete from salesforce.\"Opportunity\" where \"Id\" = '006' || {first} and i.status_name <> 'Voided')"
    with opened(agreed, lacks) as found:
        yield found


def made(office: Office) -> list[tuple[str, str]]:
    return [(method, body.get("Enerflo_Install_Id__c", "")) for method, _, body in office.company.writes]


def test_a_record_is_made_once_with_its_external_id_and_the_copy_brings_it(lacking: Office) -> None:
    lacking.mapped(MADE)
    plan, report = lacking.applied()
    assert report.parked == report.moved == 0
    (write,) = lacking.company.writes
    assert write[0] == "POST"
    assert write[2]["RecordTypeName"] == "Solar"
    assert write[2]["Enerflo_Install_Id__c"].isdigit()
    lacking.copy()
    assert lacking.desk.plan().change_count == 0
    assert {row["state"] for row in lacking.handed()} == {"arrived"}
    assert {change.state for change in lacking.desk.changes(plan)} == {"applied"}


@pytest.mark.parametrize("how", ["lost", "killed"])
def test_a_lost_answer_makes_no_second_record(lacking: Office, how: str) -> None:
    lacking.mapped(MADE)
    plan = lacking.desk.plan()
    if how == "lost":
        lacking.company.lose = 1
        run_apply(lacking.desk.context, plan.plan_hash, approved_by="Pat")
    else:
        killed_at(lacking, "changes that we take to the CRM")
        with pytest.raises(SystemExit):
            run_apply(lacking.desk.context, plan.plan_hash, approved_by="Pat")
        revived(lacking)
        run_apply(lacking.desk.context, plan.plan_hash)
    assert len(made(lacking)) == 1
    assert {(row["state"], row["acknowledged_at"] is not None) for row in lacking.handed()} == {
        ("open", True)
    }


def test_an_external_id_is_in_no_log_line(lacking: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    lacking.mapped(MADE)
    lacking.applied()
    (write,) = lacking.company.writes
    lines = [one.getMessage() for one in caplog.records if one.name.startswith("urllib3")]
    assert any("/sobjects/Opportunity/Enerflo_Install_Id__c/***" in line for line in lines)
    assert not any(write[2]["Enerflo_Install_Id__c"] in line for line in lines)


def test_a_record_that_somebody_else_makes_at_that_moment_is_left_alone(lacking: Office) -> None:
    lacking.mapped(MADE)
    plan = lacking.desk.plan()
    key = str(lacking.desk.changes(plan)[0].key["Enerflo_Install_Id__c"])

    def theirs(method: str, path: str) -> None:
        lacking.company.before = None
        lacking.company.put(Name="Theirs", Enerflo_Install_Id__c=key, RecordTypeName="Solar")

    lacking.company.before = theirs
    report = run_apply(lacking.desk.context, plan.plan_hash, approved_by="Pat")
    assert lacking.company.writes == []
    assert report.moved > 0
    assert "has a record of this external id by now" in str(report.reasons)


@pytest.mark.parametrize("spelled", ["00{}", " {} ", "{}.0", "+{}", "INS-{}"])
def test_no_second_record_is_made_beside_one_in_another_spelling(lacking: Office, spelled: str) -> None:
    lacking.mapped(MADE)
    plan = lacking.desk.plan()
    key = str(lacking.desk.changes(plan)[0].key["Enerflo_Install_Id__c"])
    # The copy does not have it yet, and for Salesforce it is another external id.
    lacking.company.put(Name="Theirs", Enerflo_Install_Id__c=spelled.format(key), RecordTypeName="Solar")
    report = run_apply(lacking.desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.handed_over, lacking.company.writes) == (0, [])
    assert "another spelling of the external id" in str(report.reasons)


def test_an_external_id_that_another_one_holds_keeps_no_record_from_being_made(lacking: Office) -> None:
    lacking.mapped(MADE)
    plan = lacking.desk.plan()
    key = str(lacking.desk.changes(plan)[0].key["Enerflo_Install_Id__c"])
    lacking.company.put(Name="Another", Enerflo_Install_Id__c=f"{key}7")
    run_apply(lacking.desk.context, plan.plan_hash, approved_by="Pat")
    assert len(made(lacking)) == 1


def test_where_too_many_external_ids_are_alike_no_record_is_made(lacking: Office) -> None:
    lacking.mapped(MADE)
    plan = lacking.desk.plan()
    key = str(lacking.desk.changes(plan)[0].key["Enerflo_Install_Id__c"])
    for number in range(200):
        lacking.company.put(Id=f"006T{number:011d}AAQ", Enerflo_Install_Id__c=f"{key}x{number}")
    report = run_apply(lacking.desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.handed_over, lacking.company.writes) == (0, [])


def test_without_a_unique_external_id_no_record_is_made(lacking: Office) -> None:
    lacking.company.unique = False
    lacking.mapped(MADE)
    _, report = lacking.applied()
    assert lacking.company.writes == []
    (reason,) = report.reasons["parked"]
    assert "only made by an external id that is unique" in reason
    assert "Enerflo_Install_Id__c" in reason


def test_a_record_that_would_not_count_is_not_made(lacking: Office) -> None:
    lacking.mapped(OUTSIDE)
    _, report = lacking.applied()
    assert lacking.company.writes == []
    assert "outside where" in str(report.reasons["parked"])


def test_a_record_that_salesforce_refuses_is_parked_as_a_whole(lacking: Office) -> None:
    lacking.company.rule = lambda record: refused(400, "REQUIRED_FIELD_MISSING", "CloseDate")
    lacking.mapped(MADE)
    _, report = lacking.applied()
    assert list(report.reasons["parked"]) == [
        "Salesforce refuses the record (REQUIRED_FIELD_MISSING: CloseDate)"
    ]
    assert {row["state"] for row in lacking.handed()} == {"superseded"}


def test_values_that_do_not_fit_the_copy_are_parked_and_stop_nothing(lacking: Office) -> None:
    odd = "Amount: {enerflo: contract_amount, type: number, tolerance: 0.5,"
    assert odd in MADE
    lacking.mapped(MADE.replace(odd, "Amount: {enerflo: status_name, type: text,"))
    _, report = lacking.applied()
    assert lacking.company.writes == []
    assert report.moved == report.handed_over == 0
    (reason,) = report.reasons["parked"]
    assert "does not fit the type of the copy's column" in reason


def test_a_record_that_recognises_its_install_is_told_its_id(agreed: Desk) -> None:
    first = '(select min("Id") from salesforce."Opportunity")'
    nameless = f'update salesforce."Opportunity" set "Enerflo_Install_Id__c" = null where "Id" = {first}'
    with opened(agreed, nameless) as office:
        (id_,) = (
            one["Id"] for one in office.company.records.values() if one["Enerflo_Install_Id__c"] is None
        )
        office.mapped(
            TO.replace(
                "unlinked: ignore", "adopt: {Name: {enerflo: customer_name, fold_case: true, trim: true}}"
            )
        )
        plan, report = office.applied()
        assert (report.parked, report.moved) == (0, 0)
        assert office.company.writes == [("PATCH", id_, {"Enerflo_Install_Id__c": str(int(id_[3:15]))})]
        office.copy()
        assert office.desk.plan().change_count == 0
        assert {change.state for change in office.desk.changes(plan)} == {"applied"}


def gone(office: Office, tables: str) -> str:
    """Let Enerflo delete an install; return the record's id."""
    office.mapped(tables)
    install = office.install()
    office.desk.sql("update enerflo.installs set deleted_at = now() where install_id = :id", id=install)
    return id_of(install)


def test_a_record_is_deleted_where_it_may_be(office: Office) -> None:
    id_ = gone(office, ALLOWED)
    plan, report = office.applied()
    assert report.handed_over == 1
    assert office.company.writes == [("DELETE", id_, {})]
    office.copy()
    assert office.desk.plan().change_count == 0
    assert [change.state for change in office.desk.changes(plan)] == ["applied"]


def test_a_record_is_not_deleted_where_nothing_says_so(office: Office) -> None:
    gone(office, DELETED)
    _, report = office.applied()
    assert office.company.writes == []
    assert "delete: true" in str(report.reasons["parked"])


@pytest.mark.parametrize("field", ["Name", "Enerflo_Install_Id__c", "Permit_Approved_Date__c"])
def test_a_record_that_moved_is_not_deleted(office: Office, field: str) -> None:
    id_ = gone(office, ALLOWED)
    plan = office.desk.plan()
    office.company.edit(id_, **{field: "2026-01-01"})
    report = run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.moved, office.company.writes) == (1, [])


def test_a_deletion_whose_answer_was_lost_is_settled_by_reading(office: Office) -> None:
    id_ = gone(office, ALLOWED)
    office.company.lose = 1
    office.applied()
    assert office.company.writes == [("DELETE", id_, {})]
    assert office.states() == [("open", True, None)]


def test_a_deletion_that_a_person_took_back_after_a_lost_answer_is_not_made_again(office: Office) -> None:
    id_ = gone(office, ALLOWED)
    modified = office.company.records[id_]["LastModifiedDate"]
    plan = office.desk.plan()
    killed_at(office, "changes that we take to the CRM")
    with pytest.raises(SystemExit):
        run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    revived(office)
    office.clock.sleep(60)
    # Out of the recycle bin a record comes with the time of its last modification by a person.
    office.company.touch(id_, IsDeleted=False, LastModifiedDate=modified)
    office.clock.sleep(60)
    report = run_apply(office.desk.context, plan.plan_hash)
    assert report.parked == 1
    assert office.company.writes == [("DELETE", id_, {})]


UNTIMED = ALLOWED.replace("    updated_at: LastModifiedDate\n", "")


def test_an_edit_of_any_field_keeps_a_record_also_where_updated_at_is_not_mapped(office: Office) -> None:
    assert UNTIMED != ALLOWED
    id_ = gone(office, UNTIMED)
    plan = office.desk.plan()
    office.company.edit(id_, Permit_Approved_Date__c="2026-01-01")
    report = run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.moved, office.company.writes) == (1, [])


def test_a_deletion_that_waits_does_not_go_over_an_edit_that_the_next_copy_brings(office: Office) -> None:
    """The edited field is none of the mapping: only the row that the plan saw tells of it."""
    office.copy()
    ids = [gone(office, ALLOWED), id_of(office.install())]
    gone(office, ALLOWED)
    office.company.limit, office.company.used = 100, 100
    office.applied()
    office.company.edit(ids[0], Permit_Approved_Date__c="2026-01-01")
    office.copy()
    office.company.used = 0
    office.desk.context.__dict__.pop("salesforce")
    report = run_carry(office.desk.context)
    assert report is not None
    assert office.company.writes == [("DELETE", ids[1], {})]
    assert (report.taken, report.unmade, report.open) == (1, 1, 0)


def test_nor_over_one_that_a_copy_brings_in_the_midst_of_the_apply(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Salesforce and the copy have one time of modification again, and the record is another one."""
    office.copy()
    id_ = gone(office, ALLOWED)
    whole = TableCarrier.carry

    def copied_before(carrier: TableCarrier, *waiting: Any) -> None:
        office.company.edit(id_, Permit_Approved_Date__c="2026-01-01")
        office.copy()
        whole(carrier, *waiting)

    monkeypatch.setattr(TableCarrier, "carry", copied_before)
    _, report = office.applied()
    assert (report.moved, office.company.writes) == (1, [])


def test_without_the_time_of_its_last_modification_no_record_is_deleted(office: Office) -> None:
    office.desk.sql('alter table salesforce."Opportunity" drop column "LastModifiedDate"')
    gone(office, UNTIMED)
    _, report = office.applied()
    assert office.company.writes == []
    assert "no column of LastModifiedDate" in str(report.reasons["parked"])


def test_a_record_of_ours_is_known_again_where_the_object_filled_what_was_left_out(lacking: Office) -> None:
    lacking.mapped(MADE)
    lacking.desk.sql(
        "update enerflo.installs set contract_amount = null where install_id = (select"
        " min(install_id) from enerflo.installs where deleted_at is null and status_name <> 'Voided')"
    )
    lacking.company.defaults, lacking.company.lose = {"Amount": 0}, 1
    _, report = lacking.applied()
    assert "Amount" not in lacking.company.writes[0][2]
    assert (report.moved, len(made(lacking))) == (0, 1)
    assert {(row["state"], row["acknowledged_at"] is not None) for row in lacking.handed()} == {
        ("open", True)
    }


def test_a_page_in_place_of_an_answer_makes_no_second_record(lacking: Office) -> None:
    lacking.mapped(MADE)
    lacking.company.paged = 1
    lacking.applied()
    assert len(made(lacking)) == 1
    assert {row["acknowledged_at"] is not None for row in lacking.handed()} == {True}


def test_a_new_record_at_which_salesforce_fails_keeps_no_apply_from_its_end(lacking: Office) -> None:
    lacking.mapped(MADE)
    lacking.company.instead = lambda method, path: (
        refused(500, "UNKNOWN_EXCEPTION") if path == "/sobjects/Opportunity" else None
    )
    _, report = lacking.applied()
    assert report.stopped is not None
    assert "It was about a new record" in report.stopped
    assert {row["state"] for row in lacking.handed()} == {"open"}
