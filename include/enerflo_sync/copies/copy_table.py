"""The copy of a CRM table in the warehouse: made, filled, and updated where rows differ.

A row that did not change is not written again, so :mod:`enerflo_sync.reconcile.observation` finds only rows
that changed in the CRM.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.remote_table import RemoteTable
from enerflo_sync.crm.copies import COPIES_SCHEMA, INSIDE, KEY_HASH, ROW_HASH, UNREAD
from enerflo_sync.crm.names import pasted, quoted
from enerflo_sync.warehouse.bulk import driver_connection

_STAGE, _REPLACED = "pg_temp.crm_copy_stage", "pg_temp.crm_copy_old"
# Rows ``c`` of a copy: rows of the requested keys, and rows whose key was just read.
_OF_KEYS = f"(c.{KEY_HASH} = any(%(known)s::bigint[]) or c.{KEY_HASH} in (select {KEY_HASH} from {_STAGE}))"  # noqa: S608 - constants

_CREATE = Template("create table $copy ($columns)")
_BUCKETS = Template(f"""
/* enerflo-sync copy: sums of row digests by key */
select {KEY_HASH} %% %(buckets)s as bucket, count(*) as number, sum({ROW_HASH})::text as total
from $copy group by 1
""")  # noqa: S608 - constants

# Rows with the same two digests are numbered, so that each copy of a row counts.
_NTH = f"row_number() over (partition by {ROW_HASH}, {KEY_HASH}) as nth"
_SAME = f"s.{ROW_HASH} = t.{ROW_HASH} and s.{KEY_HASH} = t.{KEY_HASH} and s.nth = t.nth"
_OLD = Template(f"""
/* enerflo-sync copy: the rows that are to be replaced */
create temporary table crm_copy_old on commit drop as
select c.ctid as id, {ROW_HASH}, {KEY_HASH}, {_NTH} from $copy c where $which
""")  # noqa: S608 - constants
_DELETE = Template(f"""
/* enerflo-sync copy: rows that the CRM does not have like this any more */
delete from $copy c using (
  select t.id from {_REPLACED} t
  where not exists (select from (select {ROW_HASH}, {KEY_HASH}, {_NTH} from {_STAGE}) s where {_SAME})
) gone where c.ctid = gone.id
""")  # noqa: S608 - constants
_INSERT = Template(f"""
/* enerflo-sync copy: rows that are new, or say something else */
insert into $copy select $columns from (
  select n.*, {_NTH} from {_STAGE} n
) t where not exists (select from {_REPLACED} s where {_SAME})
""")  # noqa: S608 - constants


class CopyTable:
    """The copy of one table. Every method works in the caller's transaction."""

    def __init__(self, connection: sa.Connection, place: tuple[str, str], remote: RemoteTable) -> None:
        self._connection = connection
        self._place = place
        self._remote = remote
        self.name = quoted(*place)
        # The size of the rows that came, in our own pages.
        self.bytes_read = 0

    def exists(self) -> bool:
        """Return whether the table is there."""
        found = self._connection.execute(sa.text("select to_regclass(:name)"), {"name": pasted(*self._place)})
        return found.scalar_one() is not None

    def make(self) -> None:
        """Make the table anew, empty, beside the old one, which is read until :meth:`take_place`."""
        schema = quoted(COPIES_SCHEMA)
        present = sa.text("select exists (select from pg_catalog.pg_namespace where nspname = :name)")
        if not self._connection.execute(present, {"name": COPIES_SCHEMA}).scalar_one():
            self._do(f"create schema {schema}")
        # A name may have the maximum length of PostgreSQL, so nothing can be added to it.
        self.name = quoted(COPIES_SCHEMA, f"new {hashlib.sha256(self._place[1].encode()).hexdigest()[:20]}")
        self._do(f"drop table if exists {self.name}")
        own = [f"{ROW_HASH} bigint not null", f"{KEY_HASH} bigint not null", f"{INSIDE} boolean not null"]
        own += [] if self._remote.unread is None else [f"{UNREAD} text"]
        columns = ", ".join([*(f"{quoted(one.name)} {one.type}" for one in self._remote.columns), *own])
        self._do(_CREATE.substitute(copy=self.name, columns=columns))

    def load(self, parts: Iterable[Sequence[Sequence[Any]]], tick: Any) -> int:
        """Fill the empty table and return how many rows it got."""
        number = self._copy_in(self.name, parts, tick)
        keys = ", ".join(quoted(one.name) for one in self._remote.key)
        self._do(f"create index on {self.name} ({keys})")
        self._do(f"analyze {self.name}")
        return number

    def take_place(self) -> None:
        """Replace the old table with the one that was made; do nothing if none was made."""
        place = quoted(*self._place)
        if self.name != place:
            self._do(f"drop table if exists {place}")
            self._do(f"alter table {self.name} rename to {quoted(self._place[1])}")
            self.name = place

    def buckets(self, buckets: int) -> dict[int, tuple[int, str]]:
        """Return the number of rows and the sum of digests for each bucket of keys."""
        rows = self._connection.exec_driver_sql(_BUCKETS.substitute(copy=self.name), {"buckets": buckets})
        return {row.bucket: (row.number, row.total) for row in rows}

    def ends(self) -> tuple[int | None, int | None]:
        """Return the smallest and the largest key of a table whose key is one whole number."""
        key = quoted(self._remote.key[0].name)
        query = f"/* enerflo-sync copy: ends */ select min({key}), max({key}) from {self.name}"  # noqa: S608
        smallest, largest = self._connection.exec_driver_sql(query, {}).one()
        return smallest, largest

    def merge(self, parts: Iterable[Sequence[Sequence[Any]]], which: str, values: Mapping[str, Any]) -> int:
        """Replace the rows ``c`` of a condition by others where they differ; return how many came."""
        self._do(f"drop table if exists {_STAGE}, {_REPLACED}")
        self._do(f"create temporary table crm_copy_stage (like {self.name}) on commit drop")
        number = self._copy_in(_STAGE, parts, None)
        # Another job may merge, too: each statement below sees what that job committed. Readers are not
        # blocked.
        self._do(f"lock table {self.name} in share row exclusive mode")
        named = {"copy": self.name, "columns": self._columns, "which": which}
        self._connection.exec_driver_sql(_OLD.substitute(named), values)
        # The joins below use these columns alone, and a text of customers takes long to analyze.
        self._do(f"analyze {_STAGE} ({ROW_HASH}, {KEY_HASH})")
        self._do(f"analyze {_REPLACED}")
        self._do(_DELETE.substitute(named))
        self._do(_INSERT.substitute(named))
        return number

    def merge_keys(self, parts: Iterable[Sequence[Sequence[Any]]], known: Sequence[int]) -> None:
        """Replace the rows of some keys with the rows that were read for them.

        :param known: digests of the keys of rows in the copy; a key without a read row was deleted.
        """
        self.merge(parts, _OF_KEYS, {"known": list(known)})

    def _do(self, statement: str) -> None:
        # Passing parameters, even none, makes a doubled percent sign in a name a single one.
        self._connection.exec_driver_sql(statement, {})

    @property
    def _columns(self) -> str:
        names = [one.name for one in self._remote.columns]
        unread = [] if self._remote.unread is None else [UNREAD]
        return ", ".join([*(quoted(name) for name in names), ROW_HASH, KEY_HASH, INSIDE, *unread])

    def _copy_in(self, table: str, parts: Iterable[Sequence[Sequence[Any]]], tick: Any) -> int:
        number = 0
        statement = f"copy {table} ({self._columns}) from stdin".replace("%%", "%")
        with driver_connection(self._connection).cursor() as cursor, cursor.copy(statement) as copy:
            for part in parts:
                for row in part:
                    copy.write_row(row)
                number += len(part)
                if tick is not None:
                    tick(number)
        if number:
            size = sa.text("select pg_table_size(cast(:table as regclass))")
            self.bytes_read += self._connection.execute(
                size, {"table": table.replace("%%", "%")}
            ).scalar_one()
        return number
