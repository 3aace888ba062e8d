"""Changes of a plan that come from a backfill: a backfill was the last to load their record."""

from __future__ import annotations

from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.names import jsonb_object
from enerflo_sync.resources.registry import KINDS

_OF_KIND = Template("""
  select p.position from pg_temp.planned p join $mirror t on t.account = :account and $same
  where p.enerflo_key = $whole and p.direction = 'to_crm' and t.observed_by = 'backfill'""")
_NOTE = Template("""
/* enerflo-sync plan: changes that come from a backfill */
update pg_temp.planned p set from_backfill = true
from ($positions
) f where f.position = p.position
""")
_COUNT = Template("""
/* enerflo-sync plan: how many changes come from a backfill */
select count(*) from pg_temp.planned p where p.from_backfill and $among
""")


def note_backfilled(connection: sa.Connection, account: str) -> None:
    """Mark the changes of ``planned`` that write to the CRM from a record that a backfill loaded last."""
    # The whole key is compared, because its columns tell the kind of record: a milestone's key contains the
    # id of its install.
    positions = []
    for _, part in KINDS.values():
        table = part.table
        key = [column.name for column in table.primary_key.columns if column.name != "account"]
        same = " and ".join(f"t.{name} = (p.enerflo_key ->> '{name}')::bigint" for name in key)
        whole = jsonb_object((name, f"t.{name}") for name in key)
        positions.append(_OF_KIND.substitute(mirror=table.fullname, same=same, whole=whole))
    statement = _NOTE.substitute(positions="\n  union all".join(positions))
    connection.execute(sa.text(statement), {"account": account})


def changes_from_backfills(connection: sa.Connection, *, among: str = "true") -> int:
    """Return how many changes of ``planned`` come from a backfill.

    :param among: a condition on the changes ``p``.
    """
    return int(connection.exec_driver_sql(_COUNT.substitute(among=among)).scalar_one())
