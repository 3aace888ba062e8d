"""Changes of CRM rows whose own key has an empty part: no statement names it; a person is asked."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison

NO_KEY = "a part of its row's key is empty, so that no change can name the row"

# A record that is made at Enerflo of such a row could not give the row its id.
_ASK = Template("""
/* enerflo-sync plan $name: changes of rows of which a part of the key is empty */
update pg_temp.decided d set outcome = 'review', after = null, reason = $reason,
  before = case when d.outcome = 'to_crm' then d.source_value else d.before end,
  source_value = case when d.outcome = 'to_crm' then d.before else d.source_value end
where d.table_name = $table and d.outcome in ('to_crm', 'to_enerflo') and ($empty)
""")


def ask_about_empty_keys(connection: sa.Connection, comparisons: Sequence[Comparison]) -> None:
    """Make questions in ``decided`` of all changes of rows that their key does not name."""
    for comparison in comparisons:
        if not (names := comparison.empty_key_columns):
            continue
        statement = _ASK.substitute(
            name=comparison.name,
            table=literal(comparison.name),
            reason=literal(NO_KEY),
            empty=" or ".join(f"d.key -> {literal(name)} = 'null'" for name in names),
        )
        connection.exec_driver_sql(statement, {})
