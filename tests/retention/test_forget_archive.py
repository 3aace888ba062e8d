"""``enerflo-sync forget`` and files: whatever fails or is killed, a file of the archive is erased or said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.drop.drop import DropFile, NotRead
from enerflo_sync.drop.local import LocalDrop
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.jobs.ingest import run_ingest
from tests.retention.test_forget import EMAIL, MOBILE, Person, files, found
from tests.retention.test_forget_events import arrived, body_of, plain

__all__ = ["plain"]
STUCK = "no space left on device"


def update_of(person: Person) -> bytes:
    person.edited(mobile=MOBILE)
    return body_of(person.desk, "update_customer")


def archived(person: Person, name: str, data: bytes, day: str = "2026/01/31") -> Path:
    folder = Path(person.desk.environ["WEBHOOK_DROP_URI"]).parent / "archive" / day
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def test_a_file_that_cannot_be_moved_at_once_is_erased_once_it_is(
    plain: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = plain.desk
    plain.forget()
    with monkeypatch.context() as away:
        away.setattr(LocalDrop, "move", lambda *_: STUCK)
        arrived(desk, a=update_of(plain))
    run_ingest(desk.context)
    assert len(list(files(desk))) == 1
    assert found(desk) == {}


def test_a_file_that_waits_to_be_moved_while_its_person_is_forgotten_is_erased(
    plain: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = plain.desk
    with monkeypatch.context() as away:
        away.setattr(LocalDrop, "move", lambda *_: STUCK)
        arrived(desk, a=update_of(plain))
    plain.forget()
    run_ingest(desk.context)
    assert len(list(files(desk))) == 1
    assert found(desk) == {}


def test_an_ingest_that_is_killed_before_it_erases_is_made_good(
    plain: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = plain.desk
    plain.forget()

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as away:
        away.setattr("enerflo_sync.inbox.load.erase_archived", killed)
        with pytest.raises(KeyboardInterrupt):
            arrived(desk, a=update_of(plain))
    assert found(desk) != {}
    run_ingest(desk.context)
    assert found(desk) == {}
    assert desk.one("select count(*) from sync.webhook_moves") == 0


def test_an_archive_that_cannot_be_read_fails_the_forgetting(
    plain: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing but the address tells whose it is.
    archived(plain, "a.json", b'{"webhook_event": "update_customer", "email": "' + EMAIL.encode())

    def unreadable(self: LocalDrop, some: Sequence[DropFile], limit: int) -> Iterator[NotRead]:
        return (NotRead(file, "permission denied") for file in some)

    with monkeypatch.context() as away:
        away.setattr(LocalDrop, "read", unreadable)
        with pytest.raises(RetriableError, match="could not be read: 1, permission denied"):
            plain.forget()
    plain.forget()
    assert found(plain.desk) == {}


def test_an_archive_that_cannot_be_written_fails_the_forgetting_in_a_sentence(
    plain: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk is full, or it may only be read. The other files are erased."""
    for name in ("a", "b"):
        archived(plain, f"{name}.json", b'{"webhook_event": "update_customer", "email": "' + EMAIL.encode())
    whole = archived(plain, "c.json", update_of(plain))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as away:
        away.setattr(LocalDrop, "replace", full)
        with pytest.raises(RetriableError, match="could not be written: 1, no space left on device"):
            plain.forget()
    assert sorted(path.name for path in whole.parent.iterdir()) == ["c.json"]
    plain.forget()
    assert found(plain.desk) == {}


def test_a_file_over_the_limit_is_searched_to_its_end(plain: Person) -> None:
    filled = b'{"webhook_event": "x", "pad": "' + b"x" * 33_000_000 + b'", "email": "%s"}'
    large = archived(plain, "large.json", filled % EMAIL.encode())
    other = archived(plain, "other.json", filled % b"somebody@else.example")
    plain.forget()
    assert (large.exists(), other.exists()) == (False, True)
    assert found(plain.desk) == {}


def test_a_file_of_a_day_to_come_is_erased(plain: Person) -> None:
    """The clock of the machine that ingested it was wrong for a while."""
    archived(plain, "a.json", update_of(plain), day="2031/01/31")
    assert found(plain.desk) != {}
    plain.forget()
    assert found(plain.desk) == {}


def test_nobody_is_forgotten_while_nothing_says_where_the_archive_is(plain: Person) -> None:
    """The command runs in a shell that lacks the variable with the drop, which the tasks have."""
    desk = plain.desk
    plain.edited(mobile=MOBILE)
    desk.told("update_customer")
    before = found(desk)
    address = desk.environ.pop("WEBHOOK_DROP_URI")
    desk.read_configuration()
    for write in (False, True):
        with pytest.raises(ConfigurationError, match="nothing says where their archive is"):
            plain.forget(write=write)
    desk.environ["WEBHOOK_DROP_URI"] = address
    assert found(desk) == before
    assert desk.sql("select from sync.forgotten") == []
    desk.read_configuration()
    plain.forget()
    assert found(desk) == {}
