"""An account that waits for its first webhook: it is told once polls found changes, and never before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.routes import NotifyEvent, Route
from enerflo_sync.notify.message import Message
from enerflo_sync.notify.notify import notify
from tests.gaps.conftest import change, gaps, poll, wait
from tests.inbox.conftest import Inbox, inbox, kept_polled, new_inbox, polled
from tests.notify.conftest import config_with

__all__ = ["inbox", "kept_polled", "new_inbox", "polled"]

Told = Callable[[], list[Message]]
DROP = "    webhook_drop_uri: ${WEBHOOK_DROP_URI:-}\n"


@pytest.fixture
def told(polled: Inbox, tmp_path: Path) -> Told:
    """What people are told of silence since they were last told; ``sync.yaml`` is read each time."""
    (tmp_path / "config").mkdir()
    config_with(tmp_path / "config", "{routes: {all: {events: [webhooks_silent], http: {connection: c}}}}")

    def look() -> list[Message]:
        arrived: list[Message] = []

        def send(_: Route, message: Message) -> None:
            arrived.append(message)

        config = load_config(tmp_path / "config" / "sync.yaml", {})
        notify(polled.warehouse, config, polled.account, send, clock=polled.clock)
        return arrived

    assert look() == []
    return look


def test_a_first_webhook_that_never_comes_is_told_until_one_comes(polled: Inbox, told: Told) -> None:
    polled.ingest()
    wait(polled, 1)
    changed = change(polled, told=False)
    poll(polled, 10)
    assert told() == [], "24 hours are not over"
    poll(polled, 2)
    (message,) = told()
    assert message.event is NotifyEvent.WEBHOOKS_SILENT
    assert "- none ever arrived since 2026-03-02" in message.text
    assert f", changes that polls found {changed}" in message.text
    poll(polled)
    assert told() == []
    # A prune of old runs and witnesses is no webhook.
    with polled.warehouse.begin() as connection:
        connection.exec_driver_sql("delete from sync.witnesses")
    assert told() == []
    change(polled, told=True)
    (message,) = told()
    assert message.subject == "Enerflo default: resolved: webhooks arrive again"
    assert told() == []


def test_what_was_put_into_quarantine_was_not_taken_in(polled: Inbox, told: Told) -> None:
    polled.drop(b"{half of an", "cut.json")
    polled.ingest()
    change(polled, told=False)
    poll(polled, 14)
    (message,) = told()
    assert ", files of the drop in quarantine 1" in message.text


def test_a_company_in_which_nothing_changes_sends_no_webhook(polled: Inbox, told: Told) -> None:
    polled.ingest()
    poll(polled, 20)
    assert told() == []


def test_changes_from_before_the_drop_was_read_are_no_sign(polled: Inbox, told: Told) -> None:
    """Webhooks are set up in the account's second month: the day they are, nobody is told that none came."""
    change(polled, told=False)
    poll(polled, 20)
    assert told() == []
    polled.ingest()
    poll(polled, 14)
    assert told() == []


@pytest.mark.parametrize("instead", ["", "    webhook_drop_uri: null\n"], ids=["absent", "null"])
@pytest.mark.parametrize("before", [False, True], ids=["never", "before"])
def test_an_account_that_uses_no_webhooks_is_not_told_of_silence(
    polled: Inbox, told: Told, tmp_path: Path, instead: str, before: bool
) -> None:
    path = tmp_path / "config" / "sync.yaml"
    kept = path.read_text()
    assert DROP in kept
    path.write_text(kept.replace(DROP, instead))
    polled.ingest()
    change(polled, told=before)
    change(polled, told=False)
    poll(polled, 14)
    assert told() == []
    path.write_text(kept)
    assert len(told()) == 1
    path.write_text(kept.replace(DROP, instead))
    (message,) = told()
    assert message.subject == "Enerflo default: resolved: not watched any more"


def test_the_gaps_say_that_no_webhook_ever_came(polled: Inbox) -> None:
    polled.ingest()
    since = polled.clock.now()
    changed = change(polled, told=False)
    poll(polled)
    assert gaps(polled).unheard is None, "it may still come"
    poll(polled)
    found = gaps(polled).unheard
    assert found is not None
    assert found.since <= since
    assert found.changes == changed
    assert gaps(polled, awaits_webhooks=False).unheard is None
    change(polled, told=True)
    assert gaps(polled).unheard is None


def test_the_gaps_command_says_it_in_a_sentence(polled: Inbox) -> None:
    polled.drop(b"{half of an", "cut.json")
    since = polled.clock.now()
    polled.ingest()
    changed = change(polled, told=False)
    poll(polled, 2)
    assert gaps(polled).silence == (
        f"The drop is read since {since:%Y-%m-%d %H:%M} UTC, and no webhook ever came; polls found {changed} change"
        " since. In quarantine: 1 file of the drop."
    )
