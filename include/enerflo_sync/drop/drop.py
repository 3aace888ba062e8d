"""The drop as the inbox reads it: incoming payloads, and an archive of ingested ones, on any storage.

A drop is any URI that fsspec knows. A plain path or ``file://`` is accessed directly, which is five times
faster for a hundred thousand small files. Both give the same guarantees: each file is listed once, only what
was read is moved, and a move never overwrites another file in the archive.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Protocol

import msgspec

from enerflo_sync.drop.storage import Store
from enerflo_sync.errors import ConfigurationError

# Bytes that a file's name may have, as Linux and most file systems permit.
LONGEST_NAME = 255
_ENDING = 32

# Names of unfinished files, as uploads, editors and synchronisers use them.
_TEMPORARY = re.compile(
    r"(?:^|/)[._~#][^/]*|\.(?:tmp|temp|part|partial|filepart|crdownload|swp|swx|lock|writing)(?:[-~]\w*|\.\d+)?$|~$",
    re.IGNORECASE,
)
# Moments that are representable in any time zone.
_CALENDAR = tuple(datetime(*day, tzinfo=UTC).timestamp() for day in ((1, 1, 2), (9999, 12, 31)))


class DropFile(msgspec.Struct, frozen=True, gc=False):
    """One file to ingest.

    :param name: its path below the drop, with ``/``.
    :param uri: its complete address.
    """

    name: str
    uri: str

    @property
    def key(self) -> str:
        """Return the address as storable text: a file's name need not be UTF-8."""
        return storable(self.uri)


class Content(msgspec.Struct, frozen=True, gc=False):
    """The content of one file.

    :param data: its bytes; only the first ones if it is ``too_large``.
    :param modified_at: when its last byte was written, by the storage's clock.
    :param identity: the storage's identity of the file; a different file under the same name differs.
    """

    file: DropFile
    data: bytes
    modified_at: datetime
    identity: object
    too_large: bool = False


class NotRead(msgspec.Struct, frozen=True, gc=False):
    """A file that cannot be read at the moment.

    :param vanished: another process took it, which is harmless.
    :param why: the kind of error for people; never the error's text.
    """

    file: DropFile
    why: str
    vanished: bool = False


class ArchivedFile(msgspec.Struct, frozen=True, gc=False):
    """One file of the archive.

    :param day: when it was ingested: the beginning of that day.
    """

    uri: str
    size: int
    day: datetime


class Drop(Protocol):
    """A place with files, and its archive."""

    uri: str
    archive_uri: str
    # The function that opened its storage; None if the storage's own library did.
    store: Store | None
    # Folders below the drop that could not be listed during the last call of ``waiting``.
    unlisted: int

    def waiting(self) -> Iterator[DropFile]:
        """Yield the files that are ready to read, by name; skip files that may still be written.

        :raises ConfigurationError: the place does not exist or may not be listed.
        """
        ...

    def read(self, files: Sequence[DropFile], limit: int) -> Iterator[Content | NotRead]:
        """Yield the content of each file; for a file over ``limit`` bytes, only its beginning."""
        ...

    def archive_name(self, content: Content, day: date) -> str:
        """Return the archive address of a file that is ingested on ``day``."""
        ...

    def move(self, content: Content, archived_uri: str) -> str | None:
        """Move the file that was read to the archive; return the reason if that fails, or None.

        A file that was replaced after it was read stays in place. If another file has taken the archive
        address, the moved file gets its digest in the name instead.
        """
        ...

    def archived(self, before: datetime) -> Iterator[ArchivedFile]:
        """Yield the archive's files of days that ended before ``before``, by day; none without an archive."""
        ...

    def remove(self, uris: Sequence[str]) -> None:
        """Delete files of the archive, and folders that are empty then; a missing file is no error."""
        ...

    def replace(self, uri: str, data: bytes) -> None:
        """Give a file of the archive another content, whole or not at all."""
        ...


# Files that are deleted together.
_TOGETHER = 500


def expire(drop: Drop, before: datetime, keep: Container[str] = ()) -> int:
    """Delete the archive's days that ended before ``before``, and return the number of files deleted.

    :param keep: addresses of files that are needed still.
    """
    gone, some = 0, list[str]()
    for file in drop.archived(before):
        if storable(file.uri) in keep:
            continue
        some.append(file.uri)
        gone += 1
        if len(some) == _TOGETHER:
            drop.remove(some)
            some = []
    drop.remove(some)
    return gone


def moment(seconds: float) -> datetime:
    """Return when a file was last written, limited to the calendar's first and last day.

    :param seconds: since 1970, as the file system stores it; some accept any number.
    """
    return datetime.fromtimestamp(min(max(seconds, _CALENDAR[0]), _CALENDAR[1]), UTC)


def storable(text: str) -> str:
    """Return ``text`` with undecodable bytes as backslash escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def is_temporary(name: str) -> bool:
    """Return whether a name marks an unfinished file, or one that is not meant to be read."""
    return _TEMPORARY.search(name) is not None


def dated_name(content: Content, day: date) -> str:
    """Return the place in the archive of a file ingested on ``day``: ``2026/01/31/`` and its name."""
    return f"{_folder_of(day)}/{content.file.name}"


@lru_cache(maxsize=64)
def _folder_of(day: date) -> str:
    return f"{day:%Y/%m/%d}"


def distinct_name(name: str, content: Content) -> str:
    """Return ``name`` with a mark of the file's content, for use when the plain name is taken."""
    mark = hashlib.sha256(repr(content.identity).encode()).hexdigest()[:12]
    folder, slash, last = name.rpartition("/")
    stem, dot, suffix = last.partition(".")
    end = f"-{mark}{dot}{suffix}"
    if is_too_long(f"{stem}{end}"):
        # The mark tells the file apart; its ending is kept where that is one.
        end = f"-{mark}{dot}{suffix}" if len(suffix) <= _ENDING else f"-{mark}"
        stem = stem.encode("utf-8", "surrogateescape")[: LONGEST_NAME - len(end.encode())].decode(
            errors="ignore"
        )
    return f"{folder}{slash}{stem}{end}"


def is_too_long(name: str) -> bool:
    """Return whether a file of this name, without its folder, fits no file system."""
    return len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME


def day_of(folder: str) -> datetime | None:
    """Return the day of an archive folder ``…/2026/01/31``, or None for any other folder."""
    try:
        return datetime.strptime("/".join(folder.split("/")[-3:]), "%Y/%m/%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def refuse_archive_inside(drop: str, archive: str) -> None:
    """Return unless the archive is inside the drop, where its files would be ingested again.

    :raises ConfigurationError: the archive is inside the drop.
    """
    if f"{archive}/".startswith(f"{drop.rstrip('/')}/"):
        raise ConfigurationError(
            "the archive lies inside the drop, where its files would be ingested again.",
            where="webhook_archive_uri",
            next_step="Choose a folder beside the drop, such as the default, ../archive.",
        )
