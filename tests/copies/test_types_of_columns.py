"""What each database's columns become in our copy, and how each reads, digests and takes their values."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from enerflo_sync.copies.database import dialect_of
from enerflo_sync.copies.dialects.base import FETCHED, RemoteColumn
from enerflo_sync.copies.dialects.registry import DIALECTS


def row(
    declared: str, digits: int | None = None, places: int | None = None, length: int | None = None
) -> Any:
    known = {"declared": declared, "kind": declared, "whole": declared}
    return known | {"digits": digits, "places": places, "length": length}


def test_every_known_name_means_a_dialect() -> None:
    assert DIALECTS.keys() == {
        *("postgresql", "mysql", "mariadb", "duckdb", "snowflake"),
        *("bigquery", "redshift", "mssql", "databricks", "oracle"),
    }
    assert {name for name, one in DIALECTS.items() if not one.tried} == {
        *("bigquery", "redshift", "mssql", "databricks", "oracle"),
    }
    # What has no transaction of several statements writes each row by itself.
    assert {name for name, one in DIALECTS.items() if not one.takes_back} == {"bigquery", "databricks"}
    assert {name for name, one in DIALECTS.items() if one.empty_is_null} == {"oracle"}
    assert {name for name, one in DIALECTS.items() if one.is_file} == {"duckdb"}


# Numbers of 18 digits fit into 64 bits, and those of 38 where that is the type of every whole number.
DECIMALS = {
    "snowflake": ("NUMBER", 38),
    "oracle": ("NUMBER", 38),
    "duckdb": ("DECIMAL(18,0)", 18),
    "mysql": ("decimal", 18),
    "redshift": ("numeric", 18),
    "mssql": ("decimal", 18),
    "databricks": ("decimal(18,0)", 18),
    "bigquery": ("NUMERIC", 18),
    # Where a decimal may be no number it is no whole one.
    "postgresql": ("numeric", 0),
}


@pytest.mark.parametrize("name", DECIMALS)
def test_which_decimals_are_whole_numbers(name: str) -> None:
    declared, most = DECIMALS[name]
    dialect = dialect_of(name)
    if most:
        assert dialect.type_of(row(declared, most, 0)) == "bigint"
        assert dialect.type_of(row(declared, 1, None)) == "bigint"
    assert dialect.type_of(row(declared, most + 1, 0)) == "numeric(100,0)"
    assert dialect.type_of(row(declared, most, 1)) == "numeric(100,1)"
    assert dialect.type_of(row(declared, 120, 2)) == "numeric(120,2)"
    for places in (-1, -2):
        assert dialect.type_of(row(declared, 5, places)) == "numeric"


def test_a_decimal_without_digits_is_one_of_any_size() -> None:
    for name, (declared, _) in DECIMALS.items():
        made = dialect_of(name).type_of(row(declared))
        assert made == "numeric", name
    # Oracle's INTEGER is a number without digits and with no places.
    oracle = dialect_of("oracle")
    assert oracle.type_of(row("NUMBER", None, 0)) == "bigint"
    assert oracle.type_of(row("NUMBER", 39, 0)) == "numeric(100,0)"
    # Its float counts bits.
    assert oracle.type_of(row("FLOAT", 126, None)) == "numeric"
    # PostgreSQL lists places before the point as more than there are.
    postgresql = dialect_of("postgresql")
    assert postgresql.type_of(row("numeric", 10, 1001)) == "numeric"
    assert postgresql.type_of(row("numeric", 10, 1000)) == "numeric(100,1000)"


@pytest.mark.parametrize(
    ("name", "declared", "length", "made"),
    [
        ("postgresql", "character varying", 20, "varchar(20)"),
        ("postgresql", "character varying", None, "text"),
        ("postgresql", "character varying", 10_485_760, "varchar(10485760)"),
        ("postgresql", "character varying", 10_485_761, "text"),
        ("mssql", "nvarchar", 1, "varchar(1)"),
        ("mssql", "nvarchar", 0, "text"),
        # Without a bound it is -1 there.
        ("mssql", "nvarchar", -1, "text"),
        ("mysql", "varchar(20)", 20, "varchar(20)"),
        ("mysql", "text", 65_535, "text"),
        ("redshift", "character varying", 65_535, "varchar(65535)"),
        ("oracle", "VARCHAR2", 20, "varchar(20)"),
        ("snowflake", "TEXT", 16, "varchar(16)"),
        ("bigquery", "STRING(20)", None, "text"),
        ("bigquery", "ARRAY<STRING>", None, "jsonb"),
        ("bigquery", "STRUCT<a INT64>", None, "jsonb"),
        ("bigquery", "GEOGRAPHY", None, "text"),
        ("databricks", "array<string>", None, "jsonb"),
        ("databricks", "map<string,int>", None, "jsonb"),
        ("databricks", "varchar(20)", 20, "text"),
        ("duckdb", "VARCHAR", 20, "text"),
        ("duckdb", "nobody knows it", None, "text"),
    ],
)
def test_texts_keep_their_length_and_nested_values_are_json(
    name: str, declared: str, length: int | None, made: str
) -> None:
    assert dialect_of(name).type_of(row(declared, length=length)) == made


@pytest.mark.parametrize(
    ("declared", "digits", "made"),
    [
        ("tinyint(1)", 3, "boolean"),
        ("tinyint(4)", 3, "bigint"),
        ("bit(1)", 1, "boolean"),
        ("bit(8)", 8, "bigint"),
        ("bit(63)", 63, "bigint"),
        ("bit(64)", 64, "numeric(100,0)"),
        ("bigint(20)", 19, "bigint"),
        ("bigint(20) unsigned", 20, "numeric(100,0)"),
        ("int(10) unsigned", 10, "bigint"),
        ("year(4)", None, "bigint"),
    ],
)
def test_a_number_of_mysql_is_what_it_can_hold(declared: str, digits: int, made: str) -> None:
    assert dialect_of("mysql").type_of(row(declared, digits, 0)) == made


def test_a_boolean_of_mysql_that_is_compared_as_a_number_is_one() -> None:
    mysql = dialect_of("mysql")
    assert mysql.as_number(RemoteColumn("a", "boolean", "tinyint", "a")).type == "bigint"
    for kind in ("text", "numeric", "bigint"):
        column = RemoteColumn("a", kind, kind, "a")
        assert mysql.as_number(column) == column
    assert dialect_of("postgresql").as_number(RemoteColumn("a", "boolean", "bool", "a")).type == "boolean"


@pytest.mark.parametrize(
    ("name", "given", "made"),
    [
        ("snowflake", row("NUMBER", 10, 2), "number(10,2)"),
        ("snowflake", row("NUMBER", 10), "number(10,0)"),
        ("snowflake", row("NUMBER"), "NUMBER"),
        ("snowflake", row("FLOAT", 10), "FLOAT"),
        ("oracle", row("NUMBER", 10, 2), "number(10,2)"),
        ("oracle", row("NUMBER"), "number"),
        ("oracle", row("TIMESTAMP(6) WITH TIME ZONE", None, 6), "timestamp with time zone"),
        ("oracle", row("NVARCHAR2", length=5), "nvarchar2(2000)"),
        ("oracle", row("CHAR", length=5), "varchar2(4000)"),
        ("redshift", row("character", length=5), "varchar(65535)"),
        ("redshift", row("numeric", 20, 6), "numeric(20,6)"),
        ("redshift", row("numeric", 20), "numeric(20,0)"),
        ("redshift", row("bigint", 64, 0), "bigint"),
        ("mssql", row("NVARCHAR", length=5), "nvarchar(max)"),
        *(("mssql", row(kind), "nvarchar(max)") for kind in ("text", "ntext", "xml", "char")),
        ("mssql", row("decimal", 20, 6), "decimal(20,6)"),
        ("mssql", row("money", 19, 4), "money"),
        ("databricks", row("VARCHAR(20)"), "string"),
        ("databricks", row("char(5)"), "string"),
        ("databricks", row("DECIMAL(20,6)", 20, 6), "decimal(20,6)"),
        ("bigquery", row("NUMERIC(20, 6)"), "NUMERIC"),
        ("postgresql", row("pg_catalog.int4"), "pg_catalog.int4"),
    ],
)
def test_a_type_is_cast_to_as_the_database_takes_it(name: str, given: Any, made: str) -> None:
    assert dialect_of(name).declared_of(given) == made


def column(kind: str, declared: str, own: str = "a") -> RemoteColumn:
    return RemoteColumn(own, kind, declared, own)


@pytest.mark.parametrize(
    ("name", "of", "text", "selected"),
    [
        ("postgresql", column("text", "text"), 'cast("a" as text)', 'cast("a" as text)'),
        ("mysql", column("text", "text"), "convert(`a` using utf8mb4)", "replace(convert(`a` using utf8mb4), char(0 using utf8mb4), '')"),
        ("mysql", column("jsonb", "json"), "convert(`a` using utf8mb4)", "replace(convert(`a` using utf8mb4), char(0 using utf8mb4), '')"),
        ("mysql", column("bigint", "int"), "convert(`a` using utf8mb4)", "`a`"),
        ("mysql", column("bigint", "bit"), "convert((`a` + 0) using utf8mb4)", "(`a` + 0)"),
        ("mysql", column("real", "float"), "convert((`a` + 0e0) using utf8mb4)", "(`a` + 0e0)"),
        ("mysql", column("double precision", "double"), "convert(`a` using utf8mb4)", "`a`"),
        *(("mysql", column("text", kind), "convert(hex(`a`) using utf8mb4)",
           "replace(convert(`a` using utf8mb4), char(0 using utf8mb4), '')") for kind in ("blob", "varbinary", "binary")),
        ("duckdb", column("bigint", "INTEGER"), 'cast("a" as varchar)', 'cast("a" as varchar)'),
        ("duckdb", column("text", "VARCHAR"), 'cast("a" as varchar)', "replace(cast(\"a\" as varchar), chr(0), '')"),
        ("duckdb", column("jsonb", "JSON"), 'cast("a" as varchar)', "replace(cast(\"a\" as varchar), chr(0), '')"),
        ("snowflake", column("double precision", "FLOAT"), 'cast(hash("a") as varchar)', '"a"'),
        ("snowflake", column("jsonb", "VARIANT"), 'to_json("a")', 'to_json("a")'),
        ("snowflake", column("text", "BINARY"), 'hex_encode("a")', "replace(hex_encode(\"a\"), chr(0), '')"),
        ("snowflake", column("text", "GEOGRAPHY"), 'st_astext("a")', "replace(st_astext(\"a\"), chr(0), '')"),
        ("snowflake", column("date", "DATE"), 'cast("a" as varchar)', 'cast("a" as varchar)'),
        ("oracle", column("varchar(9)", "varchar2(4000)"), '"a"', 'replace("a", chr(0))'),
        ("oracle", column("text", "raw"), 'rawtohex("a")', 'replace(rawtohex("a"), chr(0))'),
        ("oracle", column("jsonb", "json"), 'json_serialize("a")', 'json_serialize("a")'),
        ("oracle", column("boolean", "boolean"), "case when \"a\" then '1' when not \"a\" then '0' end", "case when \"a\" then '1' when not \"a\" then '0' end"),
        ("oracle", column("bigint", "number(9,0)"), 'to_char("a")', 'to_char("a")'),
        ("oracle", column("timestamptz", "timestamp with local time zone"), 'to_char("a")', "to_char(\"a\") || '+00'"),
        ("oracle", column("timestamptz", "timestamp with time zone"), 'to_char("a")', 'to_char("a")'),
        ("bigquery", column("text", "STRING"), "`a`", r"replace(`a`, '\x00', '')"),
        ("bigquery", column("timestamptz", "TIMESTAMP"), "string(`a`, 'UTC')", "string(`a`, 'UTC')"),
        ("bigquery", column("text", "BYTES"), "to_hex(`a`)", r"replace(to_hex(`a`), '\x00', '')"),
        ("bigquery", column("text", "GEOGRAPHY"), "st_astext(`a`)", r"replace(st_astext(`a`), '\x00', '')"),
        ("bigquery", column("jsonb", "ARRAY<STRING>"), "to_json_string(`a`)", r"replace(to_json_string(`a`), '\x00', '')"),
        ("bigquery", column("bigint", "INT64"), "cast(`a` as string)", "cast(`a` as string)"),
        ("redshift", column("boolean", "boolean"), "case when \"a\" then 'true' when not \"a\" then 'false' end", "case when \"a\" then 'true' when not \"a\" then 'false' end"),
        ("redshift", column("jsonb", "super"), 'json_serialize("a")', 'json_serialize("a")'),
        ("redshift", column("bigint", "bigint"), 'cast("a" as varchar(65535))', 'cast("a" as varchar(65535))'),
        ("databricks", column("jsonb", "variant"), "to_json(`a`)", "replace(to_json(`a`), char(0), '')"),
        ("databricks", column("text", "binary"), "hex(`a`)", "replace(hex(`a`), char(0), '')"),
        ("databricks", column("text", "string"), "`a`", "replace(`a`, char(0), '')"),
        ("databricks", column("timestamptz", "timestamp"), "cast(`a` as string)", "cast(`a` as string) || '+00'"),
        ("databricks", column("bigint", "bigint"), "cast(`a` as string)", "cast(`a` as string)"),
        *(("mssql", column("timestamp", kind), f"convert(nvarchar(max), \"a\", {style})", f"convert(nvarchar(max), \"a\", {style})")
          for kind, style in (("datetime", 126), ("datetime2", 126), ("smalldatetime", 126), ("datetimeoffset", 127),
                              ("float", 3), ("real", 3), ("money", 2), ("smallmoney", 2), ("varbinary", 2), ("date", 23))),
        ("mssql", column("bigint", "int"), 'convert(nvarchar(max), "a")', 'convert(nvarchar(max), "a")'),
        ("mssql", column("text", "nvarchar(max)"), 'convert(nvarchar(max), "a")',
         "replace(convert(nvarchar(max), \"a\") collate Latin1_General_BIN2, nchar(0), N'')"),
    ],
)  # fmt: skip
def test_how_a_column_is_digested_and_read(name: str, of: RemoteColumn, text: str, selected: str) -> None:
    dialect = dialect_of(name)
    assert (dialect.as_text(of), dialect.selected(of)) == (text, selected)


@pytest.mark.parametrize(
    ("name", "of", "typed", "assigned"),
    [
        ("postgresql", column("bigint", "pg_catalog.int4"), "cast(:p as pg_catalog.int4)", ":p"),
        ("mysql", column("jsonb", "json"), ":p", ":p"),
        ("snowflake", column("jsonb", "VARIANT"), "parse_json(:p)", "parse_json(:p)"),
        ("snowflake", column("bigint", "number(9,0)"), "cast(:p as number(9,0))", ":p"),
        ("oracle", column("jsonb", "json"), "json(:p)", "json(:p)"),
        ("oracle", column("boolean", "boolean"), "to_boolean(:p)", "to_boolean(:p)"),
        ("oracle", column("timestamptz", "timestamp with time zone"), "to_timestamp_tz(:p)", "to_timestamp_tz(:p)"),
        ("oracle", column("timestamp", "date"), "cast(:p as date)", "cast(:p as date)"),
        ("bigquery", column("jsonb", "JSON"), "parse_json(:p)", "parse_json(:p)"),
        ("bigquery", column("text", "STRING"), "cast(:p as STRING)", "cast(:p as STRING)"),
        ("redshift", column("jsonb", "super"), "json_parse(:p)", "json_parse(:p)"),
        ("redshift", column("text", "varchar(65535)"), "cast(:p as varchar(65535))", "cast(:p as varchar(65535))"),
        ("databricks", column("jsonb", "variant"), "parse_json(:p)", "parse_json(:p)"),
        # A colon would begin a parameter.
        ("databricks", column("jsonb", "struct<a:int>"), r"from_json(\:p, 'struct<a\:int>')", r"from_json(\:p, 'struct<a\:int>')"),
        ("databricks", column("text", "string"), "cast(:p as string)", "cast(:p as string)"),
        ("mssql", column("timestamp", "datetime"), "cast(cast(:p as datetime2(7)) as datetime)", "cast(cast(:p as datetime2(7)) as datetime)"),
        ("mssql", column("timestamp", "datetime2"), "cast(:p as datetime2)", "cast(:p as datetime2)"),
    ],
)  # fmt: skip
def test_how_a_column_takes_a_parameter(name: str, of: RemoteColumn, typed: str, assigned: str) -> None:
    dialect = dialect_of(name)
    assert (dialect.typed(":p", of), dialect.assigned(":p", of)) == (typed, assigned)
    compared = ":p" if dialect.tried else typed
    assert dialect.compared(":p", of) == compared


NOON = datetime(2026, 3, 1, 12, 0, 1, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fraction", "microseconds"),
    [(0, 0), (1, 900_000), (3, 999_000), (5, 999_990), (6, 999_999), (9, 999_999)],
)
def test_a_time_is_cut_and_never_rounded_up(fraction: int, microseconds: int) -> None:
    of = RemoteColumn("a", "timestamptz", "timestamptz", "a", fraction=fraction)
    assert dialect_of("postgresql").parameter(of, NOON) == NOON.replace(microsecond=microseconds)
    assert dialect_of("postgresql").parameter(of, None) is None


def test_values_are_sent_in_one_form() -> None:
    postgresql, bigquery, mssql = map(dialect_of, ("postgresql", "bigquery", "mssql"))
    json = column("jsonb", "jsonb")
    assert [postgresql.parameter(json, one) for one in ({"a": 1}, "b", None)] == ['{"a": 1}', '"b"', None]
    plain = column("text", "string")
    day = date(2026, 3, 1)
    values = [None, True, False, Decimal("1E+3"), 5, "x", day, NOON]
    assert [bigquery.parameter(plain, one) for one in values] == [
        *(None, "true", "false", "1000", "5", "x", "2026-03-01", "2026-03-01 12:00:01.999999+00:00"),
    ]
    assert [mssql.parameter(plain, one) for one in (True, False, NOON)] == [
        *("1", "0", "2026-03-01T12:00:01.999999+00:00"),
    ]
    assert bigquery.parameter(json, {"a": [True]}) == '{"a": [true]}'
    oracle = dialect_of("oracle")
    assert oracle.parameter(column("timestamp", "timestamp"), NOON) == "2026-03-01 12:00:01.999999+00:00"
    assert oracle.parameter(column("timestamp", "date"), day) == "2026-03-01"
    duckdb = dialect_of("duckdb")
    assert [duckdb.parameter(column("uuid", "uuid"), one) for one in (5, None)] == ["5", None]
    assert duckdb.parameter(column("bigint", "bigint"), 5) == 5


def test_what_is_read_becomes_what_the_copy_takes() -> None:
    mysql = dialect_of("mysql")
    as_boolean = mysql.conversion(column("boolean", "tinyint"))
    assert as_boolean is not None
    assert [as_boolean(one) for one in (0, 1)] == [False, True]
    for kind in ("date", "timestamp", "timestamptz"):
        without_zeros = mysql.conversion(column(kind, "date"))
        assert without_zeros is not None
        assert [without_zeros(one) for one in ("0000-00-00", NOON)] == [None, NOON]
    assert mysql.conversion(column("bigint", "int")) is None
    as_json = dialect_of("postgresql").conversion(column("jsonb", "jsonb"))
    assert as_json is not None
    assert [as_json(one) for one in ('{"a": 1}', {"a": 1}, "x", 5)] == ['{"a": 1}', '{"a": 1}', '"x"', "5"]
    assert dialect_of("postgresql").conversion(column("text", "text")) is None


def test_a_text_has_its_length_in_front_so_that_no_two_rows_have_one_digest() -> None:
    postgresql = dialect_of("postgresql")
    joined = "coalesce(length(a) || '.' || a, '-') || '|' || coalesce(length(b) || '.' || b, '-')"
    assert postgresql.joined(["a", "b"]) == joined
    assert postgresql.digest(["a"]).startswith("cast(cast('x' || left(md5(coalesce(length(a)")
    assert postgresql.total("n") == "cast(sum(n) as varchar)"
    assert postgresql.remainder("n", 7) == "mod(n, 7)"
    assert dialect_of("mssql").remainder("n", 7) == "(n % 7)"
    mysql = dialect_of("mysql")
    columns = [column("bigint", "int"), column("double precision", "float", "b"), column("text", "text", "c")]
    text, number = "convert(`c` using utf8mb4)", "convert((`b` + 0e0) using utf8mb4)"
    parts = (
        f"x, ifnull(`a`, '-'), ifnull(length({number}), '-'), {number}, ifnull(length({text}), '-'), {text}"
    )
    assert mysql.row_digest(columns, ["x"]) == (
        f"cast(conv(left(sha1(concat_ws('|', {parts})), 15), 16, 10) as unsigned)"
    )
    # What is stored in UTF-8 already is not converted once more.
    assert mysql.as_text(replace(columns[2], letters="utf8mb4")) == "`c`"
    assert mysql.as_text(replace(columns[2], letters="latin1")) == text
    assert FETCHED > 100


def test_a_name_is_quoted_as_each_database_does() -> None:
    assert dialect_of("postgresql").quoted('a"b', "c:d") == '"a""b"."c\\:d"'
    assert dialect_of("mysql").quoted("a`b") == "`a``b`"
    assert dialect_of("bigquery").quoted("a`b") == "`a``b`"
