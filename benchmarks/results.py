"""What a section of the benchmark comes to: tables to print, targets reached or missed, and failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


class WrongResultError(Exception):
    """A contender did not do the work: what it left behind is not what was planted."""


@dataclass(frozen=True)
class Target:
    """One figure that the project promises, and what this run came to.

    :param wanted: in words, such as ``≥ 8 x``.
    :param reached: None where it could not be measured.
    """

    what: str
    wanted: str
    measured: str
    reached: bool | None


@dataclass
class Section:
    """One part of the output."""

    title: str
    about: str
    headers: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What one part of the page comes to.

    :param failures: which figures are missing or not to be believed.
    :param samples: of how many samples each line is, where that is not a number of rounds; without a comma.
    """

    sections: list[Section] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    samples: str | None = None


def at_least(what: str, wanted: float, ratio: float | None) -> Target:
    """Return a target for a ratio that must not be lower than ``wanted``."""
    if ratio is None:
        return Target(what, f"≥ {wanted:g} x", "-", None)
    return Target(what, f"≥ {wanted:g} x", f"{ratio:.1f} x", ratio >= wanted)


def at_least_percent(what: str, wanted: float, share: float | None) -> Target:
    """Return a target for a share that must not be lower than ``wanted`` percent.

    :param share: 1 is all.
    """
    if share is None:
        return Target(what, f"≥ {wanted:g} %", "-", None)
    return Target(what, f"≥ {wanted:g} %", f"{share * 100:.1f} %", share * 100 >= wanted)


def at_least_rate(what: str, wanted: float, rate: float | None) -> Target:
    """Return a target for records a second that must not be fewer than ``wanted``."""
    if rate is None:
        return Target(what, f"≥ {wanted:,.0f}", "-", None)
    return Target(what, f"≥ {wanted:,.0f}", f"{rate:,.0f}", rate >= wanted)


def at_most(what: str, wanted: float, value: float | None, unit: str) -> Target:
    """Return a target for a number that must not be higher than ``wanted``."""
    if value is None:
        return Target(what, f"≤ {wanted:g} {unit}", "-", None)
    return Target(what, f"≤ {wanted:g} {unit}", f"{value:.3g} {unit}", value <= wanted)


def expect(who: str, what: str, found: object, wanted: object) -> None:
    """Return when a contender left what it had to.

    :raises WrongResultError: it did not.
    """
    if found != wanted:
        raise WrongResultError(f"{who}: {what}: found {found}, expected {wanted}")
