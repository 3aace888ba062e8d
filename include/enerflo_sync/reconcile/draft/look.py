"""The tables that the role can read, and a part of the rows of tables that may hold Enerflo's records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind, LiveTable, live_table
from enerflo_sync.crm.copies import COPIES_SCHEMA
from enerflo_sync.crm.live.copies import CopyTool, tool_of
from enerflo_sync.crm.marks import is_of_copy_tool
from enerflo_sync.crm.names import quoted
from enerflo_sync.reconcile.draft.beside import Column
from enerflo_sync.reconcile.draft.words import (
    DELETED,
    DELETED_AT,
    KEYS,
    MEANINGS,
    is_called,
    nearness,
    words_of,
)
from enerflo_sync.warehouse.schema import OWN_SCHEMAS

# How many tables are read, the ones with the most telling names first.
TABLES = 60
ROWS = 3000
# Only the beginning of a value is read, which identifies it.
_LENGTH = 300
_COMPARED = frozenset(Kind) - {Kind.JSON, Kind.JSONB, Kind.OTHER}

_READABLE = sa.text("""
/* enerflo-sync init: columns that the role can read */
select n.nspname as schema, c.relname as name, array_agg(a.attname::text order by a.attnum) as columns,
       greatest(max(c.reltuples), 0)::bigint as rows, bool_or(c.relkind in ('r', 'p', 'm')) as may_be_sampled
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = c.oid
where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition and a.attnum > 0 and not a.attisdropped
  and n.nspname <> all(:ours) and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
  and n.nspname = coalesce(:only, n.nspname)
  and has_schema_privilege(n.oid, 'usage') and has_column_privilege(c.oid, a.attnum, 'select')
group by n.nspname, c.relname
order by 1, 2
""")

_SAMPLE = Template("""
/* enerflo-sync init: a part of a table's rows */
select $values from $table$sampled limit $rows
""")


@dataclass(frozen=True)
class Candidate:
    """One table with a part of its rows, each a tuple of texts in the order of ``names``."""

    live: LiveTable
    names: Sequence[str]
    rows: Sequence[Sequence[str | None]]

    @property
    def crm_table(self) -> str:
        """Return the table's name in the form of ``sync.yaml``."""
        parts = (self.live.schema, self.live.name)
        return ".".join(part if part.isidentifier() and part.islower() else f'"{part}"' for part in parts)

    @cached_property
    def tool(self) -> CopyTool | None:
        """Return the tool whose copy the table seems to be; None if there is none."""
        return tool_of(self.live)

    @cached_property
    def marks(self) -> dict[str, bool | str]:
        """Return the columns that mark a row as deleted, each with its mark, as for ``deleted_when``."""
        found: dict[str, bool | str] = {}
        for name, mark in self.tool.deletions if self.tool is not None else ():
            if name in self.names:
                found[name] = mark if mark == "not_null" else mark == "true"
        for name in self.names:
            kind = self.live.columns[name].kind
            if kind is Kind.BOOLEAN and is_called(name, DELETED):
                found.setdefault(name, True)
            elif kind.is_time and is_called(name, DELETED_AT):
                found.setdefault(name, "not_null")
        return {name: mark for name, mark in found.items() if self._tells(name, mark)}

    def _tells(self, name: str, mark: bool | str) -> bool:
        """Return whether the mark leaves some rows alive: a mark on all rows has another meaning."""
        return not self.rows or any(not _is_marked(value, mark) for value in self.values(name))

    def values(self, name: str) -> list[str | None]:
        """Return a column's values, row by row."""
        at = self.names.index(name)
        return [row[at] for row in self.rows]

    @cached_property
    def living(self) -> list[int]:
        """Return the numbers of the rows that no mark declares deleted."""
        marked = [(self.values(name), mark) for name, mark in self.marks.items()]
        return [n for n in range(len(self.rows)) if not any(_is_marked(of[n], mark) for of, mark in marked)]

    def column(self, name: str, places: Sequence[int]) -> Column:
        """Return a column's values at some rows."""
        at = self.names.index(name)
        return Column([self.rows[n][at] for n in places])


