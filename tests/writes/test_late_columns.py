"""A copy whose columns arrive later than its rows: what the CRM has there is not gone over unseen."""

from __future__ import annotations

from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.test_salesforce_copy import TABLES, copied

__all__ = ["copied"]
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")
FREELY = ("  changes: 500\n  percent: 10\n", "  changes: 100000\n  percent: 100\n  new_mapping: false\n")
ONCE = ("  new_mapping: true\n", "")
COLUMN = "System_Size__c"
SAID = "and no row of the copy has a value there: a copy that got the column late does not show what the CRM has."


def reasons(desk: Desk) -> list[str]:
    plan = desk.plan()
    assert plan.change_count > 0
    return [reason for reason in plan.reasons if not reason.startswith("The key columns of ")]


def test_a_plan_that_fills_a_column_of_a_copy_that_is_empty_in_all_rows_waits(copied: Desk) -> None:
    copied.sql(f'update salesforce."Opportunity" set "{COLUMN}" = null')
    mapped(copied, "both", TABLES, AT_ONCE, FREELY, ONCE)
    (reason,) = reasons(copied)
    assert reason.startswith(f"It fills installs.{COLUMN} in ")
    assert reason.endswith(SAID)
    # The next copy brings one value: it is known by now what the CRM has.
    site = copied.a_site().install_id
    copied.sql(
        f'update salesforce."Opportunity" set "{COLUMN}" = 3.14, _fivetran_synced = now() where "Id" = :id',
        id=f"006{site}",
    )
    assert reasons(copied) == []


def test_a_table_that_is_no_copy_is_filled(copied: Desk) -> None:
    copied.sql(f'update salesforce."Opportunity" set "{COLUMN}" = null')
    tables = TABLES.replace("write_to: changes", "write_to: table")
    mapped(copied, "both", tables, AT_ONCE, FREELY, ONCE)
    assert reasons(copied) == []
