"""What the checks found, as one typed object: rendered to text, HTML and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from enerflo_sync.quality.suite import Severity


class FailedCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One check that a change order fails. ``expected`` and ``found`` are JSON values."""

    check: str
    severity: Severity
    reason: str
    expected: Any
    found: Any


class FailedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One change order that fails at least one check.

    :param state: held, released (a person let it through), dismissed (it stays held, and nobody is asked any
        more), or shown (it fails no check that holds).
    :param item_id: the quarantine item that holds it.
    """

    change_order_id: int
    install_id: int | None
    state: str
    item_id: str | None
    decided_by: str | None
    decision_reason: str | None
    checked_at: datetime
    failing: Sequence[FailedCheck]


class CheckCount(msgspec.Struct, frozen=True, kw_only=True):
    """How one check stands over all live orders. ``checked`` counts those that it concerns."""

    check: str
    sentence: str
    severity: Severity
    expected: str
    todo: str
    checked: int
    failed: int

    @property
    def pass_rate(self) -> float:
        """Return the share of orders that pass, 1.0 where it concerns none."""
        return 1 - self.failed / self.checked if self.checked else 1.0


class RunPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One past run, for the rates over time."""

    run_id: str
    finished_at: datetime
    checked: int
    orders: int
    held: int
    failed: int
    validated: int | None


class QualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the account's change orders stand.

    :param checked: how many were checked in this run; None where nothing was run.
    :param failing: the orders that fail, held ones first; at most as many as were asked for.
    """

    account: str
    run_id: str | None
    checked: int | None
    orders: int
    held: int
    released: int
    warned: int
    not_validated: int
    suite: str
    checks: Sequence[CheckCount]
    failing: Sequence[FailedOrder]
    runs: Sequence[RunPoint]

    @property
    def needs_a_person(self) -> bool:
        """Return whether an order is held."""
        return bool(self.held)
