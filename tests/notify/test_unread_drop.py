"""Webhooks that lie in a drop into which no run ever looked: somebody is told to switch the DAG on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from enerflo_sync.crm.routes import NotifyEvent
from enerflo_sync.jobs.context import AccountContext, open_account
from enerflo_sync.jobs.notify import read_notifications, run_notify
from enerflo_sync.notify.message import Message
from tests.gaps.conftest import change, wait
from tests.inbox.conftest import Inbox, inbox, kept_polled, new_inbox, polled
from tests.notify.conftest import config_with

__all__ = ["inbox", "kept_polled", "new_inbox", "polled"]

Told = Callable[[], list[Message]]


@pytest.fixture
def opened(polled: Inbox, tmp_path: Path) -> AccountContext:
    """The account, whose drop is the inbox's folder, and whose clock is the company's."""
    (tmp_path / "config").mkdir()
    config_with(tmp_path / "config", "{routes: {all: {events: [webhooks_silent], http: {connection: c}}}}")
    environ = {
        "WEBHOOK_DROP_URI": str(polled.folder),
        "WAREHOUSE_URL": polled.warehouse.url.render_as_string(hide_password=False),
    }
    context = open_account("default", environ, tmp_path / "config" / "sync.yaml")
    return replace(context, clock=polled.clock)


@pytest.fixture
def told(opened: AccountContext) -> Told:
    """What people are told since they were last told."""

    def look() -> list[Message]:
        arrived: list[Message] = []
        run_notify(opened, lambda _, message: arrived.append(message))
        return arrived

    assert look() == []
    return look


def test_webhooks_in_a_drop_that_nobody_looks_into_are_told_until_a_run_ingests_them(
    polled: Inbox, told: Told, opened: AccountContext
) -> None:
    wait(polled, 1)
    polled.drop({"event": "one"}, "20260302T100000-1.json")
    wait(polled, 1)
    polled.drop({"event": "two"}, "20260302T110000-2.json")
    wait(polled, 22)
    assert told() == [], "24 hours are not over"
    wait(polled, 2)
    (due,), _ = read_notifications(opened)
    (message,) = told()
    assert due.text == message.text
    assert message.event is NotifyEvent.WEBHOOKS_SILENT
    assert message.subject == "Enerflo default: no webhook is ingested"
    assert "- no run ever looked into the drop, and its first file is of 2026-03-0" in message.text
    assert ", files that wait in the drop 2" in message.text
    assert told() == []
    # Of a drop that cannot be listed nothing is known.
    polled.folder.rename(polled.folder.with_name("elsewhere"))
    assert told() == []
    polled.folder.with_name("elsewhere").rename(polled.folder)
    for path in polled.folder.iterdir():
        path.unlink()
    change(polled, told=True)
    (message,) = told()
    assert message.subject == "Enerflo default: resolved: webhooks arrive again"
    wait(polled, 1)
    assert told() == []


def test_a_drop_that_somebody_emptied_ends_it_without_saying_that_webhooks_arrive(
    polled: Inbox, told: Told
) -> None:
    wait(polled, 1)
    lies = polled.drop({"event": "one"}, "20260302T100000-1.json")
    wait(polled, 25)
    assert len(told()) == 1
    lies.unlink()
    (message,) = told()
    assert message.subject == "Enerflo default: resolved: no webhook waits in the drop any more"
    assert message.text.splitlines()[0] == (
        "The drop is empty, and nothing that lay there was ingested: somebody took it away. Webhooks that come are"
        " ingested once the DAG enerflo_webhooks is switched on."
    )
    assert "arrive" not in message.subject + message.text


def test_an_empty_drop_and_one_that_cannot_be_listed_are_told_of_by_nobody(polled: Inbox, told: Told) -> None:
    wait(polled, 40)
    assert told() == []
    os.rename(polled.folder, polled.folder.with_name("elsewhere"))
    assert told() == []


def test_files_that_wait_for_the_next_run_are_the_business_of_the_run(polled: Inbox, told: Told) -> None:
    polled.ingest()
    polled.drop({"event": "one"}, "one.json")
    wait(polled, 40)
    assert told() == []
