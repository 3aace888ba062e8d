"""How each open change ends that is carried to the other database, beside every state of its row there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from enerflo_sync.copies.carry import carry_changes
from enerflo_sync.copies.due import RowWrite
from enerflo_sync.copies.refresh import JOB
from enerflo_sync.copies.remote_writes import RemoteWriter, Written
from enerflo_sync.warehouse.alone import alone
from tests.copies.rows import LONG_AGO, MARKED, Rows

pytestmark = pytest.mark.parametrize("elsewhere", ["duckdb", "postgresql"], indirect=True)

MOVED = "the CRM's row says something else than when the plan was made"
EDITED, WRITTEN = LONG_AGO + timedelta(days=2), LONG_AGO + timedelta(days=3)
NEWEST = (
    "title: {enerflo: title, type: text}",
    "title: {enerflo: title, type: text, source_of_truth: newest}",
)


def carried(rows: Rows) -> None:
    with rows.engine.connect() as connection:
        with connection.begin():
            plan = rows.plan(connection)
        carry_changes(connection, rows.crm, rows.config, [plan], "default", "a-run")


def ended(rows: Rows) -> dict[int, tuple[str, str, str | None, bool]]:
    """Return by number how each change ended: in the plan, among what is carried and why, whether we took it."""
    found = rows.sql(
        "select w.number, coalesce(c.state, '-') as planned, w.state, w.reason, w.acknowledged_at is not null as taken"
        " from sync.crm_changes w left join sync.plan_changes c using (account, plan_hash, position)"
    )
    return {row["number"]: (row["planned"], row["state"], row["reason"], row["taken"]) for row in found}


def there(rows: Rows, own: str) -> Any:
    (row,) = rows.elsewhere.sql("select title, sequence, gone from crm.rows where own = :own", own=own)
    return (row["title"], row["sequence"], row["gone"])


def before_each_write(
    monkeypatch: pytest.MonkeyPatch, rows: Rows, edit: Callable[[int], dict[str, str]]
) -> list[list[str]]:
    """Let a person edit rows before each attempt to write, and the database date what we wrote; return its keys."""
    whole, attempts = RemoteWriter.write, list[list[str]]()

    def write(self: RemoteWriter, writes: Sequence[RowWrite]) -> Written:
        attempts.append([one.key[0] for one in writes])
        for own, change in edit(len(attempts)).items():
            rows.edit(own, change, EDITED)
        written = whole(self, writes)
        for place in written.changed:
            rows.edit(writes[place].key[0], "updated_at = :at", WRITTEN)
        return written

    monkeypatch.setattr(RemoteWriter, "write", write)
    return attempts


def test_each_change_ends_by_what_its_row_says_there(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    rows.configured(NEWEST)
    applied = ("applied", "arrived", None, True)
    wanted: dict[int, Any] = {}
    for own in (
        "plain",
        "edited",
        "other",
        "twice moved",
        "thrice moved",
        "refused",
        "link",
        "other plan",
        "vanished",
    ):
        rows.both(own)
    for own in ("plain", "other", "twice moved"):
        wanted[rows.change(own)] = applied
    wanted[rows.change("other plan", plan_hash="q")] = applied
    wanted[rows.change("link", kind="link", position=None)] = ("-", "arrived", None, True)
    wanted[rows.change("edited")] = ("moved", "superseded", MOVED, True)
    wanted[rows.change("thrice moved")] = ("moved", "superseded", MOVED, True)
    rows.elsewhere.narrow("rows", "sequence")
    refused = rows.change("refused", field="sequence", before=1, copy_value=1, after=300)
    rows.both("again", title="New")
    wanted[rows.change("again")] = ("applied", "arrived", None, False)
    rows.both("else", title="Else")
    wanted[rows.change("else")] = ("moved", "superseded", MOVED, False)
    gone = "its row is gone from the CRM's copy"
    wanted[rows.change("nowhere")] = ("superseded", "superseded", gone, False)
    wanted[rows.change("vanished")] = ("superseded", "superseded", gone, True)
    rows.both("twin")
    rows.row("twin", title="Old")
    wanted[rows.change("twin")] = ("moved", "superseded", MOVED, False)
    rows.mirror("new", title="New")
    milestone = rows.record("new")["milestone_id"]
    for name, value in (("own", "new"), ("install", 1), ("milestone", milestone), ("title", "New")):
        number = rows.change("new", op="insert", field=name, before=None, copy_value=None, after=value)
        wanted[number] = applied
    rows.both("deleted", deleted_at=LONG_AGO)
    wanted[rows.change("deleted", op="delete", field=None, after=None, copy_value=None)] = applied
    strangers = [rows.change("plain", account="other"), rows.change("plain", table_name="notes")]
    rows.refresh()

    def edit(attempt: int) -> dict[str, str]:
        rows.elsewhere.sql("delete from crm.rows where own = 'vanished'")
        first = {"edited": "title = 'Mine'", "other": "sequence = 2"} if attempt == 1 else {}
        twice = {"twice moved": f"sequence = {attempt + 1}"} if attempt < 3 else {}
        return first | twice | {"thrice moved": f"sequence = {attempt + 1}"}

    attempts = before_each_write(monkeypatch, rows, edit)
    carried(rows)
    found = ended(rows)
    planned, state, reason, taken = found.pop(refused)
    assert (planned, state, taken) == ("parked", "superseded", True)
    assert "refuses the row" in str(reason)
    assert {number: found.pop(number)[1] for number in strangers} == dict.fromkeys(strangers, "open")
    assert found == wanted
    assert [len(one) for one in attempts] == [11, 3, 2]
    titles = {own: there(rows, own)[0] for own in ("plain", "other", "twice moved", "link", "new", "again")}
    assert titles == dict.fromkeys(titles, "New")
    assert (there(rows, "edited")[0], there(rows, "thrice moved")[0]) == ("Mine", "Old")
    assert there(rows, "refused") == ("Old", 1, False)
    assert there(rows, "deleted")[2] in (1, True)
    # What a person edited before is the person's time, also where we wrote the row after that.
    ours = {
        "plain": LONG_AGO,
        "other plan": LONG_AGO,
        "link": LONG_AGO,
        "other": EDITED,
        "twice moved": EDITED,
    }
    noted = rows.sql("select key ->> 'own' as own, left_at, others_at from sync.own_writes")
    assert {row["own"]: (row["left_at"], row["others_at"]) for row in noted} == {
        own: (WRITTEN, others) for own, others in ours.items()
    }


def test_where_nothing_is_left_to_write_what_the_copy_shows_counts(rows: Rows) -> None:
    rows.both("again", title="New")
    rows.both("else", title="Else")
    again, edited = rows.change("again"), rows.change("else")
    rows.refresh()
    carried(rows)
    assert ended(rows) == {
        again: ("applied", "arrived", None, False),
        edited: ("moved", "superseded", MOVED, False),
    }


@pytest.mark.parametrize("own", ["Old", "Mine"])
def test_where_nothing_marks_a_deleted_row_it_stays_and_is_parked(rows: Rows, own: str) -> None:
    rows.configured((MARKED, ""))
    rows.both("deleted", title=own, deleted_at=LONG_AGO)
    number = rows.change("deleted", op="delete", field=None, after=None, copy_value=None)
    rows.refresh()
    carried(rows)
    planned, state, reason, _ = ended(rows)[number]
    assert (planned, state) == ("parked", "superseded")
    assert "deleted_when" in str(reason)
    assert there(rows, "deleted") == (own, 1, False)


def test_nothing_is_copied_or_carried_while_another_run_does(rows: Rows) -> None:
    rows.both("plain")
    rows.refresh()
    number = rows.change("plain")
    for run in (rows.refresh, lambda: carried(rows)):
        thread = threading.Thread(target=run)
        with rows.engine.connect() as connection, alone(connection, "default", JOB, wait=True):
            before = rows.one_copied_at()
            thread.start()
            thread.join(0.4)
            assert thread.is_alive()
            assert (rows.one_copied_at(), ended(rows)[number][3]) == (before, False)
        thread.join(30)
        assert not thread.is_alive()
    assert ended(rows)[number][:2] == ("applied", "arrived")


def test_a_value_that_is_none_of_its_column_is_parked_and_stops_nothing_else(rows: Rows) -> None:
    """A label that is not listed, for a column of numbers; of a new row all columns wait with it."""
    for own in ("k", "other"):
        rows.both(own)
    rows.mirror("made", title="New")
    rows.refresh()
    fits = rows.change("other", field="sequence", copy_value=1, before=1, after=2)
    numbers = [rows.change("k", field="sequence", copy_value=1, before=1, after="On Hold")]
    numbers += [
        rows.change("made", op="insert", field=field, before=None, copy_value=None, after=after)
        for field, after in (("title", "New"), ("sequence", "On Hold"))
    ]
    carried(rows)
    found = ended(rows)
    assert found[fits][:2] == ("applied", "arrived")
    for number in numbers:
        assert found[number][:2] == ("parked", "superseded")
        assert "refuses it: InvalidTextRepresentation" in str(found[number][2])
    assert (there(rows, "k"), there(rows, "other")) == (("Old", 1, False), ("Old", 2, False))
    assert len(rows.elsewhere.sql("select own from crm.rows")) == 2
