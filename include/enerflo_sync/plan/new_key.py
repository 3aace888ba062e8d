"""The key of a new CRM row, as ``on_insert`` declares it."""

from __future__ import annotations

import re

from enerflo_sync.agreed.written import of_key
from enerflo_sync.crm.catalog import Kind, LiveColumn
from enerflo_sync.crm.keys import TEXTS, fitting
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.crm.templates import template_sql
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.values import WHOLE_TEXT

_UUID_TEXT = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
# A number's digits, and how many of them stand behind the point.
_DIGITS = re.compile(r"numeric\((\d+),(\d+)\)")
# The bits of a value without its sign.
_BITS = {"int2": 15, "int4": 31, "oid": 32}


def new_key(comparison: Comparison) -> str:
    """Return the key of the new CRM row of a record ``o``; null if a part of the key cannot be made.

    The statement needs the parameter ``account``.
    """
    record = " and ".join(f"v.{quoted(name)} = o.p{n}" for n, name in enumerate(comparison.mirror_key, 1))
    if comparison.mapping.joined_by_key and not any(join.options for join in comparison.joins):
        return "o.key"
    if comparison.mapping.joined_by_key:
        # The id as Enerflo writes it, not in the form in which ids are compared.
        key = jsonb_object((join.crm_name, join.plain("v")) for join in comparison.joins)
        return f"(select {key} from {comparison.mirror} v where v.account = %(account)s and {record})"  # noqa: S608
    made = {column: comparison.mapping.on_insert.get(column) for column in comparison.mapping.key_columns}
    if None in made.values():
        # The CRM itself makes the key of a handed-over row; until then the record's id identifies the row.
        return "o.key" if comparison.hands_over else "null::jsonb"
    parts = {
        column: _part(comparison.live.columns[column], template_sql(text or "", mirror_text))
        for column, text in made.items()
    }
    values = ", ".join(f"{part} as {quoted(column)}" for column, part in parts.items())
    known = " and ".join(f"made.{quoted(column)} is not null" for column in parts)
    return (
        f"(select {jsonb_object((column, f'made.{quoted(column)}') for column in parts)}"  # noqa: S608 - names
        f" from (select {values} from {comparison.mirror} v where v.account = %(account)s and {record}) made"
        f" where {known})"
    )


def taken(comparison: Comparison) -> str:
    """Return the condition that another CRM row has ``k.new_key`` or would get it.

    The condition is needed unless rows are joined by the key itself: only then two records cannot get one
    key.
    """
    if comparison.mapping.joined_by_key:
        return "false"
    return (
        "(k.new_key is not null and (count(*) over (partition by k.new_key) > 1"
        f" or exists (select from {comparison.crm} t where {of_key(comparison, 'k.new_key')})))"
    )


def mirror_text(column: str) -> str:
    """Return SQL for a column of the mirror row ``v`` as text, for a template."""
    return f"v.{quoted(column)}::text"


def _part(live: LiveColumn, text: str) -> str:
    """Return a column's value made from a text, as JSON; null if the column cannot store it unchanged."""
    match live.kind:
        case Kind.TEXT if live.base not in TEXTS:
            other = f"when {fitting(live, text)} is null then null"
        case Kind.TEXT:
            other = f"when {text}::{live.unchecked_type}::text <> {text} then null"
        case Kind.INTEGER | Kind.DECIMAL | Kind.FLOAT:
            limit = 2 ** _BITS.get(live.base, 63)
            if (digits := _DIGITS.fullmatch(live.unchecked_type)) is not None:
                limit = 10 ** max(int(digits[1]) - int(digits[2]), 0)
            least = 1 - limit if digits else -limit
            other = (
                f"when {text} !~ {literal(WHOLE_TEXT)} then null"
                f" when {text}::numeric not between {least} and {limit - 1} then null"
            )
        case Kind.UUID:
            other = f"when {text} !~ {literal(_UUID_TEXT)} then null"
        case _:
            other = f"when {text} is null then null"
    # A domain's check is left to the write, which parks the row that the domain refuses.
    value = text if live.kind is Kind.TEXT else f"{text}::{live.unchecked_type}"
    return f"case {other} else to_jsonb({value}) end"
