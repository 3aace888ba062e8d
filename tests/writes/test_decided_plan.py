"""Several people, and the rules, decide about one plan at once: one decision stands, and what is done fits it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError, ConflictError, RetriableError
from enerflo_sync.jobs import apply as apply_job
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve, run_reject
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan import make
from enerflo_sync.plan.parts import Part
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.warehouse.alone import alone
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_apply import INSTALLS, counts, installs, spoiled

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


@pytest.mark.parametrize("applies", [False, True])
def test_a_yes_that_crosses_a_no_is_refused_and_says_whose_no_it_was(
    desk: Desk, waiting: PlanReport, applies: bool
) -> None:
    place, plan = desk.context, waiting.plan_hash

    def say_yes() -> None:
        if applies:
            run_apply(place, plan, approved_by="Pat")
        else:
            run_approve(place, plan, by="Pat")

    with one_after_the_other(desk, waiting, lambda: run_reject(place, plan, by="Eve"), say_yes) as (no, yes):
        assert no.result().state == "rejected"
        with pytest.raises(ConflictError, match=r"it is rejected already by Eve on 20.*on its way"):
            yes.result()
    assert counts(desk, an_install(desk)) == [99]
    assert decisions(desk, waiting) == [("refused", "Eve")]


def test_a_no_while_the_command_reads_the_crm_is_not_overruled(
    desk: Desk, waiting: PlanReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of a CRM in another database may take minutes."""
    place, plan = desk.context, waiting.plan_hash
    monkeypatch.setattr(apply_job, "run_copy", lambda *_, **__: run_reject(place, plan, by="Eve"))
    with pytest.raises(ConflictError, match="it is rejected already by Eve"):
        run_apply(place, plan, approved_by="Pat")
    assert counts(desk, an_install(desk)) == [99]
    assert decisions(desk, waiting) == [("refused", "Eve")]


def test_a_yes_of_somebody_who_may_know_of_the_no_makes_what_was_refused(
    desk: Desk, waiting: PlanReport
) -> None:
    place, plan = desk.context, waiting.plan_hash
    run_reject(place, plan, by="Eve")
    assert run_approve(place, plan, by="Pat").state == "approved"
    assert run_apply(place, plan).applied == 1
    assert counts(desk, an_install(desk)) != [99]
    assert decisions(desk, waiting) == [("refused", "Eve"), ("applied", "Pat")]


@pytest.mark.parametrize("undecided", [False, True])
def test_a_no_takes_a_yes_back_of_which_nothing_was_made(
    desk: Desk, waiting: PlanReport, undecided: bool
) -> None:
    place, plan = desk.context, waiting.plan_hash
    run_approve(place, plan, by="Pat")
    rejected = run_reject(place, plan, by="Eve", reason="no", undecided=undecided)
    assert (rejected.state, rejected.decided_by) == ("rejected", "Eve")
    with pytest.raises(ConfigurationError, match=r"it was rejected \(Eve\)"):
        run_apply(place, plan)
    assert counts(desk, an_install(desk)) == [99]
    assert decisions(desk, waiting) == [("refused", "Eve")]
    assert desk.plan().change_count == 0


def test_a_no_to_a_part_lets_the_rest_of_an_approved_plan_wait_again(desk: Desk) -> None:
    desk.switched_on("crm")
    desk.carried()
    first, second, third = installs(desk, 3)
    spoiled(desk, first, second, third)
    plan = desk.plan()
    run_approve(desk.context, plan.plan_hash, by="Pat", part=Part(without=[f"installs:{third}"]))
    left = run_reject(desk.context, plan.plan_hash, by="Eve", part=Part(only=[f"installs:{first}"]))
    assert (left.state, left.decided_by, left.states) == ("open", None, {"refused": 1, "planned": 2})


def test_a_no_to_a_plan_that_may_be_written_now_is_not_recorded_and_says_so(
    desk: Desk, waiting: PlanReport
) -> None:
    place, plan = desk.context, waiting.plan_hash
    run_approve(place, plan, by="Pat")
    busy = pytest.raises(ConfigurationError, match="a plan or an apply of the account is running")
    with desk.engine.connect() as other, alone(other, place.account), busy:
        run_reject(place, plan, by="Eve", wait=False)
    assert desk.one("select state from sync.plans where plan_hash = :h", h=plan) == "approved"
    assert decisions(desk, waiting) == []


def test_a_no_to_a_plan_that_was_made_in_part_is_refused(desk: Desk, waiting: PlanReport) -> None:
    place, plan = desk.context, waiting.plan_hash
    run_approve(place, plan, by="Pat")
    desk.sql("update sync.plan_changes set state = 'sent', sent_at = now() where plan_hash = :h", h=plan)
    with pytest.raises(ConfigurationError, match="it is approved and can no longer be rejected"):
        run_reject(place, plan, by="Eve")
    assert decisions(desk, waiting) == []


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("plan_is", ["the same", "another", "overdue"])
def test_a_no_while_the_next_plan_is_made_is_not_overruled_by_that_plan(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, plan_is: str, whole: bool
) -> None:
    """A plan is made of one moment: it may be older than the refusal."""
    desk.switched_on("crm")
    desk.carried()
    first, second, third = installs(desk, 3)
    spoiled(desk, first, second)
    plan = desk.plan()
    if plan_is != "the same":
        spoiled(desk, third)
    if plan_is == "overdue":
        desk.sql("update sync.plans set expires_at = now() - interval '1 second'")
    hold = make.hold_parked

    def refused_meanwhile(*given: Any) -> None:
        part = Part() if whole else Part(only=[f"installs:{first}"])
        run_reject(desk.context, plan.plan_hash, by="Eve", part=part)
        hold(*given)

    monkeypatch.setattr(make, "hold_parked", refused_meanwhile)
    with pytest.raises(RetriableError, match="somebody else changed meanwhile what this job stands on"):
        desk.plan()
    monkeypatch.setattr(make, "hold_parked", hold)
    run_apply(desk.context, desk.plan().plan_hash)
    assert counts(desk, first) == [99]
    assert decisions(desk, plan) == [("refused", "Eve")] * (2 if whole else 1)
