"""What an apply reports of a plan's changes: every state, beside changes of other plans and other times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.apply.report import NOT_SWITCHED_ON, ended_since, outcomes_of, report_of
from enerflo_sync.plan.report import PlanReport, PlanState
from tests.writes.handed_rows import LONG_AGO, HandedRows

STATES = ("planned", "sent", "applied", "handed_over", "moved", "parked", "refused", "left_out", "superseded")
APPLIED_AT = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)


@pytest.fixture
def rows(warehouse: sa.Engine, tmp_path: Path) -> Iterator[HandedRows]:
    with warehouse.begin() as connection:
        yield HandedRows(connection, tmp_path, True)


def plan(applied_at: datetime | None = APPLIED_AT, changes: int = 1) -> PlanReport:
    nothing: dict[str, Any] = {key: {} for key in ("undecided", "kept", "states")}
    return PlanReport(
        plan_hash="p" * 64,
        account="default",
        kind="sync",
        state=PlanState.APPLIED,
        mode="both",
        created_at=LONG_AGO,
        expires_at=LONG_AGO,
        config_hash="c",
        stands_on=None,
        change_count=changes,
        needs_approval=True,
        reasons=[],
        groups=[],
        decided_by="Pat",
        applied_at=applied_at,
        **nothing,
    )


def test_changes_are_counted_by_state_and_reason_most_first(rows: HandedRows) -> None:
    for n, (state, reason) in enumerate(product(STATES, (None, "a", "b")), 1):
        for _ in range(n):
            rows.planned(1, plan_hash="p" * 64, state=state, reason=reason)
    rows.planned(1, plan_hash="q", state="applied")
    rows.planned(1, plan_hash="p" * 64, account="other", state="applied")
    outcomes = outcomes_of(rows.connection, plan())
    numbered = [(n, *case) for n, case in enumerate(product(STATES, (None, "a", "b")), 1)]
    assert outcomes == [(state, reason, n) for n, state, reason in reversed(numbered)]
    report = report_of(plan(), outcomes, "a-run", "It stopped.")
    of = {state: sum(n for n, one, _ in numbered if one == state) for state in STATES}
    assert (report.applied, report.handed_over, report.left_open) == (
        of["applied"],
        of["handed_over"],
        of["left_out"],
    )
    assert (report.moved, report.parked, report.refused) == (of["moved"], of["parked"], of["refused"])
    assert report.waiting == of["planned"] + of["sent"]
    assert report.reasons == {
        state: {reason or "unknown": n for n, one, reason in numbered if one == state}
        for state in ("moved", "parked", "refused")
    }
    assert (report.run_id, report.stopped, report.state, report.decided_by) == (
        *("a-run", "It stopped.", PlanState.APPLIED, "Pat"),
    )
    assert (report.already, report.message, report.applied_at) == (False, "", APPLIED_AT)


def test_of_equal_numbers_the_reasons_stand_in_their_order(rows: HandedRows) -> None:
    for reason in ("b", "c", "a"):
        rows.planned(1, plan_hash="p" * 64, state="moved", reason=reason)
    assert [one[1] for one in outcomes_of(rows.connection, plan())] == ["a", "b", "c"]


def test_what_ended_now_is_counted_of_the_crm_alone(rows: HandedRows) -> None:
    since = APPLIED_AT
    for done_at in (since - timedelta(seconds=1), since, since + timedelta(seconds=1), None):
        rows.planned(1, plan_hash="p" * 64, state="applied", done_at=done_at)
    rows.planned(1, plan_hash="p" * 64, state="moved", done_at=since)
    for other in ({"plan_hash": "q"}, {"account": "other"}, {"direction": "to_enerflo"}):
        rows.planned(1, **{"plan_hash": "p" * 64, "state": "applied", "done_at": since} | other)
    assert ended_since(rows.connection, plan(), since) == {"applied": 2, "moved": 1}


@pytest.mark.parametrize("already", [False, True])
@pytest.mark.parametrize(
    ("state", "reason", "needs"),
    [
        *((state, None, False) for state in ("applied", "handed_over", "superseded")),
        *((state, None, True) for state in ("moved", "parked", "planned", "sent", "left_out")),
        ("refused", "Because.", False),
        ("refused", f"{NOT_SWITCHED_ON} there", True),
    ],
)
def test_a_person_is_needed_where_something_was_not_made(
    state: str, reason: str | None, needs: bool, already: bool
) -> None:
    outcomes = [("applied", None, 3), ("refused", "No.", 1), (state, reason, 1)]
    assert report_of(plan(), outcomes, "a-run", None, already=already).needs_a_person is (
        needs and not already
    )


@pytest.mark.parametrize(
    ("applied_at", "changes", "already", "message"),
    [
        (APPLIED_AT, 1, True, "Plan pppppppppppp was applied at 2026-03-01 12:30:15 UTC already."),
        (None, 0, True, "There was nothing to apply."),
        (
            None,
            1,
            True,
            "Nothing of plan pppppppppppp is left to apply: a part was applied, and Pat rejected the rest.",
        ),
        (APPLIED_AT, 1, False, ""),
    ],
)
def test_a_plan_that_was_applied_before_is_said(
    applied_at: datetime | None, changes: int, already: bool, message: str
) -> None:
    assert report_of(plan(applied_at, changes), [], "a-run", None, already=already).message == message
