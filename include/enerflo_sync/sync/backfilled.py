"""Which of a plan's changes come from a backfill: from records that one brought in last."""

from __future__ import annotations

from string import Template

import sqlalchemy as sa

from enerflo_sync.warehouse.schema import change_orders, installs, milestones, notes

_COUNT = Template("""
/* enerflo-sync plan: changes that come from a backfill, $name */
select count(*) from pg_temp.planned p join $mirror t on t.account = :account and $same
where p.table_name = '$name' and p.direction = 'to_crm' and t.observed_by = 'backfill'
""")


def changes_from_backfills(connection: sa.Connection, account: str) -> int:
    """Return how many changes of ``planned`` write to the CRM what a backfill has observed last."""
    count = 0
    for table in (installs, milestones, notes, change_orders):
        key = [column.name for column in table.primary_key.columns if column.name != "account"]
        same = " and ".join(f"t.{name} = (p.enerflo_key ->> '{name}')::bigint" for name in key)
        query = _COUNT.substitute(name=table.name, mirror=table.fullname, same=same)
        count += connection.scalar(sa.text(query), {"account": account}) or 0
    return count
