"""Values are compared in the declared domain, whatever type the CRM's column has."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind, LiveColumn
from enerflo_sync.crm.mapping import FieldMapping
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.values import NAIVE_TEXT, NUMBER_TEXT, ZONED_TEXT, field_sql, is_marked, moment

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides

NOON = datetime(2025, 3, 1, 12, 0, 0, tzinfo=UTC)
SAME, NORMAL, OTHER = None, "equal_after_normalisation", "unexplained"


@pytest.mark.parametrize(
    ("mirror", "options", "crm_type", "enerflo", "crm", "cause"),
    [
        ("status_name", {}, "text", "A", "A", SAME),
        ("status_name", {}, "char(5)", "A", "A", SAME),
        ("status_name", {}, "varchar(9)", "A", "a", OTHER),
        ("status_name", {"trim": True}, "text", "A", "\tA\r\n", NORMAL),
        ("status_name", {"fold_case": True}, "text", "ÉTÉ", "été", NORMAL),
        ("status_name", {"values": {"In 'progress'": "50% wip"}}, "text", "In 'progress'", "50% wip", SAME),
        ("status_name", {"values": {"Done": "x"}}, "text", "Other", "Other", SAME),
        ("status_name", {"values": {"Done": "x"}}, "text", "Done", "Done", OTHER),
        ("status_name", {"values": {"Done": "x"}, "trim": True}, "text", " Done ", "x", SAME),
        ("status_name", {"values": {"Done": "x"}, "trim": True}, "text", "DONE", "x", OTHER),
        ("status_name", {"values": {"Done": "x"}, "fold_case": True}, "text", "DONE", "x", SAME),
        ("status_name", {"values": {"Done": "x"}, "fold_case": True}, "text", " Done ", "x", OTHER),
        ("status_name", {"values": {"Done": "x"}}, "text", "DONE", "x", OTHER),
        ("status_name", {"null": "empty_is_null"}, "text", None, "", NORMAL),
        ("status_name", {"null": "empty_is_null"}, "text", None, " ", OTHER),
        ("status_name", {"null": "ignore"}, "text", "A", None, NORMAL),
        ("status_name", {"null": "ignore"}, "text", None, "B", NORMAL),
        ("status_name", {"null": "ignore"}, "text", "A", "B", OTHER),
        ("status_id", {}, "text", 7, "7", SAME),
        ("system_size_kw", {"type": "number"}, "numeric(9,3)", "7.5", "7.500", SAME),
        ("system_size_kw", {"type": "number"}, "real", "7.35", 7.35, SAME),
        # As a numeric a real has six digits: it would differ from what it shows, and equal what it does not.
        ("system_size_kw", {"type": "number"}, "real", "23616.05", 23616.05, SAME),
        ("system_size_kw", {"type": "number"}, "real", "23616.1", 23616.05, OTHER),
        ("system_size_kw", {"type": "number", "tolerance": 0.005}, "real", "23616.1", 23616.14, OTHER),
        ("system_size_kw", {"type": "number"}, "double precision", "7.1234567", 7.1234567, SAME),
        ("system_size_kw", {"type": "number"}, "double precision", "7.1", float("nan"), OTHER),
        ("system_size_kw", {"type": "number"}, "double precision", "7.1", float("inf"), OTHER),
        ("system_size_kw", {"type": "number"}, "text", "7.5", " 7.50 ", SAME),
        ("system_size_kw", {"type": "number"}, "text", "7.5", "7,5", OTHER),
        ("system_size_kw", {"type": "number"}, "text", None, "abc", OTHER),
        ("system_size_kw", {"type": "number"}, "text", None, "", OTHER),
        ("system_size_kw", {"type": "number", "null": "empty_is_null"}, "text", None, " ", NORMAL),
        ("system_size_kw", {"type": "number"}, "text", "7.5", "1e99999999", OTHER),
        ("system_size_kw", {"type": "number", "tolerance": 0.01}, "numeric", "7.5", "7.51", NORMAL),
        ("system_size_kw", {"type": "number", "tolerance": 0.01}, "numeric", "7.5", "7.511", OTHER),
        ("system_size_kw", {"type": "number", "tolerance": 0.01}, "numeric", None, "7.5", OTHER),
        ("system_size_kw", {"type": "number", "tolerance_percent": 1}, "numeric", "100", "99", NORMAL),
        ("system_size_kw", {"type": "number", "tolerance_percent": 1}, "numeric", "100", "98.995", OTHER),
        ("system_size_kw", {"type": "number", "tolerance_percent": 1}, "numeric", "10", "10.5", OTHER),
        ("system_size_kw", {"type": "number", "tolerance_percent": 1}, "numeric", "NaN", "10", OTHER),
        ("system_size_kw", {"type": "number", "tolerance_percent": 1}, "numeric", "10", "NaN", OTHER),
        ("system_size_kw", {"type": "number", "tolerance_percent": 1}, "numeric", "Infinity", "10", OTHER),
        ("system_size_kw", {"type": "number", "tolerance_percent": 1}, "numeric", "10", "-Infinity", OTHER),
        ("system_size_kw", {"type": "number", "tolerance_percent": 1}, "numeric", "NaN", "NaN", SAME),
        ("system_size_kw", {"type": "number", "tolerance": 0.005}, "numeric(10,2)", "7.505", "7.51", NORMAL),
        ("system_size_kw", {"type": "number", "tolerance": 0.005}, "numeric(10,2)", "7.5051", "7.5", OTHER),
        ("system_size_kw", {"type": "number"}, "double precision", "0", -0.0, SAME),
        ("system_size_kw", {"type": "number"}, "text", "0", "-0.00", SAME),
        ("system_size_kw", {"type": "number", "tolerance": 1}, "text", "30000", "$30,000.00", OTHER),
        ("system_size_kw", {"type": "number", "tolerance": 1}, "text", "7", "7 %", OTHER),
        ("panel_count", {"type": "integer"}, "smallint", 20, 20, SAME),
        ("panel_count", {"type": "integer"}, "numeric", 20, "20.0", SAME),
        ("panel_count", {"type": "integer"}, "text", 20, "twenty", OTHER),
        ("created_at", {"type": "timestamp"}, "timestamptz", NOON, "2025-03-01 12:00:00.9+00", NORMAL),
        ("created_at", {"type": "timestamp"}, "timestamptz", NOON, "2025-03-01 12:00:01+00", OTHER),
        ("created_at", {"type": "timestamp"}, "timestamp", NOON, "2025-03-01 12:00:00", SAME),
        (
            "created_at",
            {"type": "timestamp", "time_zone": "America/Denver"},
            "timestamp",
            NOON,
            "2025-03-01 05:00:00",
            SAME,
        ),
        ("created_at", {"type": "timestamp"}, "text", NOON, "2025-03-01T13:00:00+01:00", SAME),
        ("created_at", {"type": "timestamp"}, "text", NOON, "2025-03-01 12:00", SAME),
        ("created_at", {"type": "timestamp"}, "text", NOON, "2025-02-30 12:00:00", OTHER),
        ("created_at", {"type": "timestamp"}, "text", None, "soon", OTHER),
        ("created_at", {"type": "timestamp"}, "timestamptz", NOON, "infinity", OTHER),
        (
            "created_at",
            {"type": "timestamp", "precision": "minute"},
            "timestamptz",
            NOON,
            "2025-03-01 12:00:59+00",
            NORMAL,
        ),
        (
            "created_at",
            {"type": "timestamp", "precision": "day"},
            "timestamptz",
            NOON,
            "2025-03-01 23:00+00",
            NORMAL,
        ),
        (
            "created_at",
            {"type": "timestamp", "precision": "day", "time_zone": "America/Denver"},
            "timestamptz",
            NOON,
            "2025-03-01 06:00+00",
            OTHER,
        ),
        ("created_at", {"type": "timestamp"}, "date", NOON, "2025-03-01", SAME),
        ("created_at", {"type": "date"}, "date", NOON, "2025-03-02", OTHER),
        ("created_at", {"type": "date"}, "timestamptz", NOON, "2025-03-01 01:00+00", SAME),
        (
            "created_at",
            {"type": "date", "time_zone": "America/Denver"},
            "timestamptz",
            NOON,
            "2025-03-01 05:00+00",
            OTHER,
        ),
        ("created_at", {"type": "date"}, "timestamp", NOON, "2025-03-01 01:00", SAME),
        ("created_at", {"type": "date"}, "text", NOON, "2025-03-01", SAME),
    ],
)
def test_two_values(
    sides: TwoSides,
    tmp_path: Path,
    mirror: str,
    options: dict[str, Any],
    crm_type: str,
    enerflo: object,
    crm: object,
    cause: str | None,
) -> None:
    field = json.dumps({"enerflo": mirror, "type": "text"} | options)
    sides.with_config(
        "version: 1\naccounts: {default: {}}\ntables: {installs: {crm_table: crm.t, key: {id: install_id},"
        f" fields: {{v: {field}}}}}}}",
        tmp_path,
    )
    sides.sql(f"create table crm.t (id bigint primary key, v {crm_type})")
    sides.mirror("installs", install_id=1, **{mirror: enerflo})
    sides.sql("insert into crm.t values (1, :v)", v=crm)
    report = sides.reconcile()
    assert [found for *_, found in sides.causes(report)] == ([cause] if cause else [])


def test_a_value_that_does_not_convert_is_stored_as_it_stands(sides: TwoSides) -> None:
    sides.sql("alter table crm.installs alter panel_count type text using panel_count::text")
    sides.install(1, crm_panel_count="abc")
    assert sides.stored(sides.reconcile())[0][3:] == ("20", '"abc"', "unexplained")


def test_a_text_of_fixed_length_is_stored_without_what_fills_it(sides: TwoSides) -> None:
    sides.sql("alter table crm.installs alter status type char(20)")
    sides.install(1, crm_status="B")
    assert sides.stored(sides.reconcile())[0][4] == '"B"'


def test_times_and_days_are_stored_as_iso_8601(sides: TwoSides, tmp_path: Path) -> None:
    sides.sql("alter table crm.milestones alter due_at type timestamp")
    sides.mirror("milestones", install_id=1, milestone_id=2, title="T", due_at=NOON)
    sides.crm(
        "milestones", enerflo_install_id=1, milestone_id=2, title="T", due_at=datetime(2025, 3, 2, 1, 30)
    )
    assert sides.stored(sides.reconcile())[0][3:5] == (
        '"2025-03-01T12:00:00+00:00"',
        '"2025-03-02T01:30:00+00:00"',
    )


NUMBERS = [
    "1",
    "-1.5",
    "+2.",
    ".5",
    "1e5",
    "1E-3",
    "",
    "-",
    ".",
    "1e",
    "0x1F",
    "1_000",
    "NaN",
    "1 2",
    "٣",
    "1,5",
]
MOMENTS = [
    *("2024-02-29 00:00:00Z", "2023-02-29 00:00:00Z", "1900-02-29", "2000-02-29", "0000-01-01", "0004-02-29"),
    *(
        "2024-04-31",
        "2024-12-31T23:59:59.999999999",
        "2024-12-31 24:00",
        "2024-13-01",
        "2024-1-1",
        "2024-12-31T23",
    ),
    *(
        "2024-12-31 23:59:60",
        "2024-06-30 12:00+14",
        "2024-06-30 12:00 -07:30",
        "2024-06-30 12:00+15:00",
        "now",
        "",
    ),
    *(
        "2024-06-30 12:00+0530",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01 00:00+14:00",
        "tomorrow",
        "2024-06-30Z",
    ),
]


@pytest.mark.parametrize(
    ("pattern", "kind", "texts"),
    [
        (NUMBER_TEXT, "numeric", NUMBERS),
        (ZONED_TEXT, "timestamptz", MOMENTS),
        (NAIVE_TEXT, "timestamp", MOMENTS),
    ],
)
def test_a_text_that_passes_for_a_value_can_be_cast(
    warehouse: sa.Engine, pattern: str, kind: str, texts: list[str]
) -> None:
    with warehouse.connect() as connection:
        if int(connection.scalar(sa.text("show server_version_num")) or 0) < 160_000:
            pytest.skip("this test, not the product, asks pg_input_is_valid, which PostgreSQL 16 brought")
    query = f"select %(text)s ~ {literal(pattern)}, pg_input_is_valid(%(text)s, '{kind}')"
    with warehouse.connect() as connection:
        judged = {text: tuple(connection.exec_driver_sql(query, {"text": text}).one()) for text in texts}
    assert [text for text, (passes, valid) in judged.items() if passes and not valid] == []
    assert sum(passes for passes, _ in judged.values()) >= 3


@pytest.mark.parametrize(
    ("sql_type", "kind", "stored", "mark", "is_marked_so"),
    [
        ("text", Kind.TEXT, "'1'", 1, True),
        ("text", Kind.TEXT, "'01'", 1, False),
        ("integer", Kind.INTEGER, "1", 1, True),
        ("integer", Kind.INTEGER, "2", 1, False),
        ("integer", Kind.INTEGER, "1", "1", True),
        ("text", Kind.TEXT, "'gone'", "gone", True),
        ("text", Kind.TEXT, "'Gone'", "gone", False),
        ("boolean", Kind.BOOLEAN, "true", True, True),
        ("boolean", Kind.BOOLEAN, "true", False, False),
        ("integer", Kind.INTEGER, "1", True, True),
        ("text", Kind.TEXT, "''", "not_null", True),
        ("text", Kind.TEXT, "null", "not_null", False),
        ("text", Kind.TEXT, "null", 1, None),
    ],
)
def test_a_mark_of_deletion_is_compared_as_the_column_has_it(
    warehouse: sa.Engine,
    sql_type: str,
    kind: Kind,
    stored: str,
    mark: bool | int | str,
    is_marked_so: bool | None,
) -> None:
    live = LiveColumn("mark", sql_type, kind, False, True, sql_type)
    condition = is_marked("t.mark", live, mark)
    query = f"select {condition} from (select {stored}::{sql_type} as mark) t"
    with warehouse.connect() as connection:
        assert connection.exec_driver_sql(query).scalar() is is_marked_so


@pytest.mark.parametrize("session", ["UTC", "Asia/Tokyo"])
@pytest.mark.parametrize(
    ("sql_type", "kind", "stored", "moment_of_it"),
    [
        ("date", Kind.DATE, "2026-03-05", "2026-03-05 05:00Z"),
        ("timestamp", Kind.TIMESTAMP, "2026-03-05 12:30", "2026-03-05 17:30Z"),
        ("timestamptz", Kind.TIMESTAMPTZ, "2026-03-05 12:30Z", "2026-03-05 12:30Z"),
    ],
)
def test_a_time_without_a_zone_is_in_the_declared_one_whatever_the_sessions_is(
    warehouse: sa.Engine, session: str, sql_type: str, kind: Kind, stored: str, moment_of_it: str
) -> None:
    value = moment(f"'{stored}'::{sql_type}", kind, "America/New_York")
    with warehouse.connect() as connection:
        connection.exec_driver_sql(f"set time zone '{session}'")
        assert connection.exec_driver_sql(f"select {value} = '{moment_of_it}'::timestamptz").scalar() is True


@pytest.mark.parametrize(("sql_type", "kind"), [("json", Kind.JSON), ("jsonb", Kind.JSONB)])
@pytest.mark.parametrize(("theirs", "equal"), [('{"b": 1, "a":  2}', True), ('{"a": 1}', False)])
def test_json_is_compared_by_what_it_says(
    warehouse: sa.Engine, sql_type: str, kind: Kind, theirs: str, equal: bool
) -> None:
    mapping = FieldMapping.model_validate({"enerflo": "x", "type": "json", "source_of_truth": "review"})
    live = LiveColumn("v", sql_type, kind, False, True, sql_type)
    mine = ("""'{"a": 2, "b": 1}'::jsonb""", Kind.JSONB)
    field = field_sql("v", mapping, mine, (f"'{theirs}'::{sql_type}", live), table_zone="UTC", fold="")
    with warehouse.connect() as connection:
        row = connection.execute(sa.text(f"select {field.equal}, {field.differs}".replace(":", "\\:"))).one()
    assert tuple(row) == (equal, not equal)


@pytest.mark.parametrize(
    ("theirs", "equal"),
    [
        # What a json keeps as it is written, and no jsonb holds.
        (r'["a\u0000b"]', False),
        (r'["a\ud83d b"]', False),
        (r'["\ude00"]', False),
        (r'["\\\u0000"]', False),
        (r'["😀", "\\u0000"]', True),
        (r'["\ud83d\ude00", "\\u0000"]', True),
    ],
)
def test_a_json_that_no_jsonb_can_hold_stops_nothing(warehouse: sa.Engine, theirs: str, equal: bool) -> None:
    mapping = FieldMapping.model_validate({"enerflo": "x", "type": "json", "source_of_truth": "review"})
    live = LiveColumn("v", "json", Kind.JSON, False, True, "json")
    mine = (r"""'["😀", "\\u0000"]'::jsonb""", Kind.JSONB)
    field = field_sql("v", mapping, mine, ("t.v", live), table_zone="UTC", fold="")
    query = f"select {field.equal}, {field.differs}, {field.crm.shown} from (select '{theirs}'::json as v) t"
    with warehouse.connect() as connection:
        row = connection.exec_driver_sql(query).one()
    assert tuple(row)[:2] == (equal, not equal)
    assert (row[2] == theirs) is not equal
