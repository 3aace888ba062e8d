"""The flat relation: change orders with everything that they are checked against, derived in SQL.

One temporary table, ``facts``, with a row for each order in ``to_check``. Facts that look back (what was
there before, which status it had) keep what an earlier run knew of the same signature.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.names import literal
from enerflo_sync.quality.before import BEFORE, make_before
from enerflo_sync.quality.suite import Suite
from enerflo_sync.reconcile.conditions import voided

FACTS = "pg_temp.facts"

_ALL = """
/* enerflo-sync quality: all change orders */
create temporary table to_check on commit drop as
select change_order_id from enerflo.change_orders where account = %(account)s and deleted_at is null
"""

# An order's facts change with its own row, its adders, its install and the install's other orders; one that
# fails is looked at again in every run with its siblings, since a product or an adder may have become known.
_CHANGED = """
/* enerflo-sync quality: change orders that changed, or what they are checked against */
create temporary table to_check on commit drop as
with touched as (
  select change_order_id, install_id from enerflo.change_orders
  where account = %(account)s and observed_at > %(since)s
  union
  select o.change_order_id, o.install_id from enerflo.change_order_adders a
  join enerflo.change_orders o using (account, change_order_id)
  where a.account = %(account)s and a.observed_at > %(since)s
  union
  select o.change_order_id, o.install_id from enerflo.installs i
  join enerflo.change_orders o using (account, install_id)
  where i.account = %(account)s and i.observed_at > %(since)s
  union
  select change_order_id, install_id from sync.change_order_facts
  where account = %(account)s and failing <> '{}'
), wanted as (
  select change_order_id from touched
  union
  select o.change_order_id from enerflo.change_orders o
  where o.account = %(account)s and o.install_id in (select install_id from touched)
)
select w.change_order_id from wanted w
join enerflo.change_orders o on o.account = %(account)s and o.change_order_id = w.change_order_id
where o.deleted_at is null
"""

# Of each panel type: which installs have it, at both ends, so that an order's own is not taken for another.
_PRODUCTS = Template("""
/* enerflo-sync quality: panel types that are known */
create temporary table products on commit drop as
with listed as (
  select $folded_name as name, max(watts) as watts
  from jsonb_to_recordset(cast(%(products)s as jsonb)) as p (name text, watts numeric) group by 1
), seen as (
  select $folded_type as name, min(install_id) as first, max(install_id) as last
  from enerflo.installs
  where account = %(account)s and panel_type is not null and deleted_at is null group by 1
), measured as (
  select $folded_type as name,
    percentile_disc(0.5) within group (order by round(system_size_kw * 1000 / panel_count, 1)) as watts
  from enerflo.installs
  where account = %(account)s and deleted_at is null and panel_count > 0 and system_size_kw > 0
    and panel_type is not null and $folded_type not in (select name from listed where watts is not null)
  group by 1 having count(*) > 2
)
select name, l.name is not null as is_listed, s.first, s.last, coalesce(l.watts, m.watts) as watts
from listed l full join seen s using (name) left join measured m using (name)
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

_STATUSES = "case lower(btrim(o.status)) {} end"

_ORDERS = Template("""
/* enerflo-sync quality: the orders, and how many others their installs have */
create temporary table orders on commit drop as
select o.change_order_id, o.install_id, lower(btrim(o.status)) as status, $kind as status_kind, o.signed_at,
  o.observed_at, o.panel_type_old, o.panel_type_new, o.panel_count_old, o.panel_count_new, o.battery_old,
  o.battery_new, o.total_change, o.unknown_components, count(*) over (partition by o.install_id) as siblings
from pg_temp.to_check t
join enerflo.change_orders o on o.account = %(account)s and o.change_order_id = t.change_order_id
""")

# Only where an install has several orders: the order in force before this one that sets the same thing, and
# whether one after it does.
_NEIGHBOURS = Template("""
left join lateral (
  select s.change_order_id, s.signed_at, s.${name}_old as old, s.${name}_new as new
  from pg_temp.orders s
  where o.siblings > 1 and s.install_id = o.install_id and s.status_kind in ('signed', 'override')
    and s.${name}_new is not null and o.${name}_new is not null
    and (s.signed_at, s.change_order_id) < (o.signed_at, o.change_order_id)
  order by s.signed_at desc, s.change_order_id desc limit 1
) ${name}_prev on true
left join lateral (
  select r.value, r.at, r.of_order from (values
    (${name}_prev.new, ${name}_prev.signed_at, true),
    (b.${column}, b.at, false),
    -- An install that has the new value took the order up, whatever its own time says.
    (case when i.updated_at < o.signed_at and ${not_taken_up} then i.${column} end, i.updated_at, false)
  ) r (value, at, of_order)
  where o.${name}_new is not null and r.value is not null order by r.at desc limit 1
) ${name}_ref on true
cross join lateral (
  select coalesce(${name}_ref.value, case when same then p.${name}_before end) as value
) ${name}_was
""")

