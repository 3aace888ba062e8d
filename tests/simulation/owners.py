"""Installs that go from one customer to another, as when somebody finds that two customers are one."""

from __future__ import annotations

import random

from enerflo_sandbox.world import World


class NewOwners:
    """Gives an install to another customer now and then; no event tells of it.

    :param rate: how often, at most once in each stretch of time; nothing is drawn where it is 0.
    """

    def __init__(self, world: World, seed: int, rate: float) -> None:
        self._world = world
        self._rng = random.Random(f"{seed}/owners")
        self._rate = rate

    def now_and_then(self) -> None:
        """Perhaps give one install to the customer of another one, or to a lead."""
        world = self._world
        if not self._rate or self._rng.random() >= 0.3 * self._rate or not len(world.installs):
            return
        (number,) = world.installs.page(self._rng.randrange(len(world.installs)), 1)
        customers = list(world.customers.ids())
        world.give_install(world.install_id(number), self._rng.choice(customers))
