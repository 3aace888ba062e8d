"""New rows of the CRM that its table makes otherwise than the plan says: none of them is left there."""

from __future__ import annotations

import pytest

from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk

OTHER_KEY = "the CRM's table gives the new row another key, by a trigger or rule of its own"
UNSEEN = "the CRM's view would not show the new row, and it would be made again"

RENAME = """
create function crm.rename() returns trigger language plpgsql as $$
begin
  if new.body like 'Roof%' then new.note_id := 'X-' || new.note_id; end if;
  return new;
end $$;
create trigger rename before insert on crm.notes for each row execute function crm.rename()
"""
NOTES = "note_id, enerflo_note_id, enerflo_install_id, author, body, created_at, updated_at"


def two_notes(desk: Desk) -> None:
    site = desk.one("select min(enerflo_install_id) from crm.installs")
    for text in ("Roof is wet", "Gate is shut"):
        desk.world.add_note(site, text)
    run_poll(desk.context)


def applied(desk: Desk) -> tuple[PlanReport, ApplyReport]:
    plan = desk.plan()
    return plan, run_apply(desk.context, plan.plan_hash, approved_by="Pat")


def made(desk: Desk) -> set[str]:
    rows = desk.sql("select body from crm.notes where body in ('Roof is wet', 'Gate is shut')")
    return {row["body"] for row in rows}


def test_a_row_that_gets_another_key_is_parked_and_not_made(agreeing: Desk) -> None:
    for statement in RENAME.split(";\ncreate trigger"):
        agreeing.sql(
            statement if "function crm.rename() returns" in statement else f"create trigger{statement}"
        )
    two_notes(agreeing)
    plan, report = applied(agreeing)
    assert made(agreeing) == {"Gate is shut"}
    assert report.parked == report.applied == 5
    parked = {one.reason for one in agreeing.changes(plan, state="parked")}
    assert parked == {OTHER_KEY}
    # It is a question from now on, and no row is made of it.
    again, _ = applied(agreeing)
    assert again.change_count == 0
    assert any(OTHER_KEY in reason for reason in again.undecided)
    assert made(agreeing) == {"Gate is shut"}


@pytest.mark.parametrize("indexed", [True, False])
def test_a_row_that_a_view_does_not_show_is_parked_and_not_made_again_and_again(
    agreeing: Desk, indexed: bool
) -> None:
    if not indexed:
        agreeing.sql("alter table crm.notes drop constraint notes_pkey")
        agreeing.sql("drop index crm.notes_enerflo_note_id")
    agreeing.sql("alter table crm.notes add region text")
    agreeing.sql("update crm.notes set region = 'west'")
    agreeing.sql(f"create view crm.west as select {NOTES} from crm.notes where region = 'west'")
    agreeing.switched_on("crm", ("crm_table: crm.notes", "crm_table: crm.west"))
    agreeing.carried()
    agreeing.sql(
        "create function crm.region() returns trigger language plpgsql as $$ begin"
        " new.region := case when new.body like 'Roof%' then 'east' else 'west' end; return new; end $$"
    )
    agreeing.sql(
        "create trigger region before insert on crm.notes for each row execute function crm.region()"
    )
    two_notes(agreeing)
    plan, report = applied(agreeing)
    assert made(agreeing) == {"Gate is shut"}
    assert report.parked == report.applied == 5
    assert {one.reason for one in agreeing.changes(plan, state="parked")} == {UNSEEN}
    again, _ = applied(agreeing)
    assert again.change_count == 0
    assert made(agreeing) == {"Gate is shut"}
