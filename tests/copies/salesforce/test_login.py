"""The day's requests, the login, the address and the object: what was approved waits, and the place is told."""

from __future__ import annotations

import pytest

from enerflo_sync.errors import ConfigurationError, RetriableError
from tests.copies.salesforce.conftest import TO, Office

SIZE = "System_Size__c"


def test_near_the_days_limit_we_stop_and_the_rest_stays_open(office: Office) -> None:
    for number in range(3):
        office.moves(office.install(number))
    # A login counts as none here; describe, read and one write fit.
    office.company.limit, office.company.used = 100, 77
    _, report = office.applied()
    assert len(office.company.writes) == 1
    assert report.stopped is not None
    assert "20 % of the day's requests to Salesforce are kept for others" in report.stopped
    assert "2 changes of installs stay open" in report.stopped
    assert [state[:2] for state in office.states()] == [("open", True), ("open", False), ("open", False)]


def test_requests_that_are_used_up_by_others_stop_us_too(office: Office) -> None:
    office.moves(office.install())
    office.company.limit, office.company.used = 100, 100
    _, report = office.applied()
    assert report.stopped is not None
    assert "used up" in report.stopped
    assert office.states() == [("open", False, None)]


def test_a_token_that_ended_is_renewed_once(office: Office) -> None:
    id_ = office.moves(office.install())
    office.company.expired = 1
    office.applied()
    assert office.company.logins == 2
    assert office.company.records[id_][SIZE] == 9.99


def test_a_token_that_is_never_accepted_is_a_matter_of_configuration(office: Office) -> None:
    office.moves(office.install())
    office.company.expired = 2
    with pytest.raises(ConfigurationError, match=r"does not accept the token \(INVALID_SESSION_ID\)"):
        office.applied()
    assert office.states() == [("open", False, None)]


def test_a_refused_login_says_where_it_is_written_and_no_secret(office: Office) -> None:
    office.moves(office.install())
    office.desk.environ["SF_SECRET"] = "not-the-secret"
    office.mapped(TO)
    with pytest.raises(ConfigurationError) as caught:
        office.applied()
    said = str(caught.value)
    assert "refuses the login (invalid_client)" in said
    assert "accounts.default.salesforce" in said
    assert "not-the-secret" not in said
    assert "secret value" not in said


def test_a_missing_secret_names_its_variable(office: Office) -> None:
    office.moves(office.install())
    del office.desk.environ["SF_SECRET"]
    office.mapped(TO)
    with pytest.raises(ConfigurationError, match=r"SF_SECRET is not set.*"):
        office.applied()


def test_an_object_that_is_not_there_is_named(office: Office) -> None:
    office.moves(office.install())
    office.mapped(TO.replace("object: Opportunity", "object: Oportunity"))
    with pytest.raises(ConfigurationError, match="has no object Oportunity"):
        office.applied()


def test_an_address_that_does_not_answer_is_tried_again_and_then_told(office: Office) -> None:
    office.moves(office.install())
    office.desk.environ["SF_URL"] = "http://127.0.0.1:1"
    office.mapped(TO)
    with pytest.raises(RetriableError, match="refused the connection"):
        office.applied()
    assert office.states() == [("open", False, None)]
