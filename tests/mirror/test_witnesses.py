"""Two witnesses: what poll and webhook saw of the same changes, and what the figures make of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.mirror.witness_report import WitnessFigures, WitnessReport, witness_report
from tests.inbox.conftest import Inbox, NewInbox, inbox, kept_polled, new_inbox, polled, update_install

__all__ = ["inbox", "kept_polled", "new_inbox", "polled"]

VOIDED, ON_HOLD = 3, 4


def rows(company: Inbox, columns: str = "event, poll_seen_at, webhook_seen_at") -> list[tuple[Any, ...]]:
    return company.rows(f"select {columns} from sync.witnesses order by event, record, changed_at")


def some_install(company: Inbox, at: int = 0) -> int:
    return sorted(row.install_id for row in company.world.truth.installs())[at]


def told(company: Inbox, body: dict[str, Any]) -> datetime:
    """Let a webhook arrive and be taken in; return when it arrived."""
    arrived: datetime = company.clock.now()
    company.drop(body)
    company.clock.advance(5)
    company.ingest()
    return arrived


def report(company: Inbox, **options: Any) -> WitnessReport:
    with company.warehouse.connect() as connection:
        found = witness_report(connection, "default", company.clock.now(), **options)
    for one in (found.total, *found.by_event, *found.by_day):
        assert one.changes == one.both + one.missed + one.unconfirmed + one.replaced + one.waiting
    return found


def figures(company: Inbox) -> WitnessFigures:
    return report(company).total


def test_a_first_load_is_history(polled: Inbox) -> None:
    assert polled.rows("select count(*) > 0 from enerflo.installs") == [(True,)]
    assert rows(polled) == []


def test_a_first_load_that_broke_off_is_still_history_when_it_is_completed(inbox: Inbox) -> None:
    inbox.fault("html_page@/api/v3/installs#2-9")
    inbox.company.poll(PollResource.INSTALLS, per_page=5)
    inbox.fault()
    inbox.company.poll()
    assert inbox.rows("select count(*) from enerflo.installs") == [(12,)]
    assert rows(inbox) == []


def test_a_webhook_before_the_first_poll_is_no_witness(inbox: Inbox) -> None:
    told(inbox, update_install(some_install(inbox)))
    assert rows(inbox) == []


def test_the_webhook_comes_first_and_the_poll_confirms_it(polled: Inbox) -> None:
    install = some_install(polled)
    polled.world.set_status(install, ON_HOLD)
    changed = polled.clock.now()
    polled.clock.advance(4)
    arrived = told(polled, update_install(install))
    assert rows(polled) == [("update_install", None, arrived)]
    started = polled.clock.now()
    polled.company.poll()
    assert rows(polled) == [("update_install", started, arrived)]
    assert rows(polled, "record, content_hash, changed_at") == [
        (f"installs/{install}", polled.install(install, "content_hash")[0], changed)
    ]
    found = figures(polled)
    assert (found.changes, found.told, found.both, found.late) == (1, 1, 1, 0)
    assert (found.delay_p50, found.delay_p95, found.delay_max) == (4, 4, 4)


def test_the_poll_comes_first_and_the_webhook_is_late(polled: Inbox) -> None:
    told(polled, update_install(some_install(polled)))
    install = some_install(polled, 1)
    polled.world.set_status(install, ON_HOLD)
    polled.company.poll()
    assert figures(polled).waiting == 1
    polled.clock.advance(7200)
    assert figures(polled).missed == 1
    arrived = told(polled, update_install(install))
    ((_, poll_seen, webhook_seen),) = rows(polled)
    assert poll_seen < webhook_seen == arrived
    found = figures(polled)
    assert (found.changes, found.missed, found.both, found.late) == (1, 0, 1, 1)
    assert found.delay_max is not None
    assert found.delay_max > 7200


def test_a_webhook_days_later_is_about_something_else(polled: Inbox) -> None:
    told(polled, update_install(some_install(polled)))
    install = some_install(polled, 1)
    polled.world.set_status(install, ON_HOLD)
    polled.company.poll()
    polled.clock.advance(2 * 86_400)
    told(polled, update_install(install))
    assert figures(polled).missed == 1


def test_polls_and_webhooks_without_a_change_are_no_change(polled: Inbox) -> None:
    told(polled, update_install(some_install(polled)))
    polled.company.poll(full=True)
    assert rows(polled) == []


def test_before_the_first_webhook_nothing_can_be_missed(polled: Inbox) -> None:
    polled.world.set_status(some_install(polled), ON_HOLD)
    polled.company.poll()
    polled.clock.advance(7200)
    assert (report(polled).webhooks_since, figures(polled).changes) == (None, 0)
    told(polled, update_install(some_install(polled, 1)))
    assert figures(polled).changes == 0


def test_a_list_that_tells_less_than_the_record_sees_the_same_change(new_inbox: NewInbox) -> None:
    lean = new_inbox(lean_lists=True)
    lean.company.poll()
    install = some_install(lean)
    lean.world.set_status(install, ON_HOLD)
    told(lean, update_install(install))
    lean.company.poll()
    found = figures(lean)
    assert (found.changes, found.both) == (1, 1)


def test_each_kind_of_change_has_its_event(polled: Inbox) -> None:
    world = polled.world
    polled.company.poll()
    created = world.create_install()
    polled.clock.advance(1)
    note = world.add_note(some_install(polled), "hello")
    customer = next(iter(world.truth.customers())).customer_id
    world.edit_customer(customer, {"first_name": "Other"})
    polled.clock.advance(60)
    polled.company.poll()
    found = {(event, record) for event, record in rows(polled, "event, record")}
    assert ("new_install", f"installs/{created}") in found
    assert ("new_install_note", f"notes/{note}") in found
    assert ("update_customer", f"customers/{customer}") in found
    assert {event for event, _ in found} == {
        *("new_install", "new_install_note", "update_customer", "new_customer")
    }, "an install that only quotes a changed customer was not updated"


def test_an_edited_or_deleted_note_has_no_event(polled: Inbox) -> None:
    note = next(row.note_id for row in polled.world.truth.notes() if row.deleted_at is None)
    polled.clock.advance(60)
    polled.world.edit_note(note, "edited")
    polled.company.poll(PollResource.NOTES, full=True)
    polled.world.delete_note(note)
    polled.company.poll(PollResource.NOTES, full=True)
    assert polled.rows("select body, deleted_at is null from enerflo.notes where note_id = :n", n=note) == [
        ("edited", False)
    ]
    assert rows(polled) == []


def test_a_notes_webhook_is_confirmed_by_the_poll_of_new_notes(polled: Inbox) -> None:
    polled.clock.advance(3600)
    install = some_install(polled)
    polled.world.add_note(install, "hello")
    arrived = told(polled, {"webhook_event": "new_install_note", "epc_install_id": install})
    assert rows(polled) == [("new_install_note", None, arrived)]
    started = polled.clock.now()
    assert polled.company.poll(PollResource.NOTES).read < 5
    assert rows(polled) == [("new_install_note", started, arrived)]


def test_a_note_that_came_along_with_its_install_was_told_by_nobody(polled: Inbox) -> None:
    install = some_install(polled)
    polled.world.set_status(install, ON_HOLD)
    polled.world.add_note(install, "hello")
    told(polled, update_install(install))
    polled.company.poll()
    polled.clock.advance(7200)
    found = {one.event: one for one in report(polled).by_event}
    assert (found["update_install"].both, found["update_install"].missed) == (1, 0)
    assert (found["new_install_note"].both, found["new_install_note"].missed) == (0, 1)


def test_a_change_order_is_told_once_when_it_is_signed(polled: Inbox) -> None:
    before = len(polled.world.changes)
    polled.world.step(30, events=40)
    signed = sum(change.kind == "change_order_signed" for change in polled.world.changes[before:])
    assert signed > 0
    for _ in range(2):
        polled.company.poll()
    found = [event for (event,) in rows(polled, "event") if event == "signed_change_order"]
    assert len(found) == signed


def test_a_change_that_was_changed_again_before_a_poll_is_replaced(polled: Inbox) -> None:
    install = some_install(polled)
    for status in (ON_HOLD, VOIDED):
        polled.world.set_status(install, status)
        told(polled, update_install(install, turn=status))
    polled.company.poll()
    found = figures(polled)
    assert (found.changes, found.replaced, found.both) == (2, 1, 1)


def test_what_no_complete_poll_finds_is_unconfirmed(polled: Inbox) -> None:
    install = polled.world.create_install()
    told(polled, update_install(install))
    polled.fault("html_page@/api/v3/installs#1-9")
    polled.clock.advance(7200)
    polled.company.poll()
    polled.fault()
    assert {one.event: one.waiting for one in report(polled).by_event}["new_install"] == 1
    polled.world.delete_install(install)
    polled.company.poll()
    assert {one.event: one.unconfirmed for one in report(polled).by_event}["new_install"] == 1


def test_figures_are_per_event_and_day_of_the_last_days(polled: Inbox) -> None:
    installs = [some_install(polled, at) for at in range(3)]
    for install in installs:
        polled.world.set_status(install, ON_HOLD)
        told(polled, update_install(install))
        polled.company.poll()
        polled.clock.advance(86_400)
    found = report(polled, days=3)
    assert [(one.event, one.changes) for one in found.by_event] == [("update_install", 2)]
    assert [one.changes for one in found.by_day] == [1, 1]
    assert found.by_day[0].day > found.by_day[1].day  # type: ignore[operator]
    with polled.warehouse.connect() as connection:
        assert witness_report(connection, "other", polled.clock.now()).total.changes == 0


def test_what_is_older_than_ninety_days_is_forgotten(polled: Inbox) -> None:
    install = some_install(polled)
    polled.world.set_status(install, ON_HOLD)
    polled.company.poll()
    polled.clock.advance(timedelta(days=89).total_seconds())
    polled.company.poll()
    assert len(rows(polled)) == 1
    polled.clock.advance(timedelta(days=2).total_seconds())
    polled.company.poll()
    assert rows(polled) == []


@pytest.mark.parametrize("first", ["poll", "webhook"])
def test_two_witnesses_of_one_change_in_any_order_make_one_row(polled: Inbox, first: str) -> None:
    install = some_install(polled)
    polled.world.set_status(install, ON_HOLD)
    for witness in (first, "poll", "webhook"):
        if witness == "poll":
            polled.company.poll()
        else:
            told(polled, update_install(install, copy=polled.clock.monotonic()))
    ((event, poll_seen, webhook_seen),) = rows(polled)
    assert event == "update_install"
    assert (poll_seen < webhook_seen) == (first == "poll")
