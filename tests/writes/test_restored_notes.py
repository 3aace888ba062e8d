"""A note whose CRM row was away when its request was settled, and is back: it is not sent a second time."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.apply.enerflo.push_run import PushRun
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.sending import in_crm, lost_after_the_post, note, posts, spelling

MARKED = "    create_only: true\n    deleted_when: {is_deleted: true}\n"
GOES = {
    "marked": ("update crm.notes set is_deleted = true", "update crm.notes set is_deleted = false"),
    "deleted": (
        "create table crm.kept as select * from crm.notes where note_id = 'N1'; delete from crm.notes",
        "insert into crm.notes select * from crm.kept",
    ),
}


@pytest.fixture(params=[(how, when) for how in GOES for when in ("unseen", "accepted")], ids="-".join)
def away(agreed: Desk, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> tuple[Desk, str]:
    """An account of which a note was sent, and its row went away before it could learn the note's id."""
    how, when = request.param
    agreed.sql("alter table crm.notes add is_deleted boolean not null default false")
    agreed.switched_on("both", ("    create_only: true\n", MARKED))
    agreed.carried()
    # One of the very same text would be adopted.
    spelling(agreed, "html")
    note(agreed, "N1", agreed.a_site().install_id, "Call first & last")
    leave, back = GOES[how]
    leave = f"{leave} where note_id = 'N1'"
    if when == "unseen":
        lost_after_the_post(agreed, monkeypatch)
        agreed.sql(leave)
    else:
        goes_after_the_post(agreed, monkeypatch, leave)
    run_poll(agreed.context)
    return agreed, f"{back} where note_id = 'N1'"


def goes_after_the_post(desk: Desk, monkeypatch: pytest.MonkeyPatch, leave: str) -> None:
    bring_in = PushRun.bring_in

    def slow(run: PushRun, *args: Any, **names: Any) -> Any:
        if desk.world.received:
            desk.sql(leave)
        return bring_in(run, *args, **names)

    with monkeypatch.context() as patched:
        patched.setattr(PushRun, "bring_in", slow)
        assert run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat").applied == 3


def rounds(desk: Desk) -> None:
    for _ in range(2):
        run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat")
        run_poll(desk.context)


def test_a_note_whose_row_comes_back_at_once_learns_its_id(away: tuple[Desk, str]) -> None:
    desk, back = away
    before = len(posts(desk))
    desk.sql(back)
    rounds(desk)
    assert len(posts(desk)) == before == 1
    assert desk.crm("notes", note_id="N1")["enerflo_note_id"] is not None
    assert len([row for row in in_crm(desk, desk.a_site().install_id) if "Call first" in row["body"]]) == 1
    desk.settled()


def test_a_note_whose_row_comes_back_later_is_not_sent_a_second_time(away: tuple[Desk, str]) -> None:
    desk, back = away
    # Also where no index keeps two rows from naming one note.
    desk.sql("drop index crm.notes_enerflo_note_id")
    rounds(desk)
    desk.sql(back)
    rounds(desk)
    assert len(posts(desk)) == 1
    named = "select count(enerflo_note_id) - count(distinct enerflo_note_id) from crm.notes"
    assert desk.one(named) == 0


@pytest.mark.parametrize("away", [("marked", "unseen"), ("marked", "accepted")], ids="-".join, indirect=True)
def test_the_note_of_a_row_that_is_marked_as_deleted_is_a_question_and_no_new_row(
    away: tuple[Desk, str],
) -> None:
    desk, _ = away
    before = len(in_crm(desk, desk.a_site().install_id))
    plan = desk.plan()
    (asked,) = (one for one in desk.undecided(plan) if one.table_name == "notes")
    assert "its row in the CRM is marked as deleted (deleted_when)" in asked.reason
    rounds(desk)
    assert len(in_crm(desk, desk.a_site().install_id)) == before
