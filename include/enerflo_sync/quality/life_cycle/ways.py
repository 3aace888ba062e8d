"""Ways back through the graph: which steps come before one, and what may stand in between.

A step is a bit. A way from a step to an earlier one counts for an install when nothing stands on it: when
each step in between is one that the install does not have, or has left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# More would make each install as dear to judge as the graph is tangled.
MOST_WAYS = 2_000


@dataclass(frozen=True)
class Way:
    """A way from ``step`` back to ``before`` over the steps of the mask ``via``; positions count from 1."""

    step: int
    before: int
    via: int


class TangledError(ValueError):
    """The graph has more than :data:`MOST_WAYS` ways."""


def bit(position: int) -> int:
    """Return the bit of the step at a position that counts from 1."""
    return 1 << (position - 1)


def levels(after: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return for each step that can be reached how many steps come before it at least, 0 for a first one.

    A step in a circle, or behind one, cannot be reached.
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
    """Return all ways of a graph without circles, but for those that say nothing more than a shorter one.

    :raises TangledError: there are too many.
    """
    positions = {step: at for at, step in enumerate(after, 1)}
    # By step: what comes before it, and the masks of what stands in between.
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
