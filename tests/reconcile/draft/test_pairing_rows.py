"""Which table is of which records, and which column which field: small tables beside a small mirror."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind, LiveColumn, LiveTable
from enerflo_sync.reconcile.draft import look
from enerflo_sync.reconcile.draft.belong import belonging, wide_columns
from enerflo_sync.reconcile.draft.drafted import DraftedTable, Suggestion, one_line
from enerflo_sync.reconcile.draft.identify import Match, by_names, matches
from enerflo_sync.reconcile.draft.look import Candidate, is_unique, key_columns
from enerflo_sync.reconcile.draft.mirrored import Mirror, columns_of_kind
from tests.retention.rows import put

ACCOUNT = "one"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
Columns = Mapping[str, tuple[Kind, Sequence[str | None]]]


def candidate(
    columns: Columns, keys: Sequence[tuple[str, ...]] = (), not_null: Sequence[str] = ()
) -> Candidate:
    live = {
        name: LiveColumn(name, str(kind), kind, name in not_null, True, str(kind))
        for name, (kind, _) in columns.items()
    }
    table = LiveTable("crm", "t", False, True, True, False, None, live, list(keys), frozenset())
    rows = list(zip(*(values for _, values in columns.values()), strict=True))
    return Candidate(table, list(columns), rows)


def texts(*values: object) -> tuple[Kind, list[str | None]]:
    return Kind.TEXT, [None if one is None else str(one) for one in values]


def whole_numbers(*values: object) -> tuple[Kind, list[str | None]]:
    return Kind.INTEGER, texts(*values)[1]


@pytest.fixture
def connection(warehouse: sa.Engine) -> Iterator[sa.Connection]:
    """Ten installs of one account with notes and milestones, a deleted one, and another account's."""
    with warehouse.begin() as opened:
        for install in range(1, 13):
            account = "other" if install == 12 else ACCOUNT
            row = {"account": account, "observed_at": NOW, "deleted_at": NOW if install == 11 else None}
            values = {
                "customer_name": f"Customer {install}",
                "deal_id": f"D-{install}",
                "status_name": "Open",
            }
            put(opened, "enerflo.installs", **row, install_id=install, **values)
            for milestone, title in ((1, "Permitting"), (2, " Inspection ")):
                of = {"install_id": install, "milestone_id": milestone, "title": title}
                at = datetime(2026, 1, install, 10, tzinfo=UTC)
                put(opened, "enerflo.milestones", **row, **of, completed_at=at, due_at=None)
            if install < 3:
                put(opened, "enerflo.notes", **row, note_id=100 + install, install_id=install, body="x")
        yield opened


@pytest.fixture
def mirror(connection: sa.Connection) -> Mirror:
    return Mirror(connection, ACCOUNT)


def test_what_the_mirror_has_of_living_records(mirror: Mirror) -> None:
    wanted = {"installs": 10, "notes": 2, "leads": 0, "change_orders": 0, "milestones": 20}
    assert dict(mirror.counts) == wanted
    assert not mirror.is_empty
    assert mirror.records("installs", [1, 10, 11, 12, 99]).keys() == {1, 10}
    assert mirror.records("leads", [1]) == {}
    assert mirror.deals(["d-1", "d-11", "D-2"]).keys() == {"d-1"}
    assert mirror.milestones([1, 11]).keys() == {(1, 1), (1, 2)}
    wide = mirror.wide([2])
    assert wide == {
        2: {
            (title, name): "2026-01-02 10:00:00+00" if name == "completed_at" else None
            for title in ("Permitting", "Inspection")
            for name in ("started_at", "due_at", "completed_at")
        }
    }
    assert "updated_at" not in columns_of_kind("installs")
    assert "adders" not in columns_of_kind("change_orders")


def test_a_mirror_of_which_nothing_was_read_is_empty(warehouse: sa.Engine) -> None:
    with warehouse.connect() as connection:
        assert Mirror(connection, ACCOUNT).is_empty


def kinds(found: Iterator[Match]) -> dict[str, dict[str, str]]:
    return {one.kind: dict(one.keys) for one in found}


