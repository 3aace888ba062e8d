"""A person edits a row while a job records that a tool brought our change: the edit is nobody else's value."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.agreed import arrivals
from enerflo_sync.jobs.apply import run_apply
from tests.writes.conftest import Desk
from tests.writes.test_changes import copied, copy_shows
from tests.writes.test_newest import mirror_status
from tests.writes.test_time_of_tools import handed_beside

__all__ = ["copied"]


def test_an_edit_while_an_apply_records_an_arrival_is_no_spelling_of_ours(
    copied: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    install = copied.a_site().install_id
    handed_beside(copied, install, 77)
    mirror_status(copied, install, "On Hold", "now()")
    plan = copied.plan()
    copy_shows(copied, install, panel_count=77)
    record, edits = arrivals.record_outcome, [99]

    def edited_meanwhile(*args: Any, **named: Any) -> None:
        record(*args, **named)
        while edits:
            copy_shows(copied, install, panel_count=edits.pop())

    monkeypatch.setattr(arrivals, "record_outcome", edited_meanwhile)
    run_apply(copied.context, plan.plan_hash, approved_by="Pat")
    assert edits == []
    (change,) = copied.changes(copied.plan(), field="panel_count")
    assert (change.direction, change.before, change.after) == ("to_crm", 99, 77)
