"""One CRM row that names two installs, in two columns: what both fill is asked about, and not written by turns."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.copies import mapped

ONE = """tables:
  first:
    of: installs
    crm_table: crm.sites
    key: [site]
    updated_at: updated_at
    join: {install_1: install_id}
    unlinked: ignore
    create_in: []
    fields:
      panels: {enerflo: panel_count, type: integer, source_of_truth: TRUTH}
      amount_1: {enerflo: contract_amount, type: number, source_of_truth: enerflo}
  second:
    of: installs
    crm_table: crm.sites
    key: [site]
    updated_at: updated_at
    join: {install_2: install_id}
    unlinked: ignore
    create_in: []
    fields:
      panels: {enerflo: panel_count, type: integer, source_of_truth: TRUTH}
      amount_2: {enerflo: contract_amount, type: number, source_of_truth: enerflo}
"""
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")


@pytest.fixture
def sites(agreed: Desk) -> tuple[Desk, int, int]:
    """A table of sites with two installs each; one site has two installs that say something else."""
    installs = agreed.sql(
        "select install_id, panel_count, contract_amount from enerflo.installs where deleted_at is null"
        " and panel_count is not null order by install_id"
    )
    first = installs[0]
    second = next(row for row in installs if row["panel_count"] != first["panel_count"])
    agreed.sql(
        "create table crm.sites as select 's' || install_id as site, install_id as install_1,"
        " null::bigint as install_2, panel_count as panels, contract_amount as amount_1, null::numeric as amount_2, now() - interval '1 day' as updated_at"
        " from enerflo.installs where deleted_at is null and install_id <> :other",
        other=second["install_id"],
    )
    agreed.sql(
        "update crm.sites set install_2 = :other, amount_2 = :amount where install_1 = :one",
        other=second["install_id"],
        amount=second["contract_amount"],
        one=first["install_id"],
    )
    return agreed, first["install_id"], second["install_id"]


def panels_written(desk: Desk, *, rounds: int) -> list[tuple[object, ...]]:
    """Plan and apply again and again; return the changes of the column that both installs fill."""
    written: list[tuple[object, ...]] = []
    for _ in range(rounds):
        plan = desk.plan()
        written += [
            (c.table_name, c.field, c.before, c.after) for c in desk.changes(plan) if c.field == "panels"
        ]
        run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    return written


@pytest.mark.parametrize("truth", ["enerflo", "newest"])
@pytest.mark.parametrize("key", ["[site]", "{install_2: install_id}"])
def test_a_column_of_two_records_is_not_written_by_turns(
    sites: tuple[Desk, int, int], truth: str, key: str
) -> None:
    desk, first, second = sites
    tables = ONE.replace("TRUTH", truth)
    if key != "[site]":
        once = "    key: [site]\n    updated_at: updated_at\n    join: {install_2: install_id}\n"
        assert once in tables
        tables = tables.replace(once, f"    key: {key}\n    updated_at: updated_at\n")
    mapped(desk, "crm", tables, AT_ONCE)
    assert panels_written(desk, rounds=4) == []
    desk.world.resubmit_install(first, panel_count=51)
    run_poll(desk.context)
    assert panels_written(desk, rounds=3) == []
    asked = {str(one.reason) for one in desk.undecided(desk.plan()) if one.field == "panels"}
    assert any("its row names another record" in one for one in asked)
    # Where both say the same it is written.
    desk.world.resubmit_install(second, panel_count=51)
    run_poll(desk.context)
    desk.carried()
    assert desk.one("select panels from crm.sites where install_1 = :i", i=first) == 51
    desk.settled()
