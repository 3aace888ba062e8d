"""The kinds of mismatched rows that a table has, so that statements about other kinds are not run.

For a few rows PostgreSQL spends more time on planning such a statement than on executing it, and most tables
have mismatched rows of one kind or of none.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

import sqlalchemy as sa

from enerflo_sync.reconcile.compare import Comparison

_KINDS = Template("""
/* enerflo-sync plan $name: which kinds of rows are mismatched */
select coalesce(bool_or(o.in_enerflo and o.in_crm and o.is_mismatched), false) as on_both,
       coalesce(bool_or(o.in_enerflo and not o.in_crm), false) as only_enerflo,
       coalesce(bool_or(o.in_crm and not o.in_enerflo and not o.tombstone), false) as only_crm,
       coalesce(bool_or(o.in_crm and o.tombstone), false) as deleted
from $mismatched o
""")


@dataclass(frozen=True)
class RowKinds:
    """Whether ``mismatched`` has rows that both sides have, that one side lacks, or that Enerflo deleted."""

    on_both: bool
    only_enerflo: bool
    only_crm: bool
    deleted: bool


def row_kinds(connection: sa.Connection, comparison: Comparison) -> RowKinds:
    """Return the kinds of the rows that ``mismatched`` has now."""
    statement = _KINDS.substitute(name=comparison.name, mismatched=comparison.mismatched)
    return RowKinds(**connection.exec_driver_sql(statement).mappings().one())
