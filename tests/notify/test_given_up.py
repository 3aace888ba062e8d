"""What is given up is told once the route works, whatever else was told on it meanwhile."""

from __future__ import annotations

from datetime import timedelta

import pytest

from enerflo_sync.crm.routes import NotifyEvent
from enerflo_sync.notify.late import polled_lists
from enerflo_sync.notify.message import Message
from enerflo_sync.notify.store import MOST_ATTEMPTS
from tests.notify.conftest import People
from tests.notify.test_alerts import read_whole, told_of
from tests.notify.test_notify import plan


def given_up(people: People) -> None:
    people.deaf = True
    assert sum(people.report().given_up for _ in range(MOST_ATTEMPTS)) == 1
    people.deaf = False


def test_a_state_that_was_given_up_is_told_with_the_next_one_of_its_kind(people: People) -> None:
    plan(people, "a" * 64)
    given_up(people)
    # Before the two hours are over the route works, and another plan waits.
    plan(people, "b" * 64)
    (message,) = told_of(people, NotifyEvent.PLAN_WAITING)
    assert "- plan aaaaaaaaaaaa," in message.text
    assert "- plan bbbbbbbbbbbb," in message.text
    assert people.tell(minutes=180) == []


def test_a_state_that_was_given_up_is_told_although_the_end_of_another_was_told_since(people: People) -> None:
    names = polled_lists(people.config)
    others = [name for name in names if name not in {"installs", "customers"}]
    read_whole(people)
    read_whole(people, *others, "installs", at=people.now + timedelta(days=9))
    assert len(told_of(people, NotifyEvent.MIRROR_STALE, 180)) == 1
    read_whole(people, "installs", at=people.now - timedelta(days=9))
    given_up(people)
    read_whole(people, "customers", at=people.now + timedelta(days=9))
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE)
    assert message.subject == "Enerflo default: resolved: Enerflo is read again (1 remain)"
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE, 60)
    assert (message.count, "- installs, read whole last at" in message.text) == (1, True)
    assert told_of(people, NotifyEvent.MIRROR_STALE, 180) == []


def test_an_end_that_was_given_up_is_told_once_the_route_works(people: People) -> None:
    read_whole(people)
    assert len(told_of(people, NotifyEvent.MIRROR_STALE, 180)) == 1
    read_whole(people)
    given_up(people)
    read_whole(people)
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE, 60)
    assert message.subject == "Enerflo default: resolved: Enerflo is read again"
    assert message.resolved
    read_whole(people)
    assert told_of(people, NotifyEvent.MIRROR_STALE, 60) == []


def test_an_end_that_was_given_up_is_not_told_once_it_is_no_end_any_more(people: People) -> None:
    read_whole(people)
    assert len(told_of(people, NotifyEvent.MIRROR_STALE, 180)) == 1
    read_whole(people)
    given_up(people)
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE, 180)
    assert not message.resolved
    assert told_of(people, NotifyEvent.MIRROR_STALE, 180) == []


def test_beginnings_and_ends_of_an_alert_arrive_in_order_where_one_of_them_is_refused(people: People) -> None:
    """As by a chat that takes a message a second."""
    read_whole(people)
    assert len(told_of(people, NotifyEvent.MIRROR_STALE, 180)) == 1
    read_whole(people)
    people.deaf = True
    people.report()
    refused = []

    def once(message: Message) -> bool:
        refused.append(message)
        return len(refused) == 1

    people.refuses = once
    people.deaf = False
    first = people.tell(minutes=170)
    found = [
        message.resolved for message in (*first, *people.tell()) if message.event is NotifyEvent.MIRROR_STALE
    ]
    assert found == [True, False]


def test_a_refused_beginning_delays_no_other_beginning_of_its_alert(people: People) -> None:
    """As by a chat that does not take the text of one message."""
    names = polled_lists(people.config)
    read_whole(people, *(name for name in names if name != "installs"), at=people.now + timedelta(days=9))
    read_whole(people, "installs")
    people.refuses = lambda message: "installs" in message.text
    assert told_of(people, NotifyEvent.MIRROR_STALE, 180) == []
    read_whole(people, "customers", at=people.now - timedelta(hours=4))
    (message,) = told_of(people, NotifyEvent.MIRROR_STALE)
    assert "- customers, read whole last at" in message.text
    # An end waits for the beginning that is before it.
    read_whole(people, "customers")
    assert told_of(people, NotifyEvent.MIRROR_STALE) == []


@pytest.mark.parametrize("event", [NotifyEvent.PLAN_WAITING, NotifyEvent.MIRROR_STALE])
def test_a_beginning_that_was_given_up_is_told_although_a_later_one_was_told_meanwhile(
    people: People, event: NotifyEvent
) -> None:
    names = polled_lists(people.config)
    others = [name for name in names if name not in {"installs", "customers"}]
    read_whole(people)
    read_whole(people, *others, "installs", "customers", at=people.now + timedelta(days=9))
    first, second = (
        ("aaaaaaaaaaaa", "bbbbbbbbbbbb")
        if event is NotifyEvent.PLAN_WAITING
        else (
            "- installs,",
            "- customers,",
        )
    )

    def begins(text: str) -> None:
        if event is NotifyEvent.PLAN_WAITING:
            plan(people, text[0] * 64)
        else:
            read_whole(people, text.strip("- ,"), at=people.now - timedelta(days=9))

    people.refuses = lambda message: first in message.text
    begins(first)
    assert told_of(people, event) == []
    begins(second)
    (message,) = told_of(people, event)
    assert second in message.text
    while not people.report().given_up:
        pass
    people.refuses = lambda _: False
    (message,) = told_of(people, event, 180)
    assert (first in message.text, second in message.text) == (True, True)
    assert told_of(people, event, 180) == []


def test_an_end_that_was_given_up_is_told_although_a_beginning_was_given_up_after_it(people: People) -> None:
    names = polled_lists(people.config)
    others = [name for name in names if name != "installs"]
    read_whole(people, *others, at=people.now + timedelta(days=9))
    read_whole(people, "installs")
    assert len(told_of(people, NotifyEvent.MIRROR_STALE, 180)) == 1
    people.deaf = True
    read_whole(people, "installs", at=people.now + timedelta(days=9))
    people.report()
    read_whole(people, "customers", at=people.now - timedelta(days=9))
    given = 0
    while given < 2:
        given += people.report().given_up
    read_whole(people, "customers", at=people.now + timedelta(days=9))
    people.deaf = False
    found = [*told_of(people, NotifyEvent.MIRROR_STALE, 180), *told_of(people, NotifyEvent.MIRROR_STALE, 60)]
    assert [message.text.splitlines()[-1] for message in found if message.resolved][:1] == ["- installs"]
    assert all(message.resolved for message in found)
