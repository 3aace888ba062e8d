"""An Enerflo that keeps what it is sent in a spelling of its own: an accepted request is ours, and made once."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.spelling import Spelling, parse_spelling
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.sync.explain_text import story_sentences
from enerflo_sync.sync.push.run import PushRun
from tests.sync.conftest import Desk

TEXT = "Panels  & wires\n are <late> \U0001f600 \u00fc"
WORDS = [
    ("html",),
    ("blanks",),
    ("cut=12",),
    ("emoji",),
    ("html", "blanks", "emoji", "cut=14"),
    ("html", "echo"),
]


def spelling(desk: Desk, *words: str) -> None:
    assert desk.api is not None
    desk.api.spelling = parse_spelling(words)


def a_round(desk: Desk) -> int:
    run_poll(desk.context)
    plan = desk.plan()
    if plan.change_count:
        report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
        assert (report.moved, report.parked, report.waiting) == (0, 0, 0), report
    return plan.change_count


def note(desk: Desk, key: str, install_id: int, body: str = TEXT) -> None:
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
        " values (:k, :i, 'Ann', :b, now())",
        k=key,
        i=install_id,
        b=body,
    )


def last_milestone(desk: Desk, install_id: int) -> int:
    query = "select max(milestone_id) from enerflo.milestones where install_id = :i"
    return int(desk.one(query, i=install_id))


def cut_off_after_the_request(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apply the present plan, and lose the process between its first request and the read after it."""
    bring_in = PushRun.bring_in

    def lost(run: PushRun, *args: Any, **names: Any) -> Any:
        if desk.world.received:
            raise _LostError
        return bring_in(run, *args, **names)

    with monkeypatch.context() as patched:
        patched.setattr(PushRun, "bring_in", lost)
        with pytest.raises(_LostError):
            run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat")


def posts(desk: Desk) -> list[Any]:
    return [one for one in desk.world.received if one.method == "POST"]


def in_crm(desk: Desk, install_id: int) -> list[Any]:
    return desk.sql(
        "select note_id, enerflo_note_id, body from crm.notes where enerflo_install_id = :i order by 1",
        i=install_id,
    )


@pytest.fixture
def agreed(desk: Desk) -> Desk:
    desk.switched_on("both")
    desk.carried()
    return desk


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


class _LostError(Exception):
    """The warehouse is lost between Enerflo's answer and its record."""


