"""A copy holds what the other database says, whatever was done to its rows, and reads little for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.copies import refresh
from enerflo_sync.copies.copy_table import CopyTable
from enerflo_sync.copies.dialects.duckdb import DuckDB
from enerflo_sync.copies.refresh import refresh_copies
from enerflo_sync.copies.remote_table import remote_table
from enerflo_sync.errors import ConfigurationError, RetriableError
from tests.copies.rows import COPY, MAPPED, MARKED, Rows

in_both = pytest.mark.parametrize("elsewhere", ["duckdb", "postgresql"], indirect=True)
in_duckdb = pytest.mark.parametrize("elsewhere", ["duckdb"], indirect=True)
# DuckDB reads a table as it was when the read began.
in_postgresql = pytest.mark.parametrize("elsewhere", ["postgresql"], indirect=True)

NUMBER = 300
# What is done to the row ``{0}``, beside which ``{1}`` stands.
ALIKE = "insert into crm.rows select * from crm.rows where own = '{0}'"
EDITS = {
    "nothing": [],
    "an edit that nothing dates": ["update crm.rows set title = 'Else' where own = '{0}'"],
    "a value becomes empty": ["update crm.rows set title = null where own = '{0}'"],
    "an empty text is no empty value": ["update crm.rows set title = '' where own = '{0}'"],
    "a row leaves where": ["update crm.rows set kind = 'out' where own = '{0}'"],
    "a row is deleted": ["delete from crm.rows where own = '{0}'"],
    "a row is new": ["insert into crm.rows (own, install, milestone) values ('new', 1, 1)"],
    "a row gets another key": ["update crm.rows set own = '{0}b' where own = '{0}'"],
    "a row is there twice": [ALIKE],
    "rows are there two and three times": [ALIKE, ALIKE, ALIKE.replace("{0}", "{1}")],
    "two rows swap their texts": [
        "update crm.rows set title = 'A' where own = '{0}'",
        "update crm.rows set title = 'B' where own = '{1}'",
        "update crm.rows set title = case title when 'A' then 'B' else 'A' end where own in ('{0}', '{1}')",
    ],
    "one of twins is another row": [
        "delete from crm.rows where own = 'twin'",
        "insert into crm.rows (own, install, milestone, title) values ('twin', 2, 2, 'Twin')",
    ],
}


def told(rows: Rows) -> list[tuple[Any, ...]]:
    """Return the other database's rows as the copy is to have them, in order."""
    names = ", ".join(rows.elsewhere.quoted(one) for one in MAPPED)
    found = rows.elsewhere.sql(f"select {names}, coalesce(kind <> 'out', false) as inside from crm.rows")
    return sorted((tuple(row.values()) for row in found), key=repr)


@pytest.fixture
def many(rows: Rows) -> Rows:
    rows.many(NUMBER)
    for _ in range(2):
        rows.row("twin", title="Twin", milestone=2, install=2)
    report = rows.refresh()
    assert (report.rows, report.rows_read) == (NUMBER + 2, NUMBER + 2)
    assert (report.table_name, report.crm_table) == ("milestones", "crm.rows")
    assert 0 <= report.seconds < 60
    assert rows.copied() == told(rows)
    return rows


@in_both
def test_a_refresh_says_what_it_cost_there(many: Rows) -> None:
    quiet = many.refresh()
    assert (quiet.rows_read, quiet.bytes_read) == (0, 0)
    many.elsewhere.sql("update crm.rows set title = repeat('x', 100000) where own = 'k1'")
    edited = many.refresh()
    assert edited.statements == quiet.statements + 1
    assert 1_000 < edited.bytes_read < 1_000_000
    (noted,) = many.sql("select statements, bytes_read from sync.crm_copies where account = 'default'")
    assert dict(noted) == {"statements": edited.statements, "bytes_read": edited.bytes_read}


@in_both
def test_a_copy_follows_every_edit_and_reads_few_rows_for_it(many: Rows) -> None:
    # What another account copied says nothing of this one.
    many.sql(
        "insert into sync.crm_copies select (jsonb_populate_record(c, jsonb_build_object('account', 'other',"
        " 'signature', 'theirs'))).* from sync.crm_copies c"
    )
    for number, (edit, statements) in enumerate(EDITS.items(), 1):
        for statement in statements:
            many.elsewhere.sql(statement.format(f"k{number}", f"k{number + 100}"))
            report = many.refresh()
            assert many.copied() == told(many), edit
            assert report.rows == len(told(many)), edit
            assert 0 < report.rows_read < 40, edit
        assert many.refresh().rows_read == 0, edit


