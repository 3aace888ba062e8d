"""The CRM of a desk in a database of its own: a server that is started for the run, or a file."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_demo.mariadb import mariadb_url, private_mariadb, require_mariadb
from enerflo_sync.copies.database import crm_engine, dialect_of
from enerflo_sync.errors import ConfigurationError
from tests.conftest import fresh_database
from tests.copies.rows import Rows
from tests.writes.conftest import Desk, agreed, agreed_warehouse, desk, polled_warehouse

__all__ = ["agreed", "agreed_warehouse", "desk", "polled_warehouse"]

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("installs", "milestones", "notes", "change_orders", "leads")
CRM = (
    "    airflow: {enerflo_connection",
    '    crm: {url: "${CRM_URL}"}\n    airflow: {enerflo_connection',
)
_numbers = itertools.count(1)


class Elsewhere(ABC):
    """A database that is not the warehouse, with the CRM's tables in its schema ``crm``."""

    types: dict[str, str]
    narrowed: str
    short = "varchar(20)"

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = self.opened()

    def opened(self) -> sa.Engine:
        """Return an engine as the account opens it."""
        return crm_engine(self.url)

    def begin(self, connection: sa.Connection) -> None:
        dialect_of(self.engine.dialect.name).begin(connection)

    @abstractmethod
    def quoted(self, name: str) -> str:
        """Return a name as the database quotes it."""

    @abstractmethod
    def make_schema(self) -> None:
        """Make the schema crm."""

    def sql(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            self.begin(connection)
            result = connection.execute(sa.text(statement), values)
            return list(result.mappings()) if result.returns_rows else []

    def narrow(self, table: str, column: str) -> None:
        """Let a column take whole numbers to 127 alone."""
        self.sql(self.narrowed.format(table=table, column=self.quoted(column)))

    def one(self, table: str, **key: Any) -> Any:
        where = " and ".join(f"{self.quoted(name)} = :{name}" for name in key)
        (row,) = self.sql(f"select {self.shown(table)} from crm.{table} where {where}", **key)
        return row

    def shown(self, table: str) -> str:
        """Return the columns that a test may look at."""
        return "*"

    def take_over(self, warehouse: sa.Engine) -> None:
        """Move the CRM's tables here from the warehouse, in which none is left."""
        self.make_schema()
        with warehouse.begin() as connection:
            for table in TABLES:
                self._take(connection, table)
            connection.exec_driver_sql("drop schema crm cascade")

    def _take(self, connection: sa.Connection, table: str) -> None:
        columns = connection.execute(
            sa.text(
                "select column_name as name, udt_name as type from information_schema.columns"
                " where table_schema = 'crm' and table_name = :table order by ordinal_position"
            ),
            {"table": table},
        ).all()
        keys = list(
            connection.execute(
                sa.text(
                    "select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid"
                    " and a.attnum = any(i.indkey) where i.indrelid = cast(:table as regclass) and i.indisprimary"
                ),
                {"table": f"crm.{table}"},
            ).scalars()
        )
        declared = [f"{self.quoted(name)} {self.types[kind]}" for name, kind in columns]
        if keys:
            declared.append(f"primary key ({', '.join(map(self.quoted, keys))})")
        rows = [dict(row) for row in connection.exec_driver_sql(f"select * from crm.{table}").mappings()]
        with self.engine.begin() as theirs:
            self.begin(theirs)
            theirs.execute(sa.text(f"create table crm.{table} ({', '.join(declared)})"))
            if rows:
                given = [{name: self.given(value) for name, value in row.items()} for row in rows]
                self.put(theirs, table, [name for name, _ in columns], given)

    def put(
        self, theirs: sa.Connection, table: str, names: Sequence[str], given: Sequence[Mapping[str, Any]]
    ) -> None:
        """Insert rows into a table that was just made."""
        into = ", ".join(map(self.quoted, names))
        places = ", ".join(f":{name}" for name in names)
        theirs.execute(sa.text(f"insert into crm.{table} ({into}) values ({places})"), given)

    def numbers(self, last: int) -> str:
        """Return a relation whose column ``n`` has the numbers from 1 on."""
        return f"(select unnest(generate_series(1, {last})) as n) numbers"

    def given(self, value: Any) -> Any:
        return json.dumps(value, default=str) if isinstance(value, dict | list) else value

    def taken(self, value: Any) -> Any:
        """Return a value that was read as PostgreSQL's driver would give it."""
        return value


class MariaDB(Elsewhere):
    """A database of the run's MariaDB server."""

    narrowed = "alter table crm.{table} modify {column} tinyint"
    types = {  # noqa: RUF012
        "int8": "bigint",
        "int4": "int",
        "numeric": "decimal(20,6)",
        "text": "varchar(500)",
        "timestamptz": "timestamp(6) null",
        "timestamp": "datetime(6)",
        "date": "date",
        "bool": "tinyint(1)",
        "jsonb": "json",
        "float8": "double",
    }

    def quoted(self, name: str) -> str:
        return f"`{name}`"

    def make_schema(self) -> None:
        self.sql("drop database if exists crm")
        self.sql("create database crm character set utf8mb4")

    def given(self, value: Any) -> Any:
        value = value.replace(tzinfo=None) if isinstance(value, datetime) else value
        return super().given(value)

    def taken(self, value: Any) -> Any:
        return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value

    def numbers(self, last: int) -> str:
        return f"(select seq as n from seq_1_to_{last}) numbers"


class DuckDB(Elsewhere):
    """A file of DuckDB."""

    narrowed = "alter table crm.{table} alter {column} type tinyint"
    types = {  # noqa: RUF012
        "int8": "bigint",
        "int4": "integer",
        "numeric": "decimal(20,6)",
        "text": "varchar",
        "timestamptz": "timestamptz",
        "timestamp": "timestamp",
        "date": "date",
        "bool": "boolean",
        "jsonb": "json",
        "float8": "double",
    }

    def quoted(self, name: str) -> str:
        return f'"{name}"'

    def make_schema(self) -> None:
        self.sql("create schema crm")

    def put(
        self, theirs: sa.Connection, table: str, names: Sequence[str], given: Sequence[Mapping[str, Any]]
    ) -> None:
        """Insert all rows by one statement, which takes DuckDB hardly longer than one for a single row."""
        into = ", ".join(map(self.quoted, names))
        places = ", ".join(f"({', '.join('?' for _ in names)})" for _ in given)
        values = tuple(row[name] for row in given for name in names)
        theirs.exec_driver_sql(f"insert into crm.{table} ({into}) values {places}", values)


class OtherPostgreSQL(Elsewhere):
    """Another database of the run's PostgreSQL server."""

    narrowed = "alter table crm.{table} add check ({column} < 128)"
    types = {name: name for name in ("int8", "int4", "numeric", "text", "timestamptz", "bool")} | {
        **{name: name for name in ("timestamp", "date", "jsonb", "float8")},
    }

    def quoted(self, name: str) -> str:
        return f'"{name}"'

    def make_schema(self) -> None:
        self.sql("create schema crm")

    def numbers(self, last: int) -> str:
        return f"generate_series(1, {last}) numbers(n)"


class Snowflake(Elsewhere):
    """A database of the run's fakesnow."""

    narrowed = "alter table crm.{table} alter column {column} set data type number(2,0)"
    types = {  # noqa: RUF012
        "int8": "number(38,0)",
        "int4": "number(38,0)",
        "numeric": "number(20,6)",
        "text": "varchar",
        "timestamptz": "timestamp_tz",
        "timestamp": "timestamp_ntz",
        "date": "date",
        "bool": "boolean",
        "jsonb": "varchar",
        "float8": "float",
    }

    def opened(self) -> sa.Engine:
        # The address of another server than Snowflake's own goes beside the URL.
        url, _, port = self.url.rpartition("#")
        here = {"protocol": "http", "host": "localhost", "port": int(port), "login_timeout": 20}
        return sa.create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=here)

    def quoted(self, name: str) -> str:
        return f'"{name.upper()}"'

    def make_schema(self) -> None:
        self.sql("create schema if not exists crm")

    def shown(self, table: str) -> str:
        # fakesnow sends a time that is null in a form that Snowflake's driver refuses.
        columns = self.sql(
            "select column_name as name from information_schema.columns where table_schema = 'CRM'"
            " and table_name = upper(:table) and data_type not like 'TIMESTAMP%'",
            table=table,
        )
        return ", ".join(f'"{row["name"]}"' for row in columns)

    def given(self, value: Any) -> Any:
        return value.isoformat(" ") if isinstance(value, datetime) else super().given(value)


