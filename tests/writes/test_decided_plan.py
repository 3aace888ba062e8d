"""Several people, and the rules, decide about one plan at once: one decision stands, and what is done fits it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve, run_reject
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_apply import INSTALLS, counts, spoiled

WAITING = (
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)


@pytest.fixture
def waiting(desk: Desk) -> PlanReport:
    """A plan of one change of the CRM that no rule holds up."""
    return brought(desk, _one_change)


def _one_change(desk: Desk) -> PlanReport:
    desk.switched_on("crm")
    desk.carried()
    spoiled(desk, an_install(desk))
    return desk.plan()


def an_install(desk: Desk) -> int:
    number: int = desk.one(INSTALLS.format(1))
    return number


@contextmanager
def one_after_the_other(
    desk: Desk, plan: PlanReport, *jobs: Callable[[], Any]
) -> Iterator[list[Future[Any]]]:
    """Begin each job while the one before waits for the plan's row, which is free at last."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        with desk.engine.begin() as other:
            query = sa.text("select from sync.plans where plan_hash = :h for update")
            other.execute(query, {"h": plan.plan_hash})
            begun = []
            for job in jobs:
                begun.append(pool.submit(job))
                until = time.monotonic() + 20
                while desk.one(WAITING) < len(begun):
                    assert time.monotonic() < until
                    time.sleep(0.01)
        yield begun


def decisions(desk: Desk, plan: PlanReport) -> list[tuple[str, str]]:
    return [(row["decision"], row["decided_by"]) for row in desk.ledger(plan_hash=plan.plan_hash)]


@pytest.mark.parametrize("who", ["Pat", None])
def test_a_no_that_comes_after_the_application_began_is_refused(
    desk: Desk, waiting: PlanReport, who: str | None
) -> None:
    place, plan = desk.context, waiting.plan_hash
    with one_after_the_other(
        desk,
        waiting,
        lambda: run_apply(place, plan, approved_by=who),
        lambda: run_reject(place, plan, by="Eve"),
    ) as (applied, rejected):
        assert applied.result().applied == 1
        with pytest.raises(ConfigurationError, match="and can no longer be rejected"):
            rejected.result()
    assert counts(desk, an_install(desk)) != [99]
    assert decisions(desk, waiting) == [("applied", who or "the approval rules")]
    undo = run_undo(place, plan)
    assert undo.change_count == 1


def test_a_no_that_comes_first_is_heard_by_the_application(desk: Desk, waiting: PlanReport) -> None:
    place, plan = desk.context, waiting.plan_hash
    with one_after_the_other(
        desk, waiting, lambda: run_reject(place, plan, by="Eve"), lambda: run_apply(place, plan)
    ) as (rejected, applied):
        assert rejected.result().state == "rejected"
        with pytest.raises(ConfigurationError, match=r"it was rejected \(Eve\)"):
            applied.result()
    assert counts(desk, an_install(desk)) == [99]
    assert decisions(desk, waiting) == [("refused", "Eve")]


def test_a_yes_that_comes_after_a_no_makes_what_was_refused(desk: Desk, waiting: PlanReport) -> None:
    place, plan = desk.context, waiting.plan_hash
    with one_after_the_other(
        desk, waiting, lambda: run_reject(place, plan, by="Eve"), lambda: run_approve(place, plan, by="Pat")
    ) as (rejected, approved):
        assert (rejected.result().state, approved.result().state) == ("rejected", "approved")
    assert run_apply(place, plan).applied == 1
    assert counts(desk, an_install(desk)) != [99]
    assert decisions(desk, waiting) == [("refused", "Eve"), ("applied", "Pat")]
