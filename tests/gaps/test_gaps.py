"""Holes: said exactly, with their evidence, and closed by whatever sees all of it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sandbox.exchange import Response, json_answer
from enerflo_sync.gaps.report import HoleKind
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.resources.registry import USUAL
from enerflo_sync.warehouse.watermarks import move_watermark
from tests.gaps.conftest import change, failing_poll, gaps, holes, only, poll, started, wait
from tests.inbox.conftest import Inbox, answering

EVERY = frozenset(USUAL)
ALL = {"statuses", "installs", "customers", "change_orders", "notes", "milestones"}


def test_an_account_that_was_never_polled_has_no_holes(inbox: Inbox) -> None:
    report = gaps(inbox)
    assert (report.polled, report.holes, report.open) == (False, [], 0)


def test_polls_and_webhooks_as_they_should_come_leave_none(polled: Inbox) -> None:
    for _ in range(15):
        change(polled, told=True)
        poll(polled)
    report = gaps(polled)
    assert (report.polled, report.holes, report.silent_since) == (True, [], None)


def test_one_failed_poll_is_a_hole_until_the_next(polled: Inbox) -> None:
    last = started(polled)
    failing_poll(polled)
    assert holes(polled) == [], "the next one is not due yet"
    wait(polled, 2)
    hole = only(polled)
    assert (hole.kind, hole.start, hole.end, hole.is_open) == (HoleKind.RECORDS, last[1], None, True)
    assert set(hole.not_seen) == ALL
    assert hole.evidence.runs == [started(polled)[0]]
    assert set(hole.evidence.watermarks) == ALL - {"milestones", "statuses"}
    assert hole.why.startswith("1 poll failed (AuthenticationError)")
    assert hole.closes == "enerflo-sync poll"
    polled.company.poll()
    hole = only(polled)
    run = started(polled)
    assert (hole.end, hole.is_open, hole.closed_by, hole.closed_at) == (run[1], False, run[0], run[1])


def test_polls_that_fail_for_a_day_are_one_hole_of_a_day(polled: Inbox) -> None:
    poll(polled, 3)
    last = started(polled)
    failing_poll(polled, 12)
    hole = only(polled, HoleKind.RECORDS)
    assert (hole.start, hole.is_open) == (last[1], True)
    assert hole.why == "12 polls failed (AuthenticationError)."
    assert len(hole.evidence.runs) == 10, "the latest"
    assert hole.backfill == "enerflo-sync backfill --from 2026-03-02 --to 2026-03-03"
    poll(polled)
    hole = only(polled, HoleKind.RECORDS)
    assert (hole.start, hole.end, hole.closed_by) == (last[1], started(polled)[1], started(polled)[0])


def test_polls_that_did_not_run_are_counted(polled: Inbox) -> None:
    wait(polled, 9)
    hole = only(polled)
    assert hole.why == "4 due polls did not run."
    assert hole.evidence.runs == []
    polled.company.poll()
    assert only(polled).why == "3 due polls did not run."


def test_of_very_many_polls_that_did_not_run_a_least_number_is_told(polled: Inbox) -> None:
    wait(polled, 24 * 365)
    assert only(polled, HoleKind.RECORDS).why == "1,000 due polls or more did not run."


def test_a_list_that_was_not_read_whole_is_a_hole_of_its_own(polled: Inbox) -> None:
    last = started(polled)
    polled.fault("html_page@/api/v1/customers#1-99")
    poll(polled, 3)
    hole = only(polled)
    assert (hole.start, hole.is_open, set(hole.not_seen)) == (last[1], True, {"customers"})
    assert hole.why.startswith("3 polls did not read all (customers: ")
    assert hole.evidence.runs == [started(polled, nth)[0] for nth in (-3, -2, -1)]
    assert hole.evidence.watermarks["customers"] >= last[1]
    polled.fault()
    poll(polled)
    hole = only(polled)
    assert (hole.end, hole.is_open, hole.closed_by) == (started(polled)[1], False, started(polled)[0])


def test_lists_that_a_failed_poll_had_read_before_it_failed_were_seen(polled: Inbox) -> None:
    last = started(polled)
    polled.fault("503@/api/v3/installs/notes#1-999")
    for _ in range(3):
        wait(polled, 2)
        with pytest.raises(Exception, match="notes"):
            polled.company.poll()
    hole = only(polled)
    assert (hole.start, set(hole.not_seen)) == (last[1], {"notes"})


def test_a_list_that_was_never_read_whole_is_open_from_the_first_poll_on(inbox: Inbox) -> None:
    answering(inbox, "/api/v1/customers", Response(403, {"content-type": "application/json"}, b"{}"))
    inbox.company.poll()
    first = started(inbox)
    poll(inbox, 3)
    hole = only(inbox)
    assert (hole.start, hole.is_open, set(hole.not_seen)) == (first[1], True, {"customers"})
    assert hole.why.startswith("Never read whole: ")
    assert holes(inbox, lists=["installs", "notes"]) == [], "nobody asks for them"


def test_a_list_that_no_poll_asked_for_yet_is_named_as_unread_at_once(inbox: Inbox) -> None:
    """Before a second poll is due, too: nothing of it was seen, and that is no all-clear."""
    inbox.company.poll(PollResource.INSTALLS)
    for hours in (0, 1):
        wait(inbox, hours)
        never = only(inbox, lists=EVERY)
        assert set(never.not_seen) == {"statuses", "customers", "change_orders", "notes"}
        assert never.is_open
        assert never.why.startswith("Never read whole: ")
        assert never.evidence.watermarks == {}
    inbox.company.poll()
    assert not any(one.is_open for one in holes(inbox, lists=EVERY))


def test_while_the_first_poll_runs_every_list_is_unread(inbox: Inbox) -> None:
    with inbox.warehouse.begin() as connection:
        connection.execute(
            sa.text(
                "insert into sync.runs (run_id, account, job, started_at, state)"
                " values ('poll-1', 'default', 'poll', :at, 'failed')"
            ),
            {"at": inbox.clock.now()},
        )
    wait(inbox, 0.1)
    hole = only(inbox, lists=EVERY)
    assert set(hole.not_seen) == {*EVERY, "milestones"}
    assert hole.is_open


def test_statuses_that_were_never_read_are_named_and_others_are_not(inbox: Inbox) -> None:
    answering(inbox, "/api/v3/install-statuses", Response(403, {"content-type": "application/json"}, b"{}"))
    inbox.company.poll()
    hole = only(inbox, lists=EVERY)
    assert set(hole.not_seen) == {"statuses"}
    assert "1 poll did not read all" in hole.why


def test_a_company_without_a_record_of_a_kind_has_no_hole(polled: Inbox) -> None:
    answering(polled, "/api/v3/change-orders", json_answer({"total": 0, "results": []}))
    poll(polled, 6, accept_shrink=True)
    assert holes(polled) == []


def test_a_poll_of_one_list_alone_is_no_look_at_the_others(polled: Inbox) -> None:
    for _ in range(3):
        wait(polled, 2)
        polled.company.poll(PollResource.NOTES)
    hole = only(polled)
    assert set(hole.not_seen) == ALL - {"notes"}
    assert hole.why == "the polls left it out."


def test_a_backfill_of_everything_closes_by_the_watermark(polled: Inbox) -> None:
    failing_poll(polled, 3)
    with polled.warehouse.begin() as connection:
        now = polled.clock.now()
        move_watermark(connection, "default", "installs", now, run_id="backfill-x", now=now)
    closed, still = sorted(holes(polled), key=lambda hole: hole.is_open)
    assert (closed.closed_by, closed.end, set(closed.not_seen)) == (
        "backfill-x",
        now,
        {"installs", "milestones"},
    )
    assert set(still.not_seen) == ALL - {"installs", "milestones"}


def test_milestones_that_the_list_does_not_tell_and_nobody_read_are_a_hole(inbox: Inbox) -> None:
    inbox.api.lean_lists = True
    first = inbox.clock.now()
    inbox.company.poll(details=5)
    hole = only(inbox)
    assert (hole.kind, hole.start, hole.is_open) == (HoleKind.RECORDS, first, True)
    assert hole.not_seen == {"milestones": None}
    assert hole.why == "Enerflo's list does not tell milestones, and those of 7 installs were not read yet."
    inbox.company.poll(details=10)
    assert holes(inbox) == []


def test_milestones_that_could_not_be_read_stay_a_hole_until_they_are(inbox: Inbox) -> None:
    inbox.api.lean_lists = True
    one = inbox.world.install_id(3)
    inbox.fault(*(f"success_false@/api/v3/installs/{one}#{number}" for number in range(1, 9)))
    poll(inbox, 4)
    assert "of 1 install were" in only(inbox).why
    inbox.fault()
    poll(inbox)
    assert holes(inbox) == []


def test_notes_edits_are_due_once_a_day(polled: Inbox) -> None:
    swept = started(polled)
    for _ in range(14):
        wait(polled, 2)
        polled.fault("html_page@/api/v3/installs/notes#1-99")
        polled.company.poll()
    hole = only(polled, HoleKind.NOTE_EDITS)
    assert (hole.start, hole.is_open, hole.closes) == (swept[1], True, "enerflo-sync poll --full")
    polled.fault()
    poll(polled)
    assert holes(polled, HoleKind.NOTE_EDITS) == []


def test_closed_holes_are_told_for_some_days_and_open_ones_for_ever(polled: Inbox) -> None:
    failing_poll(polled, 3)
    poll(polled, 1)
    poll(polled, 30)
    assert len(holes(polled)) == 1
    assert holes(polled, days=1) == []
    wait(polled, 40 * 24)
    assert only(polled, HoleKind.RECORDS, days=1).is_open


def test_another_accounts_runs_say_nothing_of_this_one(polled: Inbox) -> None:
    polled.company.account = "other"
    failing_poll(polled, 3)
    polled.company.account = "default"
    hole = only(polled)
    assert hole.evidence.runs == []
    polled.account = "other"
    assert gaps(polled).polled
    assert only(polled).why.startswith("Never read whole: 3 polls failed")
    assert only(polled).closes == "enerflo-sync poll --account other"
