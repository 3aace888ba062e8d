"""Holes in what webhooks told: a receiver that is down, events that are lost, a drop that nobody reads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from enerflo_sandbox.exchange import Response
from enerflo_sync.gaps.report import HoleKind
from enerflo_sync.inbox.quarantine import dismiss_items
from enerflo_sync.inbox.quarantine_items import Selection
from tests.gaps.conftest import change, gaps, holes, only, poll, started, wait
from tests.inbox.conftest import Inbox, answering, update_install


def test_a_receiver_that_is_down_for_a_week(polled: Inbox) -> None:
    change(polled, told=True)
    poll(polled)
    heard = polled.one("select max(received_at) from sync.webhook_events")
    changed = 0
    for _ in range(14):
        poll(polled, 5)
        changed += change(polled, told=False)
        poll(polled)
    wait(polled, 1.5)
    hole = only(polled, HoleKind.WEBHOOKS)
    assert (hole.start, hole.end, hole.is_open) == (heard, None, True)
    assert hole.not_seen == {"update_install": changed}
    assert f"{changed} changes that polls saw were told by no webhook; none came since" in hole.why
    missed = {
        record for (record,) in polled.rows("select record from sync.witnesses where webhook_seen_at is null")
    }
    assert set(hole.evidence.records) <= missed
    assert hole.closes == "enerflo-sync poll --full"
    assert hole.backfill == "enerflo-sync backfill --from 2026-03-02 --to 2026-03-09"
    assert gaps(polled).silent_since == heard
    # It is back: the hole has an end, and is closed by a look at everything.
    wait(polled, 1)
    change(polled, told=True)
    again = polled.one("select min(received_at) from sync.webhook_events where received_at > :h", h=heard)
    hole = only(polled, HoleKind.WEBHOOKS)
    assert (hole.start, hole.end) == (heard, again)
    assert "after that they came again" in hole.why
    poll(polled, full=True)
    hole = only(polled, HoleKind.WEBHOOKS)
    assert (hole.is_open, hole.closed_by) == (False, started(polled)[0])
    assert [hole for hole in holes(polled) if hole.is_open] == []
    assert gaps(polled).silent_since is None


def test_after_a_long_silence_the_notes_edits_are_wanted_too(polled: Inbox) -> None:
    change(polled, told=True)
    for _ in range(2):
        wait(polled, 2)
        change(polled, told=False)
    poll(polled, 2)
    hole = only(polled, HoleKind.WEBHOOKS)
    assert (hole.is_open, hole.closes) == (True, "enerflo-sync poll --full")
    poll(polled, full=True)
    assert not only(polled, HoleKind.WEBHOOKS).is_open


def test_a_silent_receiver_is_said_although_a_poll_saw_everything(polled: Inbox) -> None:
    change(polled, told=True)
    heard = polled.one("select max(received_at) from sync.webhook_events")
    wait(polled, 1)
    change(polled, told=False)
    poll(polled, 2, full=True)
    assert gaps(polled).silent_since == heard
    hole = only(polled, HoleKind.WEBHOOKS)
    assert (hole.end, hole.is_open) == (None, False)


def test_without_a_change_silence_is_no_hole(polled: Inbox) -> None:
    change(polled, told=True)
    poll(polled, 30)
    assert (holes(polled, HoleKind.WEBHOOKS), gaps(polled).silent_since) == ([], None)


def test_a_webhook_that_was_lost_alone_is_closed_by_the_next_poll(polled: Inbox) -> None:
    change(polled, told=True)
    wait(polled, 0.2)
    change(polled, told=False)
    wait(polled, 0.2)
    change(polled, told=True)
    polled.company.poll()
    wait(polled, 1.1)
    hole = only(polled, HoleKind.WEBHOOKS)
    assert hole.is_open
    assert hole.end is not None
    assert hole.end - hole.start < timedelta(hours=1)
    assert hole.closes == "enerflo-sync poll"
    polled.company.poll()
    assert not only(polled, HoleKind.WEBHOOKS).is_open


def test_an_event_that_is_never_sent_is_missed_by_nobody(polled: Inbox) -> None:
    change(polled, told=True)
    wait(polled, 1)
    polled.world.create_install()
    poll(polled, 2)
    missed = polled.rows("select distinct event from sync.witnesses where webhook_seen_at is null")
    assert set(missed) == {("new_install",), ("new_customer",)}
    assert holes(polled, HoleKind.WEBHOOKS) == []


def test_losses_that_follow_each_other_are_one_hole_and_others_are_not(polled: Inbox) -> None:
    for _ in range(3):
        change(polled, told=True)
        wait(polled, 0.2)
        change(polled, told=False)
        wait(polled, 0.2)
    change(polled, told=True)
    polled.company.poll()
    wait(polled, 30)
    change(polled, told=True)
    wait(polled, 0.2)
    change(polled, told=False)
    wait(polled, 0.2)
    change(polled, told=True)
    poll(polled, 2)
    later, before = holes(polled, HoleKind.WEBHOOKS)
    assert sum(before.not_seen.values()) == 3  # type: ignore[arg-type]
    assert sum(later.not_seen.values()) == 1  # type: ignore[arg-type]


def test_projects_of_a_silence_whose_design_never_came_are_counted(polled: Inbox) -> None:
    before = len(polled.world.changes)
    polled.world.create_install()
    polled.drop_changes(before)
    polled.ingest()
    assert polled.one("select count(*) from enerflo.submissions") == 1
    poll(polled)
    wait(polled, 1)
    polled.world.create_install()
    wait(polled, 0.1)
    poll(polled, 2)
    hole = only(polled, HoleKind.WEBHOOKS)
    assert hole.not_seen["submissions"] == 1
    assert hole.remark is not None
    assert "Signed designs" in hole.remark


def test_events_whose_record_is_not_read(polled: Inbox) -> None:
    polled.fault("503@/api/v3/installs/*#1-999")
    one = polled.world.install_id(0)
    polled.drop(update_install(one))
    arrived = polled.clock.now()
    polled.load()
    wait(polled, 0.5)
    assert holes(polled, HoleKind.UNREAD) == []
    wait(polled, 1)
    hole = only(polled, HoleKind.UNREAD)
    event = polled.one("select event_id from sync.webhook_events")
    assert (hole.start, hole.not_seen, hole.evidence.events) == (arrived, {"update_install": 1}, [event])
    assert hole.closes == "enerflo-sync ingest"
    polled.fault()
    polled.ingest()
    assert holes(polled, HoleKind.UNREAD) == []


def test_what_lies_in_quarantine_is_unread_until_it_is_replayed(polled: Inbox, again: Any) -> None:
    one = polled.world.install_id(0)
    polled.fault(f"403@/api/v3/installs/{one}#1-99")
    polled.drop(update_install(one))
    polled.drop(b"{half of an", "cut.json")
    arrived = polled.clock.now()
    polled.ingest()
    assert polled.states() == {"quarantined": 1}
    hole = only(polled, HoleKind.UNREAD)
    event = polled.one("select event_id from sync.webhook_events")
    assert (hole.start, hole.is_open, hole.evidence.events) == (arrived, True, [event])
    assert hole.not_seen == {"update_install": 1, "files": 1}
    assert hole.closes == "enerflo-sync quarantine list"
    polled.fault()
    again()
    assert only(polled, HoleKind.UNREAD).not_seen == {"files": 1}
    with polled.warehouse.begin() as connection:
        chosen = Selection(everything=True)
        dismiss_items(connection, polled.account, chosen, reason="sent again", by="ann", clock=polled.clock)
    assert holes(polled, HoleKind.UNREAD) == []


def test_a_change_that_was_told_and_that_no_poll_finds(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    polled.world.set_status(one, 4)
    polled.drop_changes(len(polled.world.changes) - 1)
    polled.ingest()
    polled.world.delete_install(one)
    answering(polled, f"/api/v3/installs/{one}", Response(503, {}, b""))
    poll(polled)
    hole = only(polled, HoleKind.UNCONFIRMED)
    assert (hole.not_seen, hole.evidence.records) == ({"installs": 1}, [f"installs/{one}"])
    poll(polled)
    assert holes(polled, HoleKind.UNCONFIRMED) == [], "it is deleted, by evidence"


def test_a_drop_that_nobody_looked_into(polled: Inbox) -> None:
    polled.ingest()
    last = started(polled, job="webhooks")
    poll(polled, 4)
    hole = only(polled, HoleKind.DROP)
    assert (hole.start, hole.is_open, hole.why) == (last[1], True, "No ingest ran when it was due.")
    assert hole.closes == "enerflo-sync ingest"
    polled.ingest()
    hole = only(polled, HoleKind.DROP)
    assert (hole.is_open, hole.closed_by) == (False, started(polled, job="webhooks")[0])
