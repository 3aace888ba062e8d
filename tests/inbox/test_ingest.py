"""The whole job under kills: a process of its own that dies between any two steps, and is run again."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
import requests

from enerflo_sync.drop import local as local_drop
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.inbox.conftest import Inbox, NewInbox, ignored, update_install

KILLED = 9


class Death:
    """Ends this process before, or right after, the n-th step that touches the world."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.at, self.after, self.steps = at, after, 0

    def at_each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **named: Any) -> Any:
            self.steps += 1
            mine = self.steps
            if mine == self.at and not self.after:
                os._exit(KILLED)
            found = function(*args, **named)
            if mine == self.at:
                os._exit(KILLED)
            return found

        return step

    def lie_in_wait(self) -> None:
        """List, read, every statement and COPY, every commit, every move and every request are steps."""
        for owner, name in (
            (os, "scandir"),
            (local_drop, "_read"),
            (local_drop, "_rename"),
            (psycopg.Cursor, "execute"),
            (psycopg.Cursor, "copy"),
            (psycopg.Connection, "commit"),
            (requests.Session, "send"),
        ):
            setattr(owner, name, self.at_each(getattr(owner, name)))


def in_a_process_that_dies(inbox: Inbox, death: Death, **options: Any) -> bool:
    """Ingest in a forked process; return whether it was killed on the way."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            url = inbox.warehouse.url.render_as_string(hide_password=False)
            inbox.company.warehouse = warehouse_engine(url)
            death.lie_in_wait()
            inbox.ingest(**options)
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED


@pytest.mark.parametrize(("after", "read_ahead"), [(False, 0), (True, 1)])
def test_a_kill_at_any_step_loses_nothing_and_repeats_nothing(
    new_inbox: NewInbox, after: bool, read_ahead: int
) -> None:
    inbox = new_inbox(installs=80)
    at, files, expected = 0, 0, {}
    killed = True
    while killed:
        at += 1
        one = inbox.world.install_id(at % 80)
        # A fresh event, one that came in every round, and one that is bad: in files of one name each round.
        inbox.drop(update_install(one, n=at), f"{at:03}-a.json")
        inbox.drop({"received_at": f"2026-03-01T00:{at % 60:02}:00Z", "n": at, "body": ignored(1)}, "b.json")
        inbox.drop(b"no event %d" % at, f"sub/{at:03}-c.json")
        files += 3
        killed = in_a_process_that_dies(inbox, Death(at, after=after), read_ahead=read_ahead)
        inbox.clock.advance(60)
        report = inbox.ingest(read_ahead=read_ahead)
        expected = {"applied": at, "ignored": 1}
        assert inbox.states() == expected, f"killed at step {at}"
        assert inbox.one("select copies from sync.webhook_events where event = 'new_note'") == at
        assert len(inbox.archived()) == files
        assert inbox.reasons() == {"not_json": at}
        assert inbox.waiting() == []
        assert report.state in ("ok", "partial")
    assert at > 25
    assert inbox.one("select count(*) from sync.webhook_moves") == 0
    assert inbox.one("select count(*) from enerflo.installs") == min(at, 80)
    assert inbox.one("select max(count) from sync.quarantine") == 1


def test_kill_after_kill_without_a_whole_run_between(new_inbox: NewInbox) -> None:
    inbox = new_inbox(installs=20)
    for number in range(20):
        inbox.drop(update_install(inbox.world.install_id(number)), f"{number:02}.json")
        inbox.drop(update_install(inbox.world.install_id(number)), f"{number:02}-copy.json")
    deaths = 0
    for at in range(6, 90, 7):
        deaths += in_a_process_that_dies(inbox, Death(at, after=at % 2 == 0))
        inbox.clock.advance(60)
    assert deaths > 5
    inbox.ingest()
    assert inbox.states() == {"applied": 20}
    assert inbox.copies() == [2] * 20
    assert len(inbox.archived()) == 40
    assert inbox.one("select count(*) from enerflo.installs") == 20


def test_a_failed_move_in_one_run_and_a_duplicate_in_the_next(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.drop(ignored(1), "a.json")

    def refused(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", refused)
    inbox.load()
    monkeypatch.undo()
    inbox.drop(ignored(1), "b.json")
    inbox.load()
    assert inbox.copies() == [2]
    assert inbox.archived() == ["a.json", "b.json"]


def test_two_accounts_share_nothing(inbox: Inbox) -> None:
    body = update_install(inbox.world.install_id(0))
    inbox.drop(body, "a.json")
    inbox.ingest()
    other = Inbox(inbox.company, inbox.folder, account="second")
    other.drop(body, "a.json")
    other.ingest()
    rows = inbox.rows("select account, copies, state from sync.webhook_events order by 1")
    assert rows == [("default", 1, "applied"), ("second", 1, "applied")]
    assert inbox.rows("select account from enerflo.installs order by 1") == [("default",), ("second",)]


def test_without_the_read_events_wait_and_the_next_run_takes_them_up(inbox: Inbox) -> None:
    inbox.drop(update_install(inbox.world.install_id(0)))
    assert inbox.load().requests == 0
    assert inbox.states() == {"received": 1}
    inbox.ingest()
    assert inbox.states() == {"applied": 1}


def test_what_lies_in_the_archive_costs_a_run_nothing(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: (seen.append(str(folder)), real(folder))[1])
    for number in range(5):
        inbox.drop(ignored(number))
        inbox.load()
    assert seen
    assert not [folder for folder in seen if folder.startswith(str(inbox.archive))]
