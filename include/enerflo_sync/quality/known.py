"""Reference data: panel types and adders used by other installs, and figures of an order's adders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.quality.suite import Suite
from enerflo_sync.quality.texts import folded_sql

PRODUCTS = "pg_temp.products"
ADDERS_OF = "pg_temp.adders_of"

# Per spelling of a panel type: the lowest and highest install with it, so that an order's own install does
# not count as another. Each spelling is folded once, however many installs have it.
_PRODUCTS = Template("""
/* enerflo-sync quality: known panel types */
create temporary table products on commit drop as
with installed as materialized (
  select panel_type as spelling, min(install_id) as first, max(install_id) as last from enerflo.installs
  where account = %(account)s and panel_type is not null and deleted_at is null group by 1
), named as materialized (
  select spelling, $folded as name, first, last from (
    select spelling, first, last from installed
    union all
    select panel_type_new, null, null from (
      select distinct o.panel_type_new from pg_temp.to_check t
      join enerflo.change_orders o on o.account = %(account)s and o.change_order_id = t.change_order_id
      where o.panel_type_new is not null) o
    where panel_type_new not in (select spelling from installed)
  ) s
), listed as (
  select $folded_name as name, max(watts) as watts
  from jsonb_to_recordset(cast(%(products)s as jsonb)) as p (name text, watts numeric) group by 1
), seen as (
  select name, min(first) as first, max(last) as last from named group by 1
), measured as (
  select n.name,
    percentile_disc(0.5) within group (order by round(i.system_size_kw * 1000 / i.panel_count, 1)) as watts
  from enerflo.installs i join named n on n.spelling = i.panel_type
  where i.account = %(account)s and i.deleted_at is null and i.panel_count > 0 and i.system_size_kw > 0
    and n.name not in (select name from listed where watts is not null)
  group by 1 having count(*) > 2
)
select n.spelling, l.name is not null as is_listed, s.first, s.last, coalesce(l.watts, m.watts) as watts
from named n left join listed l using (name) left join seen s using (name) left join measured m using (name)
""")

_ADDERS = """
/* enerflo-sync quality: adders that are known */
create temporary table known_adders on commit drop as
select adder_id, min(change_order_id) as first, max(change_order_id) as last from enerflo.change_order_adders
where account = %(account)s and deleted_at is null group by 1
"""

_ADDERS_OF = """
/* enerflo-sync quality: the adders of each order in figures */
create temporary table adders_of on commit drop as
select a.change_order_id,
  count(*) filter (where a.side = 'new') as n,
  string_agg(a.adder_id, ', ' order by a.adder_id) filter (where a.side = 'new'
    and a.adder_id <> all(%(adders)s::text[])
    and k.first = a.change_order_id and k.last = a.change_order_id) as unknown,
  string_agg(a.adder_id, ', ' order by a.adder_id) filter (where x.sold and a.cost is null) as without_cost,
  min(a.quantity) filter (where x.sold) as lowest_quantity,
  min(a.cost) filter (where x.sold) as lowest_cost,
  max(a.cost) filter (where x.sold) as highest_cost,
  coalesce(sum(case when a.side = 'new' then 1 else -1 end * a.cost * coalesce(a.quantity, 1))
    filter (where a.active is not false), 0) as change
from pg_temp.to_check t
join enerflo.change_order_adders a on a.account = %(account)s and a.change_order_id = t.change_order_id
join pg_temp.known_adders k using (adder_id)
cross join lateral (select a.side = 'new' and a.active is not false as sold) x
where a.deleted_at is null
group by 1
"""


def make_known(connection: sa.Connection, suite: Suite, values: Mapping[str, Any]) -> None:
    """Fill ``products`` and ``adders_of`` for the orders in ``to_check``."""
    listed = {
        **values,
        "products": json.dumps([{"name": one.name, "watts": one.watts} for one in suite.products]),
        "adders": [str(adder) for adder in suite.adders],
    }
    products = _PRODUCTS.substitute(folded=folded_sql("spelling"), folded_name=folded_sql("name"))
    for statement, table in (
        (products, PRODUCTS),
        (_ADDERS, "pg_temp.known_adders"),
        (_ADDERS_OF, ADDERS_OF),
    ):
        connection.exec_driver_sql(statement, listed)
        connection.exec_driver_sql(f"analyze {table}")
