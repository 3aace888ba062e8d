"""Puts the declared change orders on installs of the history: chosen by the seed, as all plants."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.bad_orders import BAD, GOOD, OrderPlant
from enerflo_sandbox.order_site import SIGNED, OrderSite
from enerflo_sandbox.seeded import DAY
from enerflo_sandbox.state import InstallState

if TYPE_CHECKING:
    from enerflo_sandbox.company import Company

_HOUR = 3_600


@dataclass(frozen=True, slots=True)
class PlantedOrder:
    """One order of the declaration.

    :param name: what it is declared as: of a bad one the check that it is there for.
    :param fails: all checks that it fails, once :func:`finish_orders` was called; none where it is good.
    :param then: the status that it gets then, None where it stays as it is.
    """

    name: str
    change_order_id: int
    install_id: int
    fails: frozenset[str]
    then: str | None = None


def plant_orders(world: Company) -> list[tuple[PlantedOrder, InstallState]]:
    """Add the declared orders to the company; return each with its install, none where it is too small."""
    plants = [*BAD.items(), *GOOD.items()]
    if world.planted_orders:
        return []
    numbers = _choose(world, len(plants))
    if len(numbers) < len(plants):
        return []
    planted = []
    for number, (name, plant) in zip(numbers, plants, strict=True):
        state = world.installs.edit(number)
        site = OrderSite(world, state, world.era.end - _HOUR, world.moment())
        plant.draft(site)
        planted += [(order, state) for order in _declared(name, plant, site)]
    return planted


def _declared(name: str, plant: OrderPlant, site: OrderSite) -> list[PlantedOrder]:
    """Return an install's orders; the last one is what the plant is about, those before it are fine."""
    install_id = site.install.install_id
    *others, last = site.orders
    beside = [PlantedOrder(name, order.change_order_id, install_id, frozenset()) for order in others]
    fails = frozenset((name, *plant.also)) if name in BAD else frozenset()
    return [*beside, PlantedOrder(name, last.change_order_id, install_id, fails, plant.then)]


def _choose(world: Company, count: int) -> list[int]:
    numbers = list(range(world.era.installs))
    random.Random(f"{world.era.seed}/order-plants").shuffle(numbers)
    taken = world.plants.install_numbers() | world.bad.keys()
    found: list[int] = []
    for number in numbers:
        if len(found) == count:
            break
        if number not in taken and _is_quiet(world, world.installs.get(number)):
            found.append(number)
    return found


def _is_quiet(world: Company, install: InstallState) -> bool:
    """Tell whether an install is under contract, whole, without an order, and untouched for a day."""
    return (
        install.status_id in (c.IN_PROGRESS, c.COMPLETED)
        and world.installs.is_live(install.number)
        and install.has_equipment
        and install.cost_cents is not None
        and install.updated <= world.era.end - DAY
        and not world.change_orders.of_install(install.number)
    )


def finish_orders(world: Company) -> list[tuple[PlantedOrder, InstallState]]:
    """Give the orders that are declared to have one their next status, and return those whose changed."""
    finished = []
    for planted in world.planted_orders.values():
        order = world.change_orders.get(planted.change_order_id)
        if order is None or planted.then is None or order.status == planted.then:
            continue
        order.status, order.updated = planted.then, world.moment()
        if order.status == SIGNED:
            order.signed = order.updated
        finished.append((planted, world.installs.get(order.install_number)))
    return finished
