"""Rows that are equal in more than a coarser comparison looks at: they show that a column is not coarse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.mapping import FieldMapping, FieldType
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.fit.sample import Sample
from enerflo_sync.reconcile.fit.values import matched_rows
from enerflo_sync.reconcile.values import Field, value_of_text

_FINER = Template("""
/* enerflo-sync doctor $name: rows that are equal in more than a coarser comparison looks at */
select f.name, f.finer from (select $counts from ($pairs) p) p
cross join lateral (values $named) f (name, finer)
""")
_BELOW = {
    "minute": "extract(second from {}) <> 0",
    "second": "mod(extract(microseconds from {})::bigint, 1000000) <> 0",
}


def finer_rows(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    sample: Sample,
    wanted: Mapping[str, Mapping[str, Any]],
) -> dict[str, int]:
    """Return, by field with a coarser comparison, how many rows are equal in more than that looks at.

    One row that says 7 beside 6.885, or a day beside a time, is no rounded column if the others have all
    places, or the time.

    :param wanted: the options that are to be tried, by field.
    """
    conditions = {
        one.name: condition
        for one in comparison.fields
        if (condition := _is_finer(one, wanted.get(one.name, {}))) is not None
    }
    if not conditions:
        return {}
    numbered = list(enumerate(conditions.items(), 1))
    same = {one.name: f"(not ({one.differs}) or {one.equal})" for one in comparison.fields}
    statement = _FINER.substitute(
        name=comparison.name,
        counts=", ".join(
            f"count(*) filter (where {same[name]} and {condition}) as n{n}"
            for n, (name, condition) in numbered
        ),
        pairs=matched_rows(comparison, sample),
        named=", ".join(f"({literal(name)}, p.n{n})" for n, (name, _) in numbered),
    )
    return {row.name: row.finer for row in connection.exec_driver_sql(statement, {"account": account})}


def _is_finer(one: Field, options: Mapping[str, Any]) -> str | None:
    """Return the condition that the CRM's value has more than the options compare, or None."""
    declared: FieldMapping = one.mapping
    value = one.crm.value
    if options.get("type") == FieldType.DATE != declared.type:
        if declared.type is FieldType.TEXT:
            value = value_of_text(value, FieldType.TIMESTAMP, one.zone)
        return f"({value} at time zone {literal(one.zone)})::time <> '00:00'"
    if (tolerance := options.get("tolerance")) and tolerance != declared.tolerance:
        return f"scale(trim_scale(({value})::numeric)) > {max(math.floor(-math.log10(tolerance)), 0)}"
    precision = options.get("precision")
    if precision in _BELOW and precision != declared.precision:
        return _BELOW[str(precision)].format(value)
    return None
