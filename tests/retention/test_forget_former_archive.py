"""The webhooks of the account went to another archive before: the person's files are there as well."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from enerflo_sync.cli import forget as command
from enerflo_sync.cli import prune as prune_command
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.archive import erase_archived
from enerflo_sync.jobs.prune import run_prune
from tests.retention.test_forget import CANARIES, Person, found, person

__all__ = ["person"]


@pytest.fixture
def moved(person: Person) -> Person:
    """The account's drop, and the archive beside it, are in another place by now."""
    desk = person.desk
    before = found(desk)
    assert any(name.endswith(".json") for name in before)
    drop = desk.folder / "later" / "drop"
    drop.mkdir(parents=True)

    desk.environ["WEBHOOK_DROP_URI"] = str(drop)
    desk.read_configuration()
    return person


def archive(person: Person) -> Path:
    return person.desk.folder / "archive"


def left(person: Person) -> list[str]:
    """Return the canaries in the former archive."""
    text = b"".join(path.read_bytes() for path in archive(person).rglob("*") if path.is_file())
    return [one for one in CANARIES if one.encode() in text]


def test_the_files_of_a_former_archive_are_erased_as_well(moved: Person) -> None:
    assert left(moved)
    looked = moved.forget(write=False)
    report = moved.forget()
    assert left(moved) == []
    assert report.counts["archive"] == looked.counts["archive"] > 0
    assert (report.not_read, report.not_there) == ([], [])


def test_a_former_archive_that_is_not_there_is_named(moved: Person) -> None:
    shutil.rmtree(archive(moved))
    report = moved.forget()
    assert (report.not_read, report.not_there) == ([], [str(archive(moved))])
    assert f"The former archive {archive(moved)} has no file here" in "\n".join(command._lines(report))


def test_a_former_archive_that_cannot_be_read_is_named_and_waits_for_a_person(
    moved: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(drop, uris, *rest, **options):  # type: ignore[no-untyped-def]
        if drop.archive_uri == str(archive(moved)):
            raise PermissionError
        return erase_archived(drop, uris, *rest, **options)

    monkeypatch.setattr("enerflo_sync.retention.forget.erase_archived", refusing)
    report = moved.forget()
    assert report.not_read == [str(archive(moved))]
    assert "could not be read" in "\n".join(command._lines(report))
    # The rows are erased all the same.
    assert not any("." in name and name.startswith("enerflo") for name in found(moved.desk))


def test_a_former_archive_that_nothing_installed_can_open_stops_nothing(
    moved: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Webhooks went to a bucket before, and what reads it is not installed any more."""

    def refusing(uri, archive_uri, *rest):  # type: ignore[no-untyped-def]
        raise ConfigurationError("the part that reads gs:// is not installed.", where="webhook_drop_uri")

    monkeypatch.setattr("enerflo_sync.jobs.former_archives.open_drop", refusing)
    report = moved.forget()
    assert report.not_read == [str(archive(moved))]
    assert not any("." in name and name.startswith("enerflo") for name in found(moved.desk))


def test_a_former_archive_with_files_that_prune_does_not_delete_is_named(moved: Person) -> None:
    desk = moved.desk
    place = str(archive(moved))
    assert run_prune(desk.context).left == []
    desk.configured(("  # archive_days: 365", "  archive_days: 1"))
    assert run_prune(desk.context).left == []
    for day in sorted(path.parent for path in archive(moved).rglob("*.json")):
        if day.exists():
            old = archive(moved) / "2020" / "01" / "01"
            old.parent.mkdir(parents=True, exist_ok=True)
            day.rename(old)
    report = run_prune(desk.context)
    assert report.left == [place]
    assert f"Files in the former archive {place} are older" in "\n".join(prune_command._lines(report))
    shutil.rmtree(archive(moved))
    assert run_prune(desk.context).left == []