def test_a_table_is_of_the_records_whose_keys_it_has(mirror: Mirror) -> None:
    ids = list(range(1, 11))
    assert kinds(matches(candidate({"a": whole_numbers(*ids)}), mirror)) == {"installs": {"a": "install_id"}}
    # Three rows that meet are enough, and three of ten that are numbers.
    for values, found in (
        ([1, 2, 3, *range(900, 907)], True),
        ([1, 2, 3, *range(900, 908)], False),
        ([1, 2, *[None] * 8], False),
        ([1, 2, 3, *[None] * 20], True),
        # One record is no three.
        ([1, 1, 1, 2], False),
    ):
        assert bool(kinds(matches(candidate({"a": whole_numbers(*values)}), mirror))) is found, values
    # Of two notes two are enough.
    assert kinds(matches(candidate({"n": texts("101", "102", "x")}), mirror)) == {"notes": {"n": "note_id"}}
    assert kinds(matches(candidate({"n": texts("101", "x", "y")}), mirror)) == {}


def test_the_name_decides_between_columns_that_hold_keys(mirror: Mirror) -> None:
    columns: Columns = {
        "other": whole_numbers(*range(1, 11)),
        "install_id": whole_numbers(*range(1, 7), *[None] * 4),
    }
    (found,) = matches(candidate(columns), mirror)
    assert found.keys == {"install_id": "install_id"}
    fewer: Columns = {
        "other": whole_numbers(*range(1, 11)),
        "install_id": whole_numbers(*range(1, 5), *[None] * 6),
    }
    (found,) = matches(candidate(fewer), mirror)
    assert found.keys == {"other": "install_id"}


def test_only_rows_that_alone_have_their_record_stand_beside_it(mirror: Mirror) -> None:
    columns: Columns = {"a": whole_numbers(1, 2, 2, 3, 4, 99), "gone_deleted": (Kind.BOOLEAN, ["f"] * 6)}
    (found,) = matches(candidate(columns), mirror)
    assert (list(found.places), list(found.ids)) == ([0, 3, 4], [1, 3, 4])
    assert [record["customer_name"] for record in found.records] == ["Customer 1", "Customer 3", "Customer 4"]
    marked: Columns = {
        "a": whole_numbers(1, 2, 2, 3, 4, 5),
        "deleted": (Kind.BOOLEAN, ["f", "f", "t", "f", "f", "f"]),
    }
    (found,) = matches(candidate(marked), mirror)
    assert list(found.places) == [0, 1, 3, 4, 5]
    too_few: Columns = {"a": whole_numbers(1, 2, 3, 3)}
    assert kinds(matches(candidate(too_few), mirror)) == {}


def test_of_several_sorts_of_rows_one_is_of_the_records(mirror: Mirror) -> None:
    ids = [*range(1, 11), *range(1, 11)]
    sorts = ["solar"] * 10 + ["service"] * 10
    (found,) = matches(candidate({"a": whole_numbers(*ids), "pipeline": texts(*sorts)}), mirror)
    assert found.sort is not None
    assert found.sort.condition == "\"pipeline\" = 'solar'"
    assert (found.sort.inside, found.sort.outside, found.sort.parts) == (10, 10, True)
    assert len(found.places) == 10
    # Nine of ten records have a row of the sort.
    for solar, told in ((9, True), (8, False)):
        of = ["solar"] * solar + ["service"] * (10 - solar)
        (found,) = matches(candidate({"a": whole_numbers(*range(1, 11)), "pipeline": texts(*of)}), mirror)
        assert (found.sort is not None) is told
        assert len(found.places) == (solar if told else 10)
        if found.sort is not None:
            assert (found.sort.inside, found.sort.outside, found.sort.parts) == (9, 1, False)
    # One sort is none, and more than twenty are none.
    for names, told in ((["solar"] * 30, False), (["solar"] * 10 + [f"s{n % 19}" for n in range(20)], True),
                        (["solar"] * 10 + [f"s{n % 20}" for n in range(20)], False)):  # fmt: skip
        columns = {"a": whole_numbers(*range(1, 11), *[None] * 20), "type": texts(*names)}
        (found,) = matches(candidate(columns), mirror)
        assert (found.sort is not None) is told
    # A column that is called otherwise tells no sort.
    columns = {"a": whole_numbers(*range(1, 11), *[None] * 10), "colour": texts(*(["x"] * 10 + ["y"] * 10))}
    assert [one.sort for one in matches(candidate(columns), mirror)] == [None]


