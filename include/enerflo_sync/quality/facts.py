"""The facts: change orders with all values that they are checked against, derived in one query.

It has a row for each order in the temporary table ``to_check``. The query is part of the statement that
judges them, because a temporary table of a million facts costs seconds to write and to read. Facts about the
past (previous value, previous status) keep what an earlier run knew of the same signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.quality.before import BEFORE, make_before
from enerflo_sync.quality.known import ADDERS_OF, PRODUCTS, make_known
from enerflo_sync.quality.suite import Suite
from enerflo_sync.quality.texts import alike_sql
from enerflo_sync.reconcile.conditions import voided
from enerflo_sync.warehouse.declared import read_declared
from enerflo_sync.warehouse.schema import change_orders

# From this many orders on, give the joins enough memory to avoid the disk.
MANY_ORDERS = 10_000
_ROOM = "set local work_mem = '128MB'"

_ALL = """
/* enerflo-sync quality: all change orders */
create temporary table to_check on commit drop as
select change_order_id from enerflo.change_orders where account = %(account)s and deleted_at is null
"""

# An order's facts depend on its own row, its adders, its install and the install's other orders: also of the
# install from which an order moved. An order that fails is checked again in every run, with its siblings,
# since its product or adder may be known by now. A tombstone does not change observed_at.
_CHANGED = """
/* enerflo-sync quality: change orders with changed facts */
create temporary table to_check on commit drop as
with touched as (
  select change_order_id, install_id from enerflo.change_orders
  where account = %(account)s and (observed_at > %(since)s or deleted_at > %(since)s)
  union
  select o.change_order_id, o.install_id from enerflo.change_order_adders a
  join enerflo.change_orders o using (account, change_order_id)
  where a.account = %(account)s and (a.observed_at > %(since)s or a.deleted_at > %(since)s)
  union
  select o.change_order_id, o.install_id from enerflo.installs i
  join enerflo.change_orders o using (account, install_id)
  where i.account = %(account)s and (i.observed_at > %(since)s or i.deleted_at > %(since)s)
  union
  select change_order_id, f.install_id from sync.change_order_facts f
  join enerflo.change_orders o using (account, change_order_id)
  where f.account = %(account)s and o.observed_at > %(since)s and f.install_id is distinct from o.install_id
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

# The orders of each install in turn. For each component: how many places before it the previous order in
# force stands that sets the same; for the panel count, how many orders do before it, and in total. All
# windows have one order, so that the orders are sorted once.
_ORDERS = Template("""
      select o.*,$previous
      from (
        select o.*,$back,
          count(*) filter (where in_force and panel_count_new is not null) over before as panel_count_turn
        from (
          select o.*, row_number() over all_of_them as place,
            count(*) filter (where in_force and signed_at is not null and panel_count_new is not null)
              over all_of_them as panel_count_turns
          from (
            select o.change_order_id, o.install_id, lower(btrim(o.status)) as status, k.status_kind,
              o.signed_at, o.observed_at, o.panel_type_old, o.panel_type_new, o.panel_count_old,
              o.panel_count_new, o.battery_old, o.battery_new, o.total_change, o.unknown_components,
              case when $has_further
                then nullif(jsonb_strip_nulls(jsonb_build_object($further)), '{}') end as further,
              coalesce(k.status_kind in ('signed', 'override'), false) as in_force,
              k.status_kind is distinct from 'voided' as counts
            from pg_temp.to_check t
            join enerflo.change_orders o
              on o.account = %(account)s and o.change_order_id = t.change_order_id
            cross join lateral (select case lower(btrim(o.status)) $kinds end as status_kind) k
          ) o
          window all_of_them as (
            partition by install_id order by signed_at, change_order_id
            rows between unbounded preceding and unbounded following)
        ) o
        window before as (
          partition by install_id order by signed_at, change_order_id
          rows between unbounded preceding and 1 preceding)
      ) o
      window all_of_them as (
        partition by install_id order by signed_at, change_order_id
        rows between unbounded preceding and unbounded following)""")

_BACK = Template("""
          (place - case when install_id is not null and signed_at is not null and ${name}_new is not null
            then max(place) filter (where in_force and ${name}_new is not null) over before
          end)::integer as ${name}_back""")

# The previous order in force that sets the same component.
_PREVIOUS = Template("""
        lag(change_order_id, ${name}_back) over all_of_them as ${name}_prev,
        lag(signed_at, ${name}_back) over all_of_them as ${name}_said_at,
        lag(${name}_old, ${name}_back) over all_of_them as ${name}_prev_old,
        lag(${name}_new, ${name}_back) over all_of_them as ${name}_said""")

# The component's previous value has three sources, each with its time: the previous order, the install's
# version from before the signature, and the present install. Signatures have whole seconds, so if the install
# was seen in the second of the previous order, the order takes precedence. An install with the new value has
# applied the order, whatever its own time.
_WITNESSES = Template("""
    case when o.${name}_new is not null and b.${column} is not null then date_trunc('second', b.at) end
      as ${name}_seen_at,
    b.${column} as ${name}_seen,
    case when i.updated_at < o.signed_at and not $taken_up then i.updated_at end as ${name}_kept_at,
    i.${column} as ${name}_now, p.${name}_before as ${name}_known""")

# The latest source wins; without any, use what an earlier run knew of the same signature.
_WAS = Template("""
    case greatest(${name}_said_at, ${name}_seen_at, ${name}_kept_at)
      when ${name}_said_at then ${name}_said when ${name}_seen_at then ${name}_seen
      when ${name}_kept_at then ${name}_now
      else case when is_same then ${name}_known end end as ${name}_was,
    coalesce(${name}_said_at = greatest(${name}_said_at, ${name}_seen_at, ${name}_kept_at), false)
      as ${name}_of_order""")

# Nested layers, because the next layer uses each value several times; offset 0 forces one evaluation. That
# holds of the last layer too: the judgement uses each fact as a column and in the digest. A panel type
# without a spelling came after this run had looked them up: the next run judges it.
_FACTS = Template("""
select change_order_id, install_id, status, status_kind, signed_at,
  case when install_id is not null then is_here end as install_here,
  case when in_force and is_here then
    voided_before or (voided_now and (signed_at >= updated_at or (is_same and voided_known)))
  end as install_voided,
  case when status_kind = 'signed' then signed_at is not null end as signed_time_there,
  case when status_kind = 'pending' then signed_at is not null end as signed_though_pending,
  case when signed_at > %(now)s::timestamptz
    then ceil(extract(epoch from signed_at - %(now)s::timestamptz) / 3600) end as signed_ahead_hours,
  created_at as install_created_at,
  round(extract(epoch from signed_at - created_at) / 86400, 2) as signed_days_after_install,
  status_before, status_before || ' > ' || status_kind as life_cycle,
  panel_type_old, panel_type_new, panel_type_was as panel_type_before,
  case when counts and spelling is not null then
    coalesce(is_listed or first_with_type <> install_id or last_with_type <> install_id, false)
  end as panel_type_known,
  case when counts then $same_type end as panel_type_old_agrees,
  panel_count_old, case when counts then panel_count_new end as panel_count_new,
  panel_count_was as panel_count_before,
  case when counts then panel_count_old = panel_count_was end as panel_count_old_agrees,
  by_size as panel_count_by_size,
  round(abs(panel_count_new - by_size) * 100 / nullif(by_size, 0), 1) as panel_count_deviation_percent,
  battery_old, case when counts then battery_new end as battery_new, battery_was as battery_before,
  case when counts then $same_battery end as battery_old_agrees,
  case when counts and battery_new ~ '^[0-9]{1,9}([^0-9.,]|$$)'
    then substring(battery_new from '^[0-9]{1,9}')::integer end as battery_count_new,
  case when counts then coalesce(adders, 0)::integer end as adder_count,
  case when counts then adders_unknown end as adders_unknown,
  case when counts then adders_without_cost end as adders_without_cost,
  case when counts then adder_lowest_quantity end as adder_lowest_quantity,
  case when counts then adder_lowest_cost end as adder_lowest_cost,
  case when counts then adder_highest_cost end as adder_highest_cost,
  case when counts then total_change end as total_change, adders_change,
  case when counts then abs(total_change - adders_change) end as total_gap,
  case when counts and unknown_components is not null then (
    select string_agg(name, ', ' order by name) from jsonb_object_keys(unknown_components) name
  ) end as components_unknown,
  case when in_force then coalesce($contradictions) end as contradicts,
  case when status_kind = 'voided' and is_here then coalesce($took_effect, false) end as voided_took_effect,
  observed_at, further, is_known, digest_before, observed_before, failed_before
from (
  select *, $was,
    case when in_force and panel_count_new = panel_count_now and watts > 0
        and (signed_at is null or panel_count_turn + 1 = panel_count_turns)
      then round(system_size_kw * 1000 / watts, 1) end as by_size
  from (
    select o.*, i.install_id is not null as is_here, i.created_at, i.updated_at, i.system_size_kw,
      b.change_order_id is not null and $voided_before as voided_before, $voided_now as voided_now,
      coalesce(p.install_voided, false) as voided_known,
      p.signed_at is not distinct from o.signed_at
        and p.install_id is not distinct from o.install_id as is_same,
      case when p.status_kind is distinct from o.status_kind then p.status_kind else p.status_before end
        as status_before,
      n.spelling, n.is_listed, n.first as first_with_type, n.last as last_with_type, w.watts,
      a.n as adders, a.unknown as adders_unknown, a.without_cost as adders_without_cost,
      a.lowest_quantity as adder_lowest_quantity, a.lowest_cost as adder_lowest_cost,
      a.highest_cost as adder_highest_cost, a.change as adders_change,
      p.change_order_id is not null as is_known, p.digest as digest_before, p.observed_at as observed_before,
      coalesce(p.failing, '{}') as failed_before,$witnesses
    from ($orders
    ) o
    left join sync.change_order_facts p
      on p.account = %(account)s and p.change_order_id = o.change_order_id
    left join enerflo.installs i
      on i.account = %(account)s and i.install_id = o.install_id and i.deleted_at is null
    left join $before b on b.change_order_id = o.change_order_id
    left join $adders a on a.change_order_id = o.change_order_id
    left join $products n on n.spelling = o.panel_type_new
    left join $products w on w.spelling = i.panel_type
    offset 0
  ) joined
  offset 0
) known
offset 0
""")

# Column names of an order's components in the installs table.
COMPONENTS: Mapping[str, str] = {
    "panel_type": "panel_type",
    "panel_count": "panel_count",
    "battery": "battery_configuration",
}


@dataclass(frozen=True)
class Facts:
    """The facts of possibly changed orders, as a query.

    :param count: the number of orders.
    :param query: a row for each, with the facts and with what an earlier run found; for use in a statement
        of the same transaction.
    :param values: its parameters.
    """

    count: int
    query: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def find_facts(
    connection: sa.Connection,
    suite: Suite,
    account: str,
    *,
    since: datetime | None,
    now: datetime,
    statuses: Mapping[str, Any],
) -> Facts:
    """Return the facts of possibly changed orders, for use in the caller's transaction.

    :param since: lower bound of the mirror's time for changes; None for all orders.
    :param statuses: parameters of the condition for a voided install.
    """
    values: dict[str, Any] = {
        "account": account,
        "since": since,
        "now": now,
        "voided_ids": statuses["voided_ids"],
        "voided_names": statuses["voided_names"],
    }
    connection.exec_driver_sql(_ALL if since is None else _CHANGED, values)
    count: int = connection.execute(sa.text("select count(*) from pg_temp.to_check")).scalar_one()
    if not count:
        return Facts(0)
    connection.exec_driver_sql("analyze pg_temp.to_check")
    if count >= MANY_ORDERS:
        connection.exec_driver_sql(_ROOM)
    make_before(connection, account)
    make_known(connection, suite, values)
    declared = [one.name for one in read_declared(connection, account, [change_orders.name])]
    return Facts(count, _facts_query(_orders_query(suite, declared)), values)


def _orders_query(suite: Suite, declared: Sequence[str]) -> str:
    """Return the query of the orders in turn.

    :param declared: columns of change orders that ``sync.yaml`` adds.
    """
    # Content of an order that is no fact of its own; most orders have none.
    further = {
        "adders": "nullif(o.adders, '[]')",
        "unknown_components": "o.unknown_components",
        **{name: f"o.{quoted(name)}" for name in declared},
    }
    return _ORDERS.substitute(
        kinds=" ".join(f"when {literal(word)} then {literal(kind)}" for word, kind in suite.statuses.items()),
        has_further=" or ".join(f"{value} is not null" for value in further.values()),
        further=", ".join(f"{literal(name)}, {value}" for name, value in further.items()),
        back=",".join(_BACK.substitute(name=name) for name in COMPONENTS),
        previous=",".join(_PREVIOUS.substitute(name=name) for name in COMPONENTS),
    )


def _facts_query(orders: str) -> str:
    return _FACTS.substitute(
        orders=orders,
        before=BEFORE,
        adders=ADDERS_OF,
        products=PRODUCTS,
        voided_before=voided("b", "status"),
        voided_now=voided("i", "status"),
        witnesses=",".join(
            _WITNESSES.substitute(
                name=name, column=column, taken_up=_alike(name, f"i.{column}", f"o.{name}_new")
            )
            for name, column in COMPONENTS.items()
        ),
        was=",".join(_WAS.substitute(name=name) for name in COMPONENTS),
        same_type=_alike("panel_type", "panel_type_old", "panel_type_was"),
        same_battery=_alike("battery", "battery_old", "battery_was"),
        contradictions=",".join(_contradiction(name) for name in COMPONENTS),
        took_effect=" or ".join(_took_effect(name) for name in COMPONENTS),
    )


def _contradiction(name: str) -> str:
    """Return the SQL for the earlier order that this one contradicts: same old value, other new value.

    Most orders go on from the previous one, so that is asked first, and their texts need no folding.
    """
    same_old = _alike(name, f"{name}_prev_old", f"{name}_old")
    same_new = _alike(name, f"{name}_said", f"{name}_new")
    went_on = _alike(name, f"{name}_said", f"{name}_old")
    return f"""
    case when {name}_of_order and not {went_on} and {same_old} and not {same_new} then {name}_prev end"""


def _took_effect(name: str) -> str:
    is_new, was_old = (_alike(name, f"{name}_{side}", f"{name}_now") for side in ("new", "old"))
    return f"({is_new} and not {was_old})"


def _alike(name: str, one: str, two: str) -> str:
    return f"({one} = {two})" if name == "panel_count" else alike_sql(one, two)