_FACTS = Template("""
/* enerflo-sync quality: the facts of each order */
create temporary table facts on commit drop as
select o.change_order_id, o.install_id, o.status, o.status_kind, o.signed_at,
  case when o.install_id is not null then i.install_id is not null end as install_here,
  case when x.in_force and i.install_id is not null then
    coalesce($voided_before, false)
    or ($voided_now and (o.signed_at >= i.updated_at or (same and coalesce(p.install_voided, false))))
  end as install_voided,
  case when o.status_kind = 'signed' then o.signed_at is not null end as signed_time_there,
  case when o.status_kind = 'pending' then o.signed_at is not null end as signed_though_pending,
  case when o.signed_at > %(now)s::timestamptz
    then ceil(extract(epoch from o.signed_at - %(now)s::timestamptz) / 3600) end as signed_ahead_hours,
  i.created_at as install_created_at,
  round(extract(epoch from o.signed_at - i.created_at) / 86400, 2) as signed_days_after_install,
  s.status_before, s.status_before || ' > ' || o.status_kind as life_cycle,
  o.panel_type_old, o.panel_type_new, panel_type_was.value as panel_type_before,
  case when x.counts and o.panel_type_new is not null then
    coalesce(n.is_listed or n.first <> o.install_id or n.last <> o.install_id, false)
  end as panel_type_known,
  case when x.counts then $folded_old_type = $folded_type_was end as panel_type_old_agrees,
  o.panel_count_old, case when x.counts then o.panel_count_new end as panel_count_new,
  panel_count_was.value as panel_count_before,
  case when x.counts then o.panel_count_old = panel_count_was.value end as panel_count_old_agrees,
  z.by_size as panel_count_by_size,
  round(abs(o.panel_count_new - z.by_size) * 100 / nullif(z.by_size, 0), 1) as panel_count_deviation_percent,
  o.battery_old, case when x.counts then o.battery_new end as battery_new,
  battery_was.value as battery_before,
  case when x.counts then $folded_old_battery = $folded_battery_was end as battery_old_agrees,
  case when x.counts and o.battery_new ~ '^[0-9]{1,9}([^0-9.,]|$$)'
    then substring(o.battery_new from '^[0-9]{1,9}')::integer end as battery_count_new,
  case when x.counts then coalesce(a.n, 0)::integer end as adder_count,
  case when x.counts then a.unknown end as adders_unknown,
  case when x.counts then a.without_cost end as adders_without_cost,
  case when x.counts then a.lowest_quantity end as adder_lowest_quantity,
  case when x.counts then a.lowest_cost end as adder_lowest_cost,
  case when x.counts then a.highest_cost end as adder_highest_cost,
  case when x.counts then o.total_change end as total_change, a.change as adders_change,
  case when x.counts then abs(o.total_change - a.change) end as total_gap,
  case when x.counts then (
    select string_agg(k, ', ' order by k) from jsonb_object_keys(o.unknown_components) k
  ) end as components_unknown,
  case when x.in_force then coalesce($contradictions) end as contradicts,
  case when o.status_kind = 'voided' and i.install_id is not null then coalesce(
    ($folded_new_type = $folded_type_now and $folded_old_type <> $folded_type_now)
    or (o.panel_count_new = i.panel_count and o.panel_count_old <> i.panel_count)
    or ($folded_new_battery = $folded_battery_now and $folded_old_battery <> $folded_battery_now), false)
  end as voided_took_effect,
  o.observed_at
from pg_temp.orders o
cross join lateral (
  select coalesce(o.status_kind in ('signed', 'override'), false) as in_force,
         o.status_kind is distinct from 'voided' as counts
) x
left join sync.change_order_facts p on p.account = %(account)s and p.change_order_id = o.change_order_id
cross join lateral (select p.signed_at is not distinct from o.signed_at
  and p.install_id is not distinct from o.install_id as same) e
left join enerflo.installs i
  on i.account = %(account)s and i.install_id = o.install_id and i.deleted_at is null
left join $before b on b.change_order_id = o.change_order_id
left join pg_temp.adders_of a on a.change_order_id = o.change_order_id
left join pg_temp.products n on n.name = $folded_new_type
left join pg_temp.products w on w.name = $folded_type_now
cross join lateral (
  select case when p.status_kind is distinct from o.status_kind then p.status_kind else p.status_before end
    as status_before
) s
$neighbours
cross join lateral (
  select case when x.in_force and o.panel_count_new = i.panel_count and w.watts > 0
      and not exists (
        select from pg_temp.orders l
        where o.siblings > 1 and l.install_id = o.install_id and l.status_kind in ('signed', 'override')
          and l.panel_count_new is not null
          and (l.signed_at, l.change_order_id) > (o.signed_at, o.change_order_id))
    then round(i.system_size_kw * 1000 / w.watts, 1) end as by_size
) z
""")

