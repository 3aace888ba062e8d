"""A new row is not made where a row that came there since the copy was read names its record."""

from __future__ import annotations

import pytest

from enerflo_sync.copies.named_rows import NAMED
from tests.copies.rows import COLUMNS, Rows
from tests.copies.test_carry_rows import carried, ended
from tests.copies.test_made_once import a_new_row


def with_text_links(rows: Rows) -> None:
    """Let the table name its installs by text."""
    with_links(rows, "text", "int8")


def with_links(rows: Rows, install: str, milestone: str) -> None:
    """Let the table name its records by columns of these types."""
    there = rows.elsewhere
    text, number = there.types["text"], there.types["int8"]
    types = {
        **dict.fromkeys(("own", "title", "kind"), text),
        **{"install": there.types[install], "milestone": there.types[milestone], "sequence": number},
        **{"gone": there.types["bool"], "updated_at": there.types["timestamptz"]},
    }
    types["kind"] += " default 'in'"
    there.sql("drop table crm.rows")
    there.sql(
        f"create table crm.rows ({', '.join(f'{there.quoted(name)} {types[name]}' for name in COLUMNS)})"
    )


def own_names(rows: Rows) -> list[str]:
    return sorted(str(row["own"]) for row in rows.elsewhere.sql("select own from crm.rows"))


def test_no_row_is_made_beside_one_that_somebody_made_under_another_key(rows: Rows) -> None:
    rows.refresh()
    a_new_row(rows)
    rows.row("by hand", milestone=rows.record("new")["milestone_id"])
    carried(rows)
    assert own_names(rows) == ["by hand"]
    assert {(planned, state, reason) for planned, state, reason, _ in ended(rows).values()} == {
        ("moved", "superseded", NAMED)
    }


@pytest.mark.parametrize("number", ["float8", "numeric"])
def test_nor_where_its_database_writes_the_number_with_a_point(rows: Rows, number: str) -> None:
    """A table that a spreadsheet or pandas filled has ids in columns of floats, where some rows have none."""
    with_links(rows, number, number)
    rows.refresh()
    a_new_row(rows)
    rows.row("by hand", milestone=rows.record("new")["milestone_id"])
    carried(rows)
    assert own_names(rows) == ["by hand"]


@pytest.mark.parametrize("spelled", ["INS-0001", " 1", "1.0"])
def test_nor_beside_one_that_names_it_in_another_spelling(rows: Rows, spelled: str) -> None:
    with_text_links(rows)
    rows.refresh()
    a_new_row(rows)
    rows.row("by hand", install=spelled, milestone=rows.record("new")["milestone_id"])
    carried(rows)
    assert own_names(rows) == ["by hand"]


def test_rows_of_other_records_are_in_nobodys_way(rows: Rows) -> None:
    with_text_links(rows)
    rows.refresh()
    a_new_row(rows)
    rows.row("other install", install="21", milestone=rows.record("new")["milestone_id"])
    rows.row("other milestone", install="1", milestone=77)
    carried(rows)
    assert own_names(rows) == ["new", "other install", "other milestone"]
