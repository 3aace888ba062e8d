"""What tests of writes to Enerflo share: a vendor that re-spells, a process that is lost, what arrived."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sandbox.spelling import parse_spelling
from enerflo_sync.apply.enerflo.push_run import PushRun
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk

TEXT = "Panels  & wires\n are <late> \U0001f600 \u00fc"


def spelling(desk: Desk, *words: str) -> None:
    assert desk.api is not None
    desk.api.spelling = parse_spelling(words)


def a_round(desk: Desk) -> int:
    run_poll(desk.context)
    plan = desk.plan()
    if plan.change_count:
        report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
        assert (report.moved, report.parked, report.waiting) == (0, 0, 0), report
    return plan.change_count


def note(desk: Desk, key: str, install_id: int, body: str = TEXT) -> None:
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
        " values (:k, :i, 'Ann', :b, now())",
        k=key,
        i=install_id,
        b=body,
    )


def last_milestone(desk: Desk, install_id: int) -> int:
    query = "select max(milestone_id) from enerflo.milestones where install_id = :i"
    return int(desk.one(query, i=install_id))


def due(desk: Desk, install_id: int, at: str = "2026-05-20 14:22:01Z") -> int:
    """Let the CRM say another due time of an install's last milestone, and return the milestone."""
    milestone = last_milestone(desk, install_id)
    desk.sql(
        "update crm.milestones set due_at = cast(:at as timestamptz), updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        at=at,
        i=install_id,
        m=milestone,
    )
    return milestone


def cut_off_after_the_request(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, plan_hash: str | None = None, *, nth: int = 1
) -> None:
    """Apply a plan, the present one if none is named, and lose the process between a request and its read.

    :param nth: which of the requests that the company received.
    """
    bring_in = PushRun.bring_in

    def lost(run: PushRun, *args: Any, **names: Any) -> Any:
        if len(desk.world.received) >= nth:
            raise _LostError
        return bring_in(run, *args, **names)

    with monkeypatch.context() as patched:
        patched.setattr(PushRun, "bring_in", lost)
        with pytest.raises(_LostError):
            run_apply(desk.context, plan_hash or desk.plan().plan_hash, approved_by="Pat")


def posts(desk: Desk) -> list[Any]:
    return [one for one in desk.world.received if one.method == "POST"]


def in_crm(desk: Desk, install_id: int) -> list[Any]:
    return desk.sql(
        "select note_id, enerflo_note_id, body from crm.notes where enerflo_install_id = :i order by 1",
        i=install_id,
    )


class _LostError(Exception):
    """The warehouse is lost between Enerflo's answer and its record."""


def lost_after_the_post(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apply, and lose the process between the 2xx and its record."""

    def lost(*_: Any) -> None:
        raise _LostError

    with monkeypatch.context() as patched:
        patched.setattr("enerflo_sync.apply.enerflo.push_run.mark_accepted", lost)
        with pytest.raises(_LostError):
            run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat")
