"""An event that is told again: when its record is read once more."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest

from enerflo_sandbox.exchange import Response
from enerflo_sync.inbox.load import DropLoader
from tests.inbox.conftest import Inbox, answering, update_install

NOT_FOUND = Response(404, {}, b'{"message":"Not Found"}')


def note_event(install_id: int) -> dict[str, Any]:
    return {"webhook_event": "new_install_note", "id": install_id}


def bodies(inbox: Inbox, install_id: int) -> set[str]:
    return {
        body for (body,) in inbox.rows("select body from enerflo.notes where install_id = :i", i=install_id)
    }


def test_a_second_event_that_says_the_same_is_read_again(polled: Inbox) -> None:
    """A payload without any time of its own: the second note's event is byte for byte the first's."""
    one = polled.world.install_id(0)
    polled.world.add_note(one, "first")
    polled.drop({"webhook_event": "new_install_note", "id": one}, "1.json")
    polled.ingest()
    polled.later(60)
    polled.world.add_note(one, "second")
    polled.drop({"webhook_event": "new_install_note", "id": one}, "2.json")
    polled.ingest()
    notes = {body for (body,) in polled.rows("select body from enerflo.notes where install_id = :i", i=one)}
    assert {"first", "second"} <= notes


def test_a_copy_between_a_read_and_its_commit_is_read_again(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    real, seen = polled.api._route, []

    def route(request: Any, asked: Any, *more: Any) -> Response:
        answer = real(request, asked, *more)
        if asked == f"/api/v3/installs/{one}/notes" and not seen:
            seen.append(asked)
            polled.world.add_note(one, "second")
            polled.drop(note_event(one), "2.json")
            polled.clock.advance(1)
        return answer

    polled.api._route = route  # type: ignore[method-assign]
    polled.world.add_note(one, "first")
    polled.drop(note_event(one), "1.json")
    polled.ingest()
    polled.later()
    polled.ingest()
    assert bodies(polled, one) >= {"first", "second"}


def test_an_old_and_a_new_copy_in_one_batch_are_a_new_one(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    polled.world.add_note(one, "first")
    polled.drop(note_event(one), "1.json")
    early = polled.clock.now().timestamp()
    polled.ingest()
    polled.later(60)
    polled.world.add_note(one, "second")
    os.utime(polled.drop(note_event(one), "2.json"), (early, early))
    polled.drop(note_event(one), "3.json")
    polled.ingest()
    assert bodies(polled, one) >= {"first", "second"}


def test_the_same_words_under_the_same_name_after_a_kill_are_another_copy(
    polled: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = polled.world.install_id(0)

    def killed(_self: DropLoader, count: int) -> None:
        if count:
            raise KeyboardInterrupt

    polled.drop(note_event(one), "latest.json")
    with monkeypatch.context() as killing:
        killing.setattr(DropLoader, "_forget", killed)
        with pytest.raises(KeyboardInterrupt):
            polled.ingest()
    polled.later()
    polled.drop(note_event(one), "latest.json")
    polled.ingest()
    assert polled.copies() == [2]


def test_an_event_in_quarantine_that_is_told_again_is_tried_again(inbox: Inbox) -> None:
    one = inbox.world.install_id(0)
    real = inbox.api._route
    answering(inbox, f"/api/v3/installs/{one}", NOT_FOUND)
    inbox.drop(update_install(one), "1.json")
    inbox.later(90)
    inbox.ingest(not_found_for=timedelta(0))
    assert inbox.states() == {"quarantined": 1}
    inbox.later(90)
    inbox.api._route = real  # type: ignore[method-assign]
    inbox.drop(update_install(one), "2.json")
    inbox.ingest()
    assert inbox.states() == {"applied": 1}
    assert inbox.one("select state from sync.quarantine") == "replayed"
