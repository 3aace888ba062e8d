"""Rows that are written in the other database end each by itself, and are read again before a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from enerflo_sync.copies import remote_writes
from enerflo_sync.copies.due import RowWrite
from enerflo_sync.copies.fresh_rows import FreshRows
from enerflo_sync.copies.remote_table import remote_table
from enerflo_sync.copies.remote_writes import RemoteWriter
from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.compare import Comparison
from tests.copies.rows import COPY, WHERE, Rows

pytestmark = pytest.mark.parametrize("elsewhere", ["duckdb", "postgresql"], indirect=True)


@contextmanager
def writer(rows: Rows) -> Iterator[RemoteWriter]:
    with rows.crm.connected("writing") as theirs:
        remote = remote_table(theirs, rows.crm, rows.config, "default", "milestones")
        theirs.commit()
        yield RemoteWriter(theirs, remote)


def an_update(rows: Rows, own: str, **values: Any) -> RowWrite:
    query = f"select _enerflo_row_hash, _enerflo_key_hash from {COPY} where own = :own limit 1"
    (found,) = rows.sql(query, own=own)
    return RowWrite("update", [], (own,), f'{{"own": "{own}"}}', *found.values(), values)


def an_insert(own: str, **values: Any) -> RowWrite:
    return RowWrite("insert", [], (own,), "", None, None, {"own": own, "install": 1, **values})


def test_of_rows_that_are_written_together_each_ends_by_itself(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_writes, "_TOGETHER", 3)
    rows.configured(("kind <> 'out'", "own <> 'outside'"))
    rows.many(9)
    rows.row("twin", title="Title 0")
    rows.row("twin", title="Title 0")
    rows.elsewhere.narrow("rows", "sequence")
    rows.refresh()
    writes = [
        # Of these nothing is refused.
        *(
            an_update(rows, "k1", title="New"),
            an_update(rows, "k2", title=None),
            an_insert("made", title="New"),
        ),
        # Of these one row is, for its value, its key, or where it would stand.
        *(
            an_update(rows, "k3", title="New"),
            an_update(rows, "k4", sequence=300),
            an_insert("too", title="New"),
        ),
        *(
            an_update(rows, "k5", title="New"),
            an_update(rows, "twin", title="New"),
            an_insert("k6", title="New"),
        ),
        *(
            an_insert("outside", title="New"),
            an_update(rows, "k7", title="New"),
            an_update(rows, "k8", title="New"),
        ),
        an_update(rows, "k9", title="New", sequence=5),
    ]
    rows.elsewhere.sql("update crm.rows set sequence = 2 where own = 'k7'")
    with writer(rows) as remote:
        written = remote.write(writes)
    assert written.changed == {0, 1, 2, 3, 5, 6, 11, 12}
    assert written.refused.keys() == {4, 7, 9}
    title = rows.crm.dialect.title
    assert written.refused[4].startswith(f"{title} refuses the row (")
    assert "several rows of this key" in written.refused[7]
    assert "outside where" in written.refused[9]
    expected: dict[str, list[tuple[Any, Any]]] = {
        **{f"k{n}": [("New", None)] for n in (1, 3, 5, 8)},
        **{f"k{n}": [(f"Title {n}", None)] for n in (4, 6)},
        **{"k2": [(None, None)], "k7": [("Title 7", 2)], "k9": [("New", 5)], "twin": [("Title 0", 1)] * 2},
        **{"made": [("New", None)], "too": [("New", None)]},
    }
    found: dict[str, list[tuple[Any, Any]]] = {}
    for row in rows.elsewhere.sql("select own, title, sequence from crm.rows"):
        found.setdefault(row["own"], []).append((row["title"], row["sequence"]))
    assert found == expected


def test_a_row_that_a_change_would_take_out_of_where_is_taken_back_and_the_others_are_written(
    rows: Rows,
) -> None:
    rows.configured(("kind <> 'out'", "title <> 'Out' and sequence is not null"))
    rows.many(3)
    rows.elsewhere.sql("update crm.rows set sequence = 1")
    rows.refresh()
    values = ({"title": "New"}, {"title": "Out"}, {"sequence": None})
    with writer(rows) as remote:
        written = remote.write([an_update(rows, f"k{n}", **one) for n, one in enumerate(values, 1)])
    assert written.changed == {0}
    assert [written.refused[n].startswith("its row would stand outside where") for n in (1, 2)] == [
        True,
        True,
    ]
    said = rows.elsewhere.sql("select own, title, sequence from crm.rows order by own")
    assert [tuple(row.values()) for row in said] == [
        ("k1", "New", 1),
        ("k2", "Title 2", 1),
        ("k3", "Title 3", 1),
    ]


def test_where_nothing_is_taken_back_a_column_of_where_is_not_written(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.configured(("kind <> 'out'", "TITLE <> 'Out'"))
    rows.many(3)
    rows.refresh()
    monkeypatch.setattr(type(rows.crm.dialect), "takes_back", False)
    with writer(rows) as remote:
        both = an_update(rows, "k3", title="New", sequence=7)
        both.numbers += [1, 2]
        writes = [an_update(rows, "k1", title="New"), an_update(rows, "k2", sequence=7), both]
        written = remote.write(writes)
    assert written.changed == {1, 2}
    assert "where names the column" in written.refused[0]
    assert written.left_out.keys() == {1}
    titles = rows.elsewhere.sql("select title, sequence from crm.rows where own = 'k3'")
    assert [tuple(row.values()) for row in titles] == [("Title 3", 7)]


def test_without_where_every_new_row_is_made(rows: Rows) -> None:
    rows.configured((WHERE, ""))
    rows.many(1)
    rows.refresh()
    with writer(rows) as remote:
        written = remote.write([an_insert("made", title="New"), an_insert("k1", title="New")])
    assert (written.changed, written.refused) == ({0}, {})
    assert len(rows.elsewhere.sql("select * from crm.rows where title = 'New'")) == 1


@pytest.mark.parametrize("when", ["before the first row", "before a row by itself"])
def test_what_is_no_matter_of_one_row_ends_the_run(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    rows.many(2)
    rows.elsewhere.narrow("rows", "sequence")
    rows.refresh()
    writes = [an_update(rows, "k1", sequence=300), an_update(rows, "k2", title="New")]
    whole = RemoteWriter._together

    def together(self: RemoteWriter, some: Mapping[int, RowWrite]) -> set[int]:
        if when == "before the first row":
            rows.elsewhere.sql("drop table crm.rows")
        try:
            return whole(self, some)
        finally:
            rows.elsewhere.sql("drop table if exists crm.rows")

    monkeypatch.setattr(RemoteWriter, "_together", together)
    with pytest.raises(ConfigurationError, match="does not take a statement"), writer(rows) as remote:
        remote.write(writes)


def test_many_rows_are_read_back_in_parts(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_writes, "_TOGETHER", 3)
    rows.many(8)
    rows.refresh()
    keys = [(f"k{n}",) for n in range(1, 10)]
    with writer(rows) as remote:
        parts = list(remote.read_back(keys))
    assert [row[0] for part in parts for row in part] == [f"k{n}" for n in range(1, 9)]
    assert max(len(part) for part in parts) == 3


def fresh(rows: Rows, *keys: str, plan: Callable[[Comparison], Comparison] = lambda plan: plan) -> None:
    reading = FreshRows(rows.crm, rows.config, "default")
    with rows.engine.begin() as connection:
        of_plan = plan(rows.plan(connection))
        # The second time it knows the table.
        for _ in range(2):
            reading.read(connection, of_plan, [{"own": key} for key in keys])


def titles(rows: Rows) -> list[tuple[str, Any]]:
    return [tuple(row.values()) for row in rows.sql(f"select own, title from {COPY} order by 1, 2")]


def test_the_rows_of_keys_are_read_again_and_no_others(rows: Rows) -> None:
    rows.many(5)
    rows.row("twin", title="A")
    rows.refresh()
    before = titles(rows)
    rows.elsewhere.sql("update crm.rows set title = 'New' where own in ('k1', 'k2')")
    rows.elsewhere.sql("delete from crm.rows where own in ('k3', 'k4')")
    rows.row("twin", title="B")
    rows.row("made", title="New")
    rows.row("made too", title="New")
    fresh(rows)
    assert titles(rows) == before
    fresh(rows, "k1", "k3", "k5", "twin", "made", "nowhere")
    assert titles(rows) == [
        *(("k1", "New"), ("k2", "Title 2"), ("k4", "Title 4"), ("k5", "Title 5")),
        *(("made", "New"), ("twin", "A"), ("twin", "B")),
    ]


def test_a_table_of_the_warehouse_itself_is_not_read_again(rows: Rows) -> None:
    rows.many(1)
    rows.refresh()
    rows.elsewhere.sql("update crm.rows set title = 'New'")
    (mapping,) = load_config(rows.own(), {}).tables_for("default").values()
    fresh(rows, "k1", plan=lambda plan: replace(plan, mapping=mapping))
    assert titles(rows) == [("k1", "Title 1")]
