"""Both sides change one field of an install within minutes."""

from __future__ import annotations

import random
from datetime import timedelta

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from tests.simulation.meddling import Meddling


def change_both(world: World, clock: VirtualClock, meddling: Meddling, rng: random.Random) -> None:
    """Let both sides change one field of an install, one some minutes after the other."""
    installs = [row.install_id for row in world.truth.installs()]
    if not installs:
        return
    install_id = rng.choice(installs)
    if rng.random() < 0.5:
        status_id = rng.choice((c.IN_PROGRESS, c.ON_HOLD, c.PENDING_KCA, c.CANCELLED))
        sides = [
            lambda: world.set_status(install_id, status_id),
            lambda: meddling.set_status(install_id),
        ]
    else:
        milestone_id = rng.choice(c.MILESTONES).milestone_id
        due = clock.now() + timedelta(days=rng.randrange(1, 90))
        sides = [
            lambda: world.set_milestone(install_id, milestone_id, {"due": due}),
            lambda: meddling.set_due(install_id, milestone_id, due + timedelta(days=200)),
        ]
    rng.shuffle(sides)
    sides[0]()
    clock.advance(60 * rng.choice((2, 5)))
    sides[1]()
