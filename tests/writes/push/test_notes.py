"""Exchange 5.1: notes."""

from __future__ import annotations

import json

import pytest

from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.world import World
from tests.writes.push.conftest import NewOutbox, Outbox


def test_5_1_a_note_appears_once_with_its_author_and_is_linked(outbox: Outbox) -> None:
    install = outbox.install().install_id
    outbox.note("N1", install, "Call first")
    assert outbox.push().applied == 3
    (note,) = outbox.notes(install, "Call first\n\nAnn (CRM)")
    linked = outbox.rows(
        "select enerflo_note_id, updated_at > :n from crm.notes where note_id = 'N1'",
        n="2026-03-02T08:00:00Z",
    )
    assert linked == [(note.note_id, True)]
    assert outbox.states() == ["applied"] * 3
    assert outbox.reasons() == [None] * 3
    agreed = dict(outbox.rows("select field, value from sync.agreed where key->>'note_id' = 'N1'"))
    assert agreed["body"] == "Call first\n\nAnn (CRM)"
    outbox.push()
    assert len(outbox.received("POST")) == 1


def test_5_1_two_notes_of_one_text_become_two(outbox: Outbox) -> None:
    install = outbox.install().install_id
    outbox.note("N1", install, "Call first")
    outbox.note("N2", install, "Call first")
    assert outbox.push().applied == 6
    notes = {note.note_id for note in outbox.notes(install, "Call first\n\nAnn (CRM)")}
    assert len(notes) == 2
    assert {
        one for (one,) in outbox.rows("select enerflo_note_id from crm.notes where note_id in ('N1', 'N2')")
    } == notes


@pytest.mark.parametrize(
    ("fault", "nth"), [("answer_lost", 1), ("cut_body", 2), ("success_false", 1), ("slow", 2)]
)
def test_5_1_a_lost_answer_does_not_make_a_second_note(outbox: Outbox, fault: str, nth: int) -> None:
    install = outbox.install().install_id
    outbox.note("N1", install, "Call first")
    outbox.note("N2", install, "Call first")
    outbox.api.faults.slow_seconds = 100
    outbox.fault(fault, f"/api/v3/installs/{install}/notes", nth, method="POST")
    assert outbox.push().applied == 6
    assert len(outbox.notes(install, "Call first\n\nAnn (CRM)")) == len(outbox.received("POST")) == 2


def test_5_1_a_lost_answer_makes_no_second_note_where_the_installs_notes_come_in_pages(
    outbox: Outbox,
) -> None:
    install = outbox.install().install_id
    path = f"/api/v3/installs/{install}/notes"
    outbox.note("N1", install, "Call first")
    outbox.answering("GET", path, 200, b'{"success": true, "page": 1, "totalPages": 2, "notes": []}')
    outbox.fault("answer_lost", path, 1, method="POST")
    assert outbox.push().applied == 3
    assert len(outbox.notes(install, "Call first\n\nAnn (CRM)")) == len(outbox.received("POST")) == 1


def test_5_1_lost_with_the_read_after_it_it_is_found_by_the_next_push(outbox: Outbox) -> None:
    install = outbox.install().install_id
    path = f"/api/v3/installs/{install}/notes"
    outbox.note("N1", install, "Call first")
    outbox.fault("answer_lost", path, 1, method="POST")
    outbox.fault("500", "/api/v3/installs/notes", 1, 99, "GET")
    outbox.fault("500", path, 2, 99, "GET")
    assert outbox.push().waiting == 3
    assert outbox.states() == ["sent"] * 3
    outbox.no_faults()
    assert outbox.push().applied == 3
    assert set(outbox.reasons()) == {"found there"}
    assert len(outbox.received("POST")) == 1


