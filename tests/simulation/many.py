"""Many seeds on many cores, over one PostgreSQL."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache

from tests.simulation.database import Database, simulation_server
from tests.simulation.plan import both_ways_plan_of, plan_of
from tests.simulation.run import SeedOutcome, run_seed
from tests.simulation.troubles import SWITCHED_ON, Trouble, troubles_of

Troubles = frozenset[Trouble]
# Seeds that a worker is given at a time.
SHARE = 2


@cache
def _database(url: str) -> Database:
    return Database(url, f"worker_{os.getpid()}")


def _some(
    url: str, seeds: list[int], hours: float, both_ways: bool, among: Troubles, always: Troubles
) -> list[SeedOutcome]:
    """Run some seeds in a worker; what the engine logs about the faults it meets is as it should be."""
    logging.disable(logging.CRITICAL)
    # Nothing of a seed lives longer than it: one collection after each is enough.
    gc.disable()
    plan = both_ways_plan_of if both_ways else plan_of
    outcomes = []
    for seed in seeds:
        troubles = troubles_of(seed, among, always=always)
        outcomes.append(run_seed(seed, hours, _database(url), plan(seed, troubles)))
        gc.collect()
    return outcomes


def simulate(
    first: int,
    count: int,
    hours: float,
    workers: int,
    *,
    both_ways: bool = False,
    among: Troubles = SWITCHED_ON,
    always: Troubles = frozenset(),
) -> Iterator[SeedOutcome]:
    """Yield what came of each seed, as they end.

    :param both_ways: with a CRM that people edit, and plans that are applied on both sides.
    :param among: the kinds of trouble that seeds draw from, and ``always`` those that each of them has.
    """
    # Fresh processes: a forked one would share the server's handle, and stop the server at its end.
    context = multiprocessing.get_context("spawn")
    end = first + count
    with simulation_server() as url, ProcessPoolExecutor(workers, mp_context=context) as pool:
        shares = [list(range(at, min(at + SHARE, end))) for at in range(first, end, SHARE)]
        for done in as_completed(
            [pool.submit(_some, url, share, hours, both_ways, among, always) for share in shares]
        ):
            yield from done.result()
