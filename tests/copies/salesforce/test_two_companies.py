"""Two accounts on one copied table, parted by ``where``: a record is written only by the one that it belongs to."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.carry import run_carry
from tests.copies.salesforce.conftest import TO, Office

WHERE = 'where: "\\"RecordTypeName\\" = \'Solar\'"'
# What Salesforce does not have as a field: the view of the copy, or a job, works it out.
BY_COPY = TO.replace(WHERE, 'where: "\\"Company\\" = \'west\'"')


@pytest.fixture
def west(office: Office) -> Office:
    office.desk.sql('alter table salesforce."Opportunity" add "Company" text not null default \'west\'')
    assert BY_COPY != TO
    office.mapped(BY_COPY)
    return office


def test_a_record_that_is_as_the_copy_has_it_is_written(west: Office) -> None:
    id_ = west.moves(west.install())
    _, report = west.applied()
    assert (report.handed_over, report.parked, report.moved) == (1, 0, 0)
    assert west.company.writes == [("PATCH", id_, {"System_Size__c": 9.99})]


def test_a_record_that_may_be_the_other_companys_by_now_waits_for_the_copy_and_is_not_written(
    west: Office,
) -> None:
    id_ = west.moves(west.install())
    plan = west.desk.plan()
    # The owner moves to the other company; nothing that is mapped changes.
    west.company.edit(id_)
    run_apply(west.desk.context, plan.plan_hash, approved_by="Pat")
    assert west.company.writes == []
    assert west.states() == [("open", False, None)]
    west.copy()
    west.desk.sql('update salesforce."Opportunity" set "Company" = \'east\' where "Id" = :id', id=id_)
    run_carry(west.desk.context)
    assert west.company.writes == []
    assert west.desk.plan().change_count == 0
    run_carry(west.desk.context)
    assert west.company.writes == []
    (ended,) = [state for state, _, _ in west.states()]
    assert ended == "superseded"


def test_a_record_that_still_counts_is_written_once_the_copy_has_its_modification(west: Office) -> None:
    id_ = west.moves(west.install())
    plan = west.desk.plan()
    west.company.edit(id_)
    run_apply(west.desk.context, plan.plan_hash, approved_by="Pat")
    assert west.company.writes == []
    west.copy()
    run_carry(west.desk.context)
    assert [path for _, path, _ in west.company.writes] == [id_]


def test_without_the_time_of_modification_in_the_copy_a_person_writes(west: Office) -> None:
    west.mapped(BY_COPY.replace("    updated_at: LastModifiedDate\n", ""))
    west.desk.sql('alter table salesforce."Opportunity" rename "LastModifiedDate" to changed')
    west.moves(west.install())
    _, report = west.applied()
    assert report.parked == 1
    assert "nobody can tell whether the record still counts" in str(report.reasons)
    assert west.company.writes == []


def test_a_stage_that_takes_the_record_out_of_where_is_a_question_and_is_not_sent(office: Office) -> None:
    office.mapped(TO.replace(WHERE, 'where: "\\"StageName\\" <> \'On Hold\'"'))
    desk = office.desk
    desk.carried()
    install = office.install()
    desk.sql("update enerflo.installs set status_name = 'On Hold' where install_id = :i", i=install)
    plan, report = office.applied()
    assert (report.handed_over, report.applied) == (0, 0)
    assert [one.field for one in desk.undecided(plan) if "outside where" in str(one.reason)] == ["StageName"]
    assert office.company.writes == []
