"""CRM tables that refer to each other: rows go from the last table to the first, as their foreign keys allow."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk

_KEYS = """alter table crm.installs add primary key (enerflo_install_id);
alter table crm.milestones add foreign key (enerflo_install_id) references crm.installs {does};
alter table crm.notes add foreign key (enerflo_install_id) references crm.installs {does}"""
_EACH = "    updated_at: updated_at\n    fields:\n"


def rows(desk: Desk, install: int) -> list[int]:
    return [
        desk.one(f"select count(*) from crm.{table} where enerflo_install_id = :i", i=install)
        for table in ("installs", "milestones", "notes")
    ]


@pytest.mark.parametrize("does", ["", "on delete cascade"])
def test_an_undo_takes_back_a_new_install_with_what_refers_to_it(agreed: Desk, does: str) -> None:
    agreed.sql(_KEYS.format(does=does))
    install = agreed.world.create_install()
    agreed.world.add_note(install, "Call on Monday.")
    run_poll(agreed.context)
    plan = agreed.plan()
    agreed.carried()
    there = rows(agreed, install)
    assert all(there)
    undo = run_undo(agreed.context, plan.plan_hash)
    report = run_apply(agreed.context, undo.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked, report.moved) == (undo.change_count, 0, 0), report.reasons
    assert rows(agreed, install) == [0, 0, 0]
    # What went is noted row by row, so that it comes back whole.
    again = run_undo(agreed.context, undo.plan_hash)
    report = run_apply(agreed.context, again.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked, report.moved) == (again.change_count, 0, 0), report.reasons
    assert rows(agreed, install) == there


@pytest.mark.parametrize("does", ["", "on delete cascade"])
def test_an_install_that_enerflo_deletes_goes_with_its_milestones(agreeing: Desk, does: str) -> None:
    agreeing.switched_on("crm", (_EACH, f"    delete_in: [crm]\n{_EACH}"))
    agreeing.sql(_KEYS.format(does=does))
    install = agreeing.one(
        "select min(install_id) from enerflo.milestones where install_id not in"
        " (select enerflo_install_id from crm.notes where enerflo_install_id is not null)"
    )
    for table in ("installs", "milestones"):
        agreeing.sql(f"update enerflo.{table} set deleted_at = now() where install_id = :i", i=install)
    report = agreeing.carried()
    assert (report.parked, report.moved) == (0, 0), report.reasons
    assert rows(agreeing, install) == [0, 0, 0]
