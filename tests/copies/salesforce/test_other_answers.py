"""Answers about no record: of a proxy, of a company that is closed, or of a Salesforce that fails at one record."""

from __future__ import annotations

import logging

import pytest

from enerflo_sync.copies.salesforce.session import NoAnswerError
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.carry import run_carry
from tests.copies.salesforce.conftest import Office
from tests.copies.salesforce.fake import PAGE, Answer, refused

SIZE = "System_Size__c"
CLOSED = "INSERT_UPDATE_DELETE_NOT_ALLOWED_DURING_MAINTENANCE"


def test_a_page_in_place_of_an_answer_is_settled_by_reading(office: Office) -> None:
    id_ = office.moves(office.install())
    office.company.paged = 1
    office.applied()
    assert office.company.writes == [("PATCH", id_, {SIZE: 9.99})]
    assert office.states() == [("open", True, None)]
    assert [path for _, path in office.company.calls].count("/composite/sobjects/Opportunity") == 2


@pytest.mark.parametrize("status", [200, 202])
def test_a_page_that_says_200_is_no_write(office: Office, status: int) -> None:
    office.moves(office.install())
    office.company.instead = lambda method, path: (status, PAGE) if method == "PATCH" else None
    with pytest.raises(NoAnswerError, match=f"answers {status} where a write that was made"):
        office.applied()
    assert (office.company.writes, office.states()) == ([], [("open", False, None)])


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ((403, PAGE), "says 403 .without a reason of Salesforce."),
        ((404, PAGE), "says 404 .without a reason of Salesforce."),
        (refused(404, "URL_NOT_RESET"), "says 404 .URL_NOT_RESET."),
        (refused(403, "API_DISABLED_FOR_ORG"), "API_DISABLED_FOR_ORG"),
    ],
)
def test_what_is_said_of_no_record_parks_none(office: Office, said: Answer, words: str) -> None:
    office.moves(office.install())
    office.company.instead = lambda method, path: said if method == "PATCH" else None
    with pytest.raises(ConfigurationError, match=words):
        office.applied()
    assert office.states() == [("open", False, None)]
    assert [row["sent_as_of"] for row in office.handed()] == [None]


@pytest.mark.parametrize("status", [400, 503])
def test_while_salesforce_may_only_be_read_all_waits(office: Office, status: int) -> None:
    ids = [office.moves(office.install(number)) for number in range(2)]
    plan = office.desk.plan()
    office.company.instead = lambda method, path: refused(status, CLOSED) if method == "PATCH" else None
    report = run_apply(office.desk.context, plan.plan_hash, approved_by="Pat")
    assert report.stopped is not None
    assert f"takes no changes at the moment ({CLOSED})" in report.stopped
    assert "2 changes of installs stay open" in report.stopped
    assert office.states() == [("open", False, None)] * 2
    office.company.instead = None
    run_carry(office.desk.context)
    assert sorted(path for _, path, _ in office.company.writes) == sorted(ids)


def failing(*ids: str, status: int = 500) -> object:
    def instead(method: str, path: str) -> Answer | None:
        told = method == "PATCH" and path.rpartition("/")[2] in ids
        return refused(status, "UNKNOWN_EXCEPTION") if told else None

    return instead


@pytest.mark.parametrize("status", [500, 503])
def test_a_record_at_which_salesforce_always_fails_keeps_no_other_waiting(
    office: Office, status: int
) -> None:
    ids = [office.moves(office.install(number)) for number in range(3)]
    office.company.instead = failing(ids[0], status=status)  # type: ignore[assignment]
    _, report = office.applied()
    assert [path for _, path, _ in office.company.writes] == ids[1:]
    assert report.stopped is not None
    assert f"It was about {ids[0]}, whose changes of installs stay open" in report.stopped
    assert sorted(office.states()) == [("open", False, None), ("open", True, None), ("open", True, None)]


def test_a_record_that_alone_is_waited_for_keeps_no_apply_from_its_end(office: Office) -> None:
    id_ = office.moves(office.install())
    office.company.instead = failing(id_)  # type: ignore[assignment]
    _, report = office.applied()
    assert report.stopped is not None
    assert "fails at a request (UNKNOWN_EXCEPTION)" in report.stopped
    assert office.states() == [("open", False, None)]


def test_where_it_fails_at_one_record_after_another_it_is_away(office: Office) -> None:
    ids = [office.moves(office.install(number)) for number in range(6)]
    office.company.instead = failing(*ids)  # type: ignore[assignment]
    with pytest.raises(NoAnswerError, match="UNKNOWN_EXCEPTION"):
        office.applied()
    assert [method for method, _ in office.company.calls].count("PATCH") == 5


