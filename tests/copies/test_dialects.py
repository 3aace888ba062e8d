"""Databases that no test run has: the whole text of what is sent to each, and what their answers become.

Each statement of ``statements/*.sql`` was written by the engine, read by us, and is parsed here in that
dialect: no server ever ran the statement. The dialect's file names the documentation to look at. The answers
that are played back have the form in which the database writes values; they go into a real copy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import sqlglot
from sqlalchemy.engine.default import DefaultDialect

from enerflo_sync.copies.database import crm_engine, dialect_of
from enerflo_sync.copies.dialects.base import Dialect, RemoteColumn, RemoteRelation
from enerflo_sync.copies.dialects.registry import DIALECTS
from enerflo_sync.copies.due import RowWrite
from enerflo_sync.copies.refresh import refresh_copies
from enerflo_sync.copies.remote_table import RemoteTable, remote_table
from enerflo_sync.copies.remote_writes import RemoteWriter
from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError

STATEMENTS = Path(__file__).with_name("statements")
CONFIG = """\
version: 1
accounts: {{default: {{crm: {{empty_is_null: true}}}}}}
tables:
  installs:
    crm_table: Sales.Installs{where}
    key: {{id: install_id}}
    updated_at: changed_at
    fields:
      name: {{enerflo: customer_name, type: text}}
      amount: {{enerflo: contract_amount, type: number}}
      done: {{enerflo: status_name, type: text}}
      day: {{enerflo: created_at, type: date}}
