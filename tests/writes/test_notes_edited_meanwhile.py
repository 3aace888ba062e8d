"""A new row that is never changed later (`create_only`) is made with what Enerflo says, or not by this plan."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.test_changed_mapping import QUICK

HANDED = ("    crm_table: crm.notes\n", "    crm_table: crm.notes\n    write_to: changes\n")


@pytest.mark.parametrize("handed", [False, True])
def test_a_note_that_is_edited_at_enerflo_before_its_row_is_made(agreed: Desk, handed: bool) -> None:
    edits = (QUICK, HANDED) if handed else (QUICK,)
    agreed.switched_on("both", *edits)
    site = agreed.a_site().install_id
    edited, other = (agreed.world.add_note(site, text) for text in ("First text.", "Another note."))
    run_poll(agreed.context)
    plan = agreed.plan()
    agreed.world.edit_note(edited, "Second text.")
    run_poll(agreed.context, full=True)
    report = run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert report.moved == plan.change_count / 2, report
    assert "Enerflo says something else" in next(iter(report.reasons["moved"]))
    assert said(agreed, handed) == {other: "Another note."}
    run_apply(agreed.context, agreed.plan().plan_hash, approved_by="Pat")
    assert said(agreed, handed) == {other: "Another note.", edited: "Second text."}
    assert agreed.plan().change_count == 0


def said(desk: Desk, handed: bool) -> dict[int, str]:
    """Return the texts of the notes that were made, or handed over, by Enerflo's id."""
    rows = desk.sql(
        "select (enerflo_key ->> 'note_id')::bigint as id, after #>> '{}' as body from sync.crm_changes"
        " where \"column\" = 'body'"
        if handed
        else "select enerflo_note_id as id, body from crm.notes where body in ('First text.', 'Second text.', 'Another note.')"
    )
    return {row["id"]: row["body"] for row in rows}
