"""Statuses that ``sync.yaml`` names and the company does not have: a person decides.

An administrator of Enerflo may give a status another name. Then a name in ``sync.yaml`` means nothing, and
the new name is listed nowhere: a label of ``values`` would be overwritten with Enerflo's own word, and an
install could be voided by a status that ``statuses.voided`` does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.live.gone_statuses import gone_statuses
from enerflo_sync.crm.mapping import Side
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.values import Field, normal_text

NO_LABEL = (
    "Enerflo's status has no label in values, which lists {names}, and the company has no such status:"
    " correct values"
)
MAY_VOID = (
    "the company has no status {names}, so this one may be the one that voids an install: correct"
    " statuses.voided"
)

_WITHOUT_LABEL = Template("""
/* enerflo-sync plan $name: statuses without a label, while a label's own status is gone */
update pg_temp.decided d set outcome = 'review', before = d.source_value, source_value = d.before,
  after = null, reason = $reason
where d.table_name = $table and d.field = $field and d.op in ('update', 'insert')
  and d.outcome = 'to_crm' and $said not in (select $listed from unnest(%(names)s::text[]) w(name))
""")
_MAY_VOID = Template("""
/* enerflo-sync plan $name: statuses that may void an install */
update pg_temp.decided d set outcome = 'review', after = null, reason = $reason
where d.table_name = $table and d.field = $field and d.op = 'update' and d.outcome = 'to_enerflo'
""")


def ask_about_renamed_statuses(
    connection: sa.Connection, comparisons: Sequence[Comparison], config: SyncConfig, account: str
) -> None:
    """Make questions in ``decided`` of changes whose status may be one that ``sync.yaml`` calls otherwise."""
    voided = gone_statuses(
        connection, [one for one in config.statuses.voided if isinstance(one, str)], account
    )
    for comparison in comparisons:
        for field in comparison.fields if comparison.is_installs else ():
            if field.mapping.enerflo != "status_name":
                continue
            place = {
                "name": comparison.name,
                "table": literal(comparison.name),
                "field": literal(field.name),
            }
            if voided and Side.ENERFLO not in comparison.mapping.void_in:
                reason = literal(MAY_VOID.format(names=", ".join(voided)))
                connection.exec_driver_sql(_MAY_VOID.substitute(place, reason=reason))
            if field.mapping.values:
                _ask_without_label(connection, field, account, place)


def _ask_without_label(
    connection: sa.Connection, field: Field, account: str, place: Mapping[str, str]
) -> None:
    names = list(field.mapping.values)

    def compared(text: str) -> str:
        return normal_text(text, field.mapping, field.fold)

    if gone := gone_statuses(connection, names, account, compared):
        statement = _WITHOUT_LABEL.substitute(
            place,
            reason=literal(NO_LABEL.format(names=", ".join(gone))),
            said=compared("(d.source_value #>> '{}')"),
            listed=compared("w.name"),
        )
        connection.exec_driver_sql(statement, {"names": names})
