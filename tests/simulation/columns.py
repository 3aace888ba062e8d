"""sync.yaml gets a declared column while the day goes on, and each edit of it is followed by a migration."""

from __future__ import annotations

import random

from enerflo_sync.jobs.columns import ColumnsReport, run_columns
from enerflo_sync.jobs.context import AccountContext, Credentials
from tests.simulation.declared import PATHS, LendingWorld
from tests.simulation.process import Process
from tests.simulation.shapes import SHIPPED, Shape
from tests.simulation.statements import Server

# Chance of a migration at one boundary of a poll or ingest, once an edit of sync.yaml is due.
_BESIDE = 0.1
_AGAIN = 0.5
_NOBODY = Credentials(str, str, str)


class Columns:
    """The edits of sync.yaml by seed, and whether the warehouse was migrated since the last one.

    :ivar waits: an edit was made, and no migration after it has come to its end.
    """

    def __init__(self, world: LendingWorld, shape: Shape, seed: int) -> None:
        self.waits = False
        self._world = world
        self._shape = shape
        self._rng = random.Random(f"{seed}/declarations")
        first = 0.1 + 0.4 * self._rng.random()
        self._moments = [first, first + (1 - first) * self._rng.random()]
        self._passed = 0.0

    @property
    def path(self) -> str | None:
        """Return from where sync.yaml says that the column is read; None before it is declared."""
        return self._world.path

    def day_passes(self, share: float) -> None:
        """Let so much of the day be over."""
        self._passed = share

    @property
    def is_due(self) -> bool:
        """Return whether it is time for the next edit, or for a migration that did not come to its end."""
        done = 0 if self.path is None else 1 + PATHS.index(self.path)
        return self.waits or (done < len(PATHS) and self._moments[done] <= self._passed)

    def comes_beside(self) -> bool:
        """Return whether somebody edits and migrates while a poll or ingest holds an answer."""
        return self.is_due and self._rng.random() < _BESIDE

    def comes_again(self) -> bool:
        """Return whether somebody edits and migrates between two jobs."""
        return self.is_due and (not self.waits or self._rng.random() < _AGAIN)

    def edit(self) -> None:
        """Let sync.yaml declare the column, or read it from the next path; nothing where a migration is owed."""
        if not self.waits:
            self._world.path = PATHS[0] if self.path is None else PATHS[1]
            self.waits = True

    def migrate(self, process: Process, warehouse: Server, rng: random.Random) -> ColumnsReport:
        """Do what ``enerflo-sync migrate`` does about declared columns."""
        config = self._shape.configuration(self.path)
        context = AccountContext("default", config, SHIPPED, _NOBODY, clock=process.clock, rng=rng)
        context.engine = warehouse.engine
        return run_columns(context)
