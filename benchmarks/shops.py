"""A CRM's table outside the warehouse: in a MariaDB server of the run's own, or in a DuckDB file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa

from benchmarks import rows
from benchmarks.measure import CouldNotMeasureError, cpu_seconds
from benchmarks.warehouse import Warehouse
from enerflo_demo.mariadb import mariadb_url, private_mariadb
from enerflo_sync.copies.database import crm_engine
from enerflo_sync.errors import ConfigurationError

# As large as the warehouse's shared buffers: the table lies in memory on both sides.
_BUFFERS = "1G"


class Shop(ABC):
    """One database with the CRM's table of :mod:`benchmarks.rows` in it.

    :param url: as ``accounts.*.crm.url`` names it.
    """

    title: str
    columns: str

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def fill(self, warehouse: Warehouse) -> None:
        """Make the table and bring the warehouse's rows into it."""
        file = self.folder / "rows.csv"
        source = sa.make_url(warehouse.database_url(rows.DATABASE)).set(drivername="postgresql")
        with (
            psycopg.connect(source.render_as_string(hide_password=False)) as connection,
            file.open("wb") as out,
            connection.cursor().copy(f"copy {rows.RIGHT} to stdout (format csv, null '\\N')") as copied,
        ):
            for part in copied:
                out.write(part)
        self.execute(*self.loading(file))
        file.unlink()

    @abstractmethod
    def loading(self, file: Path) -> list[str]:
        """Return the statements that make the table and load a file."""

    def edit(self, per: int) -> None:
        """Change one row in ``per`` without another ``updated_at``."""
        changed = f"set panel_count = panel_count + 1 where mod({rows.KEY} - 1, {per}) = 50"
        self.execute(f"update {rows.RIGHT} {changed}")

    def counted(self, query: str) -> tuple[int, ...]:
        """Return the whole numbers of a query's only row; ``{}`` in it is the table."""
        engine = crm_engine(self.url)
        with engine.connect() as connection:
            row = connection.exec_driver_sql(query.format(rows.RIGHT)).one()
        engine.dispose()
        return tuple(map(int, row))

    def execute(self, *statements: str) -> None:
        """Run statements in a transaction."""
        engine = crm_engine(self.url)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of its server so far; 0 where the client itself is the server."""
        return 0.0


_COLUMNS = """
  install_id bigint primary key, deal_id {text}, customer_name {text}, status_name {text},
  current_milestone {text}, office_name {text}, agent_name {text}, system_size_kw decimal(20,6),
  panel_type {text}, panel_count int, battery_configuration {text}, contract_amount decimal(20,6),
  created_at {moment}, updated_at {moment}
"""


# Makes the database in a folder, for the time of a block.
StartShop = Callable[[Path], AbstractContextManager[Shop]]


class MariaDB(Shop):
    """A server that was started for the run."""

    title = "MariaDB"

    def __init__(self, url: str, folder: Path, process: int) -> None:
        super().__init__(url, folder)
        self._process = process

    def loading(self, file: Path) -> list[str]:
        """Load by the server's own reader of files."""
        columns = _COLUMNS.format(text="varchar(200)", moment="timestamp(6) null")
        return [
            "create database crm character set utf8mb4",
            f"create table {rows.RIGHT} ({columns})",
            "set time_zone = '+00:00'",
            f"load data infile '{file}' ignore into table {rows.RIGHT} fields terminated by ','"
            " optionally enclosed by '\"'",
            f"analyze table {rows.RIGHT}",
        ]

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the server."""
        return cpu_seconds(self._process)


class DuckDB(Shop):
    """A file; whoever reads it is its server."""

    title = "DuckDB"

    def loading(self, file: Path) -> list[str]:
        """Load by DuckDB's own reader of files."""
        columns = _COLUMNS.format(text="varchar", moment="timestamptz")
        return [
            "set timezone = 'UTC'",
            "create schema crm",
            f"create table {rows.RIGHT} ({columns})",
            f"insert into {rows.RIGHT} select * from read_csv('{file}', header = false, nullstr = '\\N')",
        ]


@contextmanager
def mariadb(folder: Path) -> Iterator[Shop]:
    """Run a MariaDB server in a folder until the end of the block.

    :raises CouldNotMeasureError: it is not installed, or does not start.
    """
    try:
        with private_mariadb(
            folder, f"--innodb-buffer-pool-size={_BUFFERS}", "--secure-file-priv="
        ) as socket:
            process = int((socket.parent / "pid").read_text())
            yield MariaDB(mariadb_url(socket), folder, process)
    except ConfigurationError as error:
        raise CouldNotMeasureError(str(error)) from None


@contextmanager
def duckdb(folder: Path) -> Iterator[Shop]:
    """Keep a DuckDB file in a folder."""
    yield DuckDB(f"duckdb:///{folder / 'shop.duckdb'}", folder)


SHOPS: Sequence[StartShop] = (mariadb, duckdb)
