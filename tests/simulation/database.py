"""One PostgreSQL for all seeds of a run, and its tables emptied between two seeds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from enerflo_sandbox import crm_ddl
from enerflo_sync.copies.database import crm_engine
from enerflo_sync.warehouse.embedded import embedded_postgres
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.migrate import migrate
from enerflo_sync.warehouse.schema import metadata
from tests.simulation.declared import COLUMN
from tests.simulation.mapped import FIRST_NAMES
from tests.simulation.shapes import MODIFIED, RECORD_ID, Shape
from tests.simulation.statements import Server
from tests.simulation.versions import KEPT_VERSION

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
    n bigserial primary key, table_name text, op text, before jsonb, after jsonb, writer text,
    tx bigint default txid_current()
);
create table simulation.office_written (
    n bigserial primary key, table_name text, before jsonb, after jsonb, writer text
);
create function simulation.note_office() returns trigger language plpgsql as $$
begin
    insert into simulation.office_written (table_name, before, after, writer)
    values (tg_table_name, case when tg_op <> 'INSERT' then to_jsonb(old) end,
            case when tg_op <> 'DELETE' then to_jsonb(new) end, current_setting('application_name'));
    return null;
end $$;
create function simulation.note_crm() returns trigger language plpgsql as $$
begin
    insert into simulation.crm_written (table_name, op, before, after, writer)
    values (simulation.canonical(tg_table_name::text), lower(tg_op),
            case when tg_op <> 'INSERT' then simulation.canonical(to_jsonb(old)) end,
            case when tg_op <> 'DELETE' then simulation.canonical(to_jsonb(new)) end,
            current_setting('application_name'));
    return null;
end $$;
-- The CRM has its own way to write a phone number, whoever gives it one.
create function simulation.spell() returns trigger language plpgsql as $$
begin
    new.mobile := regexp_replace(new.mobile, '^(\\d{3})(\\d{3})(\\d{4})$', '(\\1) \\2-\\3');
    return new;
end $$;
"""
# As of the commit, in which order they become visible; and internal, so that the table counts as one that
# writes what it is told.
# What jobs tell of tables and columns, under their first names.
_CANONICAL = f"""
create function simulation.canonical(name text) returns text language sql immutable as $$
    select case name {" ".join(f"when '{other}' then '{first}'" for other, first in FIRST_NAMES.items())} else name end
$$;
create function simulation.canonical(one jsonb) returns jsonb language sql immutable as $$
    select case when one ?| array[{", ".join(f"'{name}'" for name in FIRST_NAMES)}]
      then (select jsonb_object_agg(simulation.canonical(key), value) from jsonb_each(one)) else one end
$$;
create schema told;
"""
_TELL = """
do $$ declare names text; begin
    select string_agg(case when attname in ('table_name', 'field', 'column')
        then format('simulation.canonical(%1$I::text) as %1$I', attname) else quote_ident(attname) end, ', ' order by attnum)
        into names from pg_attribute where attrelid = 'sync.{0}'::regclass and attnum > 0 and not attisdropped;
    execute format('create view told.{0} as select %s from sync.{0}', names);
end $$
"""
_TOLD = ("plan_changes", "plan_undecided", "ledger", "agreed", "crm_changes", "crm_changes_open")
# Where people see the CRM's tables under their first names, whatever these are called by now.
_SEEN = "create view seen.{0} as select ctid, * from crm.{0}"
_WATCH_CRM = """
create constraint trigger note after insert or update or delete on crm.{} deferrable initially deferred
    for each row execute function simulation.note_crm()
"""
# What the jobs see is a copy of what people work in.
_OFFICE = """
create table office.{0} (like crm.{0} including all);
create trigger note after insert or update or delete on office.{0}
    for each row execute function simulation.note_office()
"""
# Each record has an id of Salesforce's own, and the second of its last modification.
_SALESFORCE = f"""
create sequence office.ids_{{0}} owned by office.{{0}}.{RECORD_ID};
alter table office.{{0}} alter {RECORD_ID}
    set default '006' || lpad(nextval('office.ids_{{0}}')::text, 12, '0') || 'AAQ';
create or replace function simulation.modified() returns trigger language plpgsql as $$
begin
    new.{MODIFIED} := date_trunc('second', simulation.now());
    return new;
end $$;
create trigger modified before insert or update on office.{{0}} for each row execute function simulation.modified();
"""
_INTERNAL = "update pg_trigger set tgisinternal = true where tgname in ('note', 'keep_version')"
_SPELL = """
create trigger spell before insert or update on {}.leads for each row execute function simulation.spell()
"""
PEOPLE = "people"
# By this name of an application the history of rows knows what jobs wrote.
JOBS = "simulation"
SHIPPED_SHAPE = Shape()
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
        _run(self.url, _HISTORY, _TIME, _CANONICAL, _CRM_HISTORY, KEPT_VERSION)
        _run(self.url, *(_TELL.format(name) for name in _TOLD))
        # Nobody waits for a row that a job holds: the people of the CRM try again later.
        self.people = self._connect_people(autocommit=True)
        self.slow_people = self._connect_people(autocommit=False)
        self._shape: Shape | None = None
        self.warehouses = tuple(Server(warehouse_engine(self.url, application=JOBS)) for _ in range(2))
        # The CRM's tables as those of another server: reached by a way of its own, in transactions of its own.
        there = sa.make_url(self.url).update_query_dict({"application_name": JOBS})
        address = there.render_as_string(hide_password=False)
        self.crms = tuple(Server(crm_engine(address)) for _ in range(2))
        for server in self._servers:
            # The dialect asks for the server's version once: that belongs to no seed.
            server.engine.connect().close()
        self._tables = [f"{table.schema}.{table.name}" for table in metadata.sorted_tables]
        self._tables += [f"crm.{name}" for name in crm_ddl.CRM_TABLES]
        self._tables += ["simulation.written", "simulation.crm_written", "simulation.office_written"]

    @property
    def _servers(self) -> tuple[Server, ...]:
        return (*self.warehouses, *self.crms)

    def _connect_people(self, *, autocommit: bool) -> psycopg.Connection[Any]:
        plain = sa.make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        options = "-c timezone=UTC -c lock_timeout=2ms"
        # Never prepared: a table may have other columns for the next seed.
        return psycopg.connect(
            plain, autocommit=autocommit, application_name=PEOPLE, options=options, prepare_threshold=None
        )

    def clear(self, shape: Shape = SHIPPED_SHAPE) -> None:
        """Empty every table and start with fresh sessions, so that a seed meets what it met before.

        :param shape: what the CRM is like from now on.
        """
        for server in self._servers:
            server.engine.dispose()
        self.slow_people.rollback()
        # A tool of the seed before may have told the time to these sessions.
        for people in (self.people, self.slow_people):
            people.execute("reset simulation.now")
        self.slow_people.commit()
        # Tables that were moved are made anew.
        if shape != self._shape or shape.seen != "crm":
            self._build(shape)
        with self.plain.begin() as connection:
            # PostgreSQL counts a dropped column for ever, up to 1,600: seeds without it drop nothing.
            connection.exec_driver_sql(f"alter table enerflo.installs drop column if exists {COLUMN}")
            more = [f"office.{name}" for name in crm_ddl.CRM_TABLES] if shape.copied else []
            more += ["crm.permits"] if shape.wide_table == "permits" else []
            connection.exec_driver_sql(f"truncate {', '.join([*self._tables, *more])} restart identity")

    def _build(self, shape: Shape) -> None:
        """Make the CRM's tables anew."""
        self.plain.dispose()
        _run(
            self.url,
            "drop schema if exists crm cascade",
            *(f"drop schema if exists {name} cascade" for name in ("office", "seen", "sales")),
            *(crm_ddl.CREATE_CRM, crm_ddl.INDEX_CRM, *shape.statements(), _SPELL.format("crm")),
            *(_WATCH_CRM.format(name) for name in crm_ddl.CRM_TABLES),
            *([_WATCH_CRM.format("permits")] if shape.wide_table == "permits" else []),
            _INTERNAL,
        )
        if shape.copied:
            _run(self.url, "create schema office", *(_OFFICE.format(name) for name in crm_ddl.CRM_TABLES))
            _run(self.url, _SPELL.format("office"))
        if shape.salesforce:
            _run(self.url, *(_SALESFORCE.format(name) for name in crm_ddl.CRM_TABLES))
        if shape.seen != "crm":
            _run(self.url, f"create schema {shape.seen}", "create schema sales")
            _run(self.url, *(_SEEN.format(name) for name in crm_ddl.CRM_TABLES))
        self._shape = shape

    def close(self) -> None:
        self.people.close()
        self.slow_people.close()
        for engine in (self.plain, *(server.engine for server in self._servers)):
            engine.dispose()
