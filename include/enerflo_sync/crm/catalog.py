"""What the live database's catalog says about a table: columns, types, unique keys and rights."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa


class Kind(StrEnum):
    """The kind of a column's type, as comparisons distinguish it."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    TEXT = "text"
    UUID = "uuid"
    TIMESTAMPTZ = "timestamptz"
    TIMESTAMP = "timestamp"
    DATE = "date"
    BOOLEAN = "boolean"
    JSON = "json"
    JSONB = "jsonb"
    OTHER = "other"

    @property
    def is_time(self) -> bool:
        """Return whether values of this type can be compared with a moment."""
        return self in {Kind.TIMESTAMPTZ, Kind.TIMESTAMP, Kind.DATE}


_KINDS = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), Kind.INTEGER),
    "numeric": Kind.DECIMAL,
    **dict.fromkeys(("float4", "float8"), Kind.FLOAT),
    **dict.fromkeys(("text", "varchar", "bpchar", "char", "name", "citext"), Kind.TEXT),
    "uuid": Kind.UUID,
    "timestamptz": Kind.TIMESTAMPTZ,
    "timestamp": Kind.TIMESTAMP,
    "date": Kind.DATE,
    "bool": Kind.BOOLEAN,
    "json": Kind.JSON,
    "jsonb": Kind.JSONB,
}

# Changes that alter rows' values without writing rows: another table or partition in place of one, columns
# that swap names, altered expressions and labels.
_HEAP = """
with recursive parts as (
  select r.oid
  union all
  select i.inhrelid from pg_catalog.pg_inherits i join parts p on p.oid = i.inhparent
)
select case when every((c.relkind = 'p' or c.relkind = 'r' and m.amname = 'heap') and not c.relrowsecurity)
  then md5(concat_ws('|', (select d.oid from pg_catalog.pg_database d where d.datname = current_database()),
    string_agg(c.oid::text, ',' order by c.oid),
    (select string_agg(concat_ws(' ', a.attnum, a.attname, a.atttypid, pg_get_expr(g.adbin, g.adrelid),
         (select string_agg(e.enumlabel, ',' order by e.enumsortorder) from pg_catalog.pg_enum e
          where e.enumtypid = a.atttypid)), ',' order by a.attnum)
     from pg_catalog.pg_attribute a left join pg_catalog.pg_attrdef g
       on g.adrelid = a.attrelid and g.adnum = a.attnum and a.attgenerated <> ''
     where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped))) end
from parts p join pg_catalog.pg_class c on c.oid = p.oid left join pg_catalog.pg_am m on m.oid = c.relam"""

_COLUMNS = """
with recursive base as (
  select a.attnum, a.attname, a.atttypid as typid, a.atttypid as shown, a.atttypmod, a.attnotnull,
         a.attcollation, a.atttypmod as typmod
  from pg_catalog.pg_attribute a
  where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  union all
  select b.attnum, b.attname, t.typbasetype, b.shown, b.atttypmod, b.attnotnull, b.attcollation,
         greatest(b.typmod, t.typtypmod)
  from base b join pg_catalog.pg_type t on t.oid = b.typid where t.typtype = 'd'
)
select b.attname as name, case when t.typtype = 'e' then 'text' else t.typname end as base,
       t.typname as plain, format_type(b.shown, b.atttypmod) as type,
       case when b.shown <> b.typid then format_type(b.typid, b.typmod) end as of_domain,
       b.attnotnull as not_null,
       has_column_privilege(r.oid, b.attnum, 'select') as readable,
       exists (select from pg_catalog.pg_collation c
               where c.oid = b.attcollation and not c.collisdeterministic) as loose
from base b join pg_catalog.pg_type t on t.oid = b.typid where t.typtype <> 'd'
order by b.attnum"""

# The index of a table holds no rows of tables that inherit from it; a partitioned table's index does.
_INDEXES = """
select i.indisunique and w.whole as proves_unique, w.whole and m.amname = 'btree' as orders,
       i.indexprs is not null as of_expressions,
       array(select a.attname::text from unnest(i.indkey::int[]) with ordinality as k(attnum, place)
             join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
             where k.place <= i.indnkeyatts order by k.place) as columns
from pg_catalog.pg_index i
join pg_catalog.pg_class x on x.oid = i.indexrelid join pg_catalog.pg_am m on m.oid = x.relam
cross join lateral (
  select i.indpred is null and i.indexprs is null and i.indisvalid and not exists (
    select from pg_catalog.pg_inherits h join pg_catalog.pg_class c on c.oid = h.inhparent
    where h.inhparent = i.indrelid and c.relkind <> 'p') as whole
) w
where i.indrelid = r.oid and i.indislive"""