def test_installs_are_found_by_their_deals_where_no_number_names_them(mirror: Mirror) -> None:
    deals = texts(" D-1 ", "d-2", "D-3", None, "x")
    (found,) = matches(candidate({"deal": deals}), mirror)
    assert (found.kind, found.keys, list(found.ids)) == ("installs", {"deal": "deal_id"}, [1, 2, 3])
    assert list(matches(candidate({"deal": texts("D-1", "D-2", "x", "y")}), mirror)) == []
    # Three of ten values are deals, and three of eleven too few.
    assert list(matches(candidate({"deal": texts("D-1", "D-2", "D-3", *"abcdefg")}), mirror))
    assert not list(matches(candidate({"deal": texts("D-1", "D-2", "D-3", *"abcdefgh")}), mirror))
    both: Columns = {"deal": deals, "a": whole_numbers(1, 2, 3, 4, 5)}
    assert [one.keys for one in matches(candidate(both), mirror)] == [{"a": "install_id"}]


def test_milestones_are_found_by_two_columns(mirror: Mirror) -> None:
    installs, of = [n for n in range(1, 6) for _ in range(2)], [1, 2] * 5
    columns: Columns = {"i": whole_numbers(*installs), "m": whole_numbers(*of)}
    assert kinds(matches(candidate(columns), mirror)) == {
        "milestones": {"i": "install_id", "m": "milestone_id"}
    }
    # A pair that two rows have is no one's.
    doubled: Columns = {"i": whole_numbers(1, 1, 2, 3, 4), "m": whole_numbers(1, 1, 1, 1, 1)}
    found = {one.kind: one for one in matches(candidate(doubled), mirror)}
    assert list(found["milestones"].places) == [2, 3, 4]
    assert [record["install_id"] for record in found["milestones"].records] == ["2", "3", "4"]
    few: Columns = {"i": whole_numbers(1, 1, 2, 3), "m": whole_numbers(1, 1, 1, 1)}
    assert "milestones" not in kinds(matches(candidate(few), mirror))
    # The name decides between columns that are alike.
    named: Columns = {**columns, "milestone_id": whole_numbers(*of)}
    assert kinds(matches(candidate(named), mirror))["milestones"] == {
        "i": "install_id",
        "milestone_id": "milestone_id",
    }


@pytest.mark.parametrize(
    ("names", "wanted", "found"),
    [
        (["enerflo_install_id"], ["installs"], ["installs"]),
        (["enerflo_install_id"], ["notes"], []),
        (["enerflo_install_id", "enerflo_note_id"], ["installs", "notes"], ["notes"]),
        (["enerflo_install_id", "enerflo_note_id"], ["installs"], []),
        (["enerflo_install_id", "milestone_id"], ["milestones", "installs"], ["milestones"]),
        (["enerflo_install_id", "milestone_id"], ["installs"], []),
        (["milestone_id"], ["milestones"], []),
        # A name has to be the key's, with the vendor's.
        (["install_id"], ["installs"], []),
        (["enerflo_install_id_2_x"], ["installs"], []),
        (["_enerflo_install_id"], ["installs"], []),
        ([], ["installs"], []),
    ],
)
def test_without_values_names_tell(names: list[str], wanted: list[str], found: list[str]) -> None:
    columns: dict[str, Any] = {"other": whole_numbers(), **{name: whole_numbers() for name in names}}
    assert [one.kind for one in by_names(candidate(columns), wanted)] == found
    times = {name: (Kind.TIMESTAMPTZ, []) for name in names}
    assert "installs" not in [
        one.kind for one in by_names(candidate({"other": whole_numbers(), **times}), wanted)
    ]


BLANK: dict[str, str | None] = dict.fromkeys(columns_of_kind("installs"))


def match(columns: Columns, records: Sequence[Mapping[str, str | None]]) -> Match:
    made = candidate(columns)
    every = [{**BLANK, **record} for record in records]
    return Match(
        made, "installs", {"id": "install_id"}, range(len(every)), every, None, list(range(len(every)))
    )


def told(found: Sequence[Any]) -> dict[str, tuple[str, str, str]]:
    return {one.column: (one.mirror, one.type, one.why_not) for one in found}


PRICES = ("100", "250", "300", "475", "500")