def _is_marked(value: str | None, mark: bool | str) -> bool:
    if mark == "not_null":
        return value is not None
    return value is not None and (value.lower() in {"true", "t", "1", "yes"}) is mark


@dataclass(frozen=True)
class Readable:
    """A table that the role can read. ``share`` is the share of its rows that is read."""

    schema: str
    name: str
    share: float


def readable_tables(connection: sa.Connection, schema: str | None = None) -> list[Readable]:
    """Return the tables that may hold Enerflo's records, the ones with the most telling names first.

    :param schema: the only one to look into; otherwise all are.
    """
    named = {"ours": [*OWN_SCHEMAS, COPIES_SCHEMA], "only": schema}
    found = connection.execute(_READABLE, named).mappings().all()
    telling = sorted(found, key=lambda one: -_telling(one["columns"]))[:TABLES]
    return [
        Readable(
            one["schema"],
            one["name"],
            ROWS / one["rows"] if one["may_be_sampled"] and one["rows"] > ROWS else 1.0,
        )
        for one in telling
    ]


def readable_schemas(connection: sa.Connection) -> list[str]:
    """Return the schemas that have tables the role can read, without our own."""
    named = {"ours": [*OWN_SCHEMAS, COPIES_SCHEMA], "only": None}
    return sorted({one.schema for one in connection.execute(_READABLE, named)})


def candidate_of(connection: sa.Connection, table: Readable) -> Candidate | None:
    """Return a table with a part of its rows; None if none of its columns can be compared."""
    live = live_table(connection, table.schema, table.name)
    columns = live.columns.items() if live is not None else ()
    names = [name for name, column in columns if column.readable and column.kind in _COMPARED]
    if live is None or not names:
        return None
    return Candidate(live, names, _rows(connection, live, names, table.share))


def _telling(columns: Collection[str]) -> float:
    """Return how much the column names of a table resemble Enerflo's records of one kind."""
    enerflo = 5.0 * any("enerflo" in words_of(name) for name in columns)
    return enerflo + max(_of_kind(columns, meanings) for meanings in MEANINGS.values())


def _of_kind(columns: Collection[str], meanings: Mapping[str, Sequence[str]]) -> float:
    return sum(max((nearness(name, called) for name in columns), default=0.0) for called in meanings.values())


def _rows(
    connection: sa.Connection, live: LiveTable, names: Sequence[str], share: float
) -> list[tuple[str | None, ...]]:
    values = ", ".join(f"left({quoted(name)}::text, {_LENGTH})" for name in names)
    sampled = "" if share == 1.0 else f" tablesample bernoulli ({100 * share:.6f}) repeatable (1)"
    statement = _SAMPLE.substitute(
        values=values, table=quoted(live.schema, live.name), sampled=sampled, rows=ROWS
    )
    return [tuple(row) for row in connection.exec_driver_sql(statement, {})]


def key_columns(candidate: Candidate) -> list[str]:
    """Return the columns that identify a row: the unique key; for a view, judged by names and values.

    A copy tool's own id (``_airbyte_raw_id``) is none: the next copy gives the same row another one.
    """
    names = [name for name in candidate.names if not is_of_copy_tool(name)]
    keys = [key for key in candidate.live.unique_keys if set(key) <= set(names)]
    columns = candidate.live.columns
    # A unique index on a nullable column leaves rows without an identity; a primary key does not.
    keys.sort(key=lambda key: (sum(not columns[name].not_null for name in key), len(key)))
    if keys:
        return list(keys[0])
    for name in names:
        if words_of(name)[-1] in {"id", "key"} and is_unique(candidate.values(name)):
            return [name]
    return []


def is_unique(values: Sequence[str | None]) -> bool:
    """Return whether every row has a value, and no two the same."""
    return bool(values) and None not in values and len(set(values)) == len(values)


def named_key(kind: str, name: str) -> float:
    """Return how much a column's name resembles the key of a kind of records."""
    return nearness(name, KEYS[kind][1])
