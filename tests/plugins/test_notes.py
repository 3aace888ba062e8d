"""The lines that a person reads beside a run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from airflow.models.dagrun import DagRun, DagRunNote
from enerflo_airflow.notes import (
    backfill_note,
    in_order,
    ingest_note,
    poll_note,
    reconciliation_note,
    replay_note,
    take_over_note,
)

from enerflo_sync.backfill.report import BackfillReport
from enerflo_sync.backfill.store import State
from enerflo_sync.inbox.replay_report import ReplayOutcome, ReplayReport, ReplayResult
from enerflo_sync.warehouse.runs import RunReport, RunState
from tests.reconcile.render.sample_reports import overdue

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def poll_report(**values: Any) -> RunReport:
    fixed = {"run_id": "poll-1", "account": "default", "job": "poll", "started_at": NOON}
    return RunReport(**{"state": RunState.OK, **fixed, **values})


def test_a_whole_run_is_one_line() -> None:
    note = poll_note(poll_report(read=4310, applied=12, unchanged=4298, requests=9))
    assert note == "read 4,310 · applied 12 · unchanged 4,298 · 0 quarantined · 0 skipped · 9 requests"


def test_a_note_quotes_nothing_that_steers_whoever_shows_it() -> None:
    reasons = {"incomplete": {"unknown_status: On\x1b[2J\u202eHold": 1}}
    note = poll_note(poll_report(state=RunState.PARTIAL, reasons=reasons))
    assert "On\\u001b[2J\\u202eHold" in note


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
    assert note.startswith("partial · 3 quarantined · read 3 · ")
    assert "2 expected_text at status_name, 1 missing id" in note


def ingest_report(events: dict[str, Any], **values: Any) -> RunReport:
    counts = {"read": 0, "applied": 0, "unchanged": 0, "quarantined": 0, "skipped": 0, "reasons": {}}
    return poll_report(job="webhooks", resources={"events": {**counts, **events}}, **values)


def test_an_ingest_without_files_is_said() -> None:
    note = ingest_note(poll_report(job="webhooks"))
    assert note.startswith("0 events · 0 of them copies · 0 applied · 0 waiting · 0 quarantined")


def test_an_ingest_says_what_became_of_its_events_and_what_waits_why() -> None:
    notices = {"applied": 7, "waiting, Enerflo does not know the record yet": 2}
    events = {"read": 12, "applied": 9, "unchanged": 2, "skipped": 1, "reasons": {"notice": notices}}
    first, second = ingest_note(ingest_report(events, read=30, requests=5)).splitlines()
    assert first == (
        "2 waiting · 12 events · 2 of them copies · 7 applied · 0 quarantined · 1 ignored · 5 requests"
    )
    assert second == "2 waiting, Enerflo does not know the record yet"


def test_a_partial_ingest_says_so_first_and_where_the_quarantined_events_are() -> None:
    reasons = {"quarantined": {"truncated_json": 3}}
    note = ingest_note(
        ingest_report(
            {"read": 3, "quarantined": 3}, state=RunState.PARTIAL, read=3, quarantined=3, reasons=reasons
        )
    )
    assert note.startswith("partial · 3 quarantined · 3 events · ")
    assert "quarantined, listed in sync.quarantine with state open: 3 truncated_json" in note


def test_a_reconciliation_with_an_old_mirror_says_so_first() -> None:
    note = reconciliation_note(overdue())
    assert note.startswith("Enerflo was last read whole 4 d 2 h before the comparison · 0 unexplained of 0")


def replayed(dry: bool, *outcomes: ReplayOutcome) -> ReplayReport:
    results = [
        ReplayResult(item_id=str(number), kind="event", reason="unknown_event", outcome=outcome, detail="")
        for number, outcome in enumerate(outcomes)
    ]
    return ReplayReport(run_id=None if dry else "replay-1", account="default", dry=dry, results=results)


def test_a_dry_replay_says_that_nothing_was_changed() -> None:
    note = replay_note(replayed(True, ReplayOutcome.WOULD_REPLAY, ReplayOutcome.WOULD_REPLAY), "ana")
    first = "dry run for ana, nothing was changed · 2 items · 2 would replay"
    assert note == f"{first}\nitem by item in the task's log"


def test_a_replay_that_leaves_items_open_is_partial() -> None:
    note = replay_note(replayed(False, ReplayOutcome.REPLAYED, ReplayOutcome.STILL_FAILING), "ana")
    assert note.startswith("partial · replayed by ana · 2 items · 1 replayed · 1 still failing\n")
    assert "sync.runs has it under replay-1" in note
    assert replay_note(replayed(False, ReplayOutcome.REPLAYED), "ana").startswith("replayed by ana · 1 item")


def test_a_backfill_that_did_not_read_all_says_so_first() -> None:
    counts = (
        "read",
        "new",
        "changed",
        "unchanged",
        "quarantined",
        "skipped",
        "missing",
        "requests",
        "throttled",
    )
    whole = BackfillReport(
        backfill_id="backfill-1",
        account="default",
        kind="window",
        words="installs of March",
        state=State.FINISHED,
        minutes=None,
        widened_seconds=0,
        reasons={},
        resources={},
        chunks=[],
        estimate=None,
        compared=[],
        created_at=NOON,
        started_at=NOON,
        finished_at=NOON,
        **dict.fromkeys(counts, 0),
    )
    assert backfill_note(whole).startswith("read 0 · ")
    partial = msgspec.structs.replace(whole, reasons={"incomplete": {"notes: 403": 1}})
    assert backfill_note(partial).startswith("partial · read 0 · ")
    assert in_order([backfill_note(whole), backfill_note(partial)])[0].startswith("partial")


def test_runs_of_other_dags_are_left_alone() -> None:
    other = DagRun(dag_id="their_dag", run_id="one")
    other.dag_run_note = DagRunNote("theirs")
    take_over_note(other)
    assert other.note == "theirs"


def test_the_gravest_note_of_a_runs_tasks_comes_first() -> None:
    notes = [
        "told 2 messages",
        "3 unexplained of 0 allowed",
        "failed: no such table",
        "partial · 1 quarantined",
    ]
    assert in_order(notes) == ["failed: no such table", "partial · 1 quarantined", *notes[:2]]
