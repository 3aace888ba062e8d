"""An apply whose connection to the CRM's database breaks: before a write, or before its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from enerflo_sync.copies.due import RowWrite
from enerflo_sync.copies.remote_writes import RemoteWriter, Written
from enerflo_sync.errors import RetriableError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk

_WHOLE = RemoteWriter.write


def away_before(_: RemoteWriter, __: Sequence[RowWrite]) -> Written:
    """Write nothing."""
    raise RetriableError("the CRM is away.")


def answer_lost(writer: RemoteWriter, writes: Sequence[RowWrite]) -> Written:
    """Write, and say nothing of it."""
    _WHOLE(writer, writes)
    raise RetriableError("the answer was lost.")


def interrupted(
    desk: Desk, plan: PlanReport, patch: pytest.MonkeyPatch, write: Any = away_before, **options: Any
) -> None:
    """Approve and apply a plan, of which each write to the CRM breaks off by ``write``."""
    with patch.context() as patched:
        patched.setattr(RemoteWriter, "write", write)
        with pytest.raises(RetriableError):
            run_apply(desk.context, plan.plan_hash, approved_by="Pat", **options)
