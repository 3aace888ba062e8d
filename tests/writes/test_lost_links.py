"""A CRM row that named a record of Enerflo when both sides agreed, and names none any more: it is no new one."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.forget import run_forget
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.creations import LINK_LOST, ROW_LOST_LINK
from tests.writes.conftest import Desk
from tests.writes.copies import mapped, run
from tests.writes.sending import posts
from tests.writes.test_salesforce_copy import _ROWS, _TABLE, TABLES

INSTALLS = TABLES[: TABLES.index("\n  permits:")]
# A lead that came from Enerflo has its key from us, and Enerflo does not know that key.
LEAD = "select * from crm.leads where lead_id like 'enerflo-%' order by lead_id limit 1"
UNLINKED = "update crm.leads set enerflo_customer_id = null, status = 'qualified', updated_at = now() where lead_id = :id"


def asked(desk: Desk, table: str) -> list[str]:
    """Plan and apply, and return why rows of a table that Enerflo lacks are questions."""
    plan = desk.plan()
    assert not desk.changes(plan, table_name=table, direction="to_enerflo")
    desk.carried()
    return [
        one.reason for one in desk.undecided(plan) if one.table_name == table and one.enerflo_value is None
    ]


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_lead_whose_link_is_lost_becomes_no_second_customer(agreed: Desk, forgotten: bool) -> None:
    lead = agreed.sql(LEAD)[0]
    if forgotten:
        run_forget(agreed.context, lead["enerflo_customer_id"], by="Pat", write=True)
    agreed.sql(UNLINKED, id=lead["lead_id"])
    for _ in range(2):
        assert asked(agreed, "leads") == [LINK_LOST]
        run_poll(agreed.context)
    assert posts(agreed) == []
    # Once the row names its record again, all is well.
    statement = "update crm.leads set enerflo_customer_id = :c, updated_at = now() where lead_id = :id"
    agreed.sql(statement, c=lead["enerflo_customer_id"], id=lead["lead_id"])
    assert asked(agreed, "leads") == []


def test_a_note_whose_link_is_lost_becomes_no_second_note(agreed: Desk) -> None:
    """Its text was corrected in the CRM since, so the two are not the same by their words."""
    note = "(select min(enerflo_note_id) from crm.notes)"
    agreed.sql(
        f"update crm.notes set body = 'Corrected.', enerflo_note_id = null where enerflo_note_id = {note}"
    )
    assert asked(agreed, "notes") == [LINK_LOST]
    assert posts(agreed) == []


def test_another_row_of_its_key_is_a_new_lead_once_the_record_has_a_row(agreed: Desk) -> None:
    """An import gave the key to a new lead, and the lead that had it another key."""
    lead = agreed.sql(LEAD)[0]
    agreed.sql("update crm.leads set lead_id = 'again' where lead_id = :id", id=lead["lead_id"])
    agreed.sql(
        "insert into crm.leads (lead_id, first_name, last_name, status, deal_type_id, updated_at)"
        " values (:id, 'New', 'Lead', 'qualified', 1, now())",
        id=lead["lead_id"],
    )
    (change,) = {(one.op, one.key["lead_id"]) for p in run_plan(agreed.context) for one in agreed.changes(p)}
    assert change == ("insert", lead["lead_id"])


@pytest.mark.parametrize("unlinked", ["ignore", "report"])
def test_a_row_whose_link_an_import_emptied_is_not_called_deleted(agreed: Desk, unlinked: str) -> None:
    run(agreed, _TABLE, _ROWS)
    written = INSTALLS.replace("write_to: changes", "write_to: table")
    mapped(agreed, "both", written.replace("unlinked: ignore", f"unlinked: {unlinked}"))
    agreed.carried()
    wiped, gone = (
        row["Id"] for row in agreed.sql('select "Id" from salesforce."Opportunity" order by 1 limit 2')
    )
    named = agreed.one(
        'select "Enerflo_Install_Id__c" from salesforce."Opportunity" where "Id" = :i', i=wiped
    )
    renamed = (
        'update salesforce."Opportunity" set "Enerflo_Install_Id__c" = :n, _fivetran_synced = now()'
        ' where "Id" = :i'
    )
    agreed.sql(renamed, n=None, i=wiped)
    agreed.sql('delete from salesforce."Opportunity" where "Id" = :i', i=gone)
    words = ROW_LOST_LINK.format("Enerflo_Install_Id__c")
    for _ in range(2):
        plan = agreed.plan()
        assert agreed.changes(plan) == []
        assert {(next(iter(one.key.values())).strip(), one.reason) for one in agreed.undecided(plan)} == {
            (wiped[3:], words),
            (gone[3:], "it was deleted from the CRM since both agreed"),
        }
    agreed.sql(renamed, n=named, i=wiped)
    assert words not in {one.reason for one in agreed.undecided(agreed.plan())}
