"""Compares two of Enerflo's values of a field by the rules that the mapping declares."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.written import moment_of_text
from enerflo_sync.crm.catalog import Kind, LiveColumn
from enerflo_sync.crm.mapping import NullRule, mirror_type
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import case_folding
from enerflo_sync.reconcile.values import domain_of, field_sql, mirror_kind

_TYPES = {
    Kind.INTEGER: "bigint",
    Kind.DECIMAL: "numeric",
    Kind.TIMESTAMPTZ: "timestamptz",
    Kind.BOOLEAN: "boolean",
    Kind.JSONB: "jsonb",
}


class EnerfloValues:
    """Compares values with the SQL of the reconciliation: the same domain, precision and case rules.

    A plan shows a day as ``2026-03-05`` and Enerflo's value as a time; a day is compared as the midnight at
    which it begins in the mapping's time zone.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._fold = case_folding(connection)
        self._statement = cache(self._statement_of)
        self._comparisons: dict[str, Comparison] = {}

    def same(self, comparison: Comparison, field: str, left: Any, right: Any) -> bool:
        """Return whether two JSON values of a mapped field are the same, in the caller's transaction.

        Null equals only null, even if the mapping ignores nulls, because a missing value was not written.

        :param field: the CRM column whose mapping is used.
        :raises sqlalchemy.exc.DataError: one of the values does not fit the type of the mirror's column.
        """
        self._comparisons[comparison.name] = comparison
        values = {"mine": json.dumps(left), "theirs": json.dumps(right)}
        return bool(
            self._connection.exec_driver_sql(self._statement(comparison.name, field), values).scalar()
        )

    def _statement_of(self, table: str, field: str) -> str:
        comparison = self._comparisons[table]
        mapping = comparison.mapping.fields[field]
        type_of_mirror = mirror_type(comparison.kind, comparison.mapping, mapping.enerflo)
        kind, zone = mirror_kind(type_of_mirror), mapping.time_zone or comparison.mapping.time_zone
        type_ = _TYPES.get(kind, "text")
        null = NullRule.DISTINCT if mapping.null is NullRule.IGNORE else mapping.null
        domain = domain_of(mapping, comparison.live.columns[field])
        equal = field_sql(
            field,
            mapping.model_copy(update={"values": {}, "null": null, "type": domain}),
            ("v.mine", kind),
            ("v.theirs", LiveColumn(field, type_, kind, False, True, type_)),
            table_zone=zone,
            fold=self._fold,
        ).equal
        mine, theirs = (_typed(name, type_, zone) for name in ("mine", "theirs"))
        return (
            f"/* enerflo-sync push: are two values the same */"  # noqa: S608 - made of the declared mapping
            f" select {equal} from (select {mine} as mine, {theirs} as theirs) v"
        )


def _typed(name: str, type_: str, zone: str) -> str:
    value = f"%({name})s::jsonb"
    if type_ == "jsonb":
        return value
    text = f"({value} #>> '{{}}')"
    return moment_of_text(text, zone) if type_ == "timestamptz" else f"{text}::{type_}"
