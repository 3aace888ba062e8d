"""The SQL of one mirror table: it reads rows as lines, compares staged rows with them, and writes them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.rebuild.report import SAMPLES
from enerflo_sync.resources.resource import Row
from enerflo_sync.warehouse.bulk import stage_name

# Types whose text is also their JSON; every other type is written as text in quotes.
_BARE = (sa.BigInteger, sa.Integer, sa.Boolean, JSONB)
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Shape:
    """One mirror table as stored records fill it.

    :param columns: the columns that a record gives, in order, including the key without the account.
    :param owner: for rows that belong to a record, the column with the record's id. Such a row is tombstoned
        when its record does not list it any more.
    :param stamped: whether the table has ``observed_at`` and ``observed_by``, which every write sets.
    :param versioned: whether a row names the raw version that it comes from.
    :param filled: columns that are filled for the first time; a row that differs only in these keeps
        ``observed_at``.
    """

    table: sa.Table
    columns: tuple[str, ...]
    owner: str | None = None
    stamped: bool = True
    versioned: bool = False
    filled: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the table's name without its schema."""
        return str(self.table.name)

    @cached_property
    def key(self) -> tuple[str, ...]:
        """Return the key's columns without the account."""
        names = [str(column.name) for column in self.table.primary_key.columns]
        return tuple(name for name in names if name != "account")

    @cached_property
    def key_at(self) -> tuple[int, ...]:
        """Return the indexes of the key's columns in a record's rows."""
        return tuple(self.columns.index(name) for name in self.key)

    @cached_property
    def key_of(self) -> Callable[[Row], Any]:
        """Return the function that gives a row's key without the account."""
        return itemgetter(*self.key_at)

    @cached_property
    def owner_at(self) -> int:
        """Return the index of the record's id in a record's rows."""
        return self.columns.index(self.owner or self.key[0])

    @cached_property
    def content(self) -> tuple[str, ...]:
        """Return the columns whose values come from the record.

        ``deleted_at`` is not among them, because a deletion is observed by other means than the record.
        """
        names = [name for name in self.columns if name not in (*self.key, "deleted_at")]
        return (*names, "content_hash") if self.versioned else tuple(names)

    @cached_property
    def compared(self) -> tuple[str, ...]:
        """Return the columns of :attr:`lines`, in the order of a record's rows."""
        names = [name for name in self.columns if name != "deleted_at"]
        return (*names, "content_hash") if self.versioned else tuple(names)

    @cached_property
    def lines(self) -> str:
        """Return the statement that reads the rows of some records as JSON arrays, one in each line.

        The values have the order of :attr:`compared`; for rows that belong to a record, whether the row is
        deleted follows. Parameters: ``account`` and ``ids``. Equal lines mean equal rows, but unequal lines
        may also be equal rows.
        """
        deleted = () if self.owner is None else ("(t.deleted_at is not null)::text",)
        return (
            f"/* enerflo-sync rebuild: rows of {self.name} */"  # noqa: S608 - names of the schema
            f" select string_agg({self._line(deleted)}, E'\\n') from {self._of_records}"
        )

    @cached_property
    def lists(self) -> str:
        """Return the statement that reads the rows of some records as JSON, one line for each record.

        A line has the record's id, and the list of its rows that are not deleted, in the order of their keys.
        Parameters: ``account`` and ``ids``. A record without any row, deleted ones included, has no line.
        """
        order = ", ".join(
            f't.{name} collate "C"' if isinstance(self.table.c[name].type, sa.Text) else f"t.{name}"
            for name in self.key
        )
        rows = f"string_agg({self._line()}, ',' order by {order}) filter (where t.deleted_at is null)"
        record = _json("u.id", self.table.c[self.owner or self.key[0]].type)
        return (
            f"/* enerflo-sync rebuild: rows of {self.name} by record */"  # noqa: S608 - names of the schema
            f" select string_agg(r.line, E'\\n') from (select concat('[', {record}, ',[', {rows}, ']]')"
            f" from {self._of_records} group by u.id) r (line)"
        )

    def _line(self, further: Iterable[str] = ()) -> str:
        parts = [_json(f"t.{name}", self.table.c[name].type) for name in self.compared]
        return "concat('[', {}, ']')".format(", ',', ".join([*parts, *further]))

    @property
    def _of_records(self) -> str:
        record = self.owner or self.key[0]
        return (
            f"unnest(%(ids)s::{self._id_type}[]) u(id) join {self.table.fullname} t"
            f" on t.account = %(account)s and t.{record} = u.id"
        )

    @property
    def _id_type(self) -> str:
        return str(self.table.c[self.owner or self.key[0]].type.compile(_DIALECT))

    @cached_property
    def staged(self) -> tuple[str, ...]:
        """Return the columns of staged rows."""
        extra: list[str] = []
        if self.stamped:
            extra += ["observed_at", "observed_by"]
        if self.owner is not None:
            # A row that belongs to a deleted record is tombstoned with it, so both columns get the same time.
            extra += ["deleted_at", "absent_since"]
        elif self.stamped:
            extra += ["content_hash"] if self.versioned else ["raw_hash"]
        return ("account", *self.columns, *extra)

    def _same_key(self, one: str, other: str) -> str:
        return " and ".join(f"{one}.{name} = {other}.{name}" for name in ("account", *self.key))

    def _differs(self, new: str, beside: Collection[str] = ()) -> str:
        """Return the condition that the content of row ``t`` differs from the row ``new``.

        :param beside: columns that are not compared.
        """
        content = [name for name in self.content if name not in beside]
        differs = f"({_listed('t', content)}) is distinct from ({_listed(new, content)})"
        if self.owner is None:
            return differs
        return f"({differs} or {new}.deleted_at is null and t.deleted_at is not null)"

    def _key_object(self, row: str) -> str:
        return "jsonb_build_object(" + ", ".join(f"'{name}', {row}.{name}" for name in self.key) + ")"

    @cached_property
    def count_statement(self) -> str:
        """Return the statement that counts the staged rows that are new and those that differ."""
        return (
            f"/* enerflo-sync rebuild: how many rows of {self.name} differ */"  # noqa: S608
            f" select count(*) filter (where t.account is null),"
            f" count(*) filter (where t.account is not null and {self._differs('s')}),"
            f" (array_agg({self._key_object('s')} order by {_listed('s', self.key)})"
            f" filter (where t.account is null))[1:{SAMPLES}]"
            f" from {stage_name(self.table)} s left join {self.table.fullname} t"
            f" on {self._same_key('t', 's')}"
        )

    @cached_property
    def field_statement(self) -> str:
        """Return the statement that counts the differing rows by column, with samples of both values."""
        values = [f"('{name}', to_jsonb(t.{name}), to_jsonb(s.{name}))" for name in self.content]
        if self.owner is not None:
            kept = "case when s.deleted_at is not null then to_jsonb(t.deleted_at) end"
            values.append(f"('deleted_at', to_jsonb(t.deleted_at), {kept})")
        return (
            f"/* enerflo-sync rebuild: which columns of {self.name} differ */"  # noqa: S608
            f" select v.field, count(*), (array_agg(jsonb_build_array({self._key_object('s')}, v.before,"
            f" v.after) order by {_listed('s', self.key)}))[1:{SAMPLES}]"
            f" from {stage_name(self.table)} s join {self.table.fullname} t on {self._same_key('t', 's')}"
            f" cross join lateral (values {', '.join(values)}) v(field, before, after)"
            f" where v.before is distinct from v.after group by v.field"
        )

    @cached_property
    def write_statement(self) -> str:
        """Return the statement that upserts the staged rows that are new or differ.

        A tombstone stays, unless a record that is not deleted lists the row.
        """
        sets = [f"{name} = excluded.{name}" for name in self.content]
        if self.stamped:
            seen = {
                "observed_at": "greatest(t.observed_at, excluded.observed_at)",
                "observed_by": "excluded.observed_by",
            }
            if self.filled:
                anew = self._differs("excluded", self.filled)
                seen = {
                    name: f"case when {anew} then {value} else t.{name} end" for name, value in seen.items()
                }
            sets += [f"{name} = {value}" for name, value in seen.items()]
        if self.owner is not None:
            sets += [
                f"{name} = case when excluded.deleted_at is not null then t.{name} end"
                for name in ("deleted_at", "absent_since")
            ]
        if self.versioned:
            # The bytes of another version are not known, so the hash is removed and the next poll compares
            # the record again.
            sets.append("raw_hash = case when t.content_hash = excluded.content_hash then t.raw_hash end")
        listed = ", ".join(self.staged)
        return (
            f"/* enerflo-sync rebuild: write {self.name} */"  # noqa: S608 - names of the schema
            f" insert into {self.table.fullname} as t ({listed})"
            f" select {listed} from {stage_name(self.table)}"
            f" on conflict (account, {', '.join(self.key)})"
            f" do update set {', '.join(sets)} where {self._differs('excluded')}"
        )

    @cached_property
    def hold_statement(self) -> str:
        """Return the statement that locks some records until the transaction ends.

        Parameters: ``account`` and ``ids``. It fails if a record was changed since the transaction began.
        """
        return (
            f"/* enerflo-sync rebuild: hold {self.name} */"
            f" select from {self.table.fullname} where account = %(account)s"
            f" and {self.key[0]} = any(%(ids)s::{self._id_type}[]) order by {self.key[0]} for no key update"
        )

    @cached_property
    def tombstone_statement(self) -> str:
        """Return the statement that tombstones rows by key; parameters: ``account``, ``at``, ``k0…``."""
        arrays = ", ".join(
            f"%(k{at})s::{self.table.c[name].type.compile(_DIALECT)}[]" for at, name in enumerate(self.key)
        )
        names = ", ".join(self.key)
        same = " and ".join(f"t.{name} = k.{name}" for name in self.key)
        return (
            f"/* enerflo-sync rebuild: gone from {self.name} */"  # noqa: S608 - names of the schema
            f" update {self.table.fullname} t set deleted_at = %(at)s from unnest({arrays}) as k({names})"
            f" where t.account = %(account)s and {same} and t.deleted_at is null"
        )


def id_array(ids: Iterable[int]) -> str:
    """Return ids as the text of a PostgreSQL array, faster than the driver converts a list."""
    return "{" + ",".join(map(str, ids)) + "}"


def _listed(row: str, names: Sequence[str]) -> str:
    return ", ".join(f"{row}.{name}" for name in names)


def _json(expression: str, kind: sa.types.TypeEngine[object]) -> str:
    if isinstance(kind, sa.Text):
        return f"coalesce(to_json({expression})::text, 'null')"
    text = f"{expression}::text" if isinstance(kind, _BARE) else f"""'"' || {expression} || '"'"""
    return f"coalesce({text}, 'null')"
