"""Reads what a plan changes in the CRM page by page, as groups of one table, operation and set of columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

# Changes of one page: it bounds the memory, and must exceed the number of changes of one record.
PAGE = 20_000

OF_PLAN = """p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.direction = 'to_crm'
  and p.state = 'planned'"""

# The changes of a record have consecutive positions, and a page holds all of them or none. New rows with the
# same columns are inserted together; columns without a value are left out, so that the table's defaults
# apply.
_PAGE = f"""
/* enerflo-sync apply: what there is to do on the CRM's side */
with page as materialized (
  select p.position, p.table_name, p.op, p.field, p.key
  from sync.plan_changes p where {OF_PLAN} and p.position > %(after)s order by p.position limit %(limit)s
), torn as materialized (
  select min(position) as first from page
  where (select count(*) from page) = %(limit)s
    and (table_name, op, key) = (select table_name, op, key from page order by position desc limit 1)
), whole as (
  select p.* from page p, torn where coalesce(p.position < torn.first, true)
)
select table_name, op, array[field] as fields, min(position) as first, max(position) as last,
       max(position) as until
from whole where op <> 'insert' group by 1, 2, 3
union all
select table_name, op, fields, min(first), max(first), max(last) from (
  select table_name, op, array_agg(field order by field) as fields, min(position) as first,
         max(position) as last
  from whole where op = 'insert' group by table_name, op, key
) r group by 1, 2, 3
order by first
"""  # noqa: S608 - a constant


def pages_of_plan(connection: sa.Connection, values: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    """Yield the changes page by page, as groups of one table, operation and set of columns, in their order.

    For updates and deletions, ``first`` and ``last`` are positions of changes. For new rows they are
    positions of the first change of a record, and ``until`` is the position of the last change.
    """
    after = -1
    while groups := _page(connection, values, after):
        after = max(group.until for group in groups)
        yield groups


def _page(connection: sa.Connection, values: Mapping[str, Any], after: int) -> Sequence[Any]:
    return connection.exec_driver_sql(_PAGE, {**values, "after": after, "limit": PAGE}).all()