@pytest.mark.parametrize("elsewhere", ["duckdb", "postgresql", "mariadb"], indirect=True)
def test_no_two_rows_have_one_digest_however_alike_they_read_in_a_line(rows: Rows) -> None:
    texts = (None, "", "-", "0", "b", "|b", "1|b", "-|-")
    values = list(itertools.product(texts[1:], texts, (None, 1, 12), (1, 11, 112)))
    for own, title, sequence, install in values:
        rows.row(own, title=title, sequence=sequence, install=install)
    with rows.crm.connected("a look") as theirs:
        remote = remote_table(theirs, rows.crm, rows.config, "default", "milestones")
        query = f"select {remote.row_hash} from crm.rows"
        digests = [int(row[0]) for row in theirs.execute(sa.text(query))]
    assert len(set(digests)) == len(digests) == len(values)
    assert min(digests) >= 0
    assert max(digests) < 2**60


@pytest.mark.parametrize("elsewhere", ["duckdb", "postgresql", "mariadb"], indirect=True)
def test_rows_are_found_by_a_key_that_is_a_number_also_below_zero_or_missing(rows: Rows) -> None:
    rows.configured(("key: [own]", "key: [sequence]"))
    for n, sequence in enumerate((None, None, -1, -64, 0, 64, 2**62, -(2**62))):
        rows.row(f"r{n}", sequence=sequence, milestone=n)
    assert rows.refresh().rows_read == 8
    for n in range(8):
        rows.elsewhere.sql(f"update crm.rows set title = 'Edited' where own = 'r{n}'")
        assert 1 <= rows.refresh().rows_read <= 5, n
        found = rows.sql(f"select milestone, title from {COPY} where title = 'Edited'")
        assert sorted(row["milestone"] for row in found) == list(range(n + 1))
    assert rows.refresh().rows_read == 0


OF_NUMBERS = {
    "nothing": [],
    "an edit": ["update crm.rows set title = 'Else' where sequence = 7"],
    "the last row is deleted": ["delete from crm.rows where sequence = 400"],
    "the first row is deleted": ["delete from crm.rows where sequence = 1"],
    "a row has a larger key than any other": [
        "insert into crm.rows (own, install, milestone, sequence) values ('new', 1, 1, 409)"
    ],
    "a row has the key zero": [
        "insert into crm.rows (own, install, milestone, sequence) values ('new', 1, 1, 0)"
    ],
    "a row has a key below zero": ["update crm.rows set sequence = -61 where sequence = 61"],
    "a row has no key": ["update crm.rows set sequence = null where sequence = 60"],
    "a row gets another key": ["update crm.rows set sequence = 405 where sequence = 61"],
    "two rows have one key": ["update crm.rows set sequence = 62 where sequence = 61"],
    "two rows swap their keys": ["update crm.rows set sequence = 63 - sequence where sequence in (1, 62)"],
    "a key is far away": ["update crm.rows set sequence = 4000000000000000000 where sequence = 61"],
    "all rows are deleted": ["delete from crm.rows"],
}


@pytest.mark.parametrize("elsewhere", ["mariadb", "duckdb"], indirect=True)
def test_a_copy_whose_key_is_a_number_follows_every_edit_also_of_the_key(rows: Rows) -> None:
    rows.configured(("key: [own]", "key: [sequence]"))

    def same() -> bool:
        query = "select sequence, milestone, title from {}"
        here, there = rows.sql(query.format(COPY)), rows.elsewhere.sql(query.format("crm.rows"))
        return sorted((tuple(row.values()) for row in here), key=repr) == sorted(
            (tuple(row.values()) for row in there), key=repr
        )

    for name, edits in OF_NUMBERS.items():
        rows.elsewhere.sql("delete from crm.rows")
        rows.many(400)
        rows.elsewhere.sql("update crm.rows set sequence = milestone")
        rows.refresh()
        assert same(), name
        for edit in edits:
            rows.elsewhere.sql(edit)
        read = rows.refresh().rows_read
        assert same(), name
        assert read <= 60, name
        assert rows.refresh().rows_read == 0, name


