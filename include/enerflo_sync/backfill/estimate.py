"""The estimate of a backfill before it begins, and its comparison with the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The expected work of a backfill from its first chunk on.

    :param records: installs to read.
    :param changed: of these, extrapolated from the sample: content differs from the mirror, or is new.
    :param new: installs that the mirror lacks.
    :param plan_changes: fields that a plan would then write to the CRM.
    :param sampled: installs on which the last three figures are based.
    :param page_seconds: duration of a page.
    :param minutes_alone: at the present budget without other users of the key; the other figure beside live
        work.
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
        """Return the total number of requests."""
        return self.install_requests + self.detail_requests + sum(self.list_requests.values())


class Compared(msgspec.Struct, frozen=True):
    """One estimated figure and its actual value."""

    name: str
    estimated: float
    happened: float

    @property
    def error_percent(self) -> float | None:
        """Return the error of the estimate in percent; None if the actual value is zero."""
        return None if not self.happened else (self.estimated - self.happened) * 100 / self.happened


def compare(estimate: Estimate, happened: Mapping[str, float]) -> list[Compared]:
    """Return the estimate's figures with their actual values."""
    estimated: dict[str, Any] = {
        "requests": estimate.requests,
        "minutes": estimate.minutes_alone,
        "installs": estimate.records,
        "changed": estimate.changed,
    }
    return [Compared(name, float(value), float(happened[name])) for name, value in estimated.items()]
