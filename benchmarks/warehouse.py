"""The PostgreSQL that every contender writes to, and its databases."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from benchmarks.measure import cpu_seconds
from enerflo_sync.warehouse.embedded import embedded_postgres
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.migrate import migrate

SHOWN_SETTINGS = ("server_version", "shared_buffers", "fsync", "max_wal_size", "default_toast_compression")

# As large as the compared tables, and what PostgreSQL's own advice comes to on such a machine.
SERVER_SETTINGS = {"shared_buffers": "1GB"}


class Warehouse:
    """One server; contenders get databases of their own in it.

    :param url: SQLAlchemy URL of the server's maintenance database, of a user who may make others.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
        folder = self._query("show data_directory")[0][0]
        self._postmaster = int((Path(folder) / "postmaster.pid").read_text().split()[0])

    def _query(self, statement: str) -> Sequence[sa.Row[Any]]:
        with self._admin.connect() as connection:
            return connection.execute(sa.text(statement)).all()

    def _command(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.execute(sa.text(statement))

    def configure(self, settings: dict[str, str]) -> None:
        """Give the server other settings from its next start on."""
        for name, value in settings.items():
            self._command(f"alter system set {name} = '{value}'")
        self._admin.dispose()

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the server and all its backends so far."""
        return cpu_seconds(self._postmaster)

    def settings(self) -> dict[str, str]:
        """Return the server's settings that matter to the figures."""
        return {name: str(self._query(f"show {name}")[0][0]) for name in SHOWN_SETTINGS}

    def database_url(self, name: str) -> str:
        """Return the URL of one of the server's databases."""
        return sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def fresh(self, name: str, template: str = "template0") -> str:
        """Make a database anew and return its URL."""
        self.drop(name)
        # Copied as files: the copy's pages then are neither in shared buffers nor all in the WAL.
        self._command(f'create database "{name}" template "{template}" strategy file_copy')
        return self.database_url(name)

    def drop(self, name: str) -> None:
        """Remove a database and whoever is connected to it."""
        self._command(f'drop database if exists "{name}" with (force)')

    def migrated(self, name: str) -> str:
        """Make a database with this project's empty tables and return its URL."""
        url = self.fresh(name)
        engine = warehouse_engine(url)
        migrate(engine)
        engine.dispose()
        return url

    @contextmanager
    def on_one_core(self) -> Iterator[int]:
        """Let sessions that begin within the block share one core, and yield which one that is."""
        before = os.sched_getaffinity(self._postmaster)
        core = min(before)
        os.sched_setaffinity(self._postmaster, {core})
        try:
            yield core
        finally:
            os.sched_setaffinity(self._postmaster, before)

    def settle(self) -> None:
        """Write out what earlier runs left behind, so that it is not charged to the next one."""
        self._command("checkpoint")

    def row(self, database: str, statement: str) -> tuple[Any, ...]:
        """Return the only row of a query in one database."""
        engine = sa.create_engine(self.database_url(database), poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            return tuple(connection.execute(sa.text(statement)).one())

    def execute(self, database: str, *statements: str) -> None:
        """Run statements in one database, each in a transaction of its own."""
        url = sa.make_url(self.database_url(database)).set(drivername="postgresql")
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
            for statement in statements:
                # As bytes: nothing is a placeholder then.
                connection.execute(statement.encode())


@contextmanager
def embedded_warehouse() -> Iterator[Warehouse]:
    """Run the embedded server in a temporary folder until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="bench-pg-") as folder:
        with embedded_postgres(Path(folder)) as url:
            Warehouse(url).configure(SERVER_SETTINGS)
        with embedded_postgres(Path(folder)) as url:
            yield Warehouse(url)
