"""What a CRM table's own deferred trigger makes of our write is what counts, as its transaction ends with it."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.sending import in_crm, note, posts, spelling

ON_HOLD = 4
_TRIGGER = """create function crm.later() returns trigger language plpgsql as $$ begin
  update crm.{table} set {does}; return new; end $$;
create constraint trigger later after {event} on crm.{table} deferrable initially deferred
  for each row when ({when}) execute function crm.later()"""
_INSTALL = "where enerflo_install_id = new.enerflo_install_id"


def test_a_value_that_is_put_back_in_the_end_is_not_sent_as_a_persons_edit(agreed: Desk) -> None:
    install = agreed.a_site().install_id
    does, when = f"status = old.status {_INSTALL}", "new.status = 'On Hold'"
    agreed.sql(_TRIGGER.format(table="installs", event="update", does=does, when=when))
    agreed.world.set_status(install, ON_HOLD)
    run_poll(agreed.context)
    plan = agreed.plan()
    (change,) = agreed.changes(plan)
    assert (change.field, change.after, change.direction) == ("status", "On Hold", "to_crm")
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert agreed.crm("installs", enerflo_install_id=install)["status"] == change.before
    # Nothing is agreed on that nobody says: it stays a difference.
    assert {one.direction for one in agreed.changes(agreed.plan())} == {"to_crm"}


@pytest.mark.parametrize("event", ["update", "insert"])
def test_a_value_that_is_spelled_otherwise_in_the_end_is_agreed_on(agreed: Desk, event: str) -> None:
    does = f"panel_type = 'Type ' || new.panel_type, updated_at = clock_timestamp() {_INSTALL}"
    when = "new.panel_type not like 'Type %'"
    agreed.sql(_TRIGGER.format(table="installs", event=event, does=does, when=when))
    if event == "insert":
        install = agreed.world.create_install()
        agreed.world.resubmit_install(install, panel_count=20)
    else:
        install = agreed.a_site().install_id
        other = "update crm.installs set panel_type = 'Type 1' where enerflo_install_id = :i"
        agreed.sql(other, i=install)
    run_poll(agreed.context)
    agreed.carried()
    agreed.settled()


def test_a_notes_id_that_is_taken_out_in_the_end_parks_it(agreed: Desk) -> None:
    install = agreed.a_site().install_id
    spelling(agreed, "html")
    does = "enerflo_note_id = null where note_id = new.note_id"
    when = "new.note_id = 'N1' and new.enerflo_note_id is not null"
    agreed.sql(_TRIGGER.format(table="notes", event="update", does=does, when=when))
    note(agreed, "N1", install, "Call first & last")
    before = len(in_crm(agreed, install))
    report = run_apply(agreed.context, agreed.plan().plan_hash, approved_by="Pat")
    reason = "the CRM does not take Enerflo's id: its table keeps the row as it was."
    assert report.reasons["parked"] == {reason: report.parked}
    for _ in range(2):
        run_poll(agreed.context)
        run_apply(agreed.context, agreed.plan().plan_hash, approved_by="Pat")
    assert len(posts(agreed)) == 1
    assert len(in_crm(agreed, install)) == before