def test_columns_belong_to_the_field_whose_values_they_have() -> None:
    records = [{"contract_amount": one, "panel_count": str(n)} for n, one in enumerate(PRICES)]
    columns: Columns = {
        "Amount": (Kind.DECIMAL, [f"{one}.00" for one in PRICES]),
        "Money": (Kind.DECIMAL, [*PRICES[:4], "1"]),
        "Panel Count": whole_numbers(9, 9, 9, 9, 4),
        "My Panel Count": whole_numbers(9, 9, 9, 9, 4),
        "Panels": whole_numbers(*[None] * 5),
        "Battery": texts(*[None] * 5),
        "Noise": texts(*"abcde"),
    }
    assert told(belonging(match(columns, records), [])) == {
        "Amount": ("contract_amount", "number", ""),
        "Money": ("contract_amount", "number", "4 of 5 rows agree, as Amount does"),
        "Panel Count": ("panel_count", "integer", "it is named so, but 1 of 5 rows agree"),
        "My Panel Count": ("panel_count", "integer", "it is named so, but 1 of 5 rows agree"),
        "Panels": ("panel_count", "integer", "it is named so, but has no values"),
        "Battery": ("battery_configuration", "text", "it is named so, but has no values"),
    }
    # A column that is something else is none of these; then the next one is sure.
    assert told(belonging(match(columns, records), ["Amount"]))["Money"] == ("contract_amount", "number", "")


def test_by_names_alone_only_the_very_name_is_sure() -> None:
    columns: Columns = {
        "contract amount": (Kind.DECIMAL, []),
        "the amount": (Kind.DECIMAL, []),
        "status": texts(),
        "panel": texts(),
        "my own one": texts(),
        "created_at": whole_numbers(),
        "battery": whole_numbers(),
        "system a b": (Kind.DECIMAL, []),
    }
    found = told(belonging(match(columns, []), []))
    assert found["contract amount"] == ("contract_amount", "number", "")
    assert found["the amount"] == ("contract_amount", "number", "only the name says so")
    assert found["status"] == ("status_name", "text", "")
    assert found["panel"] == ("panel_type", "text", "")
    assert "my own one" not in found
    assert found["system a b"] == ("system_size_kw", "number", "only the name says so")
    # A whole number is no time and no text.
    assert not {"created_at", "battery"} & found.keys()


def test_the_records_own_number_is_no_field_also_where_another_column_names_the_rows() -> None:
    records = [{"install_id": str(n), "deal_id": f"D-{n}"} for n in range(5)]
    columns: Columns = {"Number": whole_numbers(*range(5)), "Deal": texts(*(f"D-{n}" for n in range(5)))}
    made = match(columns, records)
    by_deal = Match(
        made.candidate, "installs", {"Deal": "deal_id"}, made.places, made.records, None, made.ids
    )
    assert told(belonging(by_deal, [])) == {}


def test_a_few_suggestions_are_enough() -> None:
    records = [{"contract_amount": one} for one in PRICES]
    columns: Columns = {
        "Amount": (Kind.DECIMAL, PRICES),
        **{f"Copy{n}": (Kind.DECIMAL, PRICES) for n in range(9)},
    }
    found = belonging(match(columns, records), [])
    assert [one.why_not for one in found] == ["", *["5 of 5 rows agree, as Amount does"] * 6]


def test_labels_are_no_names_of_persons() -> None:
    statuses = ["Open", "Done"] * 3
    records = [{"status_name": one, "customer_name": one, "office_name": None} for one in statuses]
    columns: Columns = {"Stage": texts(*["1", "2"] * 3), "Customer": texts(*["1", "2"] * 3)}
    found = told(belonging(match(columns, records), []))
    assert found["Stage"] == ("status_name", "text", "")
    assert found["Customer"][2] == "it is named so, but 0 of 6 rows agree"


@pytest.mark.parametrize(
    ("kind", "values", "made"),
    [
        (Kind.DATE, ["2026-01-01", "2026-01-02", "2026-01-03"], "date"),
        (Kind.TIMESTAMP, ["2026-01-01 00:00:00", "2026-01-02", "2026-01-03"], "date"),
        (Kind.TIMESTAMP, ["2026-01-01 00:00:00", "2026-01-02 00:00:01", "2026-01-03"], "timestamp"),
        (Kind.TIMESTAMPTZ, ["2026-01-01 00:01:00", "2026-01-02", "2026-01-03"], "timestamp"),
        (Kind.TEXT, ["2026-01-01 10:00:00", "2026-01-02", "2026-01-03"], "timestamp"),
        (Kind.TIMESTAMP, [None, None, None], "timestamp"),
    ],
)
def test_a_column_of_midnights_is_one_of_days(kind: Kind, values: list[str | None], made: str) -> None:
    records = [
        {"created_at": one} for one in ("2026-01-01 12:00+00", "2026-01-02 12:00+00", "2026-01-03 12:00+00")
    ]
    (found,) = belonging(match({"created_at": (kind, values)}, records), [])
    assert (found.mirror, found.type) == ("created_at", made)


