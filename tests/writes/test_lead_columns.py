"""New leads of a CRM that has two columns for one field of Enerflo."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from tests.writes.conftest import Desk

MOBILE = (
    "      mobile: {enerflo: mobile, type: text, trim: true, source_of_truth: crm, personal_data: phone}\n"
)
SHOWN = "      shown: {{enerflo: {}, type: text, source_of_truth: {}, personal_data: phone}}\n"


def lead(desk: Desk, field: str, rule: str, shown: str | None) -> None:
    """Let the CRM get a lead that is due, in a table that maps a field of Enerflo a second time."""
    desk.sql("alter table crm.leads add shown text")
    desk.switched_on("both", (MOBILE, MOBILE + SHOWN.format(field, rule)))
    desk.carried()
    desk.sql(
        "insert into crm.leads (lead_id, first_name, last_name, mobile, shown, address, city, state, zip, status,"
        " updated_at) values ('L-1', 'Ann', 'Lee', '5125550199', :shown, '9 Main St', 'Austin', 'TX', '78701',"
        " 'qualified', now())",
        shown=shown,
    )


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ("mobile", "enerflo, direction: to_crm"),
        ("mobile", "crm"),
        # Enerflo takes no lead without it.
        ("first_name", "enerflo, direction: to_crm"),
    ],
)
def test_the_column_that_has_the_value_and_may_be_sent_is_sent(agreed: Desk, field: str, rule: str) -> None:
    lead(agreed, field, rule, None)
    agreed.carried()
    (made,) = agreed.sql(
        "select first_name, mobile from enerflo.customers where integration_record_id = 'L-1'"
    )
    assert (made["first_name"], made["mobile"]) == ("Ann", "5125550199")


def test_between_two_values_for_one_field_nothing_is_chosen(agreed: Desk) -> None:
    lead(agreed, "mobile", "crm", "5125550111")
    report = run_apply(agreed.context, agreed.plan().plan_hash, approved_by="Pat")
    assert [*report.reasons["parked"]] == [
        "the lead cannot be sent (mobile and shown differ): correct it in the CRM."
    ]
    assert agreed.world.received == []
    agreed.sql("update crm.leads set shown = '(512) 555-0199', updated_at = now() where lead_id = 'L-1'")
    agreed.carried()
    assert (
        agreed.one("select mobile from enerflo.customers where integration_record_id = 'L-1'") == "5125550199"
    )
