"""Mirror columns that sync.yaml adds, filled from Enerflo's records by every path that reads records.

The resource's own readers convert the value at the declared path. A declared column never quarantines a
record: a value that is absent, of another type or too long becomes null and is counted.
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
from enerflo_sync.warehouse.storing import storing

_MOST = 1e30
_TRUE, _FALSE = (True, 1, "1", "true", "yes"), (False, 0, "0", "false", "no")


class UnfilledError(Exception):
    """Why a declared column stays null: the value is ``absent``, ``no whole number`` or ``too long``."""


def with_declared(connection: sa.Connection, resource: Resource, account: str) -> Resource:
    """Return ``resource`` extended by the columns that the account has declared.

    Without declared columns, the result is ``resource`` itself.
    """
    return AsDeclared(resource).now(connection, account)


class AsDeclared:
    """A resource with the account's declared columns, which another process may change at any moment."""

    def __init__(self, resource: Resource) -> None:
        self._resource = self._extended = resource
        self._tables = [part.table.name for part in resource.parts if part.items is not None]
        self._columns: list[DeclaredColumn] = []

    def now(self, connection: sa.Connection, account: str) -> Resource:
        """Return the resource with the current columns; the same object as before if no column changed.

        No column is declared, and none gets another path, until the caller's transaction ends.
        """
        storing(connection, account)
        columns = read_declared(connection, account, self._tables)
        if columns != self._columns:
            self._columns = columns
            self._extended = extended(self._resource, columns) if columns else self._resource
        return self._extended


def extended(resource: Resource, columns: Sequence[DeclaredColumn]) -> Resource:
    """Return a resource whose rows also have ``columns``; new digests cause every record to be read."""
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
    """Return the value at a column's path as a row stores it; None if Enerflo sends null or omits it.

    :raises UnfilledError: the path does not exist, or the value has another type or is too long.
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
        # Load the record whatever error the value's reader raises.
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
