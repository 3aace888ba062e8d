"""A column that sync.yaml adds: of a forgotten customer's record it is erased, and not compared."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.columns import run_columns
from enerflo_sync.jobs.forget import run_forget
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk
from tests.writes.test_declared_columns import declared

LENDER = "{path: loan.lender, type: text, personal_data: false}"
MAPPED = "      lender: {enerflo: lender, type: text, source_of_truth: enerflo%s}\n"
VALUE = "select lender from crm.installs where enerflo_install_id = :i"


@pytest.mark.parametrize("nulls", ["", ", null_overwrites: true"])
def test_the_crm_keeps_what_was_erased_of_a_column_of_ones_own(agreed: Desk, nulls: str) -> None:
    desk = agreed
    desk.sql("alter table crm.installs add column lender text")
    declared(desk, mapped=MAPPED % nulls, lender=LENDER)
    run_columns(desk.context)
    desk.carried()
    desk.carried()
    install = desk.one("select min(enerflo_install_id) from crm.installs where lender is not null")
    customer = desk.one("select customer_id from enerflo.installs where install_id = :i", i=install)
    before = desk.one(VALUE, i=install)
    assert before
    run_forget(desk.context, customer, by="Pat", write=True)
    run_poll(desk.context)
    report = run_reconcile(desk.context, full=True)
    found = desk.sql(
        "select key from sync.differences where reconciliation_id = :r and field = 'lender'",
        r=report.reconciliation_id,
    )
    assert found == []
    for plan in run_plan(desk.context):
        assert [change.field for change in desk.changes(plan) if change.field == "lender"] == []
    desk.carried()
    assert desk.one(VALUE, i=install) == before


def test_what_is_read_from_the_place_of_a_declared_column_stays(agreed: Desk) -> None:
    desk = agreed
    declared(
        desk, again="{path: status_name, type: text}", name_again="{path: customer.first_name, type: text}"
    )
    run_columns(desk.context)
    install = desk.one("select min(install_id) from enerflo.installs where status_name is not null")
    customer = desk.one("select customer_id from enerflo.installs where install_id = :i", i=install)
    run_forget(desk.context, customer, by="Pat", write=True)
    # Enerflo takes up an install whose design is submitted again.
    desk.world.resubmit_install(install, panel_count=37)
    run_poll(desk.context)
    row = desk.sql(
        "select panel_count, status_name, name_again from enerflo.installs where install_id = :i", i=install
    )[0]
    assert (row["panel_count"], row["status_name"], row["name_again"]) == (37, "In progress", None)
