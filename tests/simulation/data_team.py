"""The data team: by seed it edits sync.yaml between two jobs, while things are on their way."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.simulation.declared import COLUMN
from tests.simulation.mapped import Column
from tests.simulation.plan import Plan
from tests.simulation.shapes import DATES, Shape
from tests.simulation.troubles import Trouble

# How often a file is edited before a job, at a rate of 1.
_OFTEN = 0.35
_UNMAPPED: tuple[Column, ...] = (
    *(("installs", name) for name in ("status", "status", "panel_count", "contract_amount", "customer_name")),
    *(("milestones", name) for name in (*DATES, "title")),
    *(("leads", name) for name in ("city", "mobile", "last_name")),
    *(("change_orders", name) for name in ("panel_count", "status")),
)
_DECIDED: tuple[Column, ...] = (
    *(("installs", "status"), ("installs", "status")),
    *(("milestones", name) for name in DATES),
    *(("leads", name) for name in ("city", "last_name", "zip")),
)
_POLICIES = ("enerflo", "crm", "newest", "review")
# The same word stands for one status, later for another one; and two change their words.
_LABELS: tuple[dict[str, str], ...] = (
    {},
    {"On Hold": "Paused"},
    {"Cancelled": "Paused"},
    {"On Hold": "Paused", "In progress": "Building"},
    {"On Hold": "Building", "In progress": "Paused"},
)
_TOLERATED: tuple[Column, ...] = (("installs", "contract_amount"), ("installs", "system_size_kw"))
_TOLERANCES = (0.0, 0.005, 3.0, 100_000.0)


class DataTeam:
    """Edits sync.yaml."""

    def __init__(self, shape: Shape, plan: Plan, seed: int) -> None:
        self._shape = shape
        self._yaml = shape.yaml
        self._plan = plan
        self._rng = random.Random(f"{seed}/the data team")
        self._acts: dict[Trouble, Callable[[], None]] = {
            Trouble.UNMAPPED: self._map_or_not,
            Trouble.RELABELLED: self._relabel,
            Trouble.NEW_TRUTHS: self._decide_otherwise,
            Trouble.TOLERANCES: self._tolerate,
        }

    def now_and_then(self) -> None:
        """Edit the file, or leave it as it is."""
        for trouble, act in self._acts.items():
            rate = self._plan.rate(trouble)
            if rate and self._rng.random() < _OFTEN * (0.3 + 0.7 * rate):
                act()

    def word_of(self, status: str) -> str:
        """Return the word for a status that a person at the CRM takes: the new one, mostly."""
        word = dict(self._yaml.says.labels).get(status)
        return word if word is not None and self._rng.random() < 0.8 else status

    def _map_or_not(self) -> None:
        """Take a column out of the mapping, or take one in again."""
        unmapped = self._yaml.says.unmapped
        if unmapped and self._rng.random() < 0.5:
            self._yaml.change(unmapped=unmapped - {self._rng.choice(sorted(unmapped))})
        else:
            more = (("installs", COLUMN),) if self._shape.lender else ()
            self._yaml.change(unmapped=unmapped | {self._rng.choice((*_UNMAPPED, *more))})

    def _relabel(self) -> None:
        """Let words of the CRM stand for other statuses."""
        others = [one for one in _LABELS if tuple(one.items()) != self._yaml.says.labels]
        self._yaml.change(labels=tuple(self._rng.choice(others).items()))

    def _decide_otherwise(self) -> None:
        """Let another side be the source of truth of a column."""
        one = self._rng.choice(_DECIDED)
        policies = dict(self._yaml.says.policies)
        policy = self._rng.choice([other for other in _POLICIES if other != policies.get(one)])
        self._yaml.change(policies=tuple(sorted({**policies, one: policy}.items())))

    def _tolerate(self) -> None:
        """Give a column another tolerance, or none."""
        tolerances = {**dict(self._yaml.says.tolerances), self._rng.choice(_TOLERATED): self._rng.choice(_TOLERANCES)}
        self._yaml.change(tolerances=tuple(sorted(tolerances.items())))
