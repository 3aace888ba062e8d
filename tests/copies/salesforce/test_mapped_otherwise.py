"""What waits to be carried to Salesforce is not carried once ``sync.yaml`` maps it otherwise."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.carry import run_carry
from tests.copies.salesforce.conftest import TO, Office

SIZE = "System_Size__c: {enerflo: system_size_kw"


@pytest.fixture
def waiting(office: Office) -> Office:
    """An office with a change of a size that waits for requests of the day."""
    office.moves(office.install())
    office.company.limit, office.company.used = 100, 100
    office.applied()
    assert office.states() == [("open", False, None)]
    office.company.used = 0
    return office


@pytest.mark.parametrize(
    "edit",
    [
        (SIZE, "System_Size__c: {enerflo: contract_amount"),
        (SIZE, "System_Size__c: {direction: to_enerflo, enerflo: system_size_kw"),
        ("{object: Opportunity}", "{object: Opportunity, fields: {System_Size__c: Size__c}}"),
        ("{object: Opportunity}", "{object: Project__c}"),
    ],
)
def test_a_change_that_waits_and_is_mapped_otherwise_is_not_carried(
    waiting: Office, edit: tuple[str, str]
) -> None:
    assert edit[0] in TO
    waiting.mapped(TO.replace(*edit))
    report = run_carry(waiting.desk.context)
    assert report is not None
    assert (report.taken, report.unmade, report.open) == (0, 1, 0)
    assert waiting.company.writes == []
    ((state, taken, reason),) = waiting.states()
    assert (state, taken) == ("superseded", False)
    assert reason is not None
    assert reason.startswith("sync.yaml ")
    assert waiting.desk.ledger()[-1]["decision"] == "superseded"


def test_a_change_that_waits_is_carried_where_another_column_is_mapped_otherwise(waiting: Office) -> None:
    waiting.mapped(TO.replace("Amount: {", "Amount: {direction: to_enerflo, "))
    run_carry(waiting.desk.context)
    assert [fields for _, _, fields in waiting.company.writes] == [{"System_Size__c": 9.99}]
