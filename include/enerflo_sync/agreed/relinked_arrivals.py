"""Handed-over changes whose CRM row names another record by now.

They cannot arrive any more. What the row shows then is not known to be an edit: it may be what a trigger made
of the handed-over value, before a person gave the row another record.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.written import fitting_key, of_key
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import names_record
from enerflo_sync.reconcile.mismatched import crm_side

RELINKED = "its row names another record of Enerflo by now"

# A new row is found by the record that it names, so one that names another record is not found.
_NEW_ROWS = Template("""
/* enerflo-sync plan $name: new rows that name another record by now */
update $looked l set seen = '$relinked' from sync.crm_changes w join $crm t on $on and $living
where w.account = %(account)s and w.number = l.number and l.op = 'insert' and l.state = 'open'
  and l.seen is null and not ($open) and not $names_record
""")

_NOTE_VALUES = Template("""
/* enerflo-sync plan $name: what rows show that name another record by now */
update sync.crm_changes w set copy_value = case w."column" $values end
from $looked l, ($crm_side) c
where w.account = %(account)s and w.number = l.number and l.state = 'open' and l.seen = '$relinked'
  and $of_key
""")


def end_relinked(
    connection: sa.Connection, comparison: Comparison, looked: str, values: Mapping[str, Any]
) -> None:
    """Correct ``seen`` in the table ``looked`` for new rows, and store what relinked rows show.

    :param values: ``account``.
    """
    if comparison.key_is_record or not comparison.links:
        return
    named = {"name": str(comparison.name), "looked": looked, "relinked": RELINKED}
    statement = _NEW_ROWS.substitute(
        named,
        crm=comparison.crm,
        on=of_key(comparison, "w.key"),
        living=comparison.living("t"),
        open=" or ".join(link.is_open("t") for link in comparison.links),
        names_record=names_record(comparison, "t", "w.enerflo_key"),
    )
    connection.exec_driver_sql(statement, dict(values))
    shown = (f"when {literal(field.name)} then {field.crm.shown}" for field in comparison.fields)
    statement = _NOTE_VALUES.substitute(
        named,
        values=" ".join(shown),
        crm_side=crm_side(comparison),
        of_key=" and ".join(
            f"c.k{n} = {fitting_key(comparison, 'w.key', column)}"
            for n, column in enumerate(comparison.mapping.key_columns, 1)
        ),
    )
    connection.exec_driver_sql(statement, dict(values))
