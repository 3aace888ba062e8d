"""A note of the CRM that was never sent, as far as is known, and that stands at Enerflo in another spelling."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.sending import in_crm, note, posts

BODY = "Call first & <then> come"
ESCAPED = "Call first &amp; &lt;then&gt; come\n\nAnn (CRM)"


@pytest.mark.parametrize("text", [ESCAPED, "Call first &amp; &lt;then&gt; come", "Call first & <then>  come"])
def test_it_is_linked_and_neither_sent_nor_made_a_second_row(agreed: Desk, text: str) -> None:
    install_id = agreed.a_site().install_id
    before = len(in_crm(agreed, install_id))
    note_id = agreed.world.add_note(install_id, text)
    note(agreed, "N1", install_id, BODY)
    run_poll(agreed.context)
    plan = agreed.plan()
    assert {(one.key["note_id"], one.direction) for one in agreed.changes(plan, table_name="notes")} == {
        ("N1", "to_enerflo")
    }
    agreed.carried()
    assert agreed.crm("notes", note_id="N1")["enerflo_note_id"] == note_id
    assert posts(agreed) == []
    assert len(in_crm(agreed, install_id)) == before + 1
    agreed.settled()


def test_of_two_of_one_text_one_is_linked_and_the_other_is_a_note_of_its_own(agreed: Desk) -> None:
    install_id = agreed.a_site().install_id
    before = len(in_crm(agreed, install_id))
    known = {agreed.world.add_note(install_id, ESCAPED) for _ in range(2)}
    note(agreed, "N1", install_id, BODY)
    run_poll(agreed.context)
    agreed.carried()
    rows = in_crm(agreed, install_id)
    assert len(rows) == before + 2
    assert {row["enerflo_note_id"] for row in rows} >= known
    assert posts(agreed) == []
    agreed.settled()


def test_a_text_that_only_begins_alike_is_another_note(agreed: Desk) -> None:
    install_id = agreed.a_site().install_id
    agreed.world.add_note(install_id, "Call first")
    note(agreed, "N1", install_id, BODY)
    run_poll(agreed.context)
    agreed.carried()
    assert len(posts(agreed)) == 1
    agreed.settled()


def test_where_a_person_does_not_want_it_sent_it_is_asked_about(agreed: Desk) -> None:
    install_id = agreed.a_site().install_id
    note(agreed, "N1", install_id, BODY)
    (plan,) = (one for one in run_plan(agreed.context) if agreed.changes(one, table_name="notes"))
    run_reject(agreed.context, plan.plan_hash, by="Sam Hill", reason="not this one")
    note_id = agreed.world.add_note(install_id, ESCAPED)
    run_poll(agreed.context)
    (asked,) = (one for one in agreed.undecided(agreed.plan()) if not one.reason.startswith("refused by"))
    assert asked.enerflo_value == {"note_id": note_id}
    assert asked.reason.startswith("it may be the CRM's own note, which is not sent (")
    assert "sent once" not in asked.reason
    agreed.sql(
        "update crm.notes set enerflo_note_id = :n, updated_at = now() where note_id = 'N1'", n=note_id
    )
    agreed.carried()
    assert posts(agreed) == []
    agreed.settled()