@pytest.mark.parametrize("elsewhere", ["mariadb"], indirect=True)
@pytest.mark.parametrize(("apart", "are_named"), [(1, True), (1 << 22, False)])
def test_an_index_of_mariadb_finds_the_rows_of_keys_that_lie_close_together(
    rows: Rows, apart: int, are_named: bool
) -> None:
    rows.configured(("key: [own]", "key: [sequence]"))
    rows.many(400)
    rows.elsewhere.sql(f"update crm.rows set sequence = milestone * {apart}")
    rows.refresh()
    rows.elsewhere.sql("update crm.rows set title = 'Edited' where own = 'k7'")
    asked: list[str] = []
    sa.event.listen(rows.crm.engine, "before_cursor_execute", lambda *event: asked.append(event[2]))
    assert rows.refresh().rows_read < 30
    assert any("where `sequence` in (7, 68, " in statement for statement in asked) == are_named


@in_duckdb
@pytest.mark.parametrize("apart", [1, 64, 1 << 22])
def test_few_rows_are_read_for_an_edit_however_far_apart_the_keys_are(rows: Rows, apart: int) -> None:
    rows.configured(("key: [own]", "key: [sequence]"))
    rows.many(400)
    rows.elsewhere.sql(f"update crm.rows set sequence = milestone * {apart}")
    assert rows.refresh().rows_read == 400
    rows.elsewhere.sql("update crm.rows set title = 'Edited' where own = 'k7'")
    read = rows.refresh().rows_read
    assert rows.sql(f"select count(*) as n from {COPY} where title = 'Edited'")[0]["n"] == 1
    assert read < 30


def of_buckets(rows: Rows, number: int) -> list[str]:
    """Return a row of each of so many buckets."""
    found = rows.sql(
        f"select min(own) as own from {COPY} group by _enerflo_key_hash % 61 order by 1 limit {number}"
    )
    return [row["own"] for row in found]


def edited_while_read(rows: Rows, monkeypatch: pytest.MonkeyPatch, some: Sequence[str], times: int) -> None:
    """Edit rows of the other database each time when rows were read, so many times."""
    edits = iter(range(times))

    def edit() -> None:
        for n in edits:
            keys = ", ".join(f"'{own}'" for own in some)
            rows.elsewhere.sql(f"update crm.rows set title = 'Moved {n}' where own in ({keys})")
            return

    whole_load, whole_merge = CopyTable.load, CopyTable.merge

    def load(self: CopyTable, parts: Iterable[Any], tick: Any) -> int:
        number = whole_load(self, parts, tick)
        edit()
        return number

    def merge(self: CopyTable, parts: Iterable[Any], which: str, values: Any) -> int:
        number = whole_merge(self, parts, which, values)
        edit()
        return number

    monkeypatch.setattr(CopyTable, "load", load)
    monkeypatch.setattr(CopyTable, "merge", merge)


@in_postgresql
@pytest.mark.parametrize(("moving", "times"), [(6, 3), (7, 1), (7, 2), (7, 3)])
def test_a_table_is_read_again_while_a_tenth_of_it_moves_three_times_at_most(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, moving: int, times: int
) -> None:
    rows.many(200)
    rows.refresh()
    some = of_buckets(rows, moving)
    # Whatever is copied anew is read once more.
    rows.sql(f"drop table {COPY}")
    edited_while_read(rows, monkeypatch, some, times)
    if moving == 7 and times == 3:
        with pytest.raises(RetriableError, match="changes faster than it is read"):
            rows.refresh()
        # Nothing of it is kept, and nothing says that it was read.
        assert rows.sql("select to_regclass(:name) is null as gone", name=COPY)[0]["gone"]
        return
    report = rows.refresh()
    assert report.rows == 200
    rounds = times if moving == 7 else 1
    assert report.rows_read >= 200 + rounds * moving
    copied = dict(
        rows.sql(f"select title, count(*) as n from {COPY} group by 1 having title like 'Moved%'")[0]
    )
    assert copied == {"title": f"Moved {rounds - 1}", "n": moving}


