"""Many new rows of the other database are made by one statement, if none of their keys is there."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.copies import remote_writes
from enerflo_sync.copies.due import RowWrite
from tests.copies.rows import LONG_AGO, Rows
from tests.copies.test_many_updates import TEXTS, put, said, statements
from tests.copies.test_remote_rows import an_insert, writer

REAL = pytest.mark.parametrize("elsewhere", ["duckdb", "postgresql", "mariadb"], indirect=True)


@pytest.fixture(autouse=True)
def few_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_writes, "_TOGETHER", 5)


def new(rows: Rows, number: int) -> list[RowWrite]:
    at = rows.elsewhere.given(LONG_AGO)
    return [
        an_insert(f"k{n}", title=TEXTS[n], sequence=n or None, gone=bool(n % 2), updated_at=at)
        for n in range(number)
    ]


def rows_of(number: int) -> dict[str, tuple[Any, ...]]:
    return {f"k{n}": (TEXTS[n], n or None, bool(n % 2)) for n in range(number)}


@pytest.mark.parametrize("elsewhere", ["duckdb", "postgresql", "mariadb", "snowflake"], indirect=True)
def test_each_new_row_has_its_own_values(rows: Rows) -> None:
    rows.refresh()
    with statements(rows, "insert") as sent, writer(rows) as remote:
        written = remote.write(new(rows, len(TEXTS)))
    assert (written.changed, written.refused) == (set(range(len(TEXTS))), {})
    assert len(sent) == 2
    assert said(rows) == rows_of(len(TEXTS))


@REAL
def test_a_row_that_is_there_by_now_is_made_no_second_time(rows: Rows) -> None:
    rows.refresh()
    put(rows, 1)
    with statements(rows, "insert") as sent, writer(rows) as remote:
        assert remote.write(new(rows, 4)).changed == {1, 2, 3}
    # One for the three, and one that finds the row.
    assert len(sent) == 2
    assert said(rows) == rows_of(4) | {"k0": ("Title 0", 1, False)}


@REAL
def test_a_row_that_comes_between_the_look_and_the_statement_is_made_no_second_time(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.refresh()
    looked = remote_writes.RemoteWriter._there
    come: list[str] = []

    def comes_since(self: Any, group: Any, value: str) -> list[tuple[int, Any]]:
        found: list[tuple[int, Any]] = looked(self, group, value)
        if not come:
            come.append("insert into crm.rows (own, title) values ('k1', 'Theirs')")
            self._connection.execute(sa.text(come[0]))
        return found

    monkeypatch.setattr(remote_writes.RemoteWriter, "_there", comes_since)
    with writer(rows) as remote:
        written = remote.write(new(rows, 3))
    # What was made together is taken back, their row with it, and each row is made by itself.
    assert (written.changed, written.refused) == ({0, 1, 2}, {})
    assert said(rows) == rows_of(3)


@REAL
def test_of_two_new_rows_of_one_key_the_first_is_made(rows: Rows) -> None:
    rows.refresh()
    writes = new(rows, 3)
    writes[1].key, writes[1].values["own"] = writes[0].key, "k0"
    with writer(rows) as remote:
        assert remote.write(writes).changed == {0, 2}
    assert said(rows) == {own: values for own, values in rows_of(3).items() if own != "k1"}


@REAL
def test_a_new_row_outside_where_is_taken_back_and_the_others_are_made(rows: Rows) -> None:
    rows.configured(("kind <> 'out'", "title <> 'Out' or title is null"))
    rows.refresh()
    writes = new(rows, 3)
    writes[1].values["title"] = "Out"
    with writer(rows) as remote:
        written = remote.write(writes)
    assert (written.changed, written.refused.keys()) == ({0, 2}, {1})
    assert "outside where" in written.refused[1]
    assert said(rows) == {own: values for own, values in rows_of(3).items() if own != "k1"}


@REAL
def test_a_value_that_the_column_does_not_take_refuses_its_row_alone(rows: Rows) -> None:
    rows.elsewhere.narrow("rows", "sequence")
    rows.refresh()
    writes = new(rows, 3)
    writes[1].values["sequence"] = 300
    with writer(rows) as remote:
        written = remote.write(writes)
    assert (written.changed, written.refused.keys()) == ({0, 2}, {1})
    assert said(rows).keys() == {"k0", "k2"}
