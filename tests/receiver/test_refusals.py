"""What the receiver refuses stands in the drop, for the doctor: numbers and times, and nothing of a post."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import requests

from enerflo_sync.drop.open_drop import open_drop
from enerflo_sync.drop.refusals import NAME, RefusalNote, read_refusals
from enerflo_sync.receiver.outcomes import PostOutcome
from tests.receiver.conftest import NEXT_SECRET, SECRET, Running, Start


def note_of(drop: Path, posts: int = 1) -> RefusalNote:
    """The note once it counts so many posts; it is written after the answer."""
    for _ in range(100):
        note = read_refusals(open_drop(str(drop)))
        if note is not None and sum(one.posts for one in note.refused.values()) >= posts:
            return note
        time.sleep(0.05)
    raise AssertionError("no note was written")


@pytest.mark.parametrize(
    "path",
    [f"/hooks/default/{NEXT_SECRET}", f"/hooks/west/{SECRET}", "/hooks/default", f"/webhooks/{SECRET}", "/"],
    ids=["secret", "account", "no secret", "path", "root"],
)
def test_a_post_that_finds_no_hook_is_counted_and_noted(start: Start, path: str) -> None:
    receiver = start()
    answer = receiver.post(b'{"email": "ada@example.com"}', path=path)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    note = note_of(receiver.drop)
    assert {outcome: one.posts for outcome, one in note.refused.items()} == {PostOutcome.UNKNOWN_HOOK: 1}
    assert (note.took_any, note.since <= note.last_at) == (False, True)
    assert receiver.count("unknown_hook", "") == 1
    said = (receiver.drop / NAME).read_text()
    assert all(word not in said for word in (SECRET, NEXT_SECRET, "ada", "west", "webhooks"))
    assert list(open_drop(str(receiver.drop)).waiting()) == []


def test_a_request_that_is_no_post_is_not_counted(start: Start) -> None:
    receiver = start()
    assert requests.get(f"{receiver.url}/favicon.ico", timeout=10).json() == {"detail": "Not Found"}
    assert receiver.count("unknown_hook", "") == 0
    assert receiver.hidden() == []


def test_refusals_of_one_minute_are_written_once(start: Start) -> None:
    receiver = start()
    for _ in range(20):
        receiver.post(path="/hooks/default/no")
    assert note_of(receiver.drop).refused[PostOutcome.UNKNOWN_HOOK].posts == 1
    assert receiver.count("unknown_hook", "") == 20


def test_the_note_counts_for_the_account_that_the_path_names(start: Start, tmp_path: Path) -> None:
    receiver, west = two_accounts(start, tmp_path)
    receiver.post(path=f"/hooks/west/{SECRET}")
    assert note_of(west).refused[PostOutcome.UNKNOWN_HOOK].posts == 1
    # Of which account a post was to be that names none, nobody can say.
    receiver.post(path=f"/hooks/{SECRET}")
    receiver.post(path=f"/hooks/east/{SECRET}")
    assert receiver.count("unknown_hook", "") == 3
    assert receiver.hidden() == []


def two_accounts(start: Start, folder: Path) -> tuple[Running, Path]:
    west = folder / "west"
    west.mkdir()
    config = folder / "sync.yaml"
    shipped = Path(__file__).parents[2] / "include" / "config" / "sync.yaml"
    own = f"accounts:\n  west: {{webhook_drop_uri: {west}}}\n"
    config.write_text(shipped.read_text().replace("accounts:\n", own, 1))
    more = {"ENERFLO_SYNC_CONFIG": str(config), "RECEIVER_SECRET_WEST": NEXT_SECRET}
    return start(**more), west
