"""What a backfill will take, said before it begins, and how far off that was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a backfill will take from its chunks' first request on.

    :param records: installs that it will read.
    :param changed: of these, by the sample: those whose content differs from the mirror, new ones included.
    :param new: those that the mirror does not hold.
    :param plan_changes: fields that a plan would then write to the CRM.
    :param sampled: installs that the last three stand on.
    :param page_seconds: how long a page took.
    :param minutes_alone: at the present budget while nothing else uses the key; the other beside live work.
    """

    records: int
    install_requests: int
    detail_requests: int = 0
    list_requests: Mapping[str, int] = {}
    sampled: int = 0
    changed: int = 0
    new: int = 0
    plan_changes: int = 0
    page_seconds: float = 0.0
    chunks: int = 0
    minutes_alone: float = 0.0
    minutes_beside_live: float = 0.0
    collisions: Mapping[str, int] = {}

    @property
    def requests(self) -> int:
        """Return all requests that are still to be made."""
        return self.install_requests + self.detail_requests + sum(self.list_requests.values())


class Compared(msgspec.Struct, frozen=True):
    """One figure of an estimate beside what happened."""

    name: str
    estimated: float
    happened: float

    @property
    def error_percent(self) -> float | None:
        """Return by how much the estimate was off; None where nothing happened."""
        return None if not self.happened else (self.estimated - self.happened) * 100 / self.happened


def compare(estimate: Estimate, happened: Mapping[str, float]) -> list[Compared]:
    """Return the estimate's figures beside those that happened."""
    estimated: dict[str, Any] = {
        "requests": estimate.requests,
        "minutes": estimate.minutes_alone,
        "installs": estimate.records,
        "changed": estimate.changed,
    }
    return [Compared(name, float(value), float(happened[name])) for name, value in estimated.items()]
