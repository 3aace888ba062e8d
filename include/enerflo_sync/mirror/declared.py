"""Columns that sync.yaml adds to the mirror, filled from Enerflo's records wherever these are read.

What stands at the path is read by the readers of all other columns. A declared column never keeps a record
out: what is absent, of another type or too long is null, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.enerflo.times import parse_date, time_text
from enerflo_sync.errors import BadRecordError
from enerflo_sync.resources.fields import BIGINT, Record, integer, number, text
from enerflo_sync.resources.fingerprint import raw_hash
from enerflo_sync.resources.resource import Part, Resource, Row
from enerflo_sync.warehouse.declared import TYPES, DeclaredColumn, read_declared

_MOST = 1e30
_TRUE, _FALSE = (True, 1, "1", "true", "yes"), (False, 0, "0", "false", "no")


class UnfilledError(Exception):
    """Why a declared column stays null: it is ``absent``, ``no whole number`` or ``too long``."""


def with_declared(connection: sa.Connection, resource: Resource, account: str) -> Resource:
    """Return how a resource is read in this warehouse: with the account's declared columns.

    The resource itself where there are none.
    """
    return AsDeclared(resource).now(connection, account)


class AsDeclared:
    """A resource with the columns that an account has declared, which somebody may change at any moment."""

    def __init__(self, resource: Resource) -> None:
        self._resource = self._extended = resource
        self._tables = [part.table.name for part in resource.parts if part.items is not None]
        self._columns: list[DeclaredColumn] = []

    def now(self, connection: sa.Connection, account: str) -> Resource:
        """Return how the resource is read now: the very object of before where no column changed."""
        columns = read_declared(connection, account, self._tables)
        if columns != self._columns:
            self._columns = columns
            self._extended = extended(self._resource, columns) if columns else self._resource
        return self._extended


def extended(resource: Resource, columns: Sequence[DeclaredColumn]) -> Resource:
    """Return a resource whose rows have ``columns``, too; its digests are others, so all is read again."""
    of_part = [[column for column in columns if column.table == part.table.name] for part in resource.parts]
    items = [part.items for part in resource.parts]
    core = resource.read

    def read(record: Record) -> list[Sequence[Row] | None]:
        return [
            rows if rows is None or not added or find is None else _longer(rows, find(record), added)
            for rows, added, find in zip(core(record), of_part, items, strict=True)
        ]

    def unfilled(record: Record) -> Iterator[str]:
        for added, find in zip(of_part, items, strict=True):
            for item in find(record) if added and find is not None else ():
                for column in added:
                    try:
                        read_value(item, column)
                    except UnfilledError as error:
                        yield f"{column.place}: {error}"

    return replace(
        resource,
        parts=tuple(_wider(part, added) for part, added in zip(resource.parts, of_part, strict=True)),
        read=read,
        read_usual=None,
        unfilled=unfilled,
        reader=resource.reader + raw_hash(msgspec.json.encode(columns))[:4],
    )


def _wider(part: Part, added: Sequence[DeclaredColumn]) -> Part:
    if not added:
        return part
    table = part.table.to_metadata(sa.MetaData())
    for column in added:
        table.append_column(sa.Column(column.name, TYPES[column.type]))
    names = tuple(column.name for column in added)
    table.info = {"declared": f"_{raw_hash(msgspec.json.encode(names)).hex()[:8]}"}
    return replace(part, table=table, columns=(*part.columns, *names), declared=names)


def _longer(rows: Sequence[Row], items: Sequence[Record], added: Sequence[DeclaredColumn]) -> list[Row]:
    return [
        (*row, *(_value_or_none(item, column) for column in added))
        for row, item in zip(rows, items, strict=True)
    ]


def _value_or_none(item: Record, column: DeclaredColumn) -> Any:
    try:
        return read_value(item, column)
    except UnfilledError:
        return None


def read_value(item: Record, column: DeclaredColumn) -> Any:
    """Return what stands at a column's path, as rows take it; None where Enerflo says null or nothing.

    :raises UnfilledError: there is no such path, or the value is none of the column's type, or too long.
    """
    found: Any = item
    for step in column.path:
        if isinstance(found, Mapping) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            raise UnfilledError("absent")
    try:
        return _READERS[column.type](found, column.max_length)
    except Exception as error:
        # Whatever its reader makes of a value, the record is taken in.
        long = isinstance(error, BadRecordError) and error.what == "text_too_long"
        raise UnfilledError("too long" if long else f"no {_NAMES[column.type]}") from None


def _boolean(value: Any, _: int) -> bool | None:
    if value is None or value == "" or value == []:
        return None
    spelled = value.strip().lower() if isinstance(value, str) else value
    if isinstance(spelled, bool | int | str):
        if spelled in _TRUE:
            return True
        if spelled in _FALSE:
            return False
    raise BadRecordError("expected_boolean")


def _json(value: Any, longest: int) -> str | None:
    if value is None:
        return None
    spelled = msgspec.json.encode(value).decode()
    if len(spelled) > longest:
        raise BadRecordError("text_too_long")
    return spelled


def _date(value: Any, _: int) -> str | None:
    day = parse_date(value)
    return None if day is None else day.isoformat()


_READERS: Mapping[str, Callable[[Any, int], Any]] = {
    "text": lambda value, longest: text({"": value}, "", limit=longest),
    "integer": lambda value, _: integer({"": value}, "", low=-BIGINT),
    "number": lambda value, _: number({"": value}, "", low=-_MOST, high=_MOST),
    "boolean": _boolean,
    "timestamp": lambda value, _: time_text(value),
    "date": _date,
    "json": _json,
}
_NAMES = {
    "text": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "yes or no",
    "timestamp": "time",
    "date": "day",
    "json": "json",
}
