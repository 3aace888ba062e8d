"""Values that plans write to a CRM table again and again, as something else puts back those from before."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from enerflo_sync.counted import count_of
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.crm.notice import Notice

# The same value in place of the same one: twice may be chance, as where a person takes a write back.
OFTEN = 3
DAYS = 14

# Before the first migration there is no ledger, and a role that lacks rights is told of these elsewhere.
_KNOWN = sa.text("""
/* enerflo-sync doctor: whether there is a ledger that may be read */
select exists (
  select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'sync' and c.relname = 'ledger'
    and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select'))
""")
_OFTEN = sa.text("""
/* enerflo-sync doctor: values that were written to one table again and again */
select count(*) from (
  select from sync.ledger
  where account = :account and table_name = :name and direction = 'to_crm' and op = 'update'
    and decision = 'applied' and recorded_at > now() - make_interval(days => :days)
  group by key, field, old_value, new_value having count(*) >= :often) s
""")


def taken_back(connection: sa.Connection, mapping: TableMapping, account: str, name: str) -> Iterator[Notice]:
    """Yield that the table does not keep what plans write to it: a load of every night, or another job."""
    if not connection.execute(_KNOWN).scalar_one():
        return
    named = {"account": account, "name": name, "days": DAYS, "often": OFTEN}
    number = connection.execute(_OFTEN, named).scalar_one()
    if number:
        yield Notice(
            "warning",
            ("crm_table",),
            f"{count_of(number, 'value')} of {mapping.crm_table} that plans wrote {OFTEN} times or more"
            f" within {DAYS} days, each time in place of the same value",
            "a table that keeps what is written to it",
            "See what loads the table anew, or puts the values back. If it is a copy, hand changes over to"
            " the CRM (write_to: changes); if the CRM is right, say source_of_truth: crm for these fields.",
        )
