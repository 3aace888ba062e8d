"""The folder into which payloads are dropped, and the archive into which they go, on any storage.

A drop is any URI that fsspec knows. A plain path or ``file://`` is worked with directly: a hundred thousand
small files go five times faster that way. Both give the same guarantees: a file is named once, what was read
is what is moved, and nothing in the archive is ever overwritten by something else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Protocol

import msgspec

from enerflo_sync.errors import ConfigurationError

# Where a writer that cannot rename is met, and how long such a file is left alone.
WHOLE_SCHEMES = frozenset({"file", "local", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
SETTLE_SECONDS = 10.0

# Names under which uploads, editors and synchronisers keep what is not finished.
_TEMPORARY = re.compile(
    r"(?:^|/)[._~#][^/]*|\.(?:tmp|temp|part|partial|filepart|crdownload|swp|swx|lock|writing)(?:[-~]\w*|\.\d+)?$|~$",
    re.IGNORECASE,
)
# Any time zone has a name for these moments.
_CALENDAR = tuple(datetime(*day, tzinfo=UTC).timestamp() for day in ((1, 1, 2), (9999, 12, 31)))
_PASSWORD = re.compile(r"//[^/@:]+:[^/@]*@")


class DropFile(msgspec.Struct, frozen=True, gc=False):
    """One file that waits.

    :param name: its path below the drop, with ``/``.
    :param uri: its whole address.
    """

    name: str
    uri: str

    @property
    def key(self) -> str:
        """Return the address as it can be stored: a file's name need not be UTF-8."""
        return storable(self.uri)


class Content(msgspec.Struct, frozen=True, gc=False):
    """What was read of one file.

    :param data: its bytes; the first ones only where it is ``too_large``.
    :param modified_at: when its last byte was written, by the store's clock.
    :param identity: what the file is known by to the store; another one under the same name differs.
    """

    file: DropFile
    data: bytes
    modified_at: datetime
    identity: object
    too_large: bool = False


class NotRead(msgspec.Struct, frozen=True, gc=False):
    """A file that could not be read now.

    :param vanished: someone else took it, which is no trouble.
    :param why: the kind of error, for people; never its text.
    """

    file: DropFile
    why: str
    vanished: bool = False


class Drop(Protocol):
    """A place with files, and the archive beside it."""

    uri: str
    archive_uri: str
    # Folders below the drop that the last look could not list.
    unlisted: int

    def waiting(self) -> Iterator[DropFile]:
        """Yield the files that are ready to be read, by name; what may still be written is left out.

        :raises ConfigurationError: there is no such place, or it may not be listed.
        """
        ...

    def read(self, files: Sequence[DropFile], limit: int) -> Iterator[Content | NotRead]:
        """Yield the content of each file, of files larger than ``limit`` bytes their beginning."""
        ...

    def archive_name(self, content: Content, day: date) -> str:
        """Return the address under which a file that is taken in on ``day`` will be archived."""
        ...

    def move(self, content: Content, archived_uri: str) -> str | None:
        """Move what was read to the archive; return why it could not be, or None.

        A file that was replaced after it was read stays where it is. A place that something else has taken
        since is left alone: the file goes beside it, with its digest in the name.
        """
        ...

    def expire(self, before: datetime) -> int:
        """Delete the archive's days that ended before ``before`` and return how many files that were."""
        ...


def moment(seconds: float) -> datetime:
    """Return when a file was last written; a time beyond the calendar is its first or last day's.

    :param seconds: since 1970, as file systems say it. Some keep any number.
    """
    return datetime.fromtimestamp(min(max(seconds, _CALENDAR[0]), _CALENDAR[1]), UTC)


def storable(text: str) -> str:
    """Return ``text`` with what is no character written out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def is_temporary(name: str) -> bool:
    """Return whether a name says that its file is not finished, or not meant to be read."""
    return _TEMPORARY.search(name) is not None


def dated_name(content: Content, day: date) -> str:
    """Return the place in the archive of a file that is taken in on ``day``: ``2026/01/31/`` and its name."""
    return f"{_folder_of(day)}/{content.file.name}"


@lru_cache(maxsize=64)
def _folder_of(day: date) -> str:
    return f"{day:%Y/%m/%d}"


def distinct_name(name: str, content: Content) -> str:
    """Return ``name`` with a mark of the very file in it, for when the plain one is taken."""
    mark = hashlib.sha256(repr(content.identity).encode()).hexdigest()[:12]
    folder, slash, last = name.rpartition("/")
    stem, dot, suffix = last.partition(".")
    return f"{folder}{slash}{stem}-{mark}{dot}{suffix}"


def day_of(folder: str) -> datetime | None:
    """Return the day that an archive folder ``…/2026/01/31`` stands for, or None for any other."""
    try:
        return datetime.strptime("/".join(folder.split("/")[-3:]), "%Y/%m/%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def open_drop(uri: str, archive_uri: str | None = None, settle_seconds: float | None = None) -> Drop:
    """Return the drop at ``uri``; nothing is touched yet.

    :param archive_uri: where taken files go; the folder ``archive`` beside the drop where None.
    :param settle_seconds: files younger than this are left alone; by the storage's kind where None.
    :raises ConfigurationError: the archive lies inside the drop or on another storage, the storage's kind is
        not installed, or a password stands in an address.
    """
    for address in filter(None, (uri, archive_uri)):
        if _PASSWORD.search(address):
            raise ConfigurationError(
                "a user and password stand in the address, which is stored with every event.",
                where="webhook_drop_uri, webhook_archive_uri",
                next_step="Give them to the storage library instead: its environment variables or profile.",
            )
    scheme = scheme_of(uri)
    settle = settle_seconds
    if settle is None:
        settle = 0.0 if scheme in WHOLE_SCHEMES else SETTLE_SECONDS
    if archive_uri and scheme_of(archive_uri) != scheme:
        raise ConfigurationError(
            f"the archive lies on {scheme_of(archive_uri)}, and the drop on {scheme}.",
            where="webhook_archive_uri",
            next_step="Choose a place on the drop's own storage: files are moved there, not copied.",
        )
    if scheme == "file":
        from enerflo_sync.inbox.local_drop import LocalDrop

        return LocalDrop(local_path(uri), local_path(archive_uri) if archive_uri else None, settle)
    from enerflo_sync.inbox.remote_drop import RemoteDrop

    return RemoteDrop(uri.rstrip("/"), archive_uri and archive_uri.rstrip("/"), settle)


def scheme_of(uri: str) -> str:
    """Return the kind of storage that an address names; a plain path is a file."""
    scheme, found, _ = uri.partition("://")
    return "file" if not found or scheme == "local" else scheme


def local_path(uri: str) -> str:
    """Return the path in a ``file://`` address, or the path that it is."""
    return uri.partition("://")[2] if "://" in uri else uri


def refuse_archive_inside(drop: str, archive: str) -> None:
    """Return unless files would be archived where they are taken in again.

    :raises ConfigurationError: they would.
    """
    if f"{archive}/".startswith(f"{drop.rstrip('/')}/"):
        raise ConfigurationError(
            "the archive lies inside the drop, where its files would be taken in again.",
            where="webhook_archive_uri",
            next_step="Choose a folder beside the drop, such as the default, ../archive.",
        )