def test_fields_of_milestones_stand_in_columns_of_installs(mirror: Mirror) -> None:
    days = [f"2026-01-{n:02d}" for n in range(1, 11)]
    columns: Columns = {
        "id": whole_numbers(*range(1, 11)),
        "permitting_completed": (Kind.DATE, days),
        "permit_completed": (Kind.DATE, days),
        "something": (Kind.DATE, days),
        "inspection_due": (Kind.DATE, [None] * 10),
        "inspection_started": texts(*["x"] * 10),
        "inspection_abc": (Kind.DATE, [None] * 10),
        "permit_number": whole_numbers(*range(10)),
    }
    (installs,) = matches(candidate(columns), mirror)
    found = {one.column: one for one in wide_columns(installs, mirror, ["permitting_completed"])}
    assert found["permit_completed"].options == {
        **{"milestone": "Permitting", "enerflo": "completed_at", "type": "date"},
    }
    assert found["permit_completed"].by_name == 1
    # Of two milestones of one day the other column has the other one.
    assert (found["something"].place, found["something"].why_not) == (("Inspection", "completed_at"), "")
    # What only a name says is a suggestion, where milestone and field are named.
    assert found["inspection_due"].why_not == "it is named so, but has no values"
    assert found["inspection_started"].why_not == "it is named so, but has no values"
    assert found.keys() == {"permit_completed", "something", "inspection_due", "inspection_started"}


def test_a_second_column_of_a_milestones_values_is_not_given_to_another_milestone(mirror: Mirror) -> None:
    """The other milestone ends two hours later: an offset as of a time zone."""
    with_times = [f"2026-01-{n:02d} 10:00:00" for n in range(1, 11)]
    columns: Columns = {
        "id": whole_numbers(*range(1, 11)),
        "inspection_completed": (Kind.TIMESTAMP, with_times),
        "inspection_local": (Kind.TIMESTAMP, with_times),
    }
    (installs,) = matches(candidate(columns), mirror)
    found = {one.column: one for one in wide_columns(installs, mirror, [])}
    assert found["inspection_completed"].place == ("Inspection", "completed_at")
    assert found["inspection_completed"].why_not == ""
    assert found["inspection_local"].place == ("Inspection", "completed_at")
    assert found["inspection_local"].why_not == "10 of 10 rows agree, as inspection_completed does"


