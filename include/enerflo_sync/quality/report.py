"""The result of the checks as one typed object, rendered to text, HTML and JSON."""

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

    :param state: held, released (by a person), dismissed (still held, but no longer asked about), or shown
        (fails no holding check).
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
    """The result of one check over all live orders or installs. ``checked`` counts those it applies to.

    :param expected: its limit in words; empty if the limit varies.
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
        """Return the share of orders that pass; 1.0 if the check applies to none."""
        return 1 - self.failed / self.checked if self.checked else 1.0


class RunPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One past run, for rates over time."""

    run_id: str
    finished_at: datetime
    checked: int
    orders: int
    held: int
    failed: int
    validated: int | None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One violation at one step of one install.

    :param step: its name in life_cycle.yaml; ``title`` is the milestone's title at Enerflo.
    :param since: when a run first found it.
    :param resolved_at: when a run no longer found it; None while it persists.
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
    """One step, and the number of installs in it.

    :param level: minimum number of steps before it.
    :param installs: number of installs with this step in progress; ``overdue`` counts those over its limit.
    """

    step: str
    level: int
    after: Sequence[str]
    within_days: float | None
    installs: int
    overdue: int


class NotJudged(msgspec.Struct, frozen=True, kw_only=True):
    """A milestone that life_cycle.yaml does not name, and the number of installs with it."""

    title: str | None
    installs: int


class LifeCycleReport(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the histories of the account's installs.

    :param looked_at: installs judged in this run; ``new`` and ``gone`` count its new and resolved findings.
        None without a run.
    :param installs: installs with a milestone that life_cycle.yaml names; ``not_covered`` are the others.
    :param checks: ``checked`` and ``failed`` count installs.
    :param total: number of open findings; ``findings`` are the newest of them.
    :param resolved: the last resolved findings.
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
    """The state of the account's change orders, and of its installs' life cycle.

    :param checked: orders checked in this run; None without a run.
    :param held: held orders that wait for a person; ``dismissed`` counts those that stay held and do not.
    :param unchecked: living orders that are new, or that changed since they were checked.
    :param is_read: whether Enerflo's list of change orders was ever read whole.
    :param failing: failing orders, held ones first; at most the requested number.
    :param life_cycle: None if no install has a milestone, or it was not requested. It holds nothing back.
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
    dismissed: int = 0
    unchecked: int = 0
    is_read: bool = True

    @property
    def needs_a_person(self) -> bool:
        """Return whether an order is held and waits for a person."""
        return bool(self.held)
