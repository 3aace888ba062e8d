"""An Enerflo that keeps what it is sent in a spelling of its own: an accepted request is ours, and made once."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.spelling import Spelling
from enerflo_sync.apply.enerflo import installs
from enerflo_sync.apply.enerflo.push_run import PushRun
from enerflo_sync.enerflo.failures import PermissionRefusedError
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.text import story_sentences
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.sending import (
    TEXT,
    a_round,
    due,
    in_crm,
    last_milestone,
    lost_after_the_post,
    note,
    posts,
    spelling,
)

WORDS = [
    ("html",),
    ("blanks",),
    ("cut=12",),
    ("emoji",),
    ("html", "blanks", "emoji", "cut=14"),
    ("html", "echo"),
]


@pytest.mark.parametrize("words", WORDS)
def test_a_note_is_sent_once_however_enerflo_spells_it(agreed: Desk, words: tuple[str, ...]) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    before = in_crm(desk, install_id)
    spelling(desk, *words)
    for key, body in (("N1", TEXT), ("N2", TEXT), ("N3", "\U0001f600")):
        note(desk, key, install_id, body)
    assert a_round(desk) == 9
    assert [a_round(desk) for _ in range(3)] == [0, 0, 0]
    assert len(posts(desk)) == 3
    rows = [row for row in in_crm(desk, install_id) if row not in before]
    assert [(row["note_id"], row["body"]) for row in rows] == [
        ("N1", TEXT),
        ("N2", TEXT),
        ("N3", "\U0001f600"),
    ]
    assert len({row["enerflo_note_id"] for row in rows}) == 3
    kept = {row.note_id: row.body for row in desk.world.truth.notes()}
    for step, row in zip(desk.ledger(table_name="notes", field="body"), rows, strict=True):
        whole = f"{row['body']}\n\nAnn (CRM)"
        assert step["decision"] == "applied"
        shown = kept[row["enerflo_note_id"]]
        assert step["kept_value"] == (None if shown == whole else shown)
        assert desk.agreed("notes", "body", note_id=row["note_id"]) == shown


def test_explain_says_how_enerflo_keeps_it_and_masks_it(agreed: Desk) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    spelling(desk, "html")
    note(desk, "N1", install_id, "a & b")
    a_round(desk)
    (story,) = run_explain(desk.context, "note", "N1", field="body").fields
    assert "Enerflo keeps it as" in " ".join(story_sentences(story))
    assert "&amp;" not in " ".join(story_sentences(story))
    assert story.steps[-1].kept_value == "[20 characters]"


# A plan that goes on looks for its note as one that is made anew: it is tried with the plainest spelling, with all of
# them together, and with an answer that repeats what was sent.
@pytest.mark.parametrize(
    ("planned_anew", "words"),
    [*((True, words) for words in ((), *WORDS)), *((False, words) for words in ((), *WORDS[-2:]))],
)
def test_one_that_was_accepted_before_a_kill_is_found_and_neither_sent_again_nor_imported(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], planned_anew: bool
) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    spelling(desk, *words)
    before = len(in_crm(desk, install_id))
    note(desk, "N1", install_id)
    lost_after_the_post(desk, monkeypatch)
    plan_hash = desk.one("select plan_hash from sync.plan_changes where state = 'sent' limit 1")
    run_poll(desk.context)
    # Somebody writes there as well, meanwhile.
    desk.world.add_note(install_id, "Something else altogether")
    run_poll(desk.context)
    if not planned_anew:
        run_apply(desk.context, plan_hash)
    for _ in range(3):
        desk.carried()
        run_poll(desk.context)
    assert len(posts(desk)) == 1
    assert len(in_crm(desk, install_id)) == before + 2
    desk.settled()
    (row,) = desk.sql("select enerflo_note_id, body from crm.notes where note_id = 'N1'")
    assert (row["body"], row["enerflo_note_id"] is not None) == (TEXT, True)


def test_a_note_that_is_answered_by_a_redirect_is_found_and_neither_sent_again_nor_imported(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    spelling(desk, "html", "cut=12")
    before = len(in_crm(desk, install_id))
    note(desk, "N1", install_id)
    assert desk.api is not None
    route = desk.api._route

    def redirected(request: Request, asked: str, key: str) -> Response:
        answer = route(request, asked, key)
        return Response(303, {"location": "/notes"}, b"") if request.method == "POST" else answer

    with monkeypatch.context() as patched:
        patched.setattr(desk.api, "_route", redirected)
        with pytest.raises(ConfigurationError, match="redirects"):
            run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat")
    for _ in range(3):
        run_poll(desk.context)
        desk.carried()
    assert len(posts(desk)) == 1
    assert len(in_crm(desk, install_id)) == before + 1
    desk.settled()


def test_a_note_whose_id_the_crm_does_not_take_is_sent_once_and_becomes_no_second_row(agreed: Desk) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    spelling(desk, "html")
    before = len(in_crm(desk, install_id))
    desk.sql(
        "create function crm.guard() returns trigger language plpgsql"
        " as $g$begin new.enerflo_note_id := old.enerflo_note_id; return new; end$g$"
    )
    desk.sql("create trigger guard before update on crm.notes for each row execute function crm.guard()")
    note(desk, "N1", install_id)
    for _ in range(3):
        run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat")
        run_poll(desk.context)
    assert len(posts(desk)) == 1
    assert len(in_crm(desk, install_id)) == before + 1
    assert "does not take Enerflo's id" in str(desk.undecided(desk.plan()))


def test_where_it_cannot_be_told_which_note_is_ours_a_person_is_asked(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    spelling(desk, "cut=10")
    note(desk, "N1", install_id, "Call first about the roof")
    lost_after_the_post(desk, monkeypatch)
    desk.world.add_note(install_id, "Call")
    run_poll(desk.context)
    plan = desk.plan()
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert report.parked == 3
    assert "in another spelling" in next(iter(report.reasons["parked"]))
    for _ in range(2):
        desk.sql("update sync.ledger set recorded_at = recorded_at - interval '2 days'")
        run_poll(desk.context)
        run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat")
    assert len(posts(desk)) == 1


@pytest.mark.parametrize(
    ("zone", "echo", "declared"),
    [
        ("UTC", False, "UTC"),
        ("UTC", True, "UTC"),
        ("America/Denver", True, "America/Denver"),
        ("America/Denver", True, "UTC"),
    ],
)
def test_a_date_that_is_kept_to_the_day_is_applied_and_the_crm_keeps_its_time(
    agreed: Desk, zone: str, echo: bool, declared: str
) -> None:
    crm = "    crm_table: crm.milestones\n"
    agreed.switched_on("both", (crm, f"{crm}    time_zone: {declared}\n"))
    desk, install_id = agreed, agreed.a_site().install_id
    assert desk.api is not None
    desk.api.spelling = Spelling(days=True, zone=zone, echo=echo)
    milestone = due(desk, install_id)
    assert a_round(desk) == 1
    assert [a_round(desk) for _ in range(2)] == [0, 0]
    (row,) = desk.ledger(table_name="milestones", field="due_at")
    assert (row["decision"], row["kept_value"][:10], row["new_value"][:16]) == (
        *("applied", "2026-05-20", "2026-05-20T14:22"),
    )
    # Another time of that day: Enerflo's value is then as it was before.
    due(desk, install_id, "2026-05-20 17:00:00Z")
    assert a_round(desk) == 1
    assert [a_round(desk) for _ in range(2)] == [0, 0]
    now = desk.crm("milestones", enerflo_install_id=install_id, milestone_id=milestone)["due_at"]
    assert now.isoformat() == "2026-05-20T17:00:00+00:00"
    assert len(desk.world.received) == 2
    # A change at Enerflo is carried as ever.
    moved = sa.text("select cast('2026-06-01 00:00Z' as timestamptz)")
    with desk.engine.connect() as connection:
        desk.world.set_milestone(install_id, milestone, {"due": connection.scalar(moved)})
    assert a_round(desk) == 1
    now = desk.crm("milestones", enerflo_install_id=install_id, milestone_id=milestone)["due_at"]
    assert now.isoformat() == "2026-06-01T00:00:00+00:00"


def test_what_somebody_else_writes_meanwhile_is_not_taken_for_ours(agreed: Desk) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    milestone = last_milestone(desk, install_id)
    assert desk.api is not None
    real = desk.api._write

    def write(request: Request, path: str) -> Any:
        answer = real(request, path)
        (at,) = [one.completed_at for one in desk.world.truth.milestones()][:1]
        desk.world.set_milestone(install_id, milestone, {"due": at})
        return answer

    desk.api._write = write  # type: ignore[method-assign]
    due(desk, install_id)
    assert desk.carried().moved == 1


def test_a_value_that_is_not_kept_at_all_is_parked(agreed: Desk) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    desk.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :i",
        i=install_id,
    )

    def ignored(install: int, status: int, **_: Any) -> None:
        """Accept the write and keep nothing of it."""

    desk.world.set_status = ignored  # type: ignore[method-assign,assignment]
    report = desk.carried()
    assert report.reasons["parked"] == {
        "Enerflo accepted it and did not keep it: check the field names under writes.": 1
    }


def test_an_undo_takes_a_value_back_that_is_kept_otherwise(agreed: Desk) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    assert desk.api is not None
    desk.api.spelling = Spelling(days=True)
    due(desk, install_id, "2026-05-20 14:22Z")
    run_poll(desk.context)
    plan = desk.plan()
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    undo = run_undo(desk.context, plan.plan_hash)
    assert (undo.change_count, undo.undecided) == (1, {})


def test_a_lagging_list_does_not_make_a_second_note(agreed: Desk) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    assert desk.api is not None
    real, hidden = desk.world.notes.of_install, len(desk.world.notes.of_install(desk.a_site().number))

    def lagging(number: int) -> list[int]:
        return real(number)[:hidden]

    desk.world.notes.of_install = lagging  # type: ignore[method-assign]
    note(desk, "N1", install_id, "Call first")
    desk.carried()
    desk.world.notes.of_install = real  # type: ignore[method-assign]
    desk.settled()
    assert len(posts(desk)) == 1


@pytest.mark.parametrize("days", [True, False])
def test_what_was_accepted_and_could_not_be_read_back_is_agreed_on_when_a_poll_reads_it(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, days: bool
) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    desk.switched_on("both", ("in_flight_minutes: 30", "in_flight_minutes: 0"))
    assert desk.api is not None
    desk.api.spelling = Spelling(days=days, zone="UTC")
    milestone = due(desk, install_id)
    bring_in = PushRun.bring_in

    def refused(run: PushRun, *args: Any, **names: Any) -> Any:
        if desk.world.received:
            raise PermissionRefusedError("Access not permitted.", where="GET /api/v3/installs/1")
        return bring_in(run, *args, **names)

    plan = desk.plan()
    with monkeypatch.context() as patched:
        patched.setattr(PushRun, "bring_in", refused)
        assert run_apply(desk.context, plan.plan_hash, approved_by="Pat").parked == 1
    assert [a_round(desk) for _ in range(2)] == [0, 0]
    assert [change.state for change in desk.changes(plan)] == ["applied"]
    now = desk.crm("milestones", enerflo_install_id=install_id, milestone_id=milestone)["due_at"]
    assert now.isoformat() == "2026-05-20T14:22:01+00:00"
    assert len(desk.world.received) == 1


def test_a_poll_that_reads_a_milestone_while_it_is_read_back_makes_its_day_nobodys_edit(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    assert desk.api is not None
    desk.api.spelling = Spelling(days=True)
    milestone = due(desk, install_id)
    whole = installs.same_record

    def polled_meanwhile(*args: Any) -> Any:
        if desk.world.received:
            run_poll(desk.context)
        return whole(*args)

    with monkeypatch.context() as patched:
        patched.setattr(installs, "same_record", polled_meanwhile)
        assert a_round(desk) == 1
    shown = desk.agreed("milestones", "due_at", enerflo_install_id=install_id, milestone_id=milestone)
    assert shown[:16] == "2026-05-20T00:00"
    assert a_round(desk) == 0
    now = desk.crm("milestones", enerflo_install_id=install_id, milestone_id=milestone)["due_at"]
    assert now.isoformat() == "2026-05-20T14:22:01+00:00"
