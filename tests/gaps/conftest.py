"""A company that lives for days, polls and webhooks that come or do not, and what the gaps say of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.gaps.find import find_gaps
from enerflo_sync.gaps.report import GapReport, Hole, HoleKind
from enerflo_sync.gaps.schedule import every
from enerflo_sync.resources.registry import USUAL
from tests.inbox.conftest import Inbox, again, inbox, kept_polled, new_inbox, polled

__all__ = ["again", "inbox", "kept_polled", "new_inbox", "polled"]

DUE = timedelta(hours=2)
STATUSES = (4, c.VOIDED, c.IN_PROGRESS)


def gaps(company: Inbox, **options: Any) -> GapReport:
    """The account's gaps, where a poll and an ingest are due every two hours."""
    minutes = DUE / timedelta(minutes=1)
    options = {
        "lists": USUAL,
        "poll_due": every(minutes),
        "ingest_due": every(minutes),
        "sweep_every": timedelta(hours=24),
    } | options
    with company.warehouse.connect() as connection:
        return find_gaps(connection, company.account, company.clock.now(), **options)


def holes(company: Inbox, kind: HoleKind | None = None, **options: Any) -> Sequence[Hole]:
    return [hole for hole in gaps(company, **options).holes if kind in (None, hole.kind)]


def only(company: Inbox, kind: HoleKind | None = None, **options: Any) -> Hole:
    (hole,) = holes(company, kind, **options)
    return hole


def started(company: Inbox, nth: int = -1, job: str = "poll") -> tuple[str, datetime]:
    """Id and beginning of one of the job's runs, by default of the last."""
    rows = company.rows(
        "select run_id, started_at from sync.runs where job = :j order by started_at, run_id", j=job
    )
    return rows[nth][0], rows[nth][1]


def wait(company: Inbox, hours: float) -> None:
    company.clock.advance(hours * 3600)


def poll(company: Inbox, times: int = 1, **options: Any) -> None:
    """Poll as scheduled, every two hours."""
    for _ in range(times):
        wait(company, 2 - 1 / 60)
        company.company.poll(**options)


def failing_poll(company: Inbox, times: int = 1) -> None:
    for _ in range(times):
        wait(company, 2 - 1 / 60)
        with pytest.raises(AuthenticationError):
            company.company.poll(key="other-sandbox-key")
        wait(company, 1 / 60)


def change(company: Inbox, events: int = 1, *, told: bool) -> int:
    """Let statuses change at Enerflo, whose webhooks arrive or do not; return how many installs that were."""
    before = len(company.world.changes)
    for _ in range(events):
        turn = len(company.world.changes)
        company.world.set_status(company.world.install_id(turn % 8), STATUSES[turn // 8 % 3])
    company.clock.advance(30)
    if told:
        company.drop_changes(before, seed=before)
        company.ingest(pause=5)
    return len({one.install_id for one in company.world.changes[before:]})