@pytest.fixture(scope="session")
def fakesnow_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a fakesnow of the run's own, which uv starts with packages of its own."""
    uv = shutil.which("uv", path=f"{os.environ.get('PATH', '')}:{ROOT / '.uv' / 'bin'}")
    if uv is None:
        if os.environ.get("CI"):
            pytest.fail("uv is missing: make test has it")
        pytest.skip("no uv here: make test runs the tests of a CRM in Snowflake")
    script = ["--frozen", "--quiet", "--script", str(Path(__file__).with_name("fake_snowflake.py"))]
    environ = {"UV_SYSTEM_CERTS": "true", "UV_PYTHON_DOWNLOADS": "never"} | os.environ
    environ.pop("VIRTUAL_ENV", None)
    environ.pop("PYTHONPATH", None)
    subprocess.run([uv, "sync", *script], check=True, env=environ)
    found = subprocess.run(
        [uv, "python", "find", *script[2:]], check=True, env=environ, capture_output=True, text=True
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (Path(tmp_path_factory.mktemp("fakesnow")) / "log").open("wb")
    server = subprocess.Popen(
        [found.stdout.strip(), script[-1], str(port)], stdout=log, stderr=log, env=environ
    )
    try:
        for _ in range(300):
            assert server.poll() is None, "fakesnow does not start"
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(30)
        log.close()


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a MariaDB server of the run's own; skipped, loudly, where Debian's is not installed."""
    try:
        require_mariadb()
    except ConfigurationError as error:
        if os.environ.get("CI"):
            pytest.fail(f"{error} .ci/run does.")
        pytest.skip(str(error))
    settings = ("--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", "--default-time-zone=+05:00")
    with private_mariadb(tmp_path_factory.mktemp("m"), *settings) as socket:
        yield mariadb_url(socket).replace("/?", "/mysql?")


@contextmanager
def opened(kind: str, request: pytest.FixtureRequest, folder: Path, postgres_url: str) -> Iterator[Elsewhere]:
    """Yield an empty database of a kind."""
    if kind == "postgresql":
        with fresh_database(postgres_url, "template0") as address:
            other = OtherPostgreSQL(address)
            yield other
            other.engine.dispose()
        return
    if kind == "mariadb":
        found: Elsewhere = MariaDB(request.getfixturevalue("mariadb_server"))
    elif kind == "snowflake":
        port = request.getfixturevalue("fakesnow_port")
        found = Snowflake(f"snowflake://user:password@account/shop{next(_numbers)}/crm#{port}")
    else:
        found = DuckDB(f"duckdb:///{folder / 'shop.duckdb'}")
    # Opening a file costs more than most of what tests do in it.
    with found.engine.connect():
        yield found
    found.engine.dispose()


@pytest.fixture(params=["mariadb", "duckdb", "postgresql", "snowflake"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str) -> Iterator[Elsewhere]:
    """An empty database of each kind."""
    with opened(request.param, request, tmp_path, postgres_url) as found:
        yield found


@pytest.fixture
def away(agreed: Desk, elsewhere: Elsewhere) -> Desk:
    """An account whose two sides agree, and whose CRM is in another database; both sides may be written."""
    elsewhere.take_over(agreed.engine)
    agreed.environ["CRM_URL"] = elsewhere.url
    agreed.context.credentials = agreed.context.credentials.__class__(
        agreed.context.credentials.base_url,
        agreed.context.credentials.api_key,
        agreed.context.credentials.warehouse_url,
        # The others by their URL, as an account does.
        elsewhere.opened if isinstance(elsewhere, Snowflake) else None,
    )
    agreed.switched_on("both", CRM)
    return agreed


@pytest.fixture
def rows(warehouse: sa.Engine, elsewhere: Elsewhere, tmp_path: Path) -> Rows:
    """One small table in a database of each kind."""
    return Rows(warehouse, elsewhere, tmp_path)