@in_duckdb
@pytest.mark.parametrize("named", [2, 1])
def test_where_too_many_buckets_differ_to_be_named_the_whole_table_is_read(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, named: int
) -> None:
    rows.many(100)
    rows.refresh()
    monkeypatch.setattr(DuckDB, "most_named", named)
    for own in of_buckets(rows, 2):
        rows.elsewhere.sql(f"update crm.rows set title = 'Else' where own = '{own}'")
    rows.elsewhere.sql("insert into crm.rows (own) values ('new')") if named == 1 else None
    report = rows.refresh()
    assert (report.rows_read == 101) if named == 1 else (0 < report.rows_read < 20)
    assert rows.copied() == told(rows)


@in_duckdb
def test_a_table_of_many_rows_has_buckets_of_a_few(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    rows.many(100)
    monkeypatch.setattr(refresh, "_ROWS_A_BUCKET", 1)
    asked: list[int] = []
    whole = CopyTable.buckets

    def buckets(self: CopyTable, number: int) -> Any:
        asked.append(number)
        return whole(self, number)

    monkeypatch.setattr(CopyTable, "buckets", buckets)
    rows.refresh()
    monkeypatch.setattr(refresh, "_BUCKETS", (61,))
    rows.refresh()
    assert asked == [127, 61]


@in_duckdb
@pytest.mark.parametrize("why", ["mapping", "copy", "nothing"])
def test_a_copy_is_made_anew_where_its_mapping_changed_or_it_is_not_there(rows: Rows, why: str) -> None:
    rows.row("k1", title="Old")
    rows.row("k2", title="Old", kind="out")
    rows.refresh()
    if why == "mapping":
        rows.configured((MARKED, ""))
        rows.configured(("      sequence: {enerflo: sequence, type: integer}\n", ""))
    elif why == "copy":
        rows.sql(f"drop table {COPY}")
    steps: list[tuple[str, int, int]] = []
    (report,) = refresh_copies(
        rows.engine, rows.crm, rows.config, "default", progress=lambda *step: steps.append(step)
    )
    anew = why != "nothing"
    assert report.rows_read == (2 if anew else 0)
    assert steps == ([("copy of crm.rows", 2, 0)] if anew else [])
    found = rows.sql(f"select own, _enerflo_inside as inside from {COPY} order by 1")
    assert [tuple(row.values()) for row in found] == [("k1", True), ("k2", False)]


@in_both
@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("crm.rows", "crm.rowz"), ["no table crm.rowz", "schema.table", "tables.milestones.crm_table"]),
        (
            ("title: {", "titel: {"),
            ["no column titel", "Did you mean title?", ":14: tables.milestones.fields.titel: "],
        ),
        (
            ("title: {", "titel: {enerflo: title, type: text}\n      zzzzzzzz: {"),
            ["no column titel, zzzzzzzz", "Did you mean title?"],
        ),
        (("title: {", "zzzzzzzz: {"), ["no column zzzzzzzz.", "Write one of ", "milestone"]),
        (("key: [own]", "key: [owner]"), [":7: tables.milestones.key: "]),
        (("{install: install_id", "{job: install_id"), [":8: tables.milestones.join: "]),
        (("updated_at: updated_at", "updated_at: edited_at"), [":11: tables.milestones.updated_at: "]),
        (("{gone: true}", "{away: true}"), ["sync.yaml:5: tables.milestones: "]),
    ],
)
def test_a_table_or_column_that_is_not_there_is_said(
    rows: Rows, edit: tuple[str, str], words: list[str]
) -> None:
    rows.configured(edit)
    with pytest.raises(ConfigurationError) as caught:
        rows.refresh()
    assert [word for word in words if word not in str(caught.value)] == []


