"""Answers that are lost, outages and kills: nothing is lost, made twice, or made again that a person took back."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.copies.salesforce.session import NoAnswerError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.undo import run_undo
from tests.copies.salesforce.conftest import Office, killed_at, revived
from tests.copies.salesforce.fake import refused

SIZE = "System_Size__c"


@pytest.mark.parametrize("lost", ["lose", "unavailable"])
def test_a_lost_answer_is_settled_by_reading(office: Office, lost: str) -> None:
    ids = [office.moves(office.install(number)) for number in range(2)]
    setattr(office.company, lost, 1)
    _, report = office.applied()
    assert report.handed_over == 2
    assert office.states() == [("open", True, None)] * 2
    # What was lost was made already, and is not made again.
    assert sorted(path for _, path, _ in office.company.writes) == sorted(ids)


def test_when_salesforce_is_away_the_changes_wait_and_the_same_apply_goes_on(office: Office) -> None:
    id_ = office.moves(office.install())
    plan = office.desk.plan()
    office.company.unavailable = 100

    # Nothing is written by what answers 503 here.
    def nothing(record: dict[str, Any]) -> Any:
        return refused(503, "SERVER_UNAVAILABLE")

    office.company.rule = nothing
    with pytest.raises(NoAnswerError, match="503"):
        run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert office.states() == [("open", False, None)]
    office.company.unavailable, office.company.rule = 0, None
    report = run_apply(office.desk.context, plan.plan_hash)
    assert report.handed_over == 1
    assert office.company.writes == [("PATCH", id_, {SIZE: 9.99})]


@pytest.mark.parametrize(
    "word",
    ["carry installs: the copy's rows", "a request with changes goes out", "changes that we take to the CRM"],
)
def test_a_kill_loses_nothing_and_writes_nothing_twice(office: Office, word: str) -> None:
    ids = [office.moves(office.install(number)) for number in range(2)]
    plan = office.desk.plan()
    killed_at(office, word)
    with pytest.raises(SystemExit):
        run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    revived(office)
    run_apply(office.desk.context, plan.plan_hash)
    assert sorted(path for _, path, _ in office.company.writes) == sorted(ids)
    assert office.states() == [("open", True, None)] * 2


def test_what_a_person_took_back_after_a_lost_answer_is_not_made_again(office: Office) -> None:
    id_ = office.moves(office.install())
    before = office.company.records[id_][SIZE]
    plan = office.desk.plan()
    killed_at(office, "changes that we take to the CRM")
    with pytest.raises(SystemExit):
        run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    revived(office)
    office.clock.sleep(60)
    office.company.edit(id_, System_Size__c=before)
    report = run_apply(office.desk.context, plan.plan_hash)
    assert report.parked == 1
    assert "answer to a request with the change was lost" in str(report.reasons)
    assert office.company.records[id_][SIZE] == before


def test_a_request_that_lands_late_and_is_taken_back_is_not_made_again(office: Office) -> None:
    id_ = office.moves(office.install())
    before = office.company.records[id_][SIZE]
    asked: list[str] = []

    def late(method: str, path: str) -> None:
        asked.append(method)
        if len(asked) == 1:
            # The first request gets no answer, and is carried out only later.
            office.company.unavailable, office.company.rule = 1, lambda record: refused(503, "LATE")
        else:
            office.company.before = None
            office.company.rule = None
            office.company.edit(id_, System_Size__c=9.99)
            office.company.edit(id_, System_Size__c=before)

    office.company.before = late
    _, report = office.applied()
    assert report.parked == 1
    assert "answer to a request with the change was lost" in str(report.reasons)
    assert (office.company.writes, office.company.records[id_][SIZE]) == ([], before)


def test_an_undo_does_not_overtake_a_request_whose_answer_was_lost(office: Office) -> None:
    id_ = office.moves(office.install())
    plan = office.desk.plan()
    killed_at(office, "changes that we take to the CRM")
    with pytest.raises(SystemExit):
        run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    revived(office)
    undo = run_undo(office.desk.context, plan.plan_hash)
    # Nobody may withdraw what Salesforce has by now: a person is asked.
    assert undo.change_count == 0
    assert [one.field for one in office.desk.undecided(undo)] == [SIZE]
    assert office.company.records[id_][SIZE] == 9.99


def test_a_record_that_salesforce_itself_changes_is_written_on_the_condition_of_that_time(
    office: Office,
) -> None:
    id_ = office.moves(office.install())
    office.company.records[id_]["SystemModstamp"] = "2021-01-01T00:00:00.000+0000"
    # Which of the two times the condition is compared with, the documentation does not say.
    office.company.compared = "SystemModstamp"
    office.applied()
    assert office.company.headers[0]["If-Unmodified-Since"] == "Fri, 01 Jan 2021 00:00:00 GMT"
    assert office.company.records[id_][SIZE] == 9.99
