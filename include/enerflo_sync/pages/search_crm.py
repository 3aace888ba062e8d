"""Search in the CRM's tables for a key, only through indexes of those tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from enerflo_sync.crm.mapping import MIRROR_TABLES, TableMapping
from enerflo_sync.crm.names import pasted
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata

# Fields of these columns of the mirror identify a record as well as its key does.
_NAMING = frozenset({"deal_id", "email", "integration_record_id"})
_MOST = 21
# The search does not wait for another session's lock on a CRM table.
_WAIT = "500ms"

_INDEXES = sa.text("""
/* enerflo-sync pages: what the indexes of the CRM's tables can answer */
select n.nspname || '.' || c.relname as relation, i.columns, k.types
from unnest(:schemas, :names) as w (nspname, relname)
join pg_catalog.pg_namespace n on n.nspname = w.nspname
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.relname
cross join lateral (
  select jsonb_object_agg(a.attname, coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text) as types
  from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) k
left join lateral (
  select jsonb_agg(to_jsonb(array(
    select a.attname::text from unnest(x.indkey::int[]) with ordinality as u (attnum, place)
    left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = u.attnum and u.attnum > 0
    where u.place <= x.indnkeyatts order by u.place))) as columns
  from pg_catalog.pg_index x join pg_catalog.pg_class o on o.oid = x.indexrelid
  join pg_catalog.pg_am m on m.oid = o.relam
  where x.indrelid = c.oid and x.indisvalid and x.indpred is null and m.amname in ('btree', 'hash')) i on true
