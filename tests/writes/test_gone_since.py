"""Records that Enerflo deletes, or has again, between a plan and its application."""

from __future__ import annotations

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.test_undo_whole_rows import DELETED_TOO, NOT_IN_FLIGHT


def test_a_row_whose_record_enerflo_has_again_is_not_deleted(agreed: Desk) -> None:
    agreed.switched_on("both", NOT_IN_FLIGHT, DELETED_TOO)
    note = agreed.one("select min(enerflo_note_id) from crm.notes")
    before = agreed.crm("notes", enerflo_note_id=note)
    agreed.sql("update enerflo.notes set deleted_at = now() where note_id = :n", n=note)
    plan = agreed.plan()
    assert [(change.op, change.table_name) for change in agreed.changes(plan)] == [("delete", "notes")]
    # The note is found in Enerflo again while its deletion waits for a person.
    agreed.sql("update enerflo.notes set deleted_at = null, observed_at = now() where note_id = :n", n=note)
    report = run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (0, 1)
    assert agreed.crm("notes", enerflo_note_id=note) == before
    agreed.settled()


def test_no_row_is_made_of_a_record_that_enerflo_deleted_since(agreed: Desk) -> None:
    agreed.switched_on("both", NOT_IN_FLIGHT)
    install = agreed.one("select min(enerflo_install_id) from crm.installs")
    note = agreed.world.add_note(install, "Call on Monday.")
    run_poll(agreed.context)
    plan = agreed.plan()
    agreed.world.delete_note(note)
    run_poll(agreed.context, full=True)
    report = run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (0, plan.change_count)
    assert agreed.sql("select from crm.notes where enerflo_note_id = :n", n=note) == []
    agreed.settled()
