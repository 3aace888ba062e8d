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
    """How one check stands over all that is live: orders, or installs. ``checked`` counts those it concerns.

    :param expected: its limit in words; empty where that differs from one to the next.
    """

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


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one install that does not fit.

    :param step: its name in life_cycle.yaml; ``title`` is the milestone's at Enerflo.
    :param since: when a run found it first.
    :param resolved_at: when a run found it gone; None while it stands.
    """

    finding_id: int
    install_id: int
    step: str
    milestone_id: int
    title: str | None
    failing: FailedCheck
    since: datetime
    checked_at: datetime
    resolved_at: datetime | None


class StepCount(msgspec.Struct, frozen=True, kw_only=True):
    """One step, and how many installs are in it.

    :param level: how many steps come before it at least.
    :param installs: those in which it is under way; ``overdue`` are those of them that are over its limit.
    """

    step: str
    level: int
    after: Sequence[str]
    within_days: float | None
    installs: int
    overdue: int


class NotJudged(msgspec.Struct, frozen=True, kw_only=True):
    """A milestone that life_cycle.yaml does not name, and how many installs have it."""

    title: str | None
    installs: int


class LifeCycleReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the histories of the account's installs stand.

    :param looked_at: how many installs were judged in this run, ``new`` and ``gone`` how many findings came
        and went in it; None where nothing was run.
    :param installs: those with a milestone that life_cycle.yaml names; ``not_covered`` are those without.
    :param checks: ``checked`` and ``failed`` count installs.
    :param total: the findings that stand; ``findings`` are the newest of them.
    :param resolved: those that went last.
    """

    file: str
    looked_at: int | None
    new: int | None
    gone: int | None
    installs: int
    not_covered: int
    not_judged: Sequence[NotJudged]
    total: int
    checks: Sequence[CheckCount]
    steps: Sequence[StepCount]
    findings: Sequence[Finding]
    resolved: Sequence[Finding]


class QualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the account's change orders stand, and the life-cycle of its installs.

    :param checked: how many were checked in this run; None where nothing was run.
    :param failing: the orders that fail, held ones first; at most as many as were asked for.
    :param life_cycle: None where no install has a milestone, or nobody asked for it. It holds nothing back.
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
    life_cycle: LifeCycleReport | None = None

    @property
    def needs_a_person(self) -> bool:
        """Return whether an order is held."""
        return bool(self.held)
