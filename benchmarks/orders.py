"""Generated change orders with their installs and adders, of which few fail a check in a known way."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.warehouse import Warehouse

DATABASE = "bench_orders"
CONFIG = """
version: 1
accounts:
  default:
    warehouse_url: ${WAREHOUSE_URL}
tables: {}
"""
# One order in so many is wrong in one way, the ways in turn; so many of a hundred are a second order.
WRONG_PER = 100
SECOND_PERCENT = 40
NEW_PER = 100

# An install's equipment and both sides of an order, by install k, its orders and the order's turn t.
_PRODUCTS = (
    "(array['Qcells Q.PEAK DUO BLK ML-G10+ 400', 'REC Alpha Pure 405', 'Silfab SIL-430 QD',"
    " 'Jinko JKM410M-54HL4', 'Canadian Solar HiKu6 CS6R-395MS'])[1 + ({}) % 5]"
)
_WATTS = "(array[400, 405, 430, 410, 395])[1 + ({}) % 5]"
_TYPE = "k + case when k % 3 = 0 then {} else 0 end"
_COUNT = "12 + k % 20 + 3 * ({})"
_BATTERY = "case when k % 4 = 0 and {0} > 0 then ({0}) || ' x Powerwall 3' end"
_CREATED = "timestamptz '2021-01-01 00:00:00+00' + k * interval '97 seconds'"

_INSTALLS = """
insert into enerflo.installs (account, install_id, status_id, status_name, system_size_kw, panel_type,
  panel_count, battery_configuration, created_at, updated_at, content_hash, observed_at, observed_by,
  raw_hash)
select 'default', k, 1, 'In Progress', ({count}) * {watts} / 1000.0, {type}, {count}, {battery}, {created},
  {created} + interval '100 days', md5('i' || k), timestamptz '2025-01-01 00:00:00+00', 'poll',
  decode(md5('r' || k), 'hex')
from (select k, case when k <= {seconds} then 2 else 1 end as orders
      from generate_series({first}, {last}) k) i
"""

# What is wrong with every hundredth order, in turn.
_WRONG = {
    "panel_count_new": "900",
    "battery_new": "'some batteries'",
    "total_change": "99",
    "panel_type_new": "'Sunny Side 999'",
    "signed_at": "timestamptz '2019-01-01 00:00:00+00'",
    "status": "'in limbo'",
    "install_id": "k + 10000000",
    "panel_count_old": "7",
}

_ORDERS = """
insert into enerflo.change_orders (account, change_order_id, install_id, status, signed_at, panel_type_old,
  panel_type_new, panel_count_old, panel_count_new, battery_old, battery_new, total_change, adders,
  observed_at, observed_by, raw_hash)
select 'default', n, {install_id}, {status}, {signed_at}, case when k % 3 = 0 then {type_old} end,
  {panel_type_new}, {panel_count_old}, {panel_count_new}, {battery_old}, {battery_new}, {total_change}, '[]',
  {observed}, 'poll', decode(md5('o' || n), 'hex')
from (select n, (n - 1) % {installs} + {offset} as k, ((n - 1) / {installs})::int as t
      from generate_series({first}, {last}) n) o
"""

_ADDERS = """
insert into enerflo.change_order_adders (account, change_order_id, adder_id, side, name, cost, quantity,
  active, observed_at, observed_by, raw_hash)
select 'default', n, a.adder_id, 'new', 'Adder ' || a.adder_id, a.cost, 1, true, {observed}, 'poll',
  decode(md5('a' || n), 'hex')
from generate_series({first}, {last}) n
cross join lateral (values ((900 + n % 40)::text, 300.00), ((950 + n % 7)::text, 250.50)) a (adder_id, cost)
where n % 2 = 0
"""

_VERSIONS = """
insert into enerflo.install_versions (account, install_id, content_hash, raw, first_seen_at, observed_by,
  evidence)
