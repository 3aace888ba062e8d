"""What a role needs beside its rights on a CRM table: types of columns, and tables behind a view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from enerflo_sync.crm.catalog import LiveTable
from enerflo_sync.crm.live.rights import Writes
from enerflo_sync.crm.names import pasted

# Enumerations and domains may stand in another schema than the table; a job's temporary tables have columns
# of these types. PUBLIC mostly may use a type, and no schema but public.
_TYPES = sa.text("""
/* enerflo-sync rights: types of one relation's columns that not everybody may use */
with recursive used as (
  select a.atttypid as oid
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = :schema and c.relname = :name and a.attnum > 0 and not a.attisdropped
  union
  select b.oid from used u join pg_catalog.pg_type t on t.oid = u.oid
  cross join lateral (values (t.typbasetype), (case when t.typcategory = 'A' then t.typelem end)) b (oid)
  where b.oid <> 0
)
select n.nspname::text as schema, t.typname::text as name,
       has_schema_privilege('public', n.oid, 'usage') as schema_is_open,
       has_type_privilege('public', t.oid, 'usage') as is_open
from used u join pg_catalog.pg_type t on t.oid = u.oid
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where n.nspname <> 'pg_catalog' and t.typcategory <> 'A'
order by 1, 2
""")

# A view with security_invoker (PostgreSQL 15) reads and writes with the rights of the role that uses it.
_BEHIND = sa.text("""
/* enerflo-sync rights: relations that one view reads with the rights of the role that uses the view */
with recursive behind as (
  select c.oid, 0 as depth
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = :schema and c.relname = :name
  union
  select d.refobjid, b.depth + 1
  from behind b join pg_catalog.pg_class v on v.oid = b.oid and v.relkind = 'v'
  join pg_catalog.pg_rewrite r on r.ev_class = v.oid and r.ev_type = '1'
  join pg_catalog.pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
    and d.refclassid = 'pg_class'::regclass and d.refobjid <> v.oid
  where b.depth < 20 and exists (
    select from pg_options_to_table(v.reloptions) o
    where o.option_name = 'security_invoker' and lower(o.option_value) in ('true', 'on', 'yes', '1'))
)
select n.nspname::text as schema, c.relname::text as name,
       array(select a.attname::text from pg_catalog.pg_attribute a
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
from (select distinct oid from behind where depth > 0) b
join pg_catalog.pg_class c on c.oid = b.oid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not in ('pg_catalog', 'information_schema')
order by 1, 2
""")


@dataclass(frozen=True)
class Behind:
    """A table or view that a view reads with the rights of the role that uses the view."""

    schema: str
    name: str
    columns: Sequence[str]


def grants_behind(connection: sa.Connection, table: LiveTable, writes: Writes, role: str) -> Iterator[str]:
    """Yield the grants for types of a table's columns, and for the tables behind a view.

    Nothing for a type that every role may use, and nothing for a view that reads with its owner's rights.
    """
    yield from _types(connection, table, role)
    if not table.view:
        return
    named = {"schema": table.schema, "name": table.name}
    found = [Behind(row.schema, row.name, row.columns) for row in connection.execute(_BEHIND, named)]
    if found:
        yield "-- The view reads and writes these tables with the role's own rights (security_invoker)."
    for one in found:
        on = f"on {pasted(one.schema, one.name)} to {pasted(role)};"
        yield f"grant usage on schema {pasted(one.schema)} to {pasted(role)};"
        yield f"grant select {on}"
        for right, columns in (("insert", writes.inserts), ("update", writes.updates)):
            if columns:
                yield f"grant {right}{_of_columns(columns, one)} {on}"
        if writes.deletes:
            yield f"grant delete {on}"


def _of_columns(columns: Sequence[str], behind: Behind) -> str:
    """Return the columns of a grant; nothing (the whole table) if the view calls some otherwise."""
    is_same = set(columns) <= set(behind.columns)
    return f" ({', '.join(pasted(column) for column in columns)})" if is_same else ""


def _types(connection: sa.Connection, table: LiveTable, role: str) -> Iterator[str]:
    rows = connection.execute(_TYPES, {"schema": table.schema, "name": table.name}).all()
    schemas = dict.fromkeys(row.schema for row in rows if not row.schema_is_open)
    for schema in schemas:
        if schema != table.schema:
            yield f"grant usage on schema {pasted(schema)} to {pasted(role)};"
    for row in rows:
        if not row.is_open:
            yield f"grant usage on type {pasted(row.schema, row.name)} to {pasted(role)};"
