"""One PostgreSQL for all seeds of a run, and its tables emptied between two seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa

from enerflo_sync.warehouse.embedded import embedded_postgres
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.migrate import migrate
from enerflo_sync.warehouse.schema import metadata
from tests.simulation.statements import Warehouse

# What was written to the installs, write by write: the mirror keeps no history of its own rows.
_HISTORY = """
create schema simulation;
create table simulation.written (
    n bigserial primary key, install_id bigint, content_hash text, updated_at timestamptz, deleted boolean
);
create function simulation.note() returns trigger language plpgsql as $$
begin
    insert into simulation.written (install_id, content_hash, updated_at, deleted)
    values (new.install_id, new.content_hash, new.updated_at, new.deleted_at is not null);
    return null;
end $$;
create trigger note after insert or update on enerflo.installs
    for each row execute function simulation.note();
"""
_QUICK = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")


@contextmanager
def simulation_server() -> Iterator[str]:
    """Run a PostgreSQL in memory where that is possible, and yield its URL."""
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="simulation-", dir=memory if memory.is_dir() else None) as folder:
        Path(folder).chmod(0o755)
        with embedded_postgres(Path(folder) / "data") as url:
            _run(url, *(f"alter system set {name} = off" for name in _QUICK), "select pg_reload_conf()")
            yield url


def _run(url: str, *statements: str) -> None:
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


class Database:
    """One database for one worker: migrated once, emptied for each seed."""

    def __init__(self, server_url: str, name: str) -> None:
        _run(server_url, f"drop database if exists {name}", f"create database {name}")
        self.url = sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)
        self.plain = warehouse_engine(self.url, application="simulation-check")
        migrate(self.plain)
        _run(self.url, _HISTORY)
        self.warehouses = (Warehouse(self.url), Warehouse(self.url))
        for warehouse in self.warehouses:
            # The dialect asks for the server's version once: that belongs to no seed.
            warehouse.engine.connect().close()
        self._tables = [f"{table.schema}.{table.name}" for table in metadata.sorted_tables]

    def clear(self) -> None:
        """Empty every table and start with fresh sessions, so that a seed meets what it met before."""
        for warehouse in self.warehouses:
            warehouse.engine.dispose()
        with self.plain.begin() as connection:
            names = ", ".join((*self._tables, "simulation.written"))
            connection.exec_driver_sql(f"truncate {names} restart identity")

    def close(self) -> None:
        for engine in (self.plain, *(warehouse.engine for warehouse in self.warehouses)):
            engine.dispose()
