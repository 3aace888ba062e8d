"""Notes that each side alone has and that may be one, in HTML or cut: neither becomes a second note."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.outbox.kept import bare_text, may_be_one
from tests.writes.conftest import Desk
from tests.writes.sending import in_crm, note, posts

LONG = "Called the customer about the permit; they want the panels on the garage & not on the house."
HTML = "<p>Called the customer about the permit; they want the <b>panels</b> on the garage &amp; not on the house.</p>"
ASKED = "it may be a note of the other side in another form"


@pytest.mark.parametrize(
    ("mine", "theirs", "one"),
    [
        ("Call back", "<p>Call back</p>", True),
        ("Call back", "<div>Call&nbsp;back<br></div>", True),
        ("Call back", "Call back.", True),
        ("Call back", "Call back today", False),
        ("Call back", "", False),
        ("...", "<p></p>", False),
        (LONG, HTML, True),
        (LONG[:60], HTML, True),
        (LONG, HTML[:80], True),
        (LONG, HTML.replace("garage", "carport"), False),
        ("cost < 5", "cost < 7", False),
        ("Позвонить", "<p>Позвонить</p>", True),
        ("Позвонить", "<p>Написать</p>", False),
    ],
)
def test_which_texts_may_be_one_note(mine: str, theirs: str, one: bool) -> None:
    assert may_be_one(bare_text(mine), bare_text(theirs)) is one
    assert may_be_one(bare_text(theirs), bare_text(mine)) is one


@pytest.fixture(params=["html", "cut here", "cut there"])
def two(agreed: Desk, request: pytest.FixtureRequest) -> tuple[Desk, int, int]:
    """An account of which each side has a note alone; the two texts may be one note."""
    install = agreed.a_site().install_id
    mine, theirs = {"html": (HTML, LONG), "cut here": (LONG[:60], LONG), "cut there": (HTML, LONG[:50])}[
        request.param
    ]
    note_id = agreed.world.add_note(install, mine)
    run_poll(agreed.context)
    note(agreed, "N1", install, theirs)
    return agreed, install, note_id


@pytest.mark.parametrize("mode", ["both", "crm", "enerflo"])
def test_neither_is_made_on_the_other_side_and_a_person_is_asked_once(
    two: tuple[Desk, int, int], mode: str
) -> None:
    desk, install, note_id = two
    desk.switched_on(mode)
    before = len(in_crm(desk, install))
    for _ in range(2):
        plan = desk.plan()
        assert desk.changes(plan, table_name="notes") == []
        (asked,) = [one for one in desk.undecided(plan) if one.table_name == "notes"]
        assert str(asked.reason).startswith(ASKED)
        assert f"note {note_id} of Enerflo" in str(asked.reason)
        desk.carried()
        run_poll(desk.context)
    assert len(in_crm(desk, install)) == before
    assert posts(desk) == []


def test_each_install_is_asked_about_by_itself(agreed: Desk) -> None:
    installs = [
        row["install_id"]
        for row in agreed.sql(
            "select install_id from enerflo.installs where status_name = 'In progress' order by 1 desc limit 3"
        )
    ]
    ids = {agreed.world.add_note(install, HTML): install for install in installs}
    run_poll(agreed.context)
    for number, install in enumerate(reversed(installs)):
        note(agreed, f"N{number}", install, LONG)
    # The server joins them in no order of its own.
    for way in ("mergejoin", "nestloop"):
        agreed.sql(f"alter database {agreed.engine.url.database} set enable_{way} = off")
    agreed.engine.dispose()
    plan = agreed.plan()
    assert agreed.changes(plan, table_name="notes") == []
    asked = [str(one.reason) for one in agreed.undecided(plan) if one.table_name == "notes"]
    assert sorted(asked) == sorted(
        next(one for one in asked if f"note {note_id} of Enerflo" in one) for note_id in ids
    )
    assert len(asked) == 3


def test_the_id_in_the_crms_row_or_a_row_with_that_id_answers_it(two: tuple[Desk, int, int]) -> None:
    desk, install, note_id = two
    desk.plan()
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at, enerflo_note_id)"
        " select 'N2', :i, 'Ann', body, now(), note_id from enerflo.notes where note_id = :n",
        i=install,
        n=note_id,
    )
    desk.carried()
    assert len(posts(desk)) == 1
    assert desk.crm("notes", note_id="N1")["enerflo_note_id"] not in (None, note_id)


def test_other_notes_of_the_install_are_made(two: tuple[Desk, int, int]) -> None:
    desk, install, _ = two
    note(desk, "N2", install, "Something else entirely.")
    other = desk.world.add_note(install, "Nothing like the others.")
    run_poll(desk.context)
    before = len(in_crm(desk, install))
    desk.carried()
    assert len(posts(desk)) == 1
    assert len(in_crm(desk, install)) == before + 1
    assert desk.one("select count(*) from crm.notes where enerflo_note_id = :n", n=other) == 1