where has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
""").bindparams(
    sa.bindparam("schemas", type_=sa.ARRAY(sa.Text)), sa.bindparam("names", type_=sa.ARRAY(sa.Text))
)


@dataclass(frozen=True)
class CrmHit:
    """One CRM row that was found.

    :param column: the column by which it was found.
    :param key: its key in the form of a record's address.
    :param enerflo_ids: the ids of Enerflo's record that it names; None if it names none.
    """

    table: str
    kind: str
    crm_table: str
    column: str
    key: str
    enerflo_ids: tuple[int, ...] | None


@dataclass(frozen=True)
class Searched:
    """What was searched on the CRM's side.

    :param columns: searched columns, which have an index, such as ``crm.leads.lead_id``.
    :param without: columns without an index, which were not searched.
    :param busy: the CRM's tables did not answer in time.
    """

    columns: Sequence[str] = ()
    without: Sequence[str] = ()
    busy: bool = False


@dataclass(frozen=True)
class _Lookup:
    """One lookup by an index: these columns of a table have these values."""

    table: str
    mapping: TableMapping
    columns: Sequence[str]
    types: Sequence[str] = field(default_factory=tuple)

    @property
    def name(self) -> str:
        return f"{self.mapping.crm_table}.{'/'.join(self.columns)}"


def search_crm(
    connection: sa.Connection, tables: Mapping[str, TableMapping], text: str
) -> tuple[list[CrmHit], Searched]:
    """Return the CRM rows whose key, deal or e-mail is exactly a text.

    Only columns with an index are searched, so no table is read as a whole.
    """
    possible = list(_possible(connection, tables))
    served = [one for one in possible if one.types]
    searched = Searched([one.name for one in served], [one.name for one in possible if not one.types])
    asked = [(one, values) for one in served if (values := _values(one, text)) is not None]
    if not asked or not text:
        return [], searched
    try:
        with connection.begin_nested():
            return _look(connection, asked), searched
    except (sa.exc.OperationalError, sa.exc.ProgrammingError):
        return [], Searched(searched.columns, searched.without, busy=True)


def _look(connection: sa.Connection, asked: Sequence[tuple[_Lookup, Sequence[str]]]) -> list[CrmHit]:
    values: dict[str, Any] = {"most": _MOST}
    parts = []
    for at, (one, given) in enumerate(asked):
        values |= {f"v{at}_{n}": value for n, value in enumerate(given)}
        parts.append(f"({_statement(at, one)})")
    before = connection.scalar(sa.text("select current_setting('lock_timeout')"))
    wait = sa.text("select set_config('lock_timeout', :wait, true)")
    connection.execute(wait, {"wait": _WAIT})
    union = "/* enerflo-sync pages: search the CRM's keys */ " + " union all ".join(parts)
    rows = connection.execute(sa.text(union), values).all()
    connection.execute(wait, {"wait": before})
    return [_hit(asked[row.at][0], row) for row in rows]


def _possible(connection: sa.Connection, tables: Mapping[str, TableMapping]) -> Iterator[_Lookup]:
    """Yield the columns that may identify a row; without types if they have no index."""
    relations = {name: mapping.relation for name, mapping in tables.items()}
    values = {
        "schemas": [schema for schema, _ in relations.values()],
        "names": [name for _, name in relations.values()],
    }
    known = {row.relation: row for row in connection.execute(_INDEXES, values)}
    for name, mapping in tables.items():
        row = known.get(".".join(relations[name]))
        for columns in _naming(mapping):
            types = _types(row, columns) if row is not None else ()
            yield _Lookup(name, mapping, columns, types)


def _naming(mapping: TableMapping) -> list[tuple[str, ...]]:
    """Return the groups of columns that together identify a row, its key first."""
    fields = [(name,) for name, one in mapping.fields.items() if one.enerflo in _NAMING]
    adopted = [(name,) for name in mapping.adopt]
    found: dict[frozenset[str], tuple[str, ...]] = {}
    for columns in (mapping.key_columns, tuple(mapping.join_columns), *adopted, *fields):
        if columns:
            found.setdefault(frozenset(columns), columns)
    return list(found.values())


def _types(row: Any, columns: Sequence[str]) -> tuple[str, ...]:
    served = any(set(index[: len(columns)]) == set(columns) for index in row.columns or ())
    types = [row.types.get(column) for column in columns]
    return tuple(types) if served and all(one in _READERS for one in types) else ()


def _whole(text: str) -> str | None:
    digits = text.removeprefix("-")
    return text if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def _uuid(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None


# By type: how a text is read, and the type of the comparison, so that the index is used.
_READERS: Mapping[str, tuple[Callable[[str], str | None], str]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), (_whole, "bigint")),
    "numeric": (_whole, "numeric"),
    "uuid": (_uuid, "uuid"),
    **{name: (str, name) for name in ("text", "character varying", "character", "citext")},
}


def _named(*parts: str) -> str:
    # A colon in a name must not become a parameter.
    return pasted(*parts).replace(":", "\\:")


def _values(one: _Lookup, text: str) -> list[str] | None:
    parts = [text] if len(one.columns) == 1 else text.split("/")
    if len(parts) != len(one.columns) or not all(parts):
        return None
    found = [_READERS[kind][0](part) for kind, part in zip(one.types, parts, strict=True)]
    return None if any(value is None for value in found) else [str(value) for value in found]


def _statement(at: int, one: _Lookup) -> str:
    conditions = " and ".join(
        f"t.{_named(column)} = cast(:v{at}_{n} as {_READERS[kind][1]})"
        for n, (column, kind) in enumerate(zip(one.columns, one.types, strict=True))
    )
    key = ", ".join(f"t.{_named(column)}::text" for column in one.mapping.key_columns)
    linked = _link(one)
    link = ", ".join(f"t.{_named(column)}::text" for column in linked) if linked else "null::text"
    source = _named(*one.mapping.relation)
    return (
        f"select {at} as at, array[{key}] as key, array[{link}] as link from {source} t"  # noqa: S608
        f" where {conditions} limit :most"
    )


def _link(one: _Lookup) -> Sequence[str]:
    """Return the CRM columns that hold the ids of Enerflo's record, in their order."""
    kind = one.mapping.key_kind(one.table)
    table = metadata.tables[f"{MIRROR_SCHEMA}.{MIRROR_TABLES[kind]}"]
    ids = [column.name for column in table.primary_key if column.name != "account"]
    by_mirror = {mirror: crm for crm, mirror in one.mapping.join_columns.items()}
    return [by_mirror[name] for name in ids] if all(name in by_mirror for name in ids) else ()


def _hit(one: _Lookup, row: Any) -> CrmHit:
    whole = [None if text is None else _whole(text.strip()) for text in row.link]
    ids = None if any(value is None for value in whole) else tuple(int(str(value)) for value in whole)
    return CrmHit(
        table=one.table,
        kind=one.mapping.key_kind(one.table),
        crm_table=one.mapping.crm_table,
        column="/".join(one.columns),
        key="/".join("" if part is None else part for part in row.key),
        enerflo_ids=ids,
    )
