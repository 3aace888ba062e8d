"""Each check of the shipped suite, by an order that passes it and one that fails it and nothing else."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from enerflo_sync.quality.suite import load_suite
from tests.quality.conftest import NOW, QCELLS, REC, SUITE, Orders

DAY = timedelta(days=1)


def plain(orders: Orders, **columns: Any) -> None:
    orders.order(10, **columns)


def with_adder(orders: Orders, **columns: Any) -> None:
    # Another order has it too, so it is known.
    orders.order(11, install_id=2, total_change=300)
    orders.adder(11)
    adder = {"cost": 300, "quantity": 1} | columns
    total = (adder["cost"] or 0) * adder["quantity"]
    orders.order(10, total_change=total)
    orders.adder(10, **adder)


def many_adders(orders: Orders) -> None:
    for number in range(101):
        for order_id in (10, 11):
            orders.adder(order_id, str(number), cost=1)
    orders.order(10, total_change=101)
    orders.order(11, install_id=2, total_change=101, status="voided")


def cheaper(orders: Orders) -> None:
    with_adder(orders, cost=-30_000)


def other_install(orders: Orders) -> None:
    orders.install(4, status_name="Voided", updated_at=NOW - 5 * DAY)
    plain(orders, install_id=4)


def two_orders(orders: Orders) -> None:
    orders.order(9, signed_at=NOW - 3 * DAY, panel_count_new=28)
    plain(orders, panel_count_old=24, panel_count_new=30)


def resurrected(orders: Orders) -> None:
    plain(orders, status="voided")
    orders.checked()
    orders.later(hours=1)
    plain(orders)


def other_size(orders: Orders) -> None:
    orders.install(1, panel_count=26, system_size_kw=20.0, updated_at=NOW - DAY)
    plain(orders)


def void_that_took_effect(orders: Orders) -> None:
    orders.install(1, panel_count=26, system_size_kw=10.53, updated_at=NOW - DAY)
    plain(orders, status="voided")


BAD: dict[str, Any] = {
    "status_known": lambda orders: plain(orders, status="lost"),
    "install_named": lambda orders: plain(orders, install_id=None),
    "install_known": lambda orders: plain(orders, install_id=99),
    "install_not_voided": other_install,
    "signed_has_time": lambda orders: plain(orders, signed_at=None),
    "pending_unsigned": lambda orders: plain(orders, status="pending"),
    "signed_not_in_future": lambda orders: plain(orders, signed_at=NOW + DAY),
    "signed_after_install": lambda orders: plain(orders, signed_at=NOW - 91 * DAY),
    "life_cycle_order": resurrected,
    "panel_type_known": lambda orders: plain(orders, panel_type_old=REC, panel_type_new="Moon 900"),
    "panel_type_old_agrees": lambda orders: plain(orders, panel_type_old=QCELLS, panel_type_new=QCELLS),
    "panel_count_range": lambda orders: plain(orders, panel_count_new=2400),
    "panel_count_old_agrees": lambda orders: plain(orders, panel_count_old=20),
    "panel_count_fits_size": other_size,
    "battery_form": lambda orders: plain(orders, battery_new="a big one"),
    "battery_count_range": lambda orders: plain(orders, battery_new="40 x Powerwall 3"),
    "battery_old_agrees": lambda orders: plain(
        orders, battery_old="3 x Powerwall 3", battery_new="4 x Powerwall 3"
    ),
    "adder_count_range": many_adders,
    "adders_known": lambda orders: (orders.order(10, total_change=300), orders.adder(10)),
    "adders_have_cost": lambda orders: with_adder(orders, cost=None),
    "adder_quantity_positive": lambda orders: with_adder(orders, quantity=-1),
    "adder_cost_not_too_low": cheaper,
    "adder_cost_not_too_high": lambda orders: with_adder(orders, cost=60_000),
    "total_change_range": lambda orders: plain(orders, total_change=200_000),
    "total_is_sum_of_adders": lambda orders: (with_adder(orders), orders.order(10, total_change=5_000)),
    "components_known": lambda orders: plain(orders, unknown_components='{"inverter": {"new": "IQ8"}}'),
    "no_contradiction": two_orders,
    "voided_without_effect": void_that_took_effect,
}
# Two that cannot be told apart: what was there is what the other order says.
ALSO = {"no_contradiction": {"panel_count_old_agrees"}}


def test_every_check_of_the_shipped_suite_has_an_order_that_fails_it() -> None:
    assert list(BAD) == list(load_suite(SUITE, {}).checks)


@pytest.mark.parametrize("check", BAD)
def test_an_order_that_fails_one_check(orders: Orders, check: str) -> None:
    BAD[check](orders)
    report = orders.checked()
    found = {one.change_order_id: {two.check for two in one.failing} for one in report.failing}
    assert found == {10: {check} | ALSO.get(check, set())}
    held = orders.suite.checks[check].severity == "hold"
    assert report.held == held
    assert [row["state"] for row in orders.items()] == ["open"] * held


GOOD: dict[str, dict[str, Any]] = {
    "plain": {},
    "pending": {"status": "Pending", "signed_at": None},
    "voided, whatever it says": {
        "status": "voided",
        "signed_at": None,
        "panel_count_new": 9999,
        "panel_type_new": "Moon 900",
    },
    "override without a signature": {"status": "override", "signed_at": None},
    "panel type of a product, other case and blanks": {
        "panel_type_old": "rec  alpha pure 405 ",
        "panel_type_new": "SILFAB sil-430  qd",
    },
    "battery": {"battery_old": "1 x powerwall 3", "battery_new": "12 x Powerwall 3"},
    "battery taken away": {"battery_new": "none"},
    "nothing of the panels": {"panel_count_old": None, "panel_count_new": None},
    "no total": {"total_change": None},
}


@pytest.mark.parametrize("columns", GOOD.values(), ids=GOOD)
def test_an_order_that_passes(orders: Orders, columns: dict[str, Any]) -> None:
    orders.order(10, **columns)
    report = orders.checked()
    assert (report.orders, report.checked, report.failing, report.held) == (1, 1, [], 0)


def test_adders_on_both_sides_make_up_the_total(orders: Orders) -> None:
    orders.order(11, install_id=2)
    orders.adder(11)
    orders.adder(11, side="old")
    orders.order(10, total_change=1_500)
    orders.adder(10, cost=900, quantity=2)
    orders.adder(10, side="old", cost=300)
    orders.adder(11, "995", active=False, cost=None)
    orders.adder(10, "995", active=False, cost=500)
    assert orders.failing() == {}


def test_what_was_there_is_known_from_versions_of_the_install(orders: Orders) -> None:
    """The install has taken the order up already; what it was before is in its versions."""
    orders.install(1, panel_count=26, system_size_kw=10.53, updated_at=NOW - DAY)
    orders.version(1, NOW - 10 * DAY, panel_count=20, equipment={"panel": REC})
    orders.version(1, NOW - DAY, panel_count=26, equipment={"panel": REC})
    orders.order(10)
    report = orders.checked()
    [failed] = orders.one(report, 10).failing
    assert (failed.check, failed.expected, failed.found) == ("panel_count_old_agrees", 20, 24)


def test_an_order_is_believed_beside_an_install_that_was_seen_in_its_very_second(orders: Orders) -> None:
    signed = NOW - 2 * DAY
    orders.install(1, panel_count=28, system_size_kw=11.34, updated_at=NOW - DAY)
    orders.version(1, signed + timedelta(seconds=0.9), panel_count=24, equipment={"panel": REC})
    orders.order(10, signed_at=signed)
    orders.order(11, signed_at=signed + timedelta(seconds=1), panel_count_old=26, panel_count_new=28)
    assert orders.failing() == {}


def test_where_nothing_tells_what_was_there_nothing_is_held(orders: Orders) -> None:
    orders.install(1, panel_count=26, system_size_kw=10.53, updated_at=NOW - DAY)
    orders.order(10, panel_count_old=3)
    assert orders.failing() == {}


def test_orders_that_follow_each_other_do_not_contradict(orders: Orders) -> None:
    orders.order(10, signed_at=NOW - 4 * DAY, panel_count_old=24, panel_count_new=26)
    orders.order(11, signed_at=NOW - 3 * DAY, panel_count_old=26, panel_count_new=24)
    orders.order(12, signed_at=NOW - 2 * DAY, panel_count_old=24, panel_count_new=30)
    assert orders.failing() == {}


def test_an_install_that_was_voided_after_the_signature_is_not_the_orders_fault(orders: Orders) -> None:
    orders.install(1, status_name="Voided", updated_at=NOW - DAY)
    orders.order(10)
    assert orders.failing() == {}