# Whether policies choose rows for the present role, and none of them shows it all rows.
_HIDES = """
with policies as (
  select y.polpermissive, coalesce(pg_get_expr(y.polqual, y.polrelid), '') = 'true' as shows_all
  from pg_catalog.pg_policy y
  where y.polrelid = r.oid and y.polcmd in ('r', '*')
    and exists (select from unnest(y.polroles) one where one = 0 or pg_has_role(one, 'usage'))
)
select row_security_active(r.oid) and (
  not exists (select from policies where polpermissive and shows_all)
  or exists (select from policies where not polpermissive and not shows_all))"""

# One statement for all tables of a job: PostgreSQL takes longer to plan it than to execute it.
_TABLES = sa.text(f"""
/* enerflo-sync catalog: relations */
select n.nspname::text as schema, r.relname::text as name, r.relkind in ('v', 'm', 'f') as view,
       has_schema_privilege(n.oid, 'usage') and has_table_privilege(r.oid, 'select') as readable,
       has_schema_privilege(n.oid, 'usage') as usable,
       ({_HIDES}) as hides_rows,
       r.relkind <> 'r' or r.relhasrules or r.relhassubclass or row_security_active(r.oid) or exists (
         select from pg_catalog.pg_trigger g where g.tgrelid = r.oid and not g.tgisinternal) as has_own_rules,
       ({_HEAP}) as heap,
       array(select to_json(one) from ({_COLUMNS}) one) as columns,
       array(select to_json(one) from ({_INDEXES}) one) as indexes
from pg_catalog.pg_class r join pg_catalog.pg_namespace n on n.oid = r.relnamespace
where (n.nspname, r.relname) in (select * from unnest(cast(:schemas as text[]), cast(:names as text[])))
  and r.relkind in ('r', 'p', 'v', 'm', 'f')
""")  # noqa: S608 - constants

# Opens the relation, which waits for another session's lock, so only the doctor and plans ask.
_WRITABLE = sa.text("""
/* enerflo-sync catalog: columns of relations that take values */
select n.nspname::text as schema, c.relname::text as name, array_agg(a.attname::text) as columns
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join lateral (select pg_relation_is_updatable(c.oid, true) as events offset 0) u
where (n.nspname, c.relname) in (select * from unnest(cast(:schemas as text[]), cast(:names as text[])))
  and a.attnum > 0 and not a.attisdropped
  -- A text would be cut without an error to the one byte of "char", and to the 63 of name.
  and (:identity or a.atttypid not in ('pg_catalog."char"'::regtype, 'pg_catalog.name'::regtype))
  and u.events & 4 <> 0 and a.attgenerated = '' and (a.attidentity <> 'a' or :identity)
  -- pg_column_is_updatable also requires deletions (16), which a view's trigger may not support.
  and (u.events & 16 = 0 or pg_column_is_updatable(c.oid, a.attnum, true))
group by 1, 2
""")

_NAMES = sa.text("""
/* enerflo-sync catalog: names of every relation */
select n.nspname || '.' || c.relname
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not in ('pg_catalog', 'information_schema')
  and n.nspname !~ '^pg_(toast|temp)'
order by 1
""")


class LiveColumn(msgspec.Struct, frozen=True):
    """One column: ``type`` as SQL writes it, ``kind`` with domains and enumerations resolved.

    ``base`` is the catalog's name of its type, or of its domain's type: ``varchar``, ``int4``. ``loose`` is
    whether its collation treats different texts as equal, such as ``Abc`` and ``ABC``. ``of_domain`` is the
    type below its domain, as SQL writes it; None if its type is no domain.
    """

    name: str
    type: str
    kind: Kind
    not_null: bool
    readable: bool
    base: str
    loose: bool = False
    of_domain: str | None = None

    @property
    def is_plain_text(self) -> bool:
        """Return whether a value is plain text; other text types are padded or have their own equality."""
        return self.type == "text" or self.type.startswith("character varying")

    @property
    def folds(self) -> bool:
        """Return whether PostgreSQL calls different texts of the column equal: by collation, or citext."""
        return self.loose or self.base == "citext"

    @property
    def is_listed(self) -> bool:
        """Return whether the type is an enumeration, or a domain over one."""
        return self.kind is Kind.TEXT and _KINDS.get(self.base) is not Kind.TEXT

    @property
    def unchecked_type(self) -> str:
        """Return the type for a statement, below a domain: a cast to it meets no check of the domain."""
        return (self.of_domain or self.type).replace("%", "%%")

    @property
    def sql_type(self) -> str:
        """Return the type for a statement with ``%(name)s`` parameters."""
        return self.type.replace("%", "%%")


