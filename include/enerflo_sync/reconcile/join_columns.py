"""A pair of columns by which rows are matched, with both sides' values in one SQL type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind, LiveColumn
from enerflo_sync.crm.keys import is_blank, key_value, may_meet, sql_type
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.crm.options import KeyColumn
from enerflo_sync.reconcile.values import crm_raw, mirror_kind


@dataclass(frozen=True)
class JoinColumn:
    """One pair of columns by which rows are matched, in SQL type ``type``.

    :param options: how the values are compared; None: without any conversion.
    :param fold: the collation whose case rules apply, quoted, or ``""``.
    """

    mirror_name: str
    crm_name: str
    mirror_kind: Kind
    live: LiveColumn
    type: str
    options: KeyColumn | None = None
    fold: str = ""

    @property
    def mirror(self) -> str:
        """Return the key of a row ``e`` of the mirror, as an expression."""
        return self.of_mirror("e")

    @property
    def crm(self) -> str:
        """Return the key of a row ``t`` of the CRM, as an expression; null where it has none."""
        return self.of_crm(f"t.{quoted(self.crm_name)}")

    def raw(self, alias: str) -> str:
        """Return the CRM column's own value of a row, to which only the same text is equal."""
        raw = f"{alias}.{quoted(self.crm_name)}"
        return crm_raw(raw, self.live) if self.live.loose else raw

    def of_mirror(self, alias: str) -> str:
        """Return the key of a row of the mirror."""
        raw = f"{alias}.{quoted(self.mirror_name)}"
        return raw if self.options is None else key_value(raw, self.mirror_kind, self.options, self.fold)

    def of_crm(self, raw: str) -> str:
        """Return the key that a value of the CRM's column stands for, as an expression."""
        if self.options is None:
            return crm_raw(raw, self.live) if self.live.loose else raw
        return key_value(crm_raw(raw, self.live), self.live.kind, self.options, self.fold)

    def of_stored(self, text: str) -> str:
        """Return the key of a text: the CRM column's value in a stored key, or as a person typed it."""
        if self.options is None:
            return f"({text})::{self.type}"
        return f"({key_value(f'({text})', Kind.TEXT, self.options, self.fold)})::{self.type}"

    def as_stored(self, value: str) -> str:
        """Return a key as a stored key of the CRM's row has it, if the CRM has the plain value."""
        return f"{value}::text" if self.type == "bigint" and self.live.kind is Kind.TEXT else value

    def plain(self, alias: str) -> str:
        """Return Enerflo's value of a mirror row as a stored key of the CRM's row has it."""
        raw = f"{alias}.{quoted(self.mirror_name)}"
        numbers = {Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT}
        return f"{raw}::numeric" if self.live.kind in numbers else f"{raw}::text"

    @property
    def varies(self) -> bool:
        """Return whether two different values of the CRM's column can be the same key."""
        return self.options is not None and may_meet(self.live.kind, self.options)

    @property
    def may_be_null(self) -> bool:
        """Return whether a CRM row can be without a key in this column."""
        return not self.live.not_null or (self.options is not None and self.live.kind is not Kind.INTEGER)

    def is_open(self, alias: str) -> str:
        """Return the condition that a CRM row has no value here; only then a link may be written."""
        raw = f"{alias}.{quoted(self.crm_name)}"
        return f"{raw} is null" if self.options is None else is_blank(crm_raw(raw, self.live), self.live.kind)

    def is_unreadable(self, alias: str) -> str:
        """Return the condition that a CRM row has a value here that cannot be read as a key."""
        if self.options is None:
            return "false"
        value = self.of_crm(f"{alias}.{quoted(self.crm_name)}")
        return f"({value} is null and not ({self.is_open(alias)}))"


def join_column(
    crm: str,
    mirror: str,
    column: sa.types.TypeEngine[object],
    live: LiveColumn,
    options: KeyColumn | None,
    fold: str,
) -> JoinColumn:
    """Return the pair of a CRM column and a mirror column of type ``column``."""
    kind = mirror_kind(column)
    numbers = {Kind.INTEGER: "bigint", Kind.DECIMAL: "numeric", Kind.FLOAT: "double precision"}
    if options is not None:
        common = sql_type(options)
    elif kind is Kind.INTEGER and live.kind in numbers:
        common = numbers[live.kind]
    else:
        common = "text"
    return JoinColumn(mirror, crm, kind, live, common, options, fold)


def stored_join_key(joins: Iterable[JoinColumn], alias: str) -> str:
    """Return the jsonb key of a record without a row in the CRM, from ``alias.j1, alias.j2 …``."""
    return jsonb_object((join.crm_name, join.as_stored(f"{alias}.j{n}")) for n, join in enumerate(joins, 1))


def keys_of_difference(joins: Iterable[JoinColumn]) -> list[str]:
    """Return the join key of a row ``d`` of ``sync.differences`` whose stored key holds all its columns."""
    return [join.of_stored(f"d.key->>{literal(join.crm_name)}") for join in joins]


def wanted_difference(joins: Iterable[JoinColumn]) -> str:
    """Return the condition that a row ``d`` of ``sync.differences`` has the wanted key ``w``."""
    return " and ".join(f"w.j{n} = {key}" for n, key in enumerate(keys_of_difference(joins), 1))