"""
MOMENT = datetime(2026, 3, 1, 17, 30, tzinfo=UTC)


class Answer:
    """What a database answers."""

    def __init__(self, rows: Sequence[Any], rowcount: int) -> None:
        self.rows, self.rowcount = rows, rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def mappings(self) -> Sequence[Mapping[str, Any]]:
        return self.rows

    def partitions(self, _: int) -> Iterator[Sequence[Any]]:
        yield self.rows

    def scalar_one(self) -> Any:
        return self.rows[0][0]


class Told:
    """A connection that keeps what it is told, and answers as the table of one row would."""

    def __init__(
        self, dialect: Dialect, order: Sequence[str], columns: Sequence[tuple[Any, ...]], row: Sequence[str]
    ) -> None:
        self.dialect, self.columns, self.place = dialect, columns, f"{dialect.title} of a test"
        values = {one[0].lower(): value for one, value in zip(columns, row, strict=True)}
        self.row = [values[name] for name in order]
        self.statements: list[str] = []
        self.parameters: list[Mapping[str, Any]] = []

    @property
    def sent(self) -> int:
        return len(self.statements)

    def execute(self, clause: sa.TextClause, values: Mapping[str, Any] | None = None) -> Answer:
        text = str(clause.compile(dialect=DefaultDialect(paramstyle="named")))
        self.statements.append(text)
        self.parameters.append(values or {})
        if "column_name" in text:
            names = ("name", "declared", "length", "digits", "places")
            folded = [one.upper() if self.dialect.title == "Oracle" else one for one in ("Sales", "Installs")]
            there = dict(zip(("in_schema", "of_table"), folded, strict=True))
            kept = there if "in_schema" in text else {}
            return Answer([dict(zip(names, one, strict=True)) | kept for one in self.columns], -1)
        if text.startswith("select count(*)"):
            return Answer([(1,)], -1)
        if "group by" in text:
            return Answer([(7, 1, "6")], -1)
        if text.startswith(("select case", "select 'true'")):
            return Answer([("true",)], -1)
        return Answer([(*self.row, 5, 7, "true")] if text.startswith("select") else [], 1)

    def exec_driver_sql(self, text: str) -> None:
        self.statements.append(text)
        self.parameters.append({})

    def commit(self) -> None:
        self.statements.append("commit")
        self.parameters.append({})

    def rollback(self) -> None:
        self.statements.append("rollback")
        self.parameters.append({})

    def relation(self, _: Told, schema: str, table: str, *, again: bool = False) -> RemoteRelation:
        return self.dialect.relation(self, schema, table)  # type: ignore[arg-type]

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        yield

    @contextmanager
    def connected(self, _: str) -> Iterator[Told]:
        self.dialect.begin(self)  # type: ignore[arg-type]
        yield self


# Of each database: the columns as its catalog lists them, and one row as it writes the values.
WORLDS: dict[str, tuple[list[tuple[Any, ...]], list[str]]] = {
    "bigquery": (
        [
            ("id", "INT64", None, None, None),
            ("changed_at", "TIMESTAMP", None, None, None),
            ("name", "STRING(200)", None, None, None),
            ("amount", "NUMERIC(20, 6)", None, None, None),
            ("done", "BOOL", None, None, None),
            ("day", "DATE", None, None, None),
        ],
        ["4400007", "2026-03-01 17:30:00.25+00", "Jo", "12.5", "true", "2026-03-01"],
    ),
    "redshift": (
        [
            ("id", "bigint", None, 64, 0),
            ("changed_at", "timestamp with time zone", None, None, None),
            ("name", "character varying", 200, None, None),
            ("amount", "numeric", None, 20, 6),
            ("done", "boolean", None, None, None),
            ("day", "date", None, None, None),
        ],
        ["4400007", "2026-03-01 17:30:00.25+00", "Jo", "12.500000", "true", "2026-03-01"],
    ),
    "mssql": (
        [
            ("Id", "int", None, 10, 0),
            ("Changed_At", "datetimeoffset", None, None, None),
            ("Name", "nvarchar", 200, None, None),
            ("Amount", "decimal", None, 20, 6),
            ("Done", "bit", None, None, None),
            ("Day", "datetime", None, None, None),
        ],
        ["4400007", "2026-03-01T17:30:00.2500000Z", "Jo", "12.500000", "1", "2026-03-01T00:00:00"],
    ),
    "databricks": (
        [
            ("id", "bigint", None, 19, 0),
            ("changed_at", "timestamp", None, None, None),
            ("name", "string", None, None, None),
            ("amount", "decimal(20,6)", None, 20, 6),
            ("done", "boolean", None, None, None),
            ("day", "date", None, None, None),
        ],
        ["4400007", "2026-03-01 17:30:00.25+00", "Jo", "12.500000", "true", "2026-03-01"],
    ),
    "oracle": (
        [
            ("ID", "NUMBER", 0, None, 0),
            ("CHANGED_AT", "TIMESTAMP(6) WITH TIME ZONE", 0, None, 6),
            ("NAME", "VARCHAR2", 200, None, None),
            ("AMOUNT", "NUMBER", 0, 20, 6),
            ("DONE", "NUMBER", 0, 1, 0),
            ("DAY", "DATE", 0, None, None),
        ],
        ["4400007", "2026-03-01 17:30:00.250000000+00:00", "Jo", "12.5", "1", "2026-03-01 00:00:00"],
    ),
}


def plain(text: str) -> str:
    """Return a statement in one line."""
    return re.sub(r"\s+", " ", text).strip()


def told(tmp_path: Path, name: str, where: str = "") -> tuple[Told, RemoteTable]:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG.format(where=where))
    config = load_config(path, {})
    world = Told(dialect_of(name), config.tables_for("default")["installs"].crm_columns, *WORLDS[name])
    return world, remote_table(world, world, config, "default", "installs")  # type: ignore[arg-type]


def writes(world: Told, remote: RemoteTable) -> dict[int, str]:
    values = {"name": None, "amount": Decimal("300.250000"), "done": True, "changed_at": MOMENT}
    key = (4400007,)
    update = RowWrite("update", [1], key, "{}", 5, 7, values)
    insert = RowWrite("insert", [2], key, "{}", None, None, {"id": 4400007} | values)
    writer = RemoteWriter(world, remote)  # type: ignore[arg-type]
    refused = writer.write([update, insert]).refused
    list(writer.read_back([key, (4400008,)]))
    return refused


def kept(name: str) -> list[str]:
    """Return the statements of a database as they were read by us."""
    return (STATEMENTS / f"{name}.sql").read_text().strip().rstrip(";").split(";\n")


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_sent_is_what_was_compared_with_the_documentation(
    name: str, warehouse: sa.Engine, tmp_path: Path
) -> None:
    """A first copy, the look at what differs, a bucket that does, an update, an insert, rows read again."""
    world, remote = told(tmp_path, name)
    world.statements.clear()
    (report,) = refresh_copies(warehouse, world, load_config(tmp_path / "sync.yaml", {}), "default")  # type: ignore[arg-type]
    assert (report.rows, report.rows_read) == (1, 2)
    assert writes(world, remote) == {}
    sent = [plain(one) for one in world.statements]
    if os.environ.get("ENERFLO_REGENERATE_STATEMENTS"):
        (STATEMENTS / f"{name}.sql").write_text(";\n".join(sent) + ";\n")
    assert sent == kept(name)
    with warehouse.connect() as connection:
        (row,) = connection.exec_driver_sql(
            'select id, changed_at, name, amount, done::text, day::date from crm_copies."default.installs"'
        )
    assert tuple(row)[:4] == (4400007, MOMENT.replace(microsecond=250_000), "Jo", Decimal("12.5"))
    assert row.done in ("true", "1")
    assert str(row.day) == "2026-03-01"


@pytest.mark.parametrize(("name", "read"), [(name, "tsql" if name == "mssql" else name) for name in WORLDS])
def test_each_statement_is_one_of_its_dialect(name: str, read: str) -> None:
    statements = kept(name)
    kinds = [
        type(sqlglot.parse_one(re.sub(r"(?<=[ (]):\w+", "?", one), read=read)).__name__ for one in statements
    ]
    # Where nothing is taken back each row is written by itself.
    together = ["Update", "Insert", "Select"]
    written = together if dialect_of(name).takes_back else ["Update", "Commit", "Insert"]
    at = kinds.index("Update")
    assert kinds[at:] == [*written, "Commit", "Select"]
    # A parser takes what it does not know for a command; what is read later begins after a commit.
    assert set(kinds[:at]) <= {"Select", "Set", "Alter", "Command", "Commit"}
    assert kinds.count("Command") == {"oracle": 1, "databricks": 1}.get(name, 0)


@pytest.mark.parametrize("name", WORLDS)
def test_values_are_sent_as_texts_that_the_casts_take(name: str, tmp_path: Path) -> None:
    world, remote = told(tmp_path, name)
    writes(world, remote)
    (given,) = [values for values in world.parameters if "row_hash" in values]
    said, moment = {
        "bigquery": ("true", "2026-03-01 17:30:00+00:00"),
        "redshift": ("true", "2026-03-01 17:30:00+00:00"),
        "mssql": ("1", "2026-03-01T17:30:00+00:00"),
        "databricks": ("true", "2026-03-01 17:30:00+00:00"),
        "oracle": ("1", "2026-03-01 17:30:00.000000+00:00"),
    }[name]
    assert given == {
        **{"v0": None, "v1": "300.250000", "v2": said, "v3": moment},
        **{"k0": "4400007", "row_hash": 5},
    }
    clause = world.dialect.statement("select :v0, :row_hash", {"v0": None, "row_hash": 5})
    assert [str(one.type) for one in clause._bindparams.values()] == ["VARCHAR", "BIGINT"]


@pytest.mark.parametrize("name", WORLDS)
def test_where_nothing_is_taken_back_no_new_row_is_tried(name: str, tmp_path: Path) -> None:
    world, remote = told(tmp_path, name, where='\n    where: "done = 1"')
    world.statements.clear()
    refused = writes(world, remote)
    inserts = [one for one in world.statements if one.startswith("insert")]
    if world.dialect.takes_back:
        assert (refused, len(inserts)) == ({}, 1)
    else:
        assert inserts == []
        assert "takes nothing back" in refused[1]


def test_a_date_of_oracle_has_seconds_and_its_long_texts_are_refused() -> None:
    oracle = dialect_of("oracle")
    day = RemoteColumn("day", "timestamp", "date", "DAY")
    assert oracle.parameter(day, datetime(2026, 3, 1, 17, 30, 0, 123456)) == "2026-03-01 17:30:00"
    with pytest.raises(ConfigurationError, match=r"no digest of the column TEXT of type clob.*varchar2"):
        oracle.as_text(RemoteColumn("text", "text", "clob", "TEXT"))


@pytest.mark.parametrize("name", WORLDS)
def test_a_driver_that_is_missing_is_named_by_its_own_package(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"pip install {DIALECTS[name].extra}"):
        crm_engine(f"{name}://user:password@host/database")


def test_the_driver_of_snowflake_comes_with_an_extra() -> None:
    engine = crm_engine("snowflake://user:password@account/database/schema?warehouse=small")
    assert dialect_of(engine.dialect.name).title == "Snowflake"


@pytest.mark.parametrize(
    ("name", "names", "written", "meant"),
    [
        ("snowflake", ["STATUS", "status"], "status", "status"),
        ("snowflake", ["STATUS"], "status", "STATUS"),
        ("snowflake", ["Status"], "status", None),
        ("oracle", ["STATUS"], "status", "STATUS"),
        ("mssql", ["Status"], "status", "Status"),
        ("mssql", ["Status", "STATUS"], "status", None),
        ("postgresql", ["STATUS"], "status", None),
        ("mysql", ["Status"], "status", None),
    ],
)
def test_a_name_means_one_column(name: str, names: list[str], written: str, meant: str | None) -> None:
    assert dialect_of(name).same_name(written, names) == meant
