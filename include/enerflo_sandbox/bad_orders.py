"""The change orders that are planted: for each check one that fails it, and good ones close to the limits.

The names in ``BAD`` are the ids of the checks; nothing else of them is known here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.order_site import PENDING, SIGNED, VOIDED, OrderSite
from enerflo_sandbox.seeded import DAY
from enerflo_sandbox.state import Adder

_NOBODYS_INSTALL = 9_100_001
_NOBODYS_PANEL = "Moonbeam 900"
_POWERWALLS = "{} x Powerwall 3"
_YEARS = 20 * 365 * DAY


@dataclass(frozen=True)
class OrderPlant:
    """One or more orders of one install, of which the last is what the plant is about.

    :param draft: writes the orders.
    :param also: further checks that the last one fails, since it cannot be made otherwise.
    :param then: the status that the last one gets later, where only its history shows what is wrong.
    """

    draft: Callable[[OrderSite], object]
    also: tuple[str, ...] = ()
    then: str | None = None


def _fee(cost: int = 300, quantity: int = 1) -> Adder:
    adder_id, name, _ = c.ADDERS[0]
    return Adder(adder_id, name, cost, quantity)


def _many(count: int) -> tuple[Adder, ...]:
    return tuple(Adder(3_001 + at, f"Roof tile hook {at + 1}", 10, 1) for at in range(count))


def _other_panel(site: OrderSite, further: int = 1) -> str:
    return c.PANELS[(site.install.panel + further) % len(c.PANELS)].name


def _without_cost(record: dict[str, Any]) -> None:
    for adder in record["change_values"]["adders"]["new"].values():
        adder["cost"] = None


def _another_inverter(record: dict[str, Any]) -> None:
    record["change_values"]["inverter"] = {"old": "IQ7", "new": "IQ8"}


def _more_in_total(amount: float) -> Callable[[dict[str, Any]], None]:
    def spoil(record: dict[str, Any]) -> None:
        record["change_values"]["total_cost"]["new"] += amount

    return spoil


def _of_install(install_id: int | None) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.update(epc_install_id=install_id)


def _voided_install(site: OrderSite) -> None:
    site.install.status_id = c.VOIDED
    site.order()


def _voided_after_it_was_signed(site: OrderSite) -> None:
    site.order()
    site.install.status_id = c.VOIDED
    site.install.updated = site.signed + 60


def _too_many_adders(site: OrderSite) -> None:
    # The voided one makes all of them known.
    site.adders(*_many(101), status=VOIDED, signed=None)
    site.adders(*_many(101))


def _panels_without_size(site: OrderSite) -> None:
    site.install.panel_count += 8
    site.order(panel_count=(site.count - 8, site.count))


def _panels_within_tolerance(site: OrderSite) -> None:
    site.install.panel_count += 2
    site.install.watts = round(site.count * c.PANELS[site.install.panel].watts * 0.957)
    site.order(panel_count=(site.count - 2, site.count))


def _with_battery(site: OrderSite, old: int, new: str) -> None:
    site.install.battery = _POWERWALLS.format(1)
    site.order(panel_count=None, battery=(_POWERWALLS.format(old), new))


def _contradiction(site: OrderSite) -> None:
    site.order(signed=site.signed - DAY // 4)
    site.order(panel_count=(site.count, site.count + 6))


def _one_after_the_other(site: OrderSite) -> None:
    site.order(signed=site.signed - DAY // 4)
    site.order(panel_count=(site.count + 2, site.count + 4))


def _impossible_but_voided(site: OrderSite) -> None:
    panel = (site.panel, _NOBODYS_PANEL)
    site.order(status=VOIDED, signed=None, panel=panel, panel_count=(site.count, 9_999))


BAD: dict[str, OrderPlant] = {
    "status_known": OrderPlant(lambda site: site.order(status="archived")),
    "install_named": OrderPlant(lambda site: site.order(spoil=_of_install(None))),
    "install_known": OrderPlant(lambda site: site.order(spoil=_of_install(_NOBODYS_INSTALL))),
    "install_not_voided": OrderPlant(_voided_install),
    "signed_has_time": OrderPlant(lambda site: site.order(signed=None)),
    "pending_unsigned": OrderPlant(lambda site: site.order(status=PENDING)),
    "signed_not_in_future": OrderPlant(lambda site: site.order(signed=site.now + _YEARS)),
    "signed_after_install": OrderPlant(lambda site: site.order(signed=site.install.created - 5 * DAY)),
    "life_cycle_order": OrderPlant(lambda site: site.order(status=VOIDED, signed=None), then=SIGNED),
    "panel_type_known": OrderPlant(
        lambda site: site.order(panel_count=None, panel=(site.panel, _NOBODYS_PANEL))
    ),
    "panel_type_old_agrees": OrderPlant(
        lambda site: site.order(panel_count=None, panel=(_other_panel(site), _other_panel(site, 2)))
    ),
    "panel_count_range": OrderPlant(lambda site: site.order(panel_count=(site.count, 2_400))),
    "panel_count_old_agrees": OrderPlant(
        lambda site: site.order(panel_count=(site.count - 4, site.count + 2))
    ),
    "panel_count_fits_size": OrderPlant(_panels_without_size),
    "battery_form": OrderPlant(lambda site: _with_battery(site, 1, "a big one")),
    "battery_count_range": OrderPlant(lambda site: _with_battery(site, 1, _POWERWALLS.format(40))),
    "battery_old_agrees": OrderPlant(lambda site: _with_battery(site, 3, _POWERWALLS.format(4))),
    "adder_count_range": OrderPlant(_too_many_adders),
    "adders_known": OrderPlant(lambda site: site.adders(Adder(4_999, "Helipad", 250, 1))),
    "adders_have_cost": OrderPlant(lambda site: site.adders(_fee(0), spoil=_without_cost)),
    "adder_quantity_positive": OrderPlant(lambda site: site.adders(_fee(quantity=-1))),
    "adder_cost_not_too_low": OrderPlant(lambda site: site.adders(_fee(-30_000))),
    "adder_cost_not_too_high": OrderPlant(lambda site: site.adders(_fee(60_000))),
    "total_change_range": OrderPlant(lambda site: site.adders(_fee(40_000, 5))),
    "total_is_sum_of_adders": OrderPlant(lambda site: site.adders(_fee(), spoil=_more_in_total(5_000))),
    "components_known": OrderPlant(lambda site: site.order(spoil=_another_inverter)),
    # The second one was made from a state that the first one had ended.
    "no_contradiction": OrderPlant(_contradiction, also=("panel_count_old_agrees",)),
    "voided_without_effect": OrderPlant(
        lambda site: site.order(status=VOIDED, signed=None, panel_count=(site.count - 2, site.count))
    ),
}

GOOD: dict[str, OrderPlant] = {
    "as many panels as may be": OrderPlant(lambda site: site.order(panel_count=(site.count, 200))),
    "panels and size within the tolerance": OrderPlant(_panels_within_tolerance),
    "a panel type in other letters": OrderPlant(
        lambda site: site.order(panel=(f" {site.panel.lower()}", _other_panel(site).upper()))
    ),
    "as many batteries as may be": OrderPlant(lambda site: _with_battery(site, 1, _POWERWALLS.format(12))),
    "no battery any more": OrderPlant(lambda site: _with_battery(site, 1, "none")),
    "as many adders as may be": OrderPlant(lambda site: site.adders(*_many(100))),
    "the dearest adder and the highest total": OrderPlant(lambda site: site.adders(_fee(50_000, 2))),
    "the largest discount and the lowest total": OrderPlant(lambda site: site.adders(_fee(-25_000, 4))),
    "a total that is one off": OrderPlant(lambda site: site.adders(_fee(), spoil=_more_in_total(1))),
    "old adders that are taken away": OrderPlant(lambda site: site.adders(_fee(900, 2), old=(_fee(),))),
    "an inactive adder without a cost": OrderPlant(
        lambda site: site.adders(Adder(*c.ADDERS[0][:2], 0, 1, active=False), spoil=_without_cost)
    ),
    "in force without a signature": OrderPlant(lambda site: site.order(status="override", signed=None)),
    "signed as the install was created": OrderPlant(lambda site: site.order(signed=site.install.created)),
    "signed by a clock that is half an hour ahead": OrderPlant(
        lambda site: site.order(signed=site.now + 1_800)
    ),
    "an install that was voided afterwards": OrderPlant(_voided_after_it_was_signed),
    "impossible, and voided": OrderPlant(_impossible_but_voided),
    "one after the other": OrderPlant(_one_after_the_other),
    "pending, then signed": OrderPlant(lambda site: site.order(status=PENDING, signed=None), then=SIGNED),
    "signed, then voided": OrderPlant(lambda site: site.order(), then=VOIDED),
}