@in_duckdb
@pytest.mark.parametrize("name", ["property_" + 55 * "a", "日本語の名前" * 4])
def test_a_column_whose_name_the_warehouse_would_cut_is_said(rows: Rows, name: str) -> None:
    rows.elsewhere.sql(f'alter table crm.rows add "{name}" varchar')
    rows.configured(("title: {", f"{name}: {{"))
    with pytest.raises(ConfigurationError) as caught:
        rows.refresh()
    for words in (f"tables.milestones.fields.{name}", "more than 63 bytes", "Map a view of DuckDB"):
        assert words in str(caught.value)
    fits = name[: 63 // len("語".encode())] if name[0] == "日" else name[:63]
    rows.elsewhere.sql(f'alter table crm.rows rename "{name}" to "{fits}"')
    rows.configured(("title: {", f"{fits}: {{"))
    rows.row("k")
    assert rows.refresh().rows_read == 1


@in_duckdb
def test_the_old_copy_is_read_while_it_is_made_anew(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    rows.row("k1", title="Old")
    rows.refresh()
    rows.row("k2", title="New")
    rows.configured(("      sequence: {enerflo: sequence, type: integer}\n", ""))
    seen: list[int] = []
    looked = CopyTable.buckets

    def buckets(copy: CopyTable, number: int) -> dict[int, tuple[int, str]]:
        with rows.engine.begin() as connection:
            connection.exec_driver_sql("set local lock_timeout = '5s'")
            seen.append(connection.exec_driver_sql(f"select count(*) from {COPY}").scalar_one())
        return looked(copy, number)

    monkeypatch.setattr(CopyTable, "buckets", buckets)
    rows.refresh()
    assert seen == [1]
    assert rows.sql(f"select count(*) as number from {COPY}")[0]["number"] == 2
    tables = rows.sql(
        "select relname from pg_class where relnamespace = 'crm_copies'::regnamespace and relkind = 'r'"
    )
    assert [row["relname"] for row in tables] == ["default.milestones"]


@in_duckdb
@pytest.mark.parametrize(("days", "left"), [(6, True), (8, False)])
def test_a_copy_of_a_table_that_is_mapped_no_more_goes_after_a_week(
    rows: Rows, days: int, left: bool
) -> None:
    rows.row("k1")
    rows.refresh()
    # Of another name, of another account, and one that is mapped.
    rows.sql('create table crm_copies."default.a:b%s" ()')
    rows.sql('create table crm_copies."other.a:b%s" ()')
    rows.sql(
        "insert into sync.crm_copies (account, table_name, crm_table, signature, read_at, rows, rows_read, seconds)"
        " select account, 'a:b%s', 'crm.b', '-', now() - make_interval(days => :days), 0, 0, 0"
        " from unnest(array['default', 'other']) account",
        days=days,
    )
    rows.sql(
        "update sync.crm_copies set read_at = now() - interval '30 days' where table_name = 'milestones'"
    )
    rows.refresh()
    tables = rows.sql(
        "select relname from pg_class where relnamespace = 'crm_copies'::regnamespace and relkind = 'r'"
    )
    wanted = {"default.milestones", "other.a:b%s", *(["default.a:b%s"] if left else [])}
    assert {row["relname"] for row in tables} == wanted
    noted = rows.sql("select account, table_name from sync.crm_copies")
    assert {f"{row['account']}.{row['table_name']}" for row in noted} == wanted


# Orders have a field that is compared as JSON.
ORDERS = [
    ("key: [own]", "of: change_orders\n    key: {milestone: change_order_id}"),
    ("    join: {install: install_id, milestone: milestone_id}\n", ""),
    ("title: {enerflo: title, type: text}", "title: {enerflo: adders, type: json}"),
    ("sequence: {enerflo: sequence, type: integer}", "sequence: {enerflo: adders, type: json}"),
]


@in_both
def test_what_is_compared_as_json_is_json_in_the_copy_whatever_keeps_it_there(rows: Rows) -> None:
    rows.configured(*ORDERS)
    texts = {1: '{"a": [1, null]}', 2: "no json", 3: "7", 4: None}
    for n, text in texts.items():
        rows.row(f"k{n}", milestone=n, title=text)
    rows.refresh()
    found = rows.sql(f"select milestone, title, pg_typeof(title)::text as type from {COPY}")
    values = {row["milestone"]: row["title"] for row in found}
    assert values == {1: {"a": [1, None]}, 2: "no json", 3: 7, 4: None}
    assert {row["type"] for row in found} == {"jsonb"}
    # A number is compared as it is, as JSON too.
    assert rows.sql(f"select distinct pg_typeof(sequence)::text as type from {COPY}") == [{"type": "bigint"}]
    assert rows.refresh().rows_read == 0
