"""The lines that a person reads beside a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.models.dagrun import DagRun, DagRunNote
from enerflo_airflow.notes import poll_note, take_over_note

from enerflo_sync.warehouse.runs import RunReport, RunState

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def poll_report(**values: Any) -> RunReport:
    fixed = {"run_id": "poll-1", "account": "default", "job": "poll", "started_at": NOON}
    return RunReport(**{"state": RunState.OK, **fixed, **values})


def test_a_whole_run_is_one_line() -> None:
    note = poll_note(poll_report(read=4310, applied=12, unchanged=4298, requests=9))
    assert note == "read 4,310 · applied 12 · unchanged 4,298 · 0 quarantined · 0 skipped · 9 requests"


def test_a_partial_run_says_what_is_missing_and_where_to_look() -> None:
    reasons = {"incomplete": {"customers: the API key may not do this (403).": 1}}
    note = poll_note(poll_report(state=RunState.PARTIAL, read=3, unchanged=3, reasons=reasons))
    assert note.startswith("partial · read 3 · ")
    assert "sync.runs has it under poll-1" in note
    assert "not read whole: customers: the API key may not do this (403)." in note


def test_quarantined_records_are_counted_by_reason() -> None:
    reasons = {"quarantined": {"expected_text at status_name": 2, "missing id": 1}}
    note = poll_note(poll_report(state=RunState.PARTIAL, read=3, quarantined=3, reasons=reasons))
    assert "sync.quarantine" in note
    assert "2 expected_text at status_name, 1 missing id" in note


def test_runs_of_other_dags_are_left_alone() -> None:
    other = DagRun(dag_id="their_dag", run_id="one")
    other.dag_run_note = DagRunNote("theirs")
    take_over_note(other)
    assert other.note == "theirs"