class LiveTable(msgspec.Struct, frozen=True):
    """One table or view. ``readable`` is whether all of it may be selected.

    ``has_own_rules`` is whether it may store other values than written, or pass over a write: by triggers,
    rules or policies, as a view, or in tables behind it.

    ``hides_rows`` is whether policies of row-level security may hide rows from the present role. Those of
    tables behind a view do not count.

    ``heap`` identifies its storage: another table of the same name has another text. It is None if a row's
    transaction does not show when the row changed: views, foreign tables, other kinds of storage, and tables
    with row-level security, whose rows appear and vanish without being written.

    ``has_expression_index`` is whether an index contains more than plain columns.
    """

    schema: str
    name: str
    view: bool
    usable: bool
    readable: bool
    has_own_rules: bool
    heap: str | None
    columns: Mapping[str, LiveColumn]
    unique_keys: Sequence[tuple[str, ...]]
    first_indexed: frozenset[str]
    # Columns by whose value a B-tree finds any row.
    ordered_by: frozenset[str] = frozenset()
    has_expression_index: bool = False
    hides_rows: bool = False

    def unique_by(self, columns: Sequence[str]) -> bool:
        """Return whether an index proves that no two rows share these columns' values."""
        return any(set(key) <= set(columns) for key in self.unique_keys if key)


def live_table(connection: sa.Connection, schema: str, name: str) -> LiveTable | None:
    """Return what the catalog says about a table or view; ``None`` if none has the name.

    Names are compared letter by letter. No right on the table itself is needed.
    """
    return live_tables(connection, [(schema, name)]).get((schema, name))


def live_tables(
    connection: sa.Connection, relations: Collection[tuple[str, str]]
) -> dict[tuple[str, str], LiveTable]:
    """Return what :func:`live_table` says about each table or view that there is, by schema and name."""
    named = {"schemas": [schema for schema, _ in relations], "names": [name for _, name in relations]}
    return {(row.schema, row.name): _live(row) for row in connection.execute(_TABLES, named)}


def _live(row: sa.Row[Any]) -> LiveTable:
    return LiveTable(
        schema=row.schema,
        name=row.name,
        view=row.view,
        usable=row.usable,
        readable=row.readable,
        has_own_rules=row.has_own_rules,
        heap=row.heap,
        columns={
            column["name"]: LiveColumn(
                column["name"],
                column["type"],
                _KINDS.get(column["base"], Kind.OTHER),
                column["not_null"],
                column["readable"],
                column["plain"],
                column["loose"],
                column["of_domain"],
            )
            for column in row.columns
        },
        unique_keys=[tuple(index["columns"]) for index in row.indexes if index["proves_unique"]],
        first_indexed=frozenset(index["columns"][0] for index in row.indexes if index["columns"]),
        ordered_by=frozenset(index["columns"][0] for index in row.indexes if index["orders"]),
        has_expression_index=any(index["of_expressions"] for index in row.indexes),
        hides_rows=row.hides_rows,
    )


def writable_columns(connection: sa.Connection, table: LiveTable) -> frozenset[str]:
    """Return the columns that accept a value from anybody; none if the relation is a view without updates.

    Generated columns and columns that a view computes are not included.
    """
    return writable_columns_of(connection, [(table.schema, table.name)])[table.schema, table.name]


def writable_columns_of(
    connection: sa.Connection, relations: Collection[tuple[str, str]]
) -> dict[tuple[str, str], frozenset[str]]:
    """Return :func:`writable_columns` of each relation."""
    return _taking(connection, relations, identity=False)


def insertable_columns(connection: sa.Connection, table: LiveTable) -> frozenset[str]:
    """Return :func:`writable_columns` and the identity columns, which a restored row must set as well."""
    relation = table.schema, table.name
    return _taking(connection, [relation], identity=True)[relation]


def _taking(
    connection: sa.Connection, relations: Collection[tuple[str, str]], *, identity: bool
) -> dict[tuple[str, str], frozenset[str]]:
    schemas, names = [schema for schema, _ in relations], [name for _, name in relations]
    named = {"schemas": schemas, "names": names, "identity": identity}
    found = {(row.schema, row.name): row.columns for row in connection.execute(_WRITABLE, named)}
    return {relation: frozenset(found.get(relation, ())) for relation in relations}


def relation_names(connection: sa.Connection) -> list[str]:
    """Return every table and view of the database as ``schema.table``."""
    return list(connection.execute(_NAMES).scalars())
