"""Many rows of the other database are updated by one statement, each to its own values, if it is as copied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.copies import remote_writes
from enerflo_sync.copies.due import RowWrite
from tests.copies.rows import LONG_AGO, Rows
from tests.copies.test_remote_rows import an_update, writer

# Digits, blanks, quotes and colons are as they are said; a year may look like a number.
TEXTS = ("New", None, "07", " x ", "it's :here", 'a "b"', "100%", "ü")


@pytest.fixture(autouse=True)
def few_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_writes, "_TOGETHER", 5)


@contextmanager
def statements(rows: Rows, verb: str) -> Iterator[list[str]]:
    """Yield the statements of a kind that are sent to the other database."""
    sent: list[str] = []

    def hear(_: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.lstrip().lower().startswith(verb):
            sent.append(statement)

    sa.event.listen(rows.elsewhere.engine, "before_cursor_execute", hear)
    yield sent
    sa.event.remove(rows.elsewhere.engine, "before_cursor_execute", hear)


def put(rows: Rows, number: int, **values: Any) -> None:
    for n in range(number):
        at = rows.elsewhere.given(LONG_AGO)
        rows.row(f"k{n}", **{"title": f"Title {n}", "milestone": n, "updated_at": at} | values)


def said(rows: Rows) -> dict[str, tuple[Any, ...]]:
    names = ", ".join(rows.elsewhere.quoted(name) for name in ("own", "title", "sequence", "gone"))
    found = rows.elsewhere.sql(f"select {names} from crm.rows")
    return {row["own"]: tuple(row.values())[1:] for row in found}


@pytest.mark.parametrize("elsewhere", ["duckdb", "postgresql", "mariadb", "snowflake"], indirect=True)
def test_each_row_gets_its_own_values(rows: Rows) -> None:
    put(rows, len(TEXTS))
    rows.refresh()
    writes = [
        an_update(rows, f"k{n}", title=text, sequence=n or None, gone=bool(n % 2))
        for n, text in enumerate(TEXTS)
    ]
    with statements(rows, "update") as sent, writer(rows) as remote:
        written = remote.write(writes)
    assert (written.changed, written.refused) == (set(range(len(TEXTS))), {})
    assert len(sent) == 2
    assert said(rows) == {f"k{n}": (text, n or None, bool(n % 2)) for n, text in enumerate(TEXTS)}


@pytest.mark.parametrize("elsewhere", ["duckdb", "postgresql", "mariadb", "snowflake"], indirect=True)
def test_a_row_that_moved_is_left_alone_and_the_others_are_written_together(rows: Rows) -> None:
    put(rows, 5)
    rows.refresh()
    writes = [an_update(rows, f"k{n}", title=f"New {n}") for n in range(5)]
    rows.elsewhere.sql("update crm.rows set sequence = 2 where own = 'k1'")
    rows.elsewhere.sql("delete from crm.rows where own = 'k3'")
    with statements(rows, "update") as sent, writer(rows) as remote:
        assert remote.write(writes).changed == {0, 2, 4}
    # One for the three, and one for each of the others.
    assert len(sent) == 3
    assert {own: values[0] for own, values in said(rows).items()} == {
        **{f"k{n}": f"New {n}" for n in (0, 2, 4)},
        "k1": "Title 1",
    }


@pytest.mark.parametrize("elsewhere", ["duckdb", "postgresql", "mariadb"], indirect=True)
def test_a_row_that_moves_between_the_look_and_the_write_is_left_alone(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(rows, 4)
    rows.refresh()
    writes = [an_update(rows, f"k{n}", title=f"New {n}") for n in range(4)]
    looked = remote_writes.RemoteWriter._as_copied

    def moved_since(self: Any, group: Any) -> set[int]:
        found: set[int] = looked(self, group)
        edit = sa.text("update crm.rows set sequence = 2 where own = 'k1'")
        self._connection.execute(edit)
        return found

    monkeypatch.setattr(remote_writes.RemoteWriter, "_as_copied", moved_since)
    with writer(rows) as remote:
        written = remote.write(writes)
    # What was written together is taken back, the edit with it, and each row is written by itself.
    assert (written.changed, written.refused) == ({0, 1, 2, 3}, {})
    assert {values[0] for values in said(rows).values()} == {f"New {n}" for n in range(4)}


@pytest.mark.parametrize("elsewhere", ["duckdb", "postgresql", "mariadb"], indirect=True)
def test_a_key_of_two_columns_means_both(rows: Rows) -> None:
    rows.configured(("key: [own]", "key: [own, kind]"))
    for own in ("a", "b"):
        for kind in ("x", "y"):
            rows.row(own, kind=kind, title=f"{own}{kind}", updated_at=rows.elsewhere.given(LONG_AGO))
    rows.refresh()
    found = rows.sql('select own, kind, _enerflo_row_hash as digest from crm_copies."default.milestones"')
    writes = [
        RowWrite(
            "update",
            [],
            (row["own"], row["kind"]),
            "",
            row["digest"],
            None,
            {"title": row["own"] + "!" + row["kind"]},
        )
        for row in found
        if (row["own"], row["kind"]) != ("b", "x")
    ]
    with statements(rows, "update") as sent, writer(rows) as remote:
        assert len(remote.write(writes).changed) == 3
    assert len(sent) == 1
    titles = [row["title"] for row in rows.elsewhere.sql("select title from crm.rows")]
    assert sorted(titles) == ["a!x", "a!y", "b!y", "bx"]


@pytest.mark.parametrize("elsewhere", ["mariadb"], indirect=True)
def test_keys_that_the_database_calls_equal_are_two_rows(rows: Rows) -> None:
    """Where a text's case does not count, one key means both rows: each is found by its digest."""
    put(rows, 2)
    for own in ("Same", "SAME"):
        rows.row(own, title=own, updated_at=rows.elsewhere.given(LONG_AGO))
    rows.refresh()
    writes = [an_update(rows, own, title=f"New {own}") for own in ("k0", "Same", "SAME", "k1")]
    with writer(rows) as remote:
        assert remote.write(writes).changed == {0, 1, 2, 3}
    titles = {own: values[0] for own, values in said(rows).items()}
    assert titles == {own: f"New {own}" for own in ("k0", "k1", "Same", "SAME")}
