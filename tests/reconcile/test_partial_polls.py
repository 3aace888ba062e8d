"""What a partial poll does to the report's "mirror as of": only a list that was read whole is as of that poll."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.reconcile.reconciliation import reconcile
from enerflo_sync.reconcile.render.text import render_text
from enerflo_sync.reconcile.report import ReconciliationReport, TableReport
from enerflo_sync.warehouse.runs import RunState
from tests.mirror.conftest import START, Company

SHIPPED = Path(__file__).parents[2] / "include" / "config" / "sync.yaml"


def test_a_list_that_was_not_read_whole_stays_as_of_the_poll_that_read_it(
    warehouse: sa.Engine, warehouse_url: str
) -> None:
    clock = VirtualClock(START)
    company = Company(warehouse, World(30, seed=3, start=START, clock=clock), clock)
    make_crm_tables(company.world, warehouse_url)
    config = load_config(SHIPPED, {})

    def report() -> ReconciliationReport:
        return reconcile(warehouse, config, "default")

    assert company.poll().state is RunState.OK
    whole = {table.table_name: table.mirror_as_of for table in report().tables}

    clock.advance(7200)
    company.faults = ["403@/api/v3/installs/notes#1-9"]
    assert company.poll().state is RunState.PARTIAL
    partial = report()
    now = {table.table_name: table.mirror_as_of for table in partial.tables}
    assert now[RecordKind.NOTES] == whole[RecordKind.NOTES] == partial.mirror_as_of
    for name in (RecordKind.INSTALLS, RecordKind.MILESTONES):
        assert now[name] > whole[name], name
    said = [
        remark for table in partial.tables for remark in table.remarks if "were last read whole at" in remark
    ]
    assert len(said) == 1
    assert said[0].startswith("Enerflo's notes were last read whole at 2026-03-02 08:0")
    assert "notes were last read whole at" in " ".join(render_text(partial).split())

    company.faults = []
    assert company.poll().state is RunState.OK
    healed = report()
    assert healed.mirror_as_of > partial.mirror_as_of
    assert not [r for table in healed.tables for r in table.remarks if "were last read whole at" in r]


def test_milestones_that_the_list_does_not_tell_are_as_of_the_oldest_read_of_them(
    warehouse: sa.Engine, warehouse_url: str
) -> None:
    clock = VirtualClock(START)
    company = Company(warehouse, World(30, seed=3, start=START, clock=clock), clock, lean_lists=True)
    make_crm_tables(company.world, warehouse_url)
    config = load_config(SHIPPED, {})

    def milestones() -> TableReport:
        tables = reconcile(warehouse, config, "default").tables
        (found,) = (table for table in tables if table.table_name == RecordKind.MILESTONES)
        return found

    company.poll(details=0)
    assert milestones().mirror_as_of is None, "nobody has read one"
    for _ in range(3):
        clock.advance(7200)
        began = clock.now()
        company.poll(details=12)
    assert [one for one in milestones().remarks if "wait to be read" in one] == []
    assert milestones().mirror_as_of < began
    company.world.set_status(company.world.install_id(0), 4)
    company.poll(details=0)
    (said,) = (one for one in milestones().remarks if "wait to be read" in one)
    assert said.startswith("Milestones of 1 install(s) wait to be read: Enerflo's list does not tell them")
    clock.advance(7200)
    began = clock.now()
    company.poll(details=100)
    assert milestones().mirror_as_of == began
