"""One PostgreSQL for all seeds of a run, and its tables emptied between two seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa

from enerflo_sync.sandbox import crm_ddl
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
# Jobs reach the server with ``simulation`` before ``pg_catalog`` in their search path.
_TIME = """
create function simulation.now() returns timestamptz language sql stable as $$
    select coalesce(nullif(current_setting('simulation.now', true), '')::timestamptz, pg_catalog.now())
$$;
create function simulation.clock_timestamp() returns timestamptz language sql stable as $$
    select simulation.now()
$$;
"""
# Whatever becomes of a row of the CRM, and who did it: the jobs or the people (by their application's name).
_CRM_HISTORY = """
create table simulation.crm_written (
    n bigserial primary key, table_name text, op text, before jsonb, after jsonb, writer text
);
create function simulation.note_crm() returns trigger language plpgsql as $$
begin
    insert into simulation.crm_written (table_name, op, before, after, writer)
    values (tg_table_name, lower(tg_op), case when tg_op <> 'INSERT' then to_jsonb(old) end,
            case when tg_op <> 'DELETE' then to_jsonb(new) end, current_setting('application_name'));
    return null;
end $$;
-- The CRM has its own way to write a phone number, whoever gives it one.
create function simulation.spell() returns trigger language plpgsql as $$
begin
    new.mobile := regexp_replace(new.mobile, '^(\\d{3})(\\d{3})(\\d{4})$', '(\\1) \\2-\\3');
    return new;
end $$;
create trigger spell before insert or update on crm.leads for each row execute function simulation.spell();
"""
_WATCH_CRM = """
create trigger note after insert or update or delete on crm.{} for each row
    execute function simulation.note_crm()
"""
PEOPLE = "people"
_QUICK = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")


@contextmanager
def simulation_server() -> Iterator[str]:
    """Run a PostgreSQL of its own, and yield its URL."""
    with tempfile.TemporaryDirectory(prefix="simulation-") as folder:
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
        _run(self.url, _HISTORY, _TIME, crm_ddl.CREATE_CRM, crm_ddl.INDEX_CRM, crm_ddl.UNIQUE_INSTALLS)
        _run(self.url, _CRM_HISTORY, *(_WATCH_CRM.format(name) for name in crm_ddl.CRM_TABLES))
        plain = sa.make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        # Nobody waits for a row that a job holds: the people of the CRM try again later.
        options = "-c timezone=UTC -c lock_timeout=2ms"
        self.people = psycopg.connect(plain, autocommit=True, application_name=PEOPLE, options=options)
        self.warehouses = (Warehouse(self.url), Warehouse(self.url))
        for warehouse in self.warehouses:
            # The dialect asks for the server's version once: that belongs to no seed.
            warehouse.engine.connect().close()
        self._tables = [f"{table.schema}.{table.name}" for table in metadata.sorted_tables]
        self._tables += [f"crm.{name}" for name in crm_ddl.CRM_TABLES]
        self._tables += ["simulation.written", "simulation.crm_written"]

    def clear(self) -> None:
        """Empty every table and start with fresh sessions, so that a seed meets what it met before."""
        for warehouse in self.warehouses:
            warehouse.engine.dispose()
        with self.plain.begin() as connection:
            connection.exec_driver_sql(f"truncate {', '.join(self._tables)} restart identity")

    def close(self) -> None:
        self.people.close()
        for engine in (self.plain, *(warehouse.engine for warehouse in self.warehouses)):
            engine.dispose()
