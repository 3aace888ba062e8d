"""Types of other databases whose values look alike, or stand for something else than their text says."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from enerflo_sync.errors import ConfigurationError
from tests.copies.conftest import MariaDB
from tests.copies.rows import COLUMNS, COPY, Rows
from tests.copies.test_carry_rows import carried, ended, there
from tests.copies.test_remote_rows import an_update, writer

in_mariadb = pytest.mark.parametrize("elsewhere", ["mariadb"], indirect=True)
in_duckdb = pytest.mark.parametrize("elsewhere", ["duckdb"], indirect=True)
in_postgresql = pytest.mark.parametrize("elsewhere", ["postgresql"], indirect=True)
NUMBER = ("sequence: {enerflo: sequence, type: integer}", "sequence: {enerflo: sequence, type: number}")


def copied(rows: Rows, column: str) -> Any:
    return rows.sql(f"select {column} as value from {COPY}")[0]["value"]


@in_mariadb
@pytest.mark.parametrize(
    ("column", "kind", "before", "after"),
    [
        # The server writes both with six digits.
        ("sequence", "float", "123456.7", "123457.2"),
        # No letters in any character set.
        ("title", "varbinary(16)", "x'fffe'", "x'fdfc'"),
        ("title", "blob", "x'ff00'", "x'ff'"),
        ("sequence", "tinyint(1)", "1", "2"),
        ("sequence", "bit(64)", "b'1'", "~0"),
    ],
)
def test_an_edit_of_a_value_that_looks_as_before_is_found_and_not_overwritten(
    rows: Rows, column: str, kind: str, before: str, after: str
) -> None:
    rows.configured(NUMBER)
    rows.elsewhere.sql(f"alter table crm.rows modify {column} {kind}")
    rows.row("k")
    rows.elsewhere.sql(f"update crm.rows set {column} = {before}")
    rows.refresh()
    write = an_update(rows, "k", gone=True)
    rows.elsewhere.sql(f"update crm.rows set {column} = {after}")
    with writer(rows) as remote:
        assert remote.write([write]).changed == set()
    assert rows.refresh().rows_read == 1


@in_duckdb
@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        # DuckDB calls both equal, and hashes them alike.
        ("varchar collate nocase", "'anna smith'", "'Anna Smith'"),
        ("varchar collate noaccent", "'Rene'", "'René'"),
        ("interval", "interval '1 day'", "interval '24 hours'"),
        ("interval", "interval '30 days'", "interval '1 month'"),
        # It hashes both halves of a wide number, and joins them.
        ("hugeint", "0", "-1"),
        ("uhugeint", "0", "340282366920938463463374607431768211455"),
        ("decimal(20,0)", "-1", "0"),
        ("decimal(38,2)", "0", "-0.01"),
        ("decimal(18,2)", "0", "-0.01"),
        ("uuid", "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"),
        # Nothing, and something that is empty.
        ("integer[]", "null", "[]"),
        ("map(varchar, integer)", "null", "map {}"),
        ("struct(a integer, b integer)", "{'a': null, 'b': null}", "null"),
    ],
)
def test_an_edit_in_duckdb_is_found_and_not_overwritten(
    rows: Rows, kind: str, before: str, after: str
) -> None:
    rows.elsewhere.sql("alter table crm.rows drop title")
    rows.elsewhere.sql(f"alter table crm.rows add title {kind}")
    rows.row("k")
    rows.elsewhere.sql(f"update crm.rows set title = {before}")
    rows.refresh()
    write = an_update(rows, "k", gone=True)
    rows.elsewhere.sql(f"update crm.rows set title = {after}")
    with writer(rows) as remote:
        assert remote.write([write]).changed == set()
    assert rows.refresh().rows_read == 1


@in_duckdb
def test_columns_of_several_collations_are_read(rows: Rows) -> None:
    for column, collation in (("title", "nocase"), ("own", "noaccent")):
        rows.elsewhere.sql(f"alter table crm.rows drop {column}")
        rows.elsewhere.sql(f"alter table crm.rows add {column} varchar collate {collation}")
    rows.row("k", title="T")
    assert rows.refresh().rows_read == 1


@in_mariadb
@pytest.mark.parametrize("kind", ["longtext", "varchar(50)"])
@pytest.mark.parametrize(
    "letters", ["latin1", "utf8mb3", "utf8mb4 collate utf8mb4_unicode_ci", "utf8mb4 collate utf8mb4_bin"]
)
def test_columns_of_several_character_sets_and_collations_are_read(
    rows: Rows, kind: str, letters: str
) -> None:
    rows.elsewhere.sql(f"alter table crm.rows modify title {kind} character set {letters}")
    rows.elsewhere.sql("alter table crm.rows modify own varchar(20) collate utf8mb4_general_ci")
    rows.row("k 😀", title="Zoë")
    assert (rows.refresh().rows_read, rows.refresh().rows_read) == (1, 0)
    assert (copied(rows, "title"), copied(rows, "own")) == ("Zoë", "k 😀")
    for column, value in (("title", "zoë"), ("title", "zoe"), ("own", "K 😀")):
        rows.elsewhere.sql(f"update crm.rows set {column} = '{value}'")
        assert rows.refresh().rows_read > 0
        assert (copied(rows, column), rows.refresh().rows_read) == (value, 0)


@in_mariadb
def test_columns_of_two_small_character_sets_are_read(rows: Rows) -> None:
    rows.elsewhere.sql("alter table crm.rows modify title varchar(50) character set latin1")
    rows.elsewhere.sql("alter table crm.rows modify own varchar(50) character set latin2")
    rows.row("Łódź", title="Zoë")
    assert (rows.refresh().rows_read, rows.refresh().rows_read) == (1, 0)
    assert (copied(rows, "title"), copied(rows, "own")) == ("Zoë", "Łódź")
    rows.elsewhere.sql("update crm.rows set title = 'Zoé'")
    assert (rows.refresh().rows_read, copied(rows, "title")) == (1, "Zoé")


@in_mariadb
@pytest.mark.parametrize("kind", ["tinyint(1)", "bit(8)", "bit(1)", "bigint(20) unsigned"])
def test_a_number_is_read_and_written_as_one_whatever_it_is_kept_in(rows: Rows, kind: str) -> None:
    rows.elsewhere.sql(f"alter table crm.rows modify sequence {kind}")
    rows.both("k", sequence=0)
    rows.refresh()
    assert (copied(rows, "sequence"), copied(rows, "pg_typeof(sequence)::text") == "boolean") == (0, False)
    after = 1 if kind == "bit(1)" else 5
    rows.mirror("j", title="New")
    number = rows.change("k", field="sequence", copy_value=0, before=0, after=after)
    carried(rows)
    assert ended(rows)[number][:2] == ("applied", "arrived")
    (row,) = rows.elsewhere.sql("select sequence + 0 as n from crm.rows")
    assert (row["n"], copied(rows, "sequence")) == (after, after)


@in_mariadb
@pytest.mark.parametrize("after", [5, 70, 99, 100, 12024, -5, 2200])
def test_a_number_that_is_no_year_becomes_none_in_a_column_of_years(rows: Rows, after: int) -> None:
    """MariaDB takes 5 for 2005, and says nothing."""
    rows.elsewhere.sql("alter table crm.rows modify sequence year")
    rows.both("k", sequence=2024)
    rows.mirror("j", title="New")
    rows.refresh()
    number = rows.change("k", field="sequence", copy_value=2024, before=2024, after=after)
    carried(rows)
    assert ended(rows)[number][0] == "parked"
    assert there(rows, "k")[1] == 2024


@in_mariadb
@pytest.mark.parametrize("after", [0, 1901, 1999, 2025, 2155, None])
def test_a_year_is_written_as_one(rows: Rows, after: int | None) -> None:
    rows.elsewhere.sql("alter table crm.rows modify sequence year")
    rows.both("k", sequence=2024)
    rows.mirror("j", title="New")
    rows.refresh()
    number = rows.change("k", field="sequence", copy_value=2024, before=2024, after=after)
    carried(rows)
    assert ended(rows)[number][:2] == ("applied", "arrived")
    assert there(rows, "k")[1] == after


@in_mariadb
@pytest.mark.parametrize("why", ["the check of a view", "a generated column", "a partition"])
def test_a_row_that_its_place_refuses_is_parked_and_stops_no_other(rows: Rows, why: str) -> None:
    refused = {"field": "title", "after": "New"}
    if why == "the check of a view":
        rows.elsewhere.sql(
            "create view crm.some as select * from crm.rows where title <> 'New' with check option"
        )
        rows.configured(("crm.rows", "crm.some"))
    elif why == "a generated column":
        rows.elsewhere.sql(
            "alter table crm.rows drop title, add title varchar(9) generated always as ('Old')"
        )
    else:
        rows.elsewhere.sql(
            "alter table crm.rows partition by list columns (title) (partition p values in ('Old'))"
        )
    for own in ("k", "other"):
        rows.row(
            own,
            **({} if why == "a generated column" else {"title": "Old"}),
            milestone=rows.record(own)["milestone_id"],
        )
        rows.mirror(own, title="New")
    rows.refresh()
    number = rows.change("k", **refused)
    other = rows.change("other", field="sequence", copy_value=1, before=1, after=2)
    carried(rows)
    found = ended(rows)
    assert found[number][:2] == ("parked", "superseded")
    assert "refuses the row" in str(found[number][2])
    assert found[other][:2] == ("applied", "arrived")
    assert (there(rows, "k")[0], there(rows, "other")[1]) == ("Old", 2)


@pytest.mark.parametrize(
    ("elsewhere", "kind"),
    [("mariadb", "float"), ("mariadb", "float(10,2)"), ("duckdb", "float"), ("postgresql", "real")],
    indirect=["elsewhere"],
)
def test_a_float_of_four_bytes_has_the_digits_that_were_written(rows: Rows, kind: str) -> None:
    rows.configured(NUMBER)
    for column in ("sequence", "title"):
        rows.elsewhere.sql(f"alter table crm.rows drop {rows.elsewhere.quoted(column)}")
    rows.elsewhere.sql(f"alter table crm.rows add {rows.elsewhere.quoted('sequence')} {kind}")
    rows.elsewhere.sql("alter table crm.rows add title varchar(20)")
    rows.both("k", sequence=23616.05)
    rows.refresh()
    assert rows.sql(f"select sequence::text as value from {COPY}") == [{"value": "23616.05"}]
    number = rows.change("k", field="sequence", copy_value="23616.05", before="23616.05", after="19677.39")
    carried(rows)
    assert ended(rows)[number][:2] == ("applied", "arrived")
    assert rows.sql(f"select sequence::text as value from {COPY}") == [{"value": "19677.39"}]


@in_postgresql
@pytest.mark.parametrize(("kind", "value"), [("numeric(10,0)", "'NaN'"), ("numeric(5,-2)", "1234")])
def test_a_decimal_that_is_no_number_or_has_no_last_digits_is_read(rows: Rows, kind: str, value: str) -> None:
    rows.elsewhere.sql(f"alter table crm.rows alter sequence type {kind}")
    rows.row("k", sequence=1)
    rows.elsewhere.sql(f"update crm.rows set sequence = {value}")
    rows.refresh()
    assert str(copied(rows, "sequence")) == ("NaN" if "NaN" in value else "1200")


TIME = (
    "title: {enerflo: title, type: text}",
    "title: {enerflo: completed_at, type: timestamp, time_zone: UTC}",
)


@pytest.mark.parametrize("elsewhere", ["mariadb", "postgresql"], indirect=True)
@pytest.mark.parametrize(("digits", "kept"), [(0, 0), (3, 678000), (6, 678901)])
def test_a_time_is_cut_to_what_its_column_keeps_and_is_as_it_was_sent(
    rows: Rows, digits: int, kept: int
) -> None:
    rows.configured(TIME)
    rows.elsewhere.sql("alter table crm.rows drop column title")
    kind = "datetime" if isinstance(rows.elsewhere, MariaDB) else "timestamp"
    rows.elsewhere.sql(f"alter table crm.rows add title {kind}({digits})")
    rows.row("k", milestone=rows.record("k")["milestone_id"])
    moment = "2026-01-02T03:04:05.678901Z"
    rows.mirror("k", completed_at=moment)
    rows.refresh()
    number = rows.change("k", copy_value=None, before=None, after=moment)
    carried(rows)
    assert ended(rows)[number][:2] == ("applied", "arrived")
    assert there(rows, "k")[0] == datetime(2026, 1, 2, 3, 4, 5, kept)


@pytest.mark.parametrize("elsewhere", ["mariadb", "postgresql", "duckdb"], indirect=True)
@pytest.mark.parametrize(
    "where", ["nope = 1", "nofunc(kind) = 1", "cast(concat('x', kind) as date) > '2026-01-01'"]
)
def test_a_condition_that_the_database_cannot_work_out_is_said_as_one(rows: Rows, where: str) -> None:
    rows.configured(("kind <> 'out'", where))
    rows.row("k")
    if isinstance(rows.elsewhere, MariaDB) and "cast" in where:
        # To MariaDB a text that is no date is no error.
        assert rows.refresh().rows == 1
        return
    with pytest.raises(ConfigurationError, match=r"does not take a statement while reading crm\.rows"):
        rows.refresh()


@in_mariadb
def test_a_view_that_takes_no_writes_is_said_as_one(rows: Rows) -> None:
    names = ", ".join(f"max({name}) as {name}" for name in COLUMNS if name != "own")
    rows.elsewhere.sql(f"create view crm.summed as select own, {names} from crm.rows group by own")
    rows.configured(("crm.rows", "crm.summed"))
    rows.both("k")
    rows.refresh()
    number = rows.change("k")
    with pytest.raises(ConfigurationError, match=r"does not take a statement while writing crm\.summed"):
        carried(rows)
    assert ended(rows)[number][1] == "open"


@in_postgresql
@pytest.mark.parametrize(("kind", "after"), [('"char"', "New"), ("name", "New" * 40), ("crm.letter", "12")])
def test_a_text_that_its_column_would_cut_is_parked(rows: Rows, kind: str, after: str) -> None:
    """PostgreSQL casts to these types without an error, and keeps one byte, or 63."""
    if kind == "crm.letter":
        rows.elsewhere.sql('create domain crm.letter as "char"')
    rows.elsewhere.sql(f"alter table crm.rows drop title, add title {kind}")
    for own in ("k", "other"):
        rows.row(own, title="O", milestone=rows.record(own)["milestone_id"])
        rows.mirror(own, title=after if own == "k" else "N")
    rows.refresh()
    number = rows.change("k", field="title", copy_value="O", before="O", after=after)
    other = rows.change("other", field="title", copy_value="O", before="O", after="N")
    carried(rows)
    found = ended(rows)
    assert (found[number][0], found[other][0]) == ("parked", "applied")
    assert (there(rows, "k")[0], there(rows, "other")[0]) == ("O", "N")
