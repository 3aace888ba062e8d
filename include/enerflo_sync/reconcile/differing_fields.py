"""The fields that differ in any mismatched row, so that statements are made for these fields alone.

A statement that judges every mapped field is long (145,000 characters for the demo's installs), and for a few
rows PostgreSQL takes far longer to plan it than to execute it.
"""

from __future__ import annotations

from dataclasses import replace
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison

_FIELDS = Template("""
/* enerflo-sync reconcile $name: which fields differ */
select array_remove(array[$fields], null)
from $mismatched o where o.in_enerflo and o.in_crm and o.is_mismatched
""")


def of_differing(connection: sa.Connection, comparison: Comparison) -> Comparison:
    """Return the comparison of the fields that differ in a row of ``mismatched`` that both sides have."""
    cases = (
        f"case when bool_or({field.differs}) then {literal(field.name)} end" for field in comparison.fields
    )
    statement = _FIELDS.substitute(
        name=comparison.name, fields=", ".join(cases), mismatched=comparison.mismatched
    )
    names = connection.exec_driver_sql(statement, {}).scalar_one()
    return replace(comparison, fields=[field for field in comparison.fields if field.name in names])