select 'default', i.install_id, md5('v' || i.install_id),
  jsonb_build_object('id', i.install_id, 'panel_count', i.panel_count - 3, 'status', 'In Progress'),
  i.created_at + interval '1 day', 'poll', 'generated'
from enerflo.installs i where i.install_id between {first} and {last}
"""
_LONG_AGO = "timestamptz '2025-01-01 00:00:00+00'"


@dataclass(frozen=True)
class Orders:
    """The generated orders of one database.

    :param count: how many there are before any new one, a multiple of 1,000.
    """

    count: int

    @property
    def installs(self) -> int:
        """Return how many installs have an order, some of them a second one."""
        return self.count * (100 - SECOND_PERCENT) // 100

    @property
    def new(self) -> int:
        """Return how many orders :meth:`add` adds, each of an install of its own."""
        return self.count // NEW_PER

    def plant(self, warehouse: Warehouse) -> None:
        """Make the database :data:`DATABASE` with the orders in it, vacuumed and analyzed."""
        warehouse.migrated(DATABASE)
        warehouse.execute(
            DATABASE,
            _installs(1, self.installs, self.count - self.installs),
            _orders(1, self.count, self.installs, 1, _LONG_AGO),
            _ADDERS.format(first=1, last=self.count, observed=_LONG_AGO),
            "vacuum (freeze, analyze)",
        )

    def add(self, warehouse: Warehouse) -> None:
        """Add one in a hundred orders, of new installs, of each of which a version from before is known."""
        first, last = self.installs + 1, self.installs + self.new
        warehouse.execute(
            DATABASE,
            _installs(first, last, 0).replace(_LONG_AGO, "now()"),
            _VERSIONS.format(first=first, last=last),
            _orders(
                self.count + 1,
                self.count + self.new,
                self.count + self.new,
                1 - self.count + self.installs,
                "now()",
            ),
            _ADDERS.format(first=self.count + 1, last=self.count + self.new, observed="now()"),
        )

    def remove_added(self, warehouse: Warehouse) -> None:
        """Remove what :meth:`add` added."""
        warehouse.execute(
            DATABASE,
            f"delete from enerflo.installs where install_id > {self.installs}",
            f"delete from enerflo.change_orders where change_order_id > {self.count}",
            f"delete from enerflo.change_order_adders where change_order_id > {self.count}",
            "truncate enerflo.install_versions",
        )


def _installs(first: int, last: int, seconds: int) -> str:
    return _INSTALLS.format(
        first=first,
        last=last,
        seconds=seconds,
        count=_COUNT.format("orders"),
        watts=_WATTS.format(_TYPE.format("orders")),
        type=_PRODUCTS.format(_TYPE.format("orders")),
        battery=_BATTERY.format("orders"),
        created=_CREATED,
    )


def _orders(first: int, last: int, installs: int, offset: int, observed: str) -> str:
    right = {
        "install_id": "k",
        "status": "'complete'",
        "signed_at": f"{_CREATED} + (t + 1) * interval '30 days'",
        "panel_type_new": f"case when k % 3 = 0 then {_PRODUCTS.format(_TYPE.format('t + 1'))} end",
        "panel_count_old": _COUNT.format("t"),
        "panel_count_new": _COUNT.format("t + 1"),
        "battery_new": _BATTERY.format("(t + 1)"),
        "total_change": "case when n % 2 = 0 then 550.50 else 0 end",
    }
    values = {
        name: f"case when n % {WRONG_PER} = 0 and n / {WRONG_PER} % {len(_WRONG)} = {at} then {_WRONG[name]}"
        f" else {right[name]} end"
        for at, name in enumerate(_WRONG)
    }
    return _ORDERS.format(
        **values,
        first=first,
        last=last,
        installs=installs,
        offset=offset,
        observed=observed,
        type_old=_PRODUCTS.format(_TYPE.format("t")),
        battery_old=_BATTERY.format("t"),
    )
