"""Whether the paths and types of declared columns fit the records that Enerflo sends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.catalogue.paths import kind_of, leaves
from enerflo_sync.catalogue.report import Unfilled
from enerflo_sync.crm.problems import listed, nearest
from enerflo_sync.errors import BadRecordError
from enerflo_sync.mirror.declared import UnfilledError, read_value
from enerflo_sync.resources.fields import Record
from enerflo_sync.resources.registry import STORED
from enerflo_sync.resources.resource import Part
from enerflo_sync.warehouse.declared import DeclaredColumn

_EMPTY = Template("""
/* enerflo-sync doctor: whether a declared column is empty */
select exists (select from enerflo.$table where account = :account)
  and not exists (select from enerflo.$table where account = :account and $column is not null)
""")

# A record's content of today, not one that it had before.
_SOME = Template("""
/* enerflo-sync doctor: some records of $name */
select v.raw from $table i
join $versions v on v.account = i.account and v.$id = i.$id and v.content_hash = i.content_hash
where i.account = :account and i.deleted_at is null order by i.$id desc limit 200
""")

_FITS, _NOTHING, _ABSENT = "fits", "nothing", "absent"
# What a value is called, by its kind.
_WORDS = {
    "text": "text",
    "integer": "whole numbers",
    "number": "numbers",
    "boolean": "true or false",
    "date": "days",
    "timestamp": "times",
    "json": "objects or lists",
}
_MOST_BELOW = 3


@dataclass
class ColumnFit:
    """What the records say at the path of one declared column.

    :param outcomes: number of records by what their value is to the column: ``fits``, ``nothing``,
        ``absent``, or the reason why it stays null.
    :param kinds: number of values that do not fit, by kind.
    :param broken: number of records in which the path meets a list or a single value before its end, by the
        number of steps until then and the kind met.
    :param below: paths of the values below the one at which the column's path ends.
    """

    column: DeclaredColumn
    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    broken: Counter[tuple[int, str]] = field(default_factory=Counter)
    below: set[str] = field(default_factory=set)

    def take(self, record: Record) -> None:
        """Count the value of one record."""
        found: Any = record
        for at, step in enumerate(self.column.path):
            if isinstance(found, dict) and step in found:
                found = found[step]
            elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
                found = found[int(step)]
            else:
                if not isinstance(found, dict) and kind_of(found) != _NOTHING:
                    self.broken[at, "list" if isinstance(found, list) else kind_of(found)] += 1
                self.outcomes[_ABSENT] += 1
                return
        self.outcomes[self._outcome(record, found)] += 1

    def _outcome(self, record: Record, found: Any) -> str:
        if kind_of(found) == _NOTHING:
            return _NOTHING
        try:
            read_value(record, self.column)
        except UnfilledError as error:
            self.kinds[kind_of(found)] += 1
            if isinstance(found, dict | list) and len(self.below) < _MOST_BELOW:
                self.below |= {".".join((*self.column.path, *path)) for path, _ in leaves(found)}
            return str(error)
        return _FITS

    def problem(self, told: Iterable[str]) -> Unfilled | None:
        """Return why the column stays empty in most records; None where it does not.

        :param told: the paths at which some record has a value.
        """
        records, fits = self.outcomes.total(), self.outcomes[_FITS]
        present = records - self.outcomes[_ABSENT] - self.outcomes[_NOTHING]
        misfits = present - fits
        if self.broken and self.broken.total() > fits + misfits:
            return self._broken_path(records)
        if misfits > fits:
            return self._wrong_type(present, misfits)
        if fits or not records:
            return None
        if self.outcomes[_NOTHING]:
            return self._problem(
                "path",
                f"the path {self._path}, at which none of {records} records says anything",
                "a path at which records have values",
                "Wait until a record has one, or name another path: enerflo-sync fields lists all.",
            )
        near = nearest(self._path, told) or None
        return self._problem(
            "path",
            f"the path {self._path}, which none of {records} records has",
            "a path that records have",
            f"Did you mean {near}?" if near else "enerflo-sync fields lists all paths.",
            near,
        )

    @property
    def _path(self) -> str:
        return ".".join(self.column.path)

    def _problem(
        self, option: str, found: str, expected: str, next_step: str, near: str | None = None
    ) -> Unfilled:
        return Unfilled(
            column=self.column.name,
            path=self._path,
            nearest=near,
            option=option,
            found=found,
            expected=expected,
            next_step=next_step,
        )

    def _broken_path(self, records: int) -> Unfilled:
        (at, kind), number = self.broken.most_common(1)[0]
        before, rest = ".".join(self.column.path[:at]), ".".join(self.column.path[at:])
        if kind == "list":
            return self._problem(
                "path",
                f"the path {self._path}, but {before} is a list in {number} of {records} records",
                "a position in the list after its name, counted from 0",
                f"Write {before}.0.{rest}.",
                f"{before}.0.{rest}",
            )
        return self._problem(
            "path",
            f"the path {self._path}, but {before} is a single value in {number} of {records} records",
            "the path of a value, with nothing after it",
            f"Write {before}.",
            before,
        )

    def _wrong_type(self, present: int, misfits: int) -> Unfilled:
        kind = self.kinds.most_common(1)[0][0]
        values = f"{misfits} of {present} values at {self._path}"
        if self.outcomes["too long"] * 2 > misfits:
            return self._problem(
                "max_length",
                f"the limit of {self.column.max_length} characters, but {values} are longer",
                "a limit above the length of most values",
                "Raise max_length.",
            )
        if self.below:
            some = sorted(self.below)[:_MOST_BELOW]
            return self._problem(
                "path",
                f"the path {self._path}, but {values} are objects or lists",
                "the path of a single value, or type: json",
                f"Write {listed(some)}, or type: json.",
                some[0],
            )
        return self._problem(
            "type",
            f"the type {self.column.type}, but {values} are no {_WORDS[self.column.type]}: most are"
            f" {_WORDS.get(kind, kind)}",
            "the type of most values",
            f"Write type: {kind}.",
        )


def column_fits(columns: Sequence[DeclaredColumn], part: Part, records: Iterable[Record]) -> list[ColumnFit]:
    """Return what records say of the declared columns of one of their tables."""
    found = [ColumnFit(one) for one in columns]
    for record in records:
        take_record(found, part, record)
    return found


def take_record(fits: Sequence[ColumnFit], part: Part, record: Record) -> None:
    """Count what one record says of declared columns; a record that cannot be read counts nowhere."""
    with suppress(BadRecordError):
        for item in part.items(record) if fits and part.items is not None else ():
            for one in fits:
                one.take(item)


def unfilled_columns(
    connection: sa.Connection, account: str, columns: Sequence[DeclaredColumn]
) -> list[tuple[DeclaredColumn, Unfilled]]:
    """Return the declared columns that stay empty in most records, with the reason.

    Looks at 200 of the newest records of each table. Of a table whose records are not stored it is known only
    whether the column is empty in every row.
    """
    found: list[tuple[DeclaredColumn, Unfilled]] = []
    for table in dict.fromkeys(one.table for one in columns):
        of_table = [one for one in columns if one.table == table]
        if table not in STORED:
            found += [(one, _empty(one)) for one in of_table if _is_empty(connection, account, one)]
            continue
        resource, part = STORED[table]
        records = list(connection.scalars(sa.text(_SOME.substitute(resource.names)), {"account": account}))
        told = _paths(part, records)
        for fit in column_fits(of_table, part, records):
            problem = fit.problem(told)
            if problem is not None:
                found.append((fit.column, problem))
    return found


def _is_empty(connection: sa.Connection, account: str, column: DeclaredColumn) -> bool:
    statement = _EMPTY.substitute(table=column.table, column=column.name)
    return bool(connection.scalar(sa.text(statement), {"account": account}))


def _empty(column: DeclaredColumn) -> Unfilled:
    path = ".".join(column.path)
    return Unfilled(
        column=column.name,
        path=path,
        nearest=None,
        option="path",
        found=f"the path {path}, and no row of enerflo.{column.table} has a value of it",
        expected="a path that records have, with values of the column's type",
        next_step="Compare path and type with what Enerflo sends.",
    )


def _paths(part: Part, records: Iterable[Record]) -> list[str]:
    told = set()
    for record in records:
        with suppress(BadRecordError):
            for one in part.items(record) if part.items is not None else ():
                told |= {".".join(path) for path, value in leaves(one) if value is not None}
    return sorted(told)
