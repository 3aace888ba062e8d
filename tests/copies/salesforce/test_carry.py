"""Approved changes of a copied table go straight to Salesforce, each only where it still fits what stands there."""

from __future__ import annotations

from tests.copies.salesforce.conftest import Office


def test_a_change_goes_to_salesforce_once_and_the_copy_says_that_it_arrived(office: Office) -> None:
    id_ = office.moves(office.install())
    plan, report = office.applied()
    assert (report.handed_over, report.parked, report.moved) == (1, 0, 0)
    assert office.company.writes == [("PATCH", id_, {"System_Size__c": 9.99})]
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
