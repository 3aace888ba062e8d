"""Which records carry a planted difference: chosen by the seed, so that two processes agree unasked."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from enerflo_sandbox.catalogue import COMPLETED, IN_PROGRESS

if TYPE_CHECKING:
    from enerflo_sandbox.company import Company
    from enerflo_sandbox.state import InstallState


class Plant(StrEnum):
    """The kinds of plant; ``cause`` of the design plus where it sits."""

    IN_FLIGHT = "in_flight"
    OTHER_CASE = "equal_after_normalisation:case"
    TRAILING_BLANKS = "equal_after_normalisation:blanks"
    WITHIN_TOLERANCE = "equal_after_normalisation:tolerance"
    MISSING_IN_CRM = "missing_in_crm"
    DELETED_IN_ENERFLO = "deleted_in_enerflo"
    VOIDED = "voided"
    DUPLICATE_IDENTITY = "duplicate_identity"
    QUARANTINED = "quarantined"
    STALE_STATUS = "unexplained:status"
    STALE_AMOUNT = "unexplained:contract_amount"
    STALE_PANEL_COUNT = "unexplained:panel_count"
    STALE_MILESTONE = "unexplained:milestone"
    MISSING_MILESTONE = "missing_in_crm:milestone"


class NotePlant(StrEnum):
    """The kinds of plant that sit on a note."""

    STALE_BODY = "unexplained:note"
    MISSING = "missing_in_crm:note"


# A deletion or a quarantine takes the install's notes and change orders with it; plants on installs that
# have none keep the declared differences to one cause each.
_ALONE = (Plant.DELETED_IN_ENERFLO, Plant.QUARANTINED)
_INSTALLS_PER_PLANTED = 2


@dataclass(frozen=True)
class PlantPlan:
    """The chosen records: install numbers per plant, note positions per plant."""

    per_cause: int
    installs: dict[Plant, tuple[int, ...]]
    notes: dict[NotePlant, tuple[int, ...]]

    def install_numbers(self) -> frozenset[int]:
        """Return the numbers of all installs that the company's life must leave alone."""
        return frozenset(number for numbers in self.installs.values() for number in numbers)

    def note_positions(self) -> frozenset[int]:
        """Return the positions of all notes that the company's life must leave alone."""
        return frozenset(position for positions in self.notes.values() for position in positions)


NO_PLANTS = PlantPlan(0, {}, {})


def choose_plants(world: Company, per_cause: int) -> PlantPlan:
    """Return up to ``per_cause`` records of every kind, all different, by the world's seed.

    A company too small for them (fewer than about 28 installs for each ``per_cause``) gets fewer, and a
    company of fewer than 28 none, so that at least half of it agrees.
    """
    era = world.era
    affordable = era.installs // (_INSTALLS_PER_PLANTED * len(Plant))
    each = min(per_cause, affordable)
    if each < 1:
        return NO_PLANTS
    numbers = list(range(era.installs))
    random.Random(f"{era.seed}/plants").shuffle(numbers)
    taken: set[int] = set()
    chosen: dict[Plant, tuple[int, ...]] = {}
    # The plants that are hardest to place choose first.
    for plant in sorted(Plant, key=lambda plant: plant not in _ALONE):
        chosen[plant] = _take(world, numbers, taken, each, _is_alone if plant in _ALONE else _is_plain)
    notes = _choose_notes(world, numbers, taken, each)
    return PlantPlan(each, chosen, notes)


def _take(
    world: Company,
    numbers: list[int],
    taken: set[int],
    count: int,
    fits: Callable[[Company, InstallState], bool],
) -> tuple[int, ...]:
    found: list[int] = []
    for number in numbers:
        if len(found) == count:
            break
        if number not in taken and fits(world, world.installs.get(number)):
            found.append(number)
    taken.update(found)
    return tuple(found)


def _is_plain(world: Company, install: InstallState) -> bool:
    """Tell whether every planted field is there: status, equipment, amount, a completed milestone."""
    return (
        install.status_id in (IN_PROGRESS, COMPLETED)
        and install.has_equipment
        and install.cost_cents is not None
        and install.milestones[0].completed is not None
    )


def _is_alone(world: Company, install: InstallState) -> bool:
    has_more = world.notes.of_install(install.number) or world.change_orders.of_install(install.number)
    return _is_plain(world, install) and not has_more


def _choose_notes(
    world: Company, numbers: list[int], taken: set[int], count: int
) -> dict[NotePlant, tuple[int, ...]]:
    free: list[int] = []
    for number in numbers:
        if len(free) >= count * len(NotePlant):
            break
        if number in taken:
            continue
        standing = [p for p in world.notes.of_install(number) if world.notes.get(p).deleted is None]
        free.extend(standing[:1])
    return {kind: tuple(free[at :: len(NotePlant)][:count]) for at, kind in enumerate(NotePlant)}
