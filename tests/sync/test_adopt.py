"""CRM rows that are a record of Enerflo without saying so: each takes one record, and each record one row."""

from __future__ import annotations

from enerflo_sync.jobs.poll import run_poll
from tests.sync.conftest import Desk


def test_notes_that_are_alike_in_two_ways_take_one_record_each(desk: Desk) -> None:
    desk.switched_on("both")
    desk.carried()
    install_id = desk.a_site().install_id
    short = desk.world.add_note(install_id, "Call first")
    signed = desk.world.add_note(install_id, "Call first\n\nAnn (CRM)")
    # The second row is like both: by its text, and by its text with the author, as it would be sent.
    for key, author, body in (("A", None, "Call first\n\nAnn (CRM)"), ("B", "Ann", "Call first")):
        desk.sql(
            "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
            " values (:k, :i, :a, :b, now())",
            k=key,
            i=install_id,
            a=author,
            b=body,
        )
    run_poll(desk.context)
    changes = desk.changes(desk.plan(), table_name="notes")
    assert [(one.key, one.field, one.after) for one in changes] == [
        ({"note_id": "A"}, "enerflo_note_id", signed),
        ({"note_id": "B"}, "enerflo_note_id", short),
    ]
    desk.carried()
    desk.settled()
