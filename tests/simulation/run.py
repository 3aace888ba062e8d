"""Run one seed and say what came of it."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.check import Check
from tests.simulation.clocks import one_thread
from tests.simulation.database import Database
from tests.simulation.divergence import Divergence
from tests.simulation.plan import Plan, plan_of
from tests.simulation.world import SimulatedDay

LET_OUT = "an error that no job should let out"


@dataclass(frozen=True)
class SeedOutcome:
    """What came of one seed.

    :param problem: what does not hold, or None.
    :param story: the jobs that ran, one line each.
    """

    seed: int
    hours: float
    seconds: float
    jobs: int
    harmed: int
    events: int
    problem: str | None
    story: list[str]
    both_ways: bool = False
    troubles: tuple[str, ...] = ()

    @property
    def is_found(self) -> bool:
        """Return whether a promise is broken; a job that let an error out may not have come so far."""
        return self.problem is not None and not self.problem.startswith(LET_OUT)

    @property
    def command(self) -> str:
        """Return what repeats the seed, with the same kinds of trouble and no others."""
        options = ["--both-ways"] if self.both_ways else []
        options += ["--among", "--always", *self.troubles] if self.troubles else ["--among"]
        more = f' SIMULATE="{" ".join(options)}"'
        return f"make simulate FROM={self.seed} SEEDS=1 HOURS={self.hours:g}{more}"


def run_seed(seed: int, hours: float, database: Database, plan: Plan | None = None) -> SeedOutcome:
    """Return what came of ``hours`` simulated hours and the settling after them."""
    began = time.perf_counter()
    plan = plan or plan_of(seed)
    database.clear(plan.shape)
    folder = Path(tempfile.mkdtemp(prefix="simulation-"))
    problem = None
    try:
        day = SimulatedDay(seed, plan, database, folder)
        try:
            with one_thread(seed):
                day.pass_time(hours)
                Check(day, database.plain).settle()
        except Divergence as found:
            problem = str(found)
        except Exception:
            # A job may fail, but only with an error of the engine's own.
            problem = f"{LET_OUT}:\n{traceback.format_exc()}"
    finally:
        day.desk.forget()
        shutil.rmtree(folder)
    return SeedOutcome(
        seed=seed,
        hours=hours,
        seconds=time.perf_counter() - began,
        jobs=len(day.story),
        harmed=sum(" killed" in line or "lost" in line for line in day.story),
        events=sum(day.postbox.delivered.values()),
        problem=problem,
        story=day.story,
        both_ways=day.plan.both_ways,
        troubles=tuple(sorted(day.plan.troubles)),
    )
