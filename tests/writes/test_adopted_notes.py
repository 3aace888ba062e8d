"""Notes of the CRM that are found at Enerflo by their text, in which we name the author: nobody edited them."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.sending import lost_after_the_post, note, posts

HANDED_OVER = ("    key: [note_id]\n", "    write_to: changes\n    key: [note_id]\n")


def asked(desk: Desk) -> list[str]:
    return [str(one.reason) for plan in run_plan(desk.context) for one in desk.undecided(plan)]


def carried_by_a_tool(desk: Desk) -> None:
    """Apply what is planned, and let a tool write what is handed over."""
    for plan in run_plan(desk.context):
        run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    for one in desk.sql("select * from sync.crm_changes_open"):
        desk.sql(
            "update crm.notes set enerflo_note_id = :v where note_id = :n",
            v=int(one["after"]),
            n=one["key"]["note_id"],
        )


def linked(desk: Desk) -> dict[str, str]:
    """Return the texts of the CRM's new notes, each with the text of the note at Enerflo that its row names."""
    bodies = {one.note_id: one.body for one in desk.world.truth.notes()}
    rows = desk.sql("select * from crm.notes where note_id in ('N1', 'N2')")
    return {row["body"]: bodies[row["enerflo_note_id"]] for row in rows}


def test_a_note_whose_answer_was_lost_is_no_question_once_its_row_has_the_id(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(agreed, "N1", agreed.a_site().install_id, "The roof is wet.")
    lost_after_the_post(agreed, monkeypatch)
    run_poll(agreed.context)
    agreed.carried()
    for _ in range(2):
        assert asked(agreed) == []
    assert linked(agreed) == {"The roof is wet.": "The roof is wet.\n\nAnn (CRM)"}
    agreed.settled()
    assert len(posts(agreed)) == 1


def test_nor_is_one_whose_row_gets_another_key_while_its_id_is_on_its_way(agreed: Desk) -> None:
    agreed.switched_on("both", HANDED_OVER)
    agreed.carried()
    note(agreed, "N1", agreed.a_site().install_id, "The roof is wet.")
    agreed.carried()
    agreed.sql("update crm.notes set note_id = 'N2', updated_at = now() where note_id = 'N1'")
    for _ in range(3):
        assert asked(agreed) == []
        carried_by_a_tool(agreed)
    assert linked(agreed) == {"The roof is wet.": "The roof is wet.\n\nAnn (CRM)"}
    assert len(posts(agreed)) == 1


def test_the_id_of_a_note_is_not_handed_over_for_another_row_that_has_its_key_by_now(agreed: Desk) -> None:
    agreed.switched_on("both", HANDED_OVER)
    agreed.carried()
    install = agreed.a_site().install_id
    note(agreed, "N1", install, "The roof is wet.")
    agreed.carried()
    agreed.sql("update crm.notes set note_id = 'N2', updated_at = now() where note_id = 'N1'")
    note(agreed, "N1", install, "The dog bites.")
    for _ in range(3):
        carried_by_a_tool(agreed)
        run_poll(agreed.context)
    assert len(posts(agreed)) == 2
    assert linked(agreed) == {
        "The roof is wet.": "The roof is wet.\n\nAnn (CRM)",
        "The dog bites.": "The dog bites.\n\nAnn (CRM)",
    }
    assert asked(agreed) == []