def test_which_tables_are_looked_at(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    for statement in (
        "create schema crm",
        "create table crm.b (enerflo_install_id bigint, gone text, said json)",
        "alter table crm.b drop column gone",
        "create table crm.a (said json)",
        "create view crm.v as select 1 as status from generate_series(1, 20)",
        "create table crm.whole (id bigint) partition by range (id)",
        "create table crm.part partition of crm.whole default",
        "create sequence crm.s",
        "insert into crm.b select generate_series(1, 10)",
        "analyze crm.b",
    ):
        connection.exec_driver_sql(statement)
    monkeypatch.setattr(look, "ROWS", 10)
    found = look.readable_tables(connection)
    # The most telling names first, and nothing of ours or of the database itself.
    assert (found[0].schema, found[0].name) == ("crm", "b")
    assert {one.name for one in found if one.schema == "crm"} == {"a", "b", "v", "whole"}
    assert {one.schema for one in found} <= {"crm", "public"}
    assert {one.share for one in found} == {1.0}
    candidates = {one.name: look.candidate_of(connection, one) for one in found if one.schema == "crm"}
    assert candidates["a"] is None
    assert candidates["b"] is not None
    assert (candidates["b"].names, len(candidates["b"].rows)) == (["enerflo_install_id"], 10)
    assert candidates["v"] is not None
    assert len(candidates["v"].rows) == 10
    monkeypatch.setattr(look, "ROWS", 5)
    shares = {one.name: one.share for one in look.readable_tables(connection) if one.schema == "crm"}
    assert shares == {"a": 1.0, "b": 0.5, "v": 1.0, "whole": 1.0}
    monkeypatch.setattr(look, "TABLES", 1)
    assert [one.name for one in look.readable_tables(connection)] == ["b"]
    gone = look.Readable("crm", "nowhere", 1.0)
    assert look.candidate_of(connection, gone) is None


def test_marks_of_deleted_rows() -> None:
    columns: Columns = {
        "_fivetran_deleted": (Kind.BOOLEAN, ["true", "false", "false", "false", "false", None]),
        "_fivetran_active": (Kind.BOOLEAN, ["true", "false", "true", "true", "true", None]),
        "deleted_at": (Kind.TIMESTAMPTZ, [None, None, "2026-01-01", None, None, None]),
        "IsDeleted": (Kind.BOOLEAN, ["f", "f", "f", "t", "f", None]),
        "archived": texts("true", *["false"] * 5),
        "signed_at": (Kind.TIMESTAMPTZ, ["2026-01-01", *[None] * 5]),
        "date_deleted": texts("2026-01-01", *[None] * 5),
        "archived_at": (Kind.TIMESTAMPTZ, ["2026-01-01"] * 6),
        "is_archived": (Kind.BOOLEAN, ["t"] * 6),
        "undeleted": (Kind.BOOLEAN, ["t", *["f"] * 5]),
    }
    made = candidate(columns)
    assert made.marks == {
        **{"_fivetran_deleted": True, "_fivetran_active": False},
        **{"deleted_at": "not_null", "IsDeleted": True},
    }
    assert made.living == [4, 5]
    # Of an empty table a name is enough.
    empty = candidate({"is_archived": (Kind.BOOLEAN, [])})
    assert (empty.marks, empty.living) == ({"is_archived": True}, [])
    for value, lives in (("1", False), ("yes", False), ("T", False), ("no", True), ("0", True)):
        rows: Columns = {"deleted": (Kind.BOOLEAN, [value, "f"])}
        assert candidate(rows).living == ([0, 1] if lives else [1])


def test_the_columns_that_name_a_row() -> None:
    columns: Columns = {"a": texts("1", "2"), "b": texts("1", "1"), "my_id": texts("x", "y")}
    assert key_columns(candidate(columns, [("a", "b"), ("b",)], ["a", "b"])) == ["b"]
    # A key of columns that may be null comes after one of more columns that may not.
    assert key_columns(candidate(columns, [("my_id",), ("a", "b")], ["a", "b"])) == ["a", "b"]
    # A key of a column that cannot be read is none.
    assert key_columns(candidate(columns, [("hidden",), ("a", "b")], ["a"])) == ["a", "b"]
    assert key_columns(candidate({"a": texts("1", "1")}, [("a",)])) == ["a"]
    assert key_columns(candidate(columns)) == ["my_id"]
    for values in (["x", "x"], ["x", None], []):
        assert key_columns(candidate({"my_id": texts(*values), "key": texts(*range(len(values)))})) == (
            ["key"] if values else []
        )
    assert key_columns(candidate({"a": texts("1", "2")})) == []
    assert [is_unique(one) for one in (["1", "2"], ["1", "1"], ["1", None], [])] == [
        True,
        False,
        False,
        False,
    ]


def test_a_drafted_table_has_its_lines_in_order() -> None:
    fields = {"a": {"enerflo": "x", "type": "text"}, "b": {"enerflo": "y", "type": "text"}}
    suggestions = [
        Suggestion({"where": "c = 1"}, "2 rows"),
        Suggestion({"c": {"enerflo": "z"}}, "its name", of_field=True),
    ]
    why = {"key": "3 rows\nmeet", "fields.a": "all"}
    table = DraftedTable(
        *("t", "installs", "about it"),
        {"crm_table": "crm.t", "key": {"id": "install_id"}, "fields": fields},
        *(why, suggestions),
    )
    lines = [
        "  # about it",
        "  t:",
        "    crm_table: crm.t",
        "    # where: c = 1  # 2 rows",
        "    key: {id: install_id}  # 3 rows meet",
        "    fields:",
        "      a: {enerflo: x, type: text}  # all",
        "      b: {enerflo: y, type: text}",
        "      # c: {enerflo: z}  # its name",
    ]
    assert list(table.lines()) == lines
    assert table.section == "fields"
    behind = table.without("found x,\texpected y.")
    assert list(behind.lines()) == ["  # found x, expected y.", *(f"  #{line[1:]}" for line in lines)]
    assert one_line(" a\n\u2028 b\x00c ") == "a b c"
