"""Which of a plan's changes come from a backfill: from records that one brought in last."""

from __future__ import annotations

from collections.abc import Iterator
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.names import jsonb_object
from enerflo_sync.resources.registry import KINDS

_COUNT = Template("""
/* enerflo-sync plan: changes that come from a backfill, $name */
select count(*) from pg_temp.planned p join $mirror t on t.account = :account and $same
where p.enerflo_key = $whole and p.direction = 'to_crm' and t.observed_by = 'backfill' and $among
""")
_MARK = Template("""
/* enerflo-sync plan: changes that come from a backfill wait, $name */
update pg_temp.planned p set waits = true from $mirror t
where t.account = :account and $same
  and p.enerflo_key = $whole and p.direction = 'to_crm' and t.observed_by = 'backfill' and not p.waits
""")


def changes_from_backfills(connection: sa.Connection, account: str, *, among: str = "true") -> int:
    """Return how many changes of ``planned`` write to the CRM what a backfill has observed last.

    :param among: a condition on the changes ``p``.
    """
    return sum(
        connection.scalar(sa.text(query), {"account": account}) or 0
        for query in _of_each_table(_COUNT, among=among)
    )


def mark_backfilled(connection: sa.Connection, account: str) -> None:
    """Let the changes of ``planned`` wait that write what a backfill has observed last."""
    for statement in _of_each_table(_MARK):
        connection.execute(sa.text(statement), {"account": account})


def _of_each_table(template: Template, **more: str) -> Iterator[str]:
    # The whole key tells the kind: that of a milestone has its install's in it.
    for _, part in KINDS.values():
        table = part.table
        key = [column.name for column in table.primary_key.columns if column.name != "account"]
        same = " and ".join(f"t.{name} = (p.enerflo_key ->> '{name}')::bigint" for name in key)
        whole = jsonb_object((name, f"t.{name}") for name in key)
        yield template.substitute(name=table.name, mirror=table.fullname, same=same, whole=whole, **more)
