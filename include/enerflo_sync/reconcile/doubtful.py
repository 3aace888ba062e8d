"""CRM values of uncertain meaning: a bare day, a form that we do not write, a null in place of a value.

SQL over the parts of :mod:`enerflo_sync.reconcile.judge`: ``o`` is the mismatched row.
"""

from __future__ import annotations

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.copies import UNREAD, is_unread
from enerflo_sync.crm.mapping import FieldType
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.values import BLANK, Field

# What Airbyte could not store as the type of its column is null in the copy, and the row lists it here.
_META = "_airbyte_meta"
_LISTED = r'"(changes|errors)"\s*:\s*\[\s*[^]\s]'


def has_other_form(comparison: Comparison, field: Field) -> str:
    """Return the condition that a CRM text says something in another form than the one in which we write.

    ``4,2`` and ``03/04/2026`` may be Enerflo's value as people write it. A text without a digit (``n/a``) is
    no number and no time in any form.
    """
    if comparison.live.columns[field.name].kind is not Kind.TEXT:
        return "false"
    match field.domain:
        case FieldType.BOOLEAN:
            said = f"lower(btrim({field.crm.shown} #>> '{{}}', {BLANK}))"
            return f"coalesce({said} not in ('', 'true', 'false'), false)"
        case FieldType.TEXT | FieldType.JSON:
            return "false"
        case _:
            return f"coalesce({field.crm.rest} ~ '[0-9]', false)"


def has_day_only(field: Field) -> str:
    """Return the condition that the CRM's time is the midnight at which the day of Enerflo's time begins."""
    if field.domain is not FieldType.TIMESTAMP:
        return "false"
    mine, theirs = (
        f"({side.value} at time zone {literal(field.zone)})" for side in (field.enerflo, field.crm)
    )
    return f"coalesce({theirs} <> {mine} and {theirs} = date_trunc('day', {mine}), false)"


def is_nulled(comparison: Comparison, field: Field) -> str:
    """Return the condition that the CRM may have a value of which the copy has null, as it fits no type.

    A view may call a column otherwise than the tool, so every null of a row that lists something counts. Our
    own copy of a table in another database names the columns.
    """
    columns = comparison.live.columns
    if UNREAD in columns and comparison.mapping.is_kept:
        listed = is_unread(field.name)
    elif _META in columns:
        listed = f"t.{quoted(_META)}::text ~ {literal(_LISTED)}"
    else:
        return "false"
    on = " and ".join(
        f"t.{quoted(name)} = o.k{n}" for n, name in enumerate(comparison.mapping.key_columns, 1)
    )
    return (
        f"(({field.crm.shown}) is null and exists (select from {comparison.crm} t where {on} and {listed}))"
    )
