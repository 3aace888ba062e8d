"""What was read before the days that are looked at: a hole that lasts begins there, and is no "never"."""

from __future__ import annotations

from enerflo_sandbox.api import Response
from enerflo_sync.gaps.report import HoleKind
from enerflo_sync.gaps.schedule import every
from enerflo_sync.mirror.witness_report import witness_report
from enerflo_sync.pages.freshness import read_freshness
from enerflo_sync.resources.registry import ALL
from tests.gaps.conftest import change, gaps, holes, only, poll, started, wait
from tests.gaps.test_gaps import EVERY, answering
from tests.inbox.conftest import Inbox

_REFUSED = Response(403, {"content-type": "application/json"}, b"{}")


def test_a_drop_that_nobody_looks_into_for_weeks_is_unread_since_the_last_look(polled: Inbox) -> None:
    for _ in range(3):
        change(polled, told=True)
        poll(polled)
    last = started(polled, job="webhooks")
    assert last[1] > started(polled, 0, job="webhooks")[1]
    wait(polled, 20 * 24)
    hole = only(polled, HoleKind.DROP)
    assert (hole.start, hole.is_open) == (last[1], True)
    polled.ingest()
    hole = only(polled, HoleKind.DROP)
    assert (hole.start, hole.is_open) == (last[1], False)


def test_statuses_that_were_read_weeks_ago_are_not_called_never_read(polled: Inbox) -> None:
    poll(polled)
    last = started(polled)
    for _ in range(20):
        wait(polled, 24)
        poll(polled, resources={"installs", "notes", "customers", "change_orders"})
    hole = next(hole for hole in holes(polled, lists=EVERY) if "statuses" in hole.not_seen)
    assert (hole.start, hole.is_open, "Never read" in hole.why) == (last[1], True, False)


def test_statuses_that_are_refused_since_they_were_read_are_a_hole_until_they_are_read(polled: Inbox) -> None:
    last = started(polled)
    polled.fault("403@/api/v3/install-statuses#1-9")
    poll(polled, 3)
    hole = only(polled)
    assert (hole.start, hole.is_open, set(hole.not_seen)) == (last[1], True, {"statuses"})
    assert hole.why.startswith("3 polls did not read all (")
    polled.fault()
    poll(polled)
    assert gaps(polled).open == 0


def test_a_list_without_a_watermark_is_as_fresh_as_the_last_poll_that_read_it(polled: Inbox) -> None:
    poll(polled)
    whole = started(polled)[1]
    answering(polled, "/api/v3/install-statuses", _REFUSED)
    poll(polled, 3)
    now = polled.clock.now()
    with polled.warehouse.connect() as connection:
        page = read_freshness(
            connection,
            polled.account,
            gaps(polled),
            witness_report(connection, polled.account, now),
            polled=[one.name for one in ALL],
            poll_due=every(120),
        )
    assert {line.name: line.until for line in page.resources}["statuses"] == whole