# A contradiction: the last word before this one replaced the same value by another.
_CONTRADICTION = Template("""
    case when ${name}_ref.of_order and $same_old and $other_new and $moved_on
      then ${name}_prev.change_order_id end""")

# By the installs' own names for the components of an order.
COMPONENTS: Mapping[str, str] = {
    "panel_type": "panel_type",
    "panel_count": "panel_count",
    "battery": "battery_configuration",
}


def make_facts(
    connection: sa.Connection,
    suite: Suite,
    account: str,
    *,
    since: datetime | None,
    now: datetime,
    statuses: Mapping[str, Any],
) -> int:
    """Derive the facts of the orders that may have changed, in the caller's transaction; return how many.

    :param since: the mirror's time from which changes count; None for all orders.
    :param statuses: the parameters of the condition that an install is voided.
    """
    values: dict[str, Any] = {
        "account": account,
        "since": since,
        "now": now,
        "products": json.dumps(
            [{"name": product.name, "watts": product.watts} for product in suite.products]
        ),
        "adders": [str(adder) for adder in suite.adders],
        "voided_ids": statuses["voided_ids"],
        "voided_names": statuses["voided_names"],
    }
    connection.exec_driver_sql(_ALL if since is None else _CHANGED, values)
    count: int = connection.execute(sa.text("select count(*) from pg_temp.to_check")).scalar_one()
    if not count:
        return 0
    connection.exec_driver_sql("analyze pg_temp.to_check")
    make_before(connection, account)
    folded = {"folded_name": folded_sql("name"), "folded_type": folded_sql("panel_type")}
    for statement, table in (
        (_PRODUCTS.substitute(folded), "products"),
        (_ADDERS, "known_adders"),
        (_ADDERS_OF, "adders_of"),
        (_ORDERS.substitute(kind=_kind(suite)), "orders"),
    ):
        connection.exec_driver_sql(statement, values)
        connection.exec_driver_sql(f"analyze pg_temp.{table}")
    connection.exec_driver_sql("create index on pg_temp.orders (install_id) where siblings > 1")
    connection.exec_driver_sql(facts_statement(), values)
    connection.exec_driver_sql(f"analyze {FACTS}")
    return count


def facts_statement() -> str:
    """Return the statement that fills ``facts`` from the tables made before it."""
    folded = {
        "folded_new_type": folded_sql("o.panel_type_new"),
        "folded_old_type": folded_sql("o.panel_type_old"),
        "folded_type_was": folded_sql("panel_type_was.value"),
        "folded_type_now": folded_sql("i.panel_type"),
        "folded_new_battery": folded_sql("o.battery_new"),
        "folded_old_battery": folded_sql("o.battery_old"),
        "folded_battery_was": folded_sql("battery_was.value"),
        "folded_battery_now": folded_sql("i.battery_configuration"),
    }
    return _FACTS.substitute(
        folded,
        before=BEFORE,
        voided_before=f"b.change_order_id is not null and {voided('b', 'status')}",
        voided_now=voided("i", "status"),
        neighbours="".join(
            _NEIGHBOURS.substitute(
                name=name, column=column, not_taken_up=_other(f"i.{column}", f"o.{name}_new")
            )
            for name, column in COMPONENTS.items()
        ),
        contradictions=",".join(_contradiction(name) for name in COMPONENTS),
    )


def _contradiction(name: str) -> str:
    def said(side: str) -> str:
        return side if name == "panel_count" else folded_sql(side)

    old, new = said(f"o.{name}_old"), said(f"o.{name}_new")
    was, became = said(f"{name}_prev.old"), said(f"{name}_prev.new")
    return _CONTRADICTION.substitute(
        name=name, same_old=f"{was} = {old}", other_new=f"{became} <> {new}", moved_on=f"{became} <> {old}"
    )


def _other(one: str, two: str) -> str:
    if one.endswith("count"):
        return f"{one} <> {two}"
    return f"{folded_sql(one)} <> {folded_sql(two)}"


def folded_sql(text: str) -> str:
    """Return a text as it is compared: without case, and with one blank between words."""
    return f"lower(regexp_replace(btrim({text}), '\\s+', ' ', 'g'))"


def _kind(suite: Suite) -> str:
    cases = " ".join(
        f"when {literal(word)} then {literal(kind)}".replace("%", "%%")
        for word, kind in suite.statuses.items()
    )
    return _STATUSES.format(cases)
