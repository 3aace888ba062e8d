"""The SQL that grants a role what an account's jobs need, and nothing more (``doctor --grants ROLE``)."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from enerflo_sync.crm.catalog import LiveTable, live_table
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.live.rights import Writes, sequences_of, writes_of
from enerflo_sync.crm.live.rights_behind import grants_behind
from enerflo_sync.crm.mapping import Mode, TableMapping
from enerflo_sync.crm.names import pasted, relation
from enerflo_sync.warehouse.schema import OWN_SCHEMAS

_ROWS = "select, insert, update, delete"

_HERE = sa.text("""
/* enerflo-sync grants: the database, our schemas, and whether there is such a role */
select current_database() as database,
       exists (select from pg_catalog.pg_roles where rolname = :role) as known,
       array(select n.nspname::text from pg_catalog.pg_namespace n where n.nspname = any(:own)) as own,
       array(select distinct pg_get_userbyid(c.relowner)::text from pg_catalog.pg_class c
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace
             where n.nspname = any(:own) and c.relkind in ('r', 'p')
             order by 1) as owners
""")


def grants_sql(connection: sa.Connection, config: SyncConfig, account: str, role: str) -> str:
    """Return the statements that grant ``role`` what the jobs of an account need in its present modes.

    The jobs write our own tables in every mode, since these store what the jobs read, compare and plan.
    Report mode only reads the CRM's tables; other modes get the columns that the mapping lets them write. The
    text can be pasted as a whole into psql, by the tables' owner or a superuser, and more than once.
    """
    return "\n".join(_lines(connection, config, account, role)) + "\n"


def _lines(connection: sa.Connection, config: SyncConfig, account: str, role: str) -> Iterator[str]:
    here = connection.execute(_HERE, {"role": role, "own": list(OWN_SCHEMAS)}).mappings().one()
    name, database = pasted(role), pasted(here["database"])
    yield f"-- PostgreSQL. What enerflo-sync needs for the account {account}. Run it as a superuser or as"
    yield f"-- the tables' owner, in the database {_comment(here['database'])}."
    if not here["known"]:
        yield f"create role {name} login;  -- then give it a password: \\password {_comment(name)}"
    yield ""
    yield "-- Temporary tables, in which both sides are compared."
    yield f"grant connect, temporary on database {database} to {name};"
    yield ""
    yield from _own(here, role)
    writing = False
    for table, mapping in config.tables_for(account).items():
        mode = config.mode_of(account, table)
        writing = writing or "to_crm" in mode.writes
        yield ""
        yield from _mapped(connection, table, mapping, mode, role)
    if not writing:
        yield ""
        yield "-- No mode writes the CRM's tables: run doctor --grants again when one does."


def _own(here: sa.RowMapping, role: str) -> Iterator[str]:
    name = pasted(role)
    missing = [schema for schema in OWN_SCHEMAS if schema not in here["own"]]
    if missing:
        yield "-- The tables of enerflo-sync: the role makes them with enerflo-sync migrate."
        for schema in missing:
            yield f"create schema {pasted(schema)} authorization {name};"
    there = [schema for schema in OWN_SCHEMAS if schema not in missing]
    owners = [str(owner) for owner in here["owners"]]
    if not there or owners == [role]:
        return
    schemas = ", ".join(pasted(schema) for schema in there)
    yield "-- The tables of enerflo-sync: every job stores what it read, found and decided."
    yield f"grant usage on schema {schemas} to {name};"
    yield f"grant {_ROWS} on all tables in schema {schemas} to {name};"
    yield f"grant usage on all sequences in schema {schemas} to {name};"
    if owners:
        yield "-- And those that a later enerflo-sync migrate makes, which their owner runs."
    for owner in owners:
        of_owner = f"alter default privileges for role {pasted(owner)} in schema {schemas}"
        yield f"{of_owner} grant {_ROWS} on tables to {name};"
        yield f"{of_owner} grant usage on sequences to {name};"


def _mapped(
    connection: sa.Connection, name: str, mapping: TableMapping, mode: Mode, role: str
) -> Iterator[str]:
    schema, relname = mapping.relation
    table = live_table(connection, schema, relname)
    yield f"-- {name}, mode {mode}."
    if mapping.is_kept:
        yield "-- Its copy."
        yield f"create schema if not exists {pasted(schema)};"
        yield f"grant usage, create on schema {pasted(schema)} to {pasted(role)};"
        if table is not None:
            yield f"alter table {pasted(schema, relname)} owner to {pasted(role)};"
        return
    if table is None:
        yield f"-- There is no {_comment(mapping.crm_table)} yet: create it, then run doctor --grants again."
        return
    on = f"on {pasted(schema, relname)} to {pasted(role)};"
    yield f"grant usage on schema {pasted(schema)} to {pasted(role)};"
    yield f"grant select {on}"
    writes = writes_of(mapping, table, mode)
    yield from _outlet(mapping, mode, role)
    yield from _written(connection, table, writes, on, role)
    yield from grants_behind(connection, table, writes, role)


def _outlet(mapping: TableMapping, mode: Mode, role: str) -> Iterator[str]:
    """Yield the grants for the team's own table that takes changes; ours is granted with our other tables."""
    if mapping.handed_to is None or not mode.writes:
        return
    schema, relname = relation(mapping.handed_to.changes)
    if schema in OWN_SCHEMAS:
        return
    yield "-- The table that takes approved changes (write_to), and says which of them a tool took over."
    yield f"grant usage on schema {pasted(schema)} to {pasted(role)};"
    yield f"grant select, insert, update on {pasted(schema, relname)} to {pasted(role)};"


def _written(
    connection: sa.Connection, table: LiveTable, writes: Writes, on: str, role: str
) -> Iterator[str]:
    for right, columns in (("insert", writes.inserts), ("update", writes.updates)):
        if columns:
            yield f"grant {right} ({', '.join(pasted(column) for column in columns)}) {on}"
    if writes.deletes:
        yield f"grant delete {on}"
    elif writes.inserts and writes.mark is None:
        yield f"-- Only an undo of new rows needs this: grant delete {_comment(on)}"
    for sequence in sequences_of(connection, table, writes):
        yield f"grant usage on sequence {pasted(sequence.schema, sequence.name)} to {pasted(role)};"


def _comment(text: str) -> str:
    """Return a name for use in a comment, which a line break would end."""
    return " ".join(text.split())