def _cut(outbox: Outbox, path: str, half: bool) -> None:
    """Let the oldest notes alone be listed, or none, inside a 200."""
    real = outbox.api._route

    def route(request: Request, asked: str, key: str) -> Response:
        answer = real(request, asked, key)
        if (request.method, asked) != ("GET", path) or answer.status != 200:
            return answer
        said = json.loads(answer.body)
        oldest = sorted(said["notes"], key=lambda note: note["note_id"])
        said["notes"] = oldest[: len(oldest) // 2 if half else 0]
        return Response(answer.status, answer.headers, json.dumps(said).encode())

    outbox.api._route = route  # type: ignore[method-assign]


def test_5_1_a_list_that_is_cut_is_no_proof_that_a_note_did_not_arrive(outbox: Outbox) -> None:
    """The list of all notes says how long it is, and shows the note."""
    install = outbox.install().install_id
    path = f"/api/v3/installs/{install}/notes"
    for one in ("N1", "N2"):
        outbox.note(one, install, "Call first")
    outbox.fault("answer_lost", path, 2, method="POST")
    _cut(outbox, path, half=True)
    assert outbox.push().applied == 6
    assert len(outbox.notes(install, "Call first\n\nAnn (CRM)")) == len(outbox.received("POST")) == 2


def test_5_1_nor_are_two_lists_that_are_cut(outbox: Outbox) -> None:
    """Found by seed 9799 of the simulation: both lists were cut, and the note was sent again."""
    install = outbox.install().install_id
    path = f"/api/v3/installs/{install}/notes"
    real = outbox.api._route
    for one in ("N1", "N2"):
        outbox.note(one, install, "Call first")
    outbox.fault("answer_lost", path, 2, method="POST")
    _cut(outbox, path, half=False)
    _cut(outbox, "/api/v3/installs/notes", half=True)
    done = outbox.push()
    assert (done.applied, done.waiting, len(outbox.received("POST"))) == (3, 3, 2)
    outbox.api._route = real  # type: ignore[method-assign]
    assert outbox.push().applied == 3
    assert len(outbox.notes(install, "Call first\n\nAnn (CRM)")) == len(outbox.received("POST")) == 2


def test_5_1_where_the_list_never_comes_whole_again_a_person_is_asked(outbox: Outbox) -> None:
    install = outbox.install().install_id
    path = f"/api/v3/installs/{install}/notes"
    for one in ("N1", "N2"):
        outbox.note(one, install, "Call first")
    outbox.fault("answer_lost", path, 2, method="POST")
    _cut(outbox, path, half=False)
    _cut(outbox, "/api/v3/installs/notes", half=True)
    assert outbox.push().waiting == 3
    outbox.company.clock.advance(2 * 86_400)
    assert outbox.push().waiting == 3
    outbox.company.clock.advance(2 * 86_400)
    done = outbox.push()
    assert (done.parked, done.waiting, len(outbox.received("POST"))) == (3, 0, 2)
    assert "does not tell whether this one arrived" in str(outbox.reasons())


@pytest.mark.parametrize("text", ["Call first", "Call first\r\n\r\nAnn (CRM) "])
def test_5_1_a_note_that_stands_there_already_is_adopted_before_anything_is_sent(
    outbox: Outbox, text: str
) -> None:
    install = outbox.install().install_id
    note_id = outbox.world.add_note(install, text)
    outbox.note("N1", install, "Call first")
    outbox.note("N2", install, "Call first")
    assert outbox.push().applied == 6
    assert outbox.rows("select enerflo_note_id from crm.notes where note_id = 'N1'") == [(note_id,)]
    assert outbox.reasons() == ["found there"] * 3 + [None] * 3
    assert len(outbox.received("POST")) == 1


def test_5_1_a_note_that_another_row_names_is_not_adopted(outbox: Outbox) -> None:
    install = outbox.install().install_id
    note_id = outbox.world.add_note(install, "Call first")
    outbox.sql(
        "insert into crm.notes (note_id, enerflo_install_id, enerflo_note_id, body, updated_at)"
        " values ('other', :i, :n, 'Call first', now())",
        **{"i": install, "n": note_id},
    )
    outbox.note("N1", install, "Call first")
    outbox.push()
    assert len(outbox.received("POST")) == 1


def test_5_1_one_that_was_sent_and_deleted_there_is_not_sent_again(outbox: Outbox) -> None:
    install = outbox.install().install_id
    path = f"/api/v3/installs/{install}/notes"
    outbox.note("N1", install, "Call first")
    outbox.fault("answer_lost", path, 1, method="POST")
    outbox.fault("500", path, 2, 99, "GET")
    outbox.fault("500", "/api/v3/installs/notes", 1, 99, "GET")
    outbox.push()
    outbox.no_faults()
    outbox.world.delete_note(outbox.notes(install)[-1].note_id)
    assert outbox.push().applied == 3
    assert len(outbox.received("POST")) == 1


def test_5_1_a_deleted_note_of_long_ago_is_not_adopted(outbox: Outbox) -> None:
    install = outbox.install().install_id
    outbox.world.delete_note(outbox.world.add_note(install, "Call first"))
    outbox.company.clock.advance(7200)
    outbox.note("N1", install, "Call first")
    assert outbox.push().applied == 3
    assert len(outbox.received("POST")) == 1


def test_5_1_without_an_author_the_text_stands_alone(outbox: Outbox) -> None:
    install = outbox.install().install_id
    outbox.note("N1", install, "Call first", author=None)
    outbox.push()
    assert len(outbox.notes(install, "Call first")) == 1


def test_5_1_what_became_of_the_crms_row_is_looked_at_first(outbox: Outbox) -> None:
    install = outbox.install().install_id
    outbox.note("N1", install, "Gone")
    outbox.note("N2", install, "Linked")
    outbox.sql("delete from crm.notes where note_id = 'N1'")
    outbox.sql("update crm.notes set enerflo_note_id = 5 where note_id = 'N2'")
    assert outbox.push().moved == 6
    assert outbox.received() == []


@pytest.mark.parametrize(("install", "body"), [(None, "Call"), ("first", "  ")])
def test_5_1_a_note_without_install_or_text_is_parked(outbox: Outbox, install: str | None, body: str) -> None:
    outbox.note("N1", outbox.install().install_id if install else None, body, author=None)
    assert outbox.push().parked == 3
    assert outbox.received() == []


def test_5_1_a_note_on_an_install_that_is_gone_is_parked_and_the_others_go_on(outbox: Outbox) -> None:
    gone, install = outbox.install(0).install_id, outbox.install(1).install_id
    outbox.note("N1", gone, "Call first")
    outbox.note("N2", install, "Call first")
    outbox.world.delete_install(gone)
    outbox.push()
    assert outbox.states() == ["parked"] * 3 + ["applied"] * 3
    assert (outbox.reasons()[0] or "").startswith("not there (404)")


def test_5_1_a_note_of_100_kb_is_sent_as_it_is(outbox: Outbox) -> None:
    install, text = outbox.install().install_id, "Lorem ipsum " * 8_500
    outbox.note("N1", install, text.strip())
    assert outbox.push().applied == 3
    assert outbox.notes(install, f"{text.strip()}\n\nAnn (CRM)")


def test_5_1_one_that_is_refused_parks_alone(outbox: Outbox) -> None:
    first, second = outbox.install(0).install_id, outbox.install(1).install_id
    outbox.note("N1", first, "x" * 100_000)
    outbox.note("N2", second, "Call first")
    outbox.answering("POST", f"/api/v3/installs/{first}/notes", 422)
    outbox.push()
    assert outbox.states() == ["parked"] * 3 + ["applied"] * 3
    assert "422" in (outbox.reasons()[0] or "")


def test_5_1_a_wrong_field_name_is_refused_by_enerflo(new_outbox: NewOutbox) -> None:
    outbox = new_outbox(writes={"note": {"body": "content", "text": "{body}"}})
    outbox.note("N1", outbox.install().install_id, "Call first")
    assert outbox.push().parked == 3


def test_5_1_where_one_installs_notes_are_not_given_the_list_by_time_serves(outbox: Outbox) -> None:
    install = outbox.install().install_id
    outbox.answering("GET", f"/api/v3/installs/{install}/notes", 404)
    outbox.note("N1", install, "Call first")
    outbox.note("N2", install, "Call first")
    outbox.fault("answer_lost", f"/api/v3/installs/{install}/notes", 1, method="POST")
    assert outbox.push().applied == 6
    assert len(outbox.received("POST")) == 2


def test_5_1_what_happens_to_the_crms_row_while_the_note_is_sent_is_left_as_it_is(outbox: Outbox) -> None:
    install = outbox.install().install_id
    outbox.note("N1", install, "Gone")
    outbox.note("N2", install, "Linked")

    def meanwhile(request: Request, world: World) -> None:
        if request.method == "POST":
            outbox.sql("delete from crm.notes where note_id = 'N1'")
            outbox.sql("update crm.notes set enerflo_note_id = 5 where note_id = 'N2'")

    outbox.api.before_request = meanwhile
    report = outbox.push()
    # The row of the first is gone once its request is on its way; the second is not sent any more.
    assert (report.applied, report.moved, len(outbox.received())) == (3, 3, 1)
    assert outbox.reasons() == [
        *["the CRM's row is gone by now, or names another record"] * 3,
        *["the CRM's row names a record of Enerflo by now."] * 3,
    ]
    assert outbox.rows("select note_id, enerflo_note_id from crm.notes where note_id in ('N1', 'N2')") == [
        ("N2", 5)
    ]


def test_5_1_an_answer_that_lists_an_older_note_of_the_same_text_does_not_name_ours(outbox: Outbox) -> None:
    install = outbox.install().install_id
    text = "Call first\n\nAnn (CRM)"
    older = outbox.world.add_note(install, text)
    outbox.company.poll()
    outbox.note("N0", install, "Call first")
    outbox.sql("update crm.notes set enerflo_note_id = :n where note_id = 'N0'", n=older)
    outbox.sql("delete from sync.plan_changes")
    outbox.note("N1", install, "Call first")
    real = outbox.api._route

    def route(request: Request, asked: str, key: str) -> Response:
        answer = real(request, asked, key)
        if request.method != "POST":
            return answer
        listed = json.dumps({"success": True, "notes": [{"note_id": older, "note": text}]})
        return Response(answer.status, answer.headers, listed.encode())

    outbox.api._route = route  # type: ignore[method-assign]
    assert outbox.push().applied == 3
    ((named,),) = outbox.rows("select enerflo_note_id from crm.notes where note_id = 'N1'")
    assert {note.note_id for note in outbox.notes(install, text)} == {older, named}
    assert len(outbox.received("POST")) == 1


def test_5_1_after_a_lost_answer_the_note_is_given_time_to_arrive(outbox: Outbox) -> None:
    install = outbox.install().install_id
    outbox.note("N1", install, "Call first")
    outbox.fault("504", f"/api/v3/installs/{install}/notes", 1, 2, "POST")
    began = outbox.company.clock.now()
    assert outbox.push(pause=0).applied == 3
    assert (outbox.company.clock.now() - began).total_seconds() == 20


NO = "begin if new.enerflo_note_id is not null then raise exception 'no'; end if; return new; end"
KEPT = "begin new.enerflo_note_id := old.enerflo_note_id; return new; end"
SKIPPED = "begin return null; end"


@pytest.mark.parametrize("trigger", [NO, KEPT, SKIPPED], ids=["raises", "rewrites", "skips"])
def test_5_1_where_the_crm_does_not_take_the_id_the_note_is_parked_and_the_others_go_on(
    outbox: Outbox, trigger: str
) -> None:
    outbox.sql(f"create function crm.guard() returns trigger language plpgsql as $g${trigger}$g$")
    outbox.sql("create trigger guard before update on crm.notes for each row execute function crm.guard()")
    outbox.note("N1", outbox.install().install_id, "Call first")
    outbox.status(outbox.install(1), "On Hold")
    report = outbox.push()
    assert (report.applied, report.parked, report.waiting) == (1, 3, 0)
    assert "does not take Enerflo's id" in str(outbox.reasons()[0])
    assert outbox.one("select count(*) from sync.plan_changes where accepted_at is not null") == 3
    assert outbox.push().total == 0
    assert len(outbox.received("POST")) == 1
