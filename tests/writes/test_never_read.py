"""A record is made at Enerflo only once it is known which records Enerflo has."""

from __future__ import annotations

from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.sending import TEXT, note, posts


def test_no_note_is_sent_before_the_list_of_notes_was_read_whole(agreed: Desk) -> None:
    # As after first polls that the API key let read no notes.
    agreed.sql("delete from enerflo.notes")
    agreed.sql("delete from sync.watermarks where name like 'notes%'")
    install_id = agreed.a_site().install_id
    note(agreed, "N1", install_id, TEXT)
    assert agreed.plan().change_count == 0
    kept = agreed.one(
        "select summary::text from sync.plans order by created_at desc limit 1",
    )
    assert "was never read whole" in kept
    run_poll(agreed.context)
    (change,) = [
        one for one in agreed.changes(agreed.plan()) if one.direction == "to_enerflo" and one.field == "body"
    ]
    assert change.key == {"note_id": "N1"}
    assert posts(agreed) == []


def test_the_plan_of_an_account_that_was_never_polled_asks_nobody_about_its_rows(agreed: Desk) -> None:
    for table in ("change_orders", "notes", "milestones", "appointments", "installs", "customers"):
        agreed.sql(f"delete from enerflo.{table}")
    agreed.sql("delete from sync.watermarks")
    agreed.sql("delete from sync.agreed")
    assert agreed.undecided(agreed.plan()) == []
    kept = agreed.one("select summary::text from sync.plans order by created_at desc limit 1")
    for kind in ("installs", "milestones", "notes", "leads"):
        assert f"not known yet: Enerflo's {kind} were not all read, so run a poll first" in kept
