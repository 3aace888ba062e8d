"""A record that Enerflo tells in a form that cannot be read: what both sides said before is no news of it."""

from __future__ import annotations

from msgspec.structs import replace

from enerflo_sandbox.bad_records import BadKind
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.reconcile.render.text import render_text
from enerflo_sync.reconcile.render.verdict import verdict_text
from tests.writes.conftest import Desk, agreed, agreed_warehouse, desk, polled_warehouse

__all__ = ["agreed", "agreed_warehouse", "desk", "polled_warehouse"]

ON_HOLD = 4


def test_a_report_says_of_which_records_what_enerflo_says_now_could_not_be_read(agreed: Desk) -> None:
    """Poll after poll the mirror has what was last read, and so has the CRM."""
    install = agreed.a_site().install_id
    assert verdict_text(run_reconcile(agreed.context)).headline == "Both sides agree"
    agreed.world.set_status(install, ON_HOLD)
    agreed.world.plant_bad(install, BadKind.ABSURD_DATE)
    for _ in range(2):
        run_poll(agreed.context)
        report = run_reconcile(agreed.context)
        assert {table.table_name: table.quarantined for table in report.tables} == {
            "installs": 1,
            "milestones": 0,
            "notes": 0,
        }
        words = verdict_text(report)
        assert words.headline == "Both sides agree, except for records that could not be read"
        # Two CRM tables of installs are about the same records.
        assert replace(report, tables=[*report.tables, *report.tables]).quarantined == 1
        assert "Enerflo's present values of 1 record could not be read, and were not compared" in words.detail
        assert "were not compared: `enerflo-sync quarantine list`" in " ".join(render_text(report).split())
    agreed.world.mend(install)
    run_poll(agreed.context)
    assert run_reconcile(agreed.context).quarantined == 0


def test_what_a_person_dismissed_is_said_no_more(agreed: Desk) -> None:
    agreed.world.plant_bad(agreed.a_site().install_id, BadKind.ABSURD_DATE)
    run_poll(agreed.context)
    assert run_reconcile(agreed.context).quarantined == 1
    agreed.sql("update sync.quarantine set state = 'dismissed'")
    assert run_reconcile(agreed.context).quarantined == 0
