"""A company whose installs may call a milestone otherwise: of another title, or of one that another milestone has."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from enerflo_sandbox import catalogue as c
from enerflo_sandbox import render
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.state import InstallState
from enerflo_sandbox.truth import InstallRow, MilestoneRow, Truth
from enerflo_sandbox.world import World

TITLES = tuple(one.title for one in c.MILESTONES)
# What the mapping names is called otherwise, or another milestone is called so, too.
_RENAMED = (
    (1, "Building permit"),
    (1, "Engineering"),
    (1, " permitting"),
    (2, "Permitting"),
    (3, "PERMITTING "),
    (4, "interconnection"),
)


class _Titles(Truth):
    def install_row(self, state: InstallState) -> InstallRow:
        row = super().install_row(state)
        if state.current_milestone is None:
            return row
        return row._replace(current_milestone=self._titles(state)[state.current_milestone])

    def milestone_rows(self, state: InstallState) -> list[MilestoneRow]:
        rows = super().milestone_rows(state)
        return [row._replace(title=title) for row, title in zip(rows, self._titles(state), strict=True)]

    def _titles(self, state: InstallState) -> list[str]:
        assert isinstance(self._world, TitledWorld)
        return self._world.titles_of(state.number)


class TitledWorld(World):
    """A company in which each install may have titles of its own."""

    def __init__(self, *args: Any, **named: Any) -> None:
        self._own: dict[int, list[str]] = {}
        super().__init__(*args, **named)
        self.truth = _Titles(self)

    def titles_of(self, number: int) -> list[str]:
        """Return how the milestones of an install are called, in sequence."""
        return self._own.get(number, [*TITLES])

    def entitle(self, number: int, titles: list[str]) -> None:
        """Let the milestones of an install be called so, which is told as any update of an install."""
        with self.lock:
            state = self._edit(self.install_id(number))
            self._own[number] = titles
            self._touch(state)
            self._log(
                ChangeKind.MILESTONE_CHANGED,
                state,
                milestone_id=c.MILESTONES[0].milestone_id,
                detail={"title": titles[0]},
            )

    def _render(self, number: int) -> bytes:
        rendered = super()._render(number)
        if number not in self._own or number in self.bad:
            return rendered
        record = msgspec.json.decode(rendered)
        titles = dict(zip((one.milestone_id for one in c.MILESTONES), self._own[number], strict=True))
        current = record["current_milestone"]
        for row in (*record["all_milestones"], *([current] if current else [])):
            title = titles[row["milestone"]["id"]]
            row["milestone"]["title"] = title
            if "title" in row:
                row["title"] = title
        return render.encode(record)


class Renaming:
    """Renames milestones by seed; one install at least keeps the titles that the mapping names."""

    def __init__(self, world: TitledWorld, seed: int, rate: float) -> None:
        self._world = world
        self._rate = rate
        self._rng = random.Random(f"{seed}/titles")

    def now_and_then(self) -> None:
        """Let an install get other titles, or those of before."""
        rng = self._rng
        if rng.random() >= 0.7 * self._rate:
            return
        numbers = [*self._world.installs.live()]
        if len(numbers) < 2:
            return
        titles = [*TITLES]
        if rng.random() < 0.7:
            at, title = rng.choice(_RENAMED)
            titles[at] = title
        self._world.entitle(rng.choice(numbers[1:]), titles)

    def end(self) -> None:
        """Let the mapped titles be there for sure."""
        for number in [*self._world.installs.live()][:1]:
            if self._world.titles_of(number) != [*TITLES]:
                self._world.entitle(number, [*TITLES])