def test_a_field_that_an_answer_lacks_is_not_empty(office: Office) -> None:
    install = office.install()
    office.desk.sql("update enerflo.installs set contract_amount = null where install_id = :id", id=install)
    office.moves(install)
    office.company.left_out = {SIZE}
    with pytest.raises(RetriableError, match=f"lacks {SIZE}"):
        office.applied()
    assert office.company.writes == []


def test_an_address_that_cannot_be_parsed_with_its_answer_is_not_logged(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    _ = office.desk.context.salesforce
    caplog.set_level(logging.WARNING, "urllib3.connection")
    base = "https://company.my.salesforce.com/services/data/v61.0"
    urls = ["/sobjects/Lead/Mail__c/pat%40example.com?fields=Id", "/query?q=SELECT%20Id%20pat%40example.com"]
    for url in urls:
        logging.getLogger("urllib3.connection").warning("Failed to parse headers (url=%s): x", base + url)
    lines = [one.getMessage() for one in caplog.records if one.name == "urllib3.connection"]
    assert ["/sobjects/Lead/Mail__c/***?fields=Id" in lines[0], "/query?q=***" in lines[1]] == [True, True]
    assert "pat%40example.com" not in caplog.text


def test_after_the_login_the_address_that_it_names_is_asked(office: Office) -> None:
    office.moves(office.install())
    office.company.moved_to = office.desk.environ["SF_URL"].replace("127.0.0.1", "localhost")
    office.applied()
    assert {one["Host"].partition(":")[0] for one in office.company.headers} == {"localhost"}
    office.company.moved_to = "http://company.my.salesforce.com"
    office.desk.context.__dict__.pop("salesforce")
    office.moves(office.install(1))
    with pytest.raises(ConfigurationError, match="without encryption"):
        office.applied()


def test_what_a_trigger_makes_of_a_value_is_no_arrival(office: Office) -> None:
    id_ = office.moves(office.install())
    office.company.trigger = lambda record: record.update({SIZE: 10.0})
    plan, _ = office.applied()
    office.copy()
    office.desk.plan()
    assert office.states() == [("superseded", True, "the CRM's copy shows another value")]
    assert [change.state for change in office.desk.changes(plan)] == ["superseded"]
    assert (office.company.records[id_][SIZE], len(office.company.writes)) == (10.0, 1)


def test_a_value_that_a_trigger_takes_back_does_not_arrive(office: Office) -> None:
    id_ = office.moves(office.install())
    before = office.company.records[id_][SIZE]
    office.company.trigger = lambda record: record.update({SIZE: before})
    office.applied()
    office.copy()
    assert office.desk.plan().change_count == 0
    assert office.states() == [("open", True, None)]


@pytest.mark.parametrize(("locked", "writes", "moved"), [(2, 1, 0), (5, 0, 1)])
def test_a_record_that_is_locked_is_tried_again(office: Office, locked: int, writes: int, moved: int) -> None:
    office.moves(office.install())
    left = [refused(400, "UNABLE_TO_LOCK_ROW")] * locked
    office.company.instead = lambda method, path: left.pop() if method == "PATCH" and left else None
    _, report = office.applied()
    assert (len(office.company.writes), report.moved, report.parked) == (writes, moved, 0)


def test_a_duplicate_that_a_rule_finds_is_parked_without_the_record_that_it_shows(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    office.moves(office.install())
    found = {"matchRecords": [{"record": {"Name": "Pat Secret"}, "matchConfidence": 100.0}]}
    said = [
        {
            "duplicateResut": found,
            "errorCode": "DUPLICATES_DETECTED",
            "message": "Use Pat Secret",
            "fields": [],
        }
    ]
    office.company.rule = lambda record: (400, said)
    _, report = office.applied()
    assert list(report.reasons["parked"]) == ["Salesforce refuses the record (DUPLICATES_DETECTED)"]
    assert "Pat Secret" not in str(office.handed()) + str(office.desk.ledger()) + caplog.text


@pytest.mark.parametrize("status", [301, 302, 307])
def test_an_address_that_moved_is_told_and_not_followed(office: Office, status: int) -> None:
    office.moves(office.install())
    office.company.instead = lambda method, path: (status, None) if method == "PATCH" else None
    with pytest.raises(ConfigurationError, match=f"answers {status}, which sends us to another address"):
        office.applied()
    assert office.states() == [("open", False, None)]
    assert [row["sent_as_of"] for row in office.handed()] == [None]
