"""A row that another account of sync.yaml has, too, by its ``where``: it is sent to nobody's Enerflo unasked."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk
from tests.writes.sending import note

WEST = """accounts:
  west:
    tables:
      leads: {where: "company = 'west'"}
      notes: {where: "company = 'west'"}
  default:"""


def company(desk: Desk, *edits: tuple[str, str]) -> None:
    """Let a second account have rows of the CRM's tables, of which the first one says nothing."""
    for table in ("leads", "notes"):
        desk.sql(f"alter table crm.{table} add company text")
    desk.switched_on("both", ("accounts:\n  default:", WEST), *edits)
    desk.sql(
        "insert into crm.leads (lead_id, first_name, last_name, status, company, updated_at)"
        " values ('theirs', 'Ann', 'West', 'qualified', 'west', now()),"
        " ('ours', 'Bea', 'East', 'qualified', null, now())"
    )
    for key, whose in (("theirs", "'west'"), ("ours", "null")):
        note(desk, key, desk.a_site().install_id, f"Call {key} back")
        desk.sql(f"update crm.notes set company = {whose} where note_id = :key", key=key)


def test_a_new_row_that_is_another_accounts_too_is_a_question(agreed: Desk) -> None:
    company(agreed)
    plan = agreed.plan()
    made = {(one.table_name, *one.key.values()) for one in agreed.changes(plan, op="insert")}
    assert made == {("leads", "ours"), ("notes", "ours")}
    asked = {(one.table_name, *one.key.values()): str(one.reason) for one in agreed.undecided(plan)}
    assert asked.keys() == {("leads", "theirs"), ("notes", "theirs")}
    assert asked["leads", "theirs"].startswith("it is also a row of leads of account west")


@pytest.mark.parametrize(
    "edit",
    [
        # It does not meet the condition of this one.
        (
            "    crm_table: crm.leads\n",
            "    crm_table: crm.leads\n    where: company is distinct from 'west'\n",
        ),
        # The other one keeps the id of a company of its own.
        (
            "leads: {where: \"company = 'west'\"}",
            "leads: {where: \"company = 'west'\", join: {deal_type_id: customer_id}}",
        ),
    ],
)
def test_a_row_that_is_one_accounts_or_is_meant_for_both_is_no_question(
    agreed: Desk, edit: tuple[str, str]
) -> None:
    company(agreed, edit)
    assert {one.table_name for one in agreed.undecided(agreed.plan())} == {"notes"}


def test_the_report_tells_of_rows_that_no_account_has(agreed: Desk) -> None:
    agreed.sql("alter table crm.installs add company text")
    agreed.sql("update crm.installs set company = 'east' where enerflo_install_id % 2 = 0")
    west = WEST.replace("      leads:", "      installs: {where: \"company = 'west'\"}\n      leads:")
    table = "    crm_table: crm.installs\n"
    agreed.switched_on(
        "both", ("accounts:\n  default:", west), (table, f"{table}    where: \"company <> 'west'\"\n")
    )
    rows = agreed.one("select count(*) from crm.installs where company is null")
    (installs,) = [one for one in run_reconcile(agreed.context).tables if one.table_name == "installs"]
    said = f"{rows:,} rows of crm.installs outside the where of each table of sync.yaml: no account compares these."
    assert rows > 0
    assert said in installs.remarks
