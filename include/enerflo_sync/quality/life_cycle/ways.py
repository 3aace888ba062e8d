"""Ways back through the graph: which steps come before a step, and which steps may be in between.

A step is a bit. A way from a step to an earlier one applies to an install if it is empty: the install does
not have, or has skipped, each step in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# A bound on the cost per install of a tangled graph.
MOST_WAYS = 2_000


@dataclass(frozen=True)
class Way:
    """A way from ``step`` back to ``before`` over the steps in the mask ``via``; positions count from 1."""

    step: int
    before: int
    via: int


class TangledError(ValueError):
    """The graph has more than :data:`MOST_WAYS` ways."""


def bit(position: int) -> int:
    """Return the bit of the step at a 1-based position."""
    return 1 << (position - 1)


def levels(after: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return, per reachable step, the minimum number of steps before it; 0 for a first step.

    A step in a cycle, or after one, is unreachable.
    """
    found: dict[str, int] = {}
    while True:
        ready = {
            step: 1 + max((found[before] for before in earlier), default=-1)
            for step, earlier in after.items()
            if step not in found and all(before in found for before in earlier)
        }
        if not ready:
            return found
        found |= ready


def ways(after: Mapping[str, Sequence[str]]) -> list[Way]:
    """Return all ways of an acyclic graph, except those that a shorter way implies.

    :raises TangledError: there are too many.
    """
    positions = {step: at for at, step in enumerate(after, 1)}
    # Per step: its earlier steps, and the masks of the steps in between.
    masks: dict[str, dict[str, set[int]]] = {}
    count = 0
    for step in sorted(after, key=levels(after).__getitem__):
        own = masks[step] = {}
        for before in after[step]:
            own.setdefault(before, set()).add(0)
            for earlier, over in masks[before].items():
                _add(own.setdefault(earlier, set()), {mask | bit(positions[before]) for mask in over})
        for earlier, over in own.items():
            own[earlier] = {mask for mask in over if not any(other & mask == other != mask for other in over)}
        count += sum(len(over) for over in own.values())
        if count > MOST_WAYS:
            raise TangledError
    return [
        Way(positions[step], positions[before], mask)
        for step, own in masks.items()
        for before, over in own.items()
        for mask in sorted(over)
    ]


def _add(masks: set[int], more: set[int]) -> None:
    masks |= more
    if len(masks) > MOST_WAYS:
        raise TangledError
