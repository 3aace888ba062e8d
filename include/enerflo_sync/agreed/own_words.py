"""Labels that we handed over to the CRM, and whose meaning ``sync.yaml`` has changed since (``values``)."""

from __future__ import annotations

from string import Template

import sqlalchemy as sa

from enerflo_sync.agreed.written import fitting_key
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judge import crm_value_for_enerflo
from enerflo_sync.reconcile.mismatched import crm_side

# Our own word in the CRM is nobody's edit. Its pair stores the word's present meaning as Enerflo's value. So
# the plan sees that Enerflo's value moved, and writes that value with its present label. If the CRM is the
# source of truth, a person decides (rule ``own_word``).
_STANDS_FOR = Template("""
/* enerflo-sync plan $name: words of ours in the CRM, by what they stand for now */
update sync.agreed a
set agreed_by = 'reworded', value = nullif($meaning, 'null'),
    crm_value = case when $shown is distinct from nullif($meaning, 'null') then coalesce($shown, 'null') end
from ($crm_side) c
where a.account = %(account)s and a.table_name = $table and a.field = $field and not a.is_link
  and a.agreed_by not like 'former%%' and $on $which
""")


def stand_for(connection: sa.Connection, comparison: Comparison, account: str, name: str, which: str) -> None:
    """Store the present meaning of our own words in a mapped CRM column as Enerflo's half of their pairs.

    :param name: the CRM's column.
    :param which: ``and …``, the pairs ``a`` whose value in the CRM is a word of ours.
    """
    field = next(field for field in comparison.fields if field.name == name)
    statement = _STANDS_FOR.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        field=literal(name),
        meaning=crm_value_for_enerflo(comparison, field),
        shown=field.crm.shown,
        crm_side=crm_side(comparison),
        on=" and ".join(
            f"c.k{n} = {fitting_key(comparison, 'a.key', column)}"
            for n, column in enumerate(comparison.mapping.key_columns, 1)
        ),
        which=which,
    )
    connection.exec_driver_sql(statement, {"account": account})