def lost_after_the_post(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apply, and lose the process between the 2xx and its record."""

    def lost(*_: Any) -> None:
        raise _LostError

    with monkeypatch.context() as patched:
        patched.setattr("enerflo_sync.sync.push.run.mark_accepted", lost)
        with pytest.raises(_LostError):
            run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat")


@pytest.mark.parametrize("words", [(), *WORDS])
@pytest.mark.parametrize("planned_anew", [False, True])
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
    milestone = last_milestone(desk, install_id)

    def due(at: str) -> None:
        desk.sql(
            "update crm.milestones set due_at = cast(:at as timestamptz), updated_at = now()"
            " where enerflo_install_id = :i and milestone_id = :m",
            at=at,
            i=install_id,
            m=milestone,
        )

    due("2026-05-20 14:22:01Z")
    assert a_round(desk) == 1
    assert [a_round(desk) for _ in range(2)] == [0, 0]
    (row,) = desk.ledger(table_name="milestones", field="due_at")
    assert (row["decision"], row["kept_value"][:10], row["new_value"][:16]) == (
        *("applied", "2026-05-20", "2026-05-20T14:22"),
    )
    # Another time of that day: Enerflo's value is then as it was before.
    due("2026-05-20 17:00:00Z")
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


@pytest.mark.parametrize("seen_first", [True, False])
def test_a_date_that_was_sent_before_a_kill_is_ours_also_for_a_plan_that_is_made_anew(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, seen_first: bool
) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    assert desk.api is not None
    desk.api.spelling = Spelling(days=True)
    milestone = last_milestone(desk, install_id)
    desk.sql(
        "update crm.milestones set due_at = '2026-05-20 14:22:01Z', updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=install_id,
        m=milestone,
    )
    cut_off_after_the_request(desk, monkeypatch)
    if seen_first:
        run_poll(desk.context)
    # Another change, so that the plan is another one.
    note(desk, "N1", install_id)
    desk.carried()
    for _ in range(2):
        run_poll(desk.context)
        desk.carried()
    now = desk.crm("milestones", enerflo_install_id=install_id, milestone_id=milestone)["due_at"]
    assert now.isoformat() == "2026-05-20T14:22:01+00:00"
    assert [one.method for one in desk.world.received] == ["PUT", "POST"]
    (row,) = desk.ledger(table_name="milestones", field="due_at", decision="applied")
    assert row["kept_value"][:10] == "2026-05-20"


def test_a_phone_that_was_sent_before_a_kill_is_applied_also_for_a_plan_that_is_made_anew(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = agreed
    customer = desk.one("select max(enerflo_customer_id) from crm.leads")
    desk.sql(
        "update crm.leads set mobile = '+1 (512) 555-0177', updated_at = now() where enerflo_customer_id = :c",
        c=customer,
    )

    cut_off_after_the_request(desk, monkeypatch)
    assert len(posts(desk)) == 1
    run_poll(desk.context)
    note(desk, "N1", desk.a_site().install_id)
    desk.carried()
    assert [one.path for one in posts(desk)[1:] if "lead" in one.path] == []
    written = desk.ledger(table_name="leads", field="mobile", direction="to_enerflo")
    assert [row["decision"] for row in written] == ["applied"]


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
    desk.sql(
        "update crm.milestones set due_at = '2026-05-20 14:22Z', updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=install_id,
        m=milestone,
    )
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


def test_a_leads_fields_are_agreed_on_as_enerflo_spells_them(agreed: Desk) -> None:
    desk = agreed
    spelling(desk, "html", "blanks")
    desk.sql(
        "insert into crm.leads (lead_id, first_name, last_name, mobile, address, city, state, zip, status,"
        " updated_at) values ('L1', 'Jo & Al', 'O''Neil', '5125550100', '12  Main St', 'Boston', 'MA', '02139',"
        " 'qualified', now())"
    )
    assert a_round(desk) > 0
    assert desk.changes(desk.plan()) == []
    desk.sql("update crm.leads set first_name = 'Al & Jo', updated_at = now() where lead_id = 'L1'")
    assert a_round(desk) == 1
    assert [a_round(desk) for _ in range(2)] == [0, 0]
    assert desk.crm("leads", lead_id="L1")["first_name"] == "Al & Jo"
    (row,) = [one for one in desk.world.truth.customers() if one.integration_record_id == "L1"]
    assert (row.first_name, row.last_name) == ("Al &amp; Jo", "O&#x27;Neil")
    assert len(posts(desk)) == 2


def an_agreed_lead(desk: Desk) -> None:
    desk.sql(
        "insert into crm.leads (lead_id, first_name, last_name, mobile, address, city, state, zip, status,"
        " updated_at) values ('L1', 'Jo', 'O''Neil', '5125550100', '12 Main St', 'Boston', 'MA', '02139',"
        " 'qualified', now())"
    )
    assert a_round(desk) > 0
    assert desk.changes(desk.plan()) == []


def of_lead(desk: Desk) -> Any:
    (row,) = [one for one in desk.world.truth.customers() if one.integration_record_id == "L1"]
    return row


@pytest.mark.parametrize("killed", [False, True])
def test_what_goes_along_with_a_leads_change_and_is_re_spelled_is_nobodys_edit(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    desk = agreed
    an_agreed_lead(desk)
    spelling(desk, "html")
    desk.sql("update crm.leads set mobile = '5125550177', updated_at = now() where lead_id = 'L1'")
    if killed:
        desk.world.received.clear()
        cut_off_after_the_request(desk, monkeypatch)
        desk.sql("update crm.leads set first_name = 'Joe', updated_at = now() where lead_id = 'L1'")
    assert a_round(desk) == 1
    assert [a_round(desk) for _ in range(2)] == [0, 0]
    assert desk.crm("leads", lead_id="L1")["last_name"] == "O'Neil"
    assert of_lead(desk).last_name == "O&#x27;Neil"
    assert of_lead(desk).mobile == "5125550177"


def test_what_goes_along_with_a_leads_change_is_as_enerflo_has_it(agreed: Desk) -> None:
    desk = agreed
    an_agreed_lead(desk)
    desk.world.edit_customer(of_lead(desk).customer_id, {"last_name": "O'N"})
    desk.sql("update crm.leads set mobile = '5125550177', updated_at = now() where lead_id = 'L1'")
    desk.carried()
    assert of_lead(desk).mobile == "5125550177"
    assert of_lead(desk).last_name == "O'N"


def test_an_undo_takes_a_value_back_that_is_kept_otherwise(agreed: Desk) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    assert desk.api is not None
    desk.api.spelling = Spelling(days=True)
    milestone = last_milestone(desk, install_id)
    desk.sql(
        "update crm.milestones set due_at = '2026-05-20 14:22Z', updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=install_id,
        m=milestone,
    )
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
