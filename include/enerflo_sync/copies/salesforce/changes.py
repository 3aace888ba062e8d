"""The open changes of a table for Salesforce, by record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.written import of_key
from enerflo_sync.crm.names import quoted
from enerflo_sync.reconcile.compare import Comparison

OPEN = (
    "w.account = %(account)s and w.table_name = %(table)s and w.ended_at is null and w.state = 'open'"
    " and w.acknowledged_at is null"
)
# A row that the copy has twice, or not at all, has no id; the next copy decides.
_OPEN_CHANGES = Template(f"""
/* enerflo-sync carry: changes that are to go to Salesforce */
select w.number, w.op, w.key::text as key, w.key as key_values, w."column" as name,
  case when w.op <> 'insert' then (
    select case when count(*) = 1 then min(t.$id::text) end from $crm t where $on and $counts
  ) end as id
from sync.crm_changes w where {OPEN} and (w.kind = 'link' or %(to_crm)s) order by w.number
""")  # noqa: S608 - constants


@dataclass
class RecordChanges:
    """The open changes of one record.

    :param id: the record's id in the copy; None: the record is to be made, or the copy does not have its id.
    :param columns: the copy's columns that change, each with the number of its change; empty for a deletion.
    """

    op: str
    key: str
    key_values: Mapping[str, Any]
    id: str | None
    numbers: list[int] = field(default_factory=list)
    columns: dict[str, int] = field(default_factory=dict)

    def drop(self, numbers: set[int]) -> None:
        """Remove changes that have an outcome."""
        self.numbers = [one for one in self.numbers if one not in numbers]
        self.columns = {name: one for name, one in self.columns.items() if one not in numbers}


def open_changes(connection: sa.Connection, comparison: Comparison, account: str) -> list[RecordChanges]:
    """Return the changes of a table that nobody carried to the CRM yet, by record, oldest first.

    If the table's mode writes nothing any more, only ids of records created at Enerflo are returned.
    """
    to = comparison.mapping.to_salesforce
    if to is None or not comparison.mode.writes:
        return []
    statement = _OPEN_CHANGES.substitute(
        id=quoted(to.id), crm=comparison.crm, on=of_key(comparison, "w.key"), counts=comparison.counts("t")
    )
    values = {"account": account, "table": str(comparison.name), "to_crm": "to_crm" in comparison.mode.writes}
    found: dict[tuple[str, str], RecordChanges] = {}
    for row in connection.exec_driver_sql(statement, values):
        made = RecordChanges(row.op, row.key, row.key_values, row.id)
        record = found.setdefault((row.op, row.key), made)
        record.numbers.append(row.number)
        if row.name is not None:
            # If a column has two open changes, only the newer one counts (superseded).
            record.columns[row.name] = row.number
    return list(found.values())
