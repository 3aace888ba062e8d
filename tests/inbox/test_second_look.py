"""What an independent review found: wrong evidence of deletion, copies in odd moments, and errors that repeat."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.batch import Limits
from enerflo_sync.inbox.take_in import TakeIn
from enerflo_sync.sandbox.exchange import Response
from tests.inbox.conftest import Inbox, answering, ignored, update_install

NOT_FOUND = Response(404, {}, b'{"message":"Not Found"}')


def note_event(install_id: int) -> dict[str, Any]:
    return {"webhook_event": "new_install_note", "id": install_id}


def bodies(inbox: Inbox, install_id: int) -> set[str]:
    return {
        body for (body,) in inbox.rows("select body from enerflo.notes where install_id = :i", i=install_id)
    }


def test_a_missing_list_of_notes_is_no_evidence_about_the_install(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    answering(polled, f"/api/v3/installs/{one}/notes", NOT_FOUND)
    answering(polled, "/api/v3/installs/notes", NOT_FOUND)
    polled.drop(note_event(one))
    assert polled.ingest().state == "partial"
    assert polled.install(one, "deleted_at") == (None,)


def test_a_missing_list_of_customers_is_no_evidence_about_one(polled: Inbox) -> None:
    found = polled.rows("select customer_id, email from enerflo.customers where deleted_at is null limit 1")
    customer_id, email = found[0]
    answering(polled, "/api/v1/customers", NOT_FOUND)
    polled.drop({"webhook_event": "update_customer", "id": customer_id, "email": email})
    polled.ingest()
    query = "select deleted_at from enerflo.customers where customer_id = :c"
    assert polled.rows(query, c=customer_id) == [(None,)]


def test_an_address_that_knows_nothing_deletes_nothing(polled: Inbox) -> None:
    polled.api._route = lambda *_: NOT_FOUND  # type: ignore[method-assign]
    for number in range(3):
        polled.drop(update_install(polled.world.install_id(number)))
    with pytest.raises(ConfigurationError, match="404 to everything"):
        polled.ingest()
    assert polled.one("select count(*) from enerflo.installs where deleted_at is not null") == 0
    assert polled.states() == {"received": 3}


def test_not_everything_is_gone_at_once(polled: Inbox) -> None:
    """A key of another company: statuses are answered, and none of the installs."""
    known = polled.one("select count(*) from enerflo.installs where deleted_at is null")
    for number in range(known):
        install_id = polled.world.install_id(number)
        answering(polled, f"/api/v3/installs/{install_id}", NOT_FOUND)
        polled.drop(update_install(install_id))
    assert polled.ingest().state == "partial"
    assert polled.one("select count(*) from enerflo.installs where deleted_at is not null") == 10
    assert polled.states() == {"applied": 10, "received": known - 10}


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


def test_a_list_of_moves_is_kept_while_its_folder_cannot_be_listed(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.drop(ignored(1), "closed/a.json")
    rename, scandir = os.rename, os.scandir

    def not_moved(source: Any, target: Any) -> None:
        if str(source).endswith("a.json"):
            raise PermissionError(13, "refused")
        rename(source, target)

    def not_listed(folder: Any) -> Any:
        if str(folder).endswith("/closed"):
            raise PermissionError(13, "refused")
        return scandir(folder)

    with monkeypatch.context() as refusing:
        refusing.setattr(os, "rename", not_moved)
        inbox.take_in()
        refusing.setattr(os, "scandir", not_listed)
        assert inbox.take_in().state == "partial"
    inbox.take_in()
    assert inbox.copies() == [1]


def test_a_file_replaced_in_the_moment_of_the_move_is_read(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = inbox.drop(ignored(1), "latest.json")
    rename = os.rename

    def replaced(source: Any, target: Any) -> None:
        if source == str(path):
            os.replace(inbox.drop(ignored(2), ".next"), path)
        rename(source, target)

    with monkeypatch.context() as racing:
        racing.setattr(os, "rename", replaced)
        assert inbox.take_in().state == "partial"
    inbox.take_in()
    assert inbox.copies() == [1, 1]


def test_the_same_words_under_the_same_name_after_a_kill_are_another_copy(
    polled: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = polled.world.install_id(0)

    def killed(_self: TakeIn, count: int) -> None:
        if count:
            raise KeyboardInterrupt

    polled.drop(note_event(one), "latest.json")
    with monkeypatch.context() as killing:
        killing.setattr(TakeIn, "_forget", killed)
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


def test_large_files_of_one_beginning_are_items_of_their_own(inbox: Inbox) -> None:
    beginning = b"[" + b'{"webhook_event":"new_note","id":1},' * 4000
    inbox.drop(beginning + b'{"webhook_event":"new_note","id":2}]', "a.json")
    inbox.drop(beginning + b'{"webhook_event":"new_note","id":3}]', "b.json")
    inbox.take_in(limits=Limits(100_000, 50_000))
    assert inbox.one("select count(*) from sync.quarantine") == 2


def test_an_event_of_a_newer_release_holds_no_other(inbox: Inbox) -> None:
    inbox.drop(update_install(inbox.world.install_id(0)))
    inbox.take_in()
    with inbox.warehouse.begin() as connection:
        connection.execute(sa.text("update sync.webhook_events set event = 'install.fromTheNextRelease'"))
    inbox.ingest()
    assert inbox.states() == {"applied": 1}


def test_an_archive_that_cannot_be_cleared_is_said_and_holds_nothing(polled: Inbox) -> None:
    (polled.archive / "2020/01").mkdir(parents=True)
    (polled.archive / "2020/01/02").write_text("not a folder")
    polled.drop(update_install(polled.world.install_id(0)))
    report = polled.ingest(keep_archive=timedelta(days=3))
    assert report.state == "partial"
    assert polled.states() == {"applied": 1}


def test_a_name_that_is_no_name_is_not_shown(inbox: Inbox) -> None:
    inbox.drop({"event": "Call from jane.doe@example.com"})
    report = inbox.take_in()
    assert "jane.doe" not in str(report.reasons)
    assert inbox.one("select event from sync.webhook_events") == "?"
