"""A drop in a local or mounted folder."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path

from enerflo_sync.drop.drop import (
    ArchivedFile,
    Content,
    DropFile,
    NotRead,
    dated_name,
    day_of,
    distinct_name,
    is_temporary,
    is_too_long,
    moment,
    refuse_archive_inside,
    storable,
)
from enerflo_sync.drop.storage import Store
from enerflo_sync.errors import ConfigurationError

# Maximum depth of nested folders; gateways write by date, four or five deep.
MOST_FOLDERS = 32


class LocalDrop:
    """Files below a folder, moved by rename.

    :param settle: minimum age of a file in seconds before it is read.
    """

    def __init__(self, folder: str, archive: str | None, settle: float = 0.0) -> None:
        self._folder = Path(os.path.normpath(Path(folder).absolute()))
        self._archive = Path(os.path.normpath(Path(archive or self._folder.parent / "archive").absolute()))
        refuse_archive_inside(os.path.realpath(self._folder), os.path.realpath(self._archive))
        self._settle = settle
        self._made: set[str] = set()
        self.unlisted = self.links = 0
        self.store: Store | None = None
        self.uri = str(self._folder)
        self.archive_uri = str(self._archive)

    def waiting(self) -> Iterator[DropFile]:
        """Yield the files that are ready to read, by name (:meth:`Drop.waiting`)."""
        self.unlisted = self.links = 0
        try:
            found = self._listed(self.uri)
        except FileNotFoundError:
            raise self._unusable("does not exist") from None
        except NotADirectoryError:
            raise self._unusable("is a file and no folder") from None
        except PermissionError:
            raise self._unusable("may not be listed by this user") from None
        yield from self._below(self.uri, "", *found)

    def _listed(self, folder: str) -> tuple[list[str], set[str]]:
        """Return the ready names in a folder, sorted, and which of them are folders."""
        newest = time.time() - self._settle
        # Keep only names: the entries of a hundred thousand files would take 30 MB.
        names, folders = [], set()
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if is_temporary(name):
                    continue
                if entry.is_symlink():
                    # A link may lead out of the drop, to files that only this user may read.
                    self.links += 1
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.add(name)
                elif not entry.is_file() or (self._settle and _age(entry) > newest):
                    continue
                names.append(name)
        names.sort()
        return names, folders

    def _below(self, folder: str, prefix: str, names: list[str], folders: set[str]) -> Iterator[DropFile]:
        for name in names:
            if name not in folders:
                yield DropFile(prefix + name, f"{folder}/{name}")
                continue
            try:
                if prefix.count("/") >= MOST_FOLDERS:
                    raise OSError(errno.ELOOP, "")
                found = self._listed(f"{folder}/{name}")
            except FileNotFoundError:
                continue
            except OSError:
                self.unlisted += 1
                continue
            yield from self._below(f"{folder}/{name}", f"{prefix}{name}/", *found)

    def _unusable(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"the drop {self.uri} {why}.",
            where="webhook_drop_uri",
            next_step="Create the folder and let this user read and move files in it, or correct the option.",
        )

    def read(self, files: Sequence[DropFile], limit: int) -> Iterator[Content | NotRead]:
        """Yield the content of each file (:meth:`Drop.read`)."""
        for file in files:
            try:
                yield _read(self.uri, file, limit)
            except FileNotFoundError:
                yield NotRead(file, "vanished", vanished=True)
            except OSError as error:
                yield NotRead(file, _in_words(error))

    def archive_name(self, content: Content, day: date) -> str:
        """Return where a file will be archived (:meth:`Drop.archive_name`)."""
        target = f"{self.archive_uri}/{storable(dated_name(content, day))}"
        # A name that is no UTF-8 is longer in the archive.
        taken = is_too_long(target.rpartition("/")[2]) or os.access(target, os.F_OK)
        return distinct_name(target, content) if taken else target

    def move(self, content: Content, archived_uri: str) -> str | None:
        """Move the file that was read to the archive (:meth:`Drop.move`)."""
        source = content.file.uri
        try:
            if _identity(os.lstat(source)) != content.identity:
                return "it was replaced after it was read"
            if not self._make_folder(archived_uri.rpartition("/")[0]):
                # A file has the name of a needed folder, so the path becomes part of the file name.
                archived_uri = distinct_name(self._flat(archived_uri), content)
            elif os.access(archived_uri, os.F_OK):
                archived_uri = distinct_name(archived_uri, content)
            if _rename(source, archived_uri) != content.identity:
                # Another file took the name in the meantime. It is unread, so it goes back.
                os.link(archived_uri, source)
                os.unlink(archived_uri)
                return "it was replaced after it was read"
        except FileNotFoundError:
            return None if os.path.lexists(archived_uri) else "it vanished before it could be moved"
        except OSError as error:
            return _in_words(error)
        return None

    def _make_folder(self, folder: str) -> bool:
        if folder not in self._made:
            try:
                os.makedirs(folder, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                return False
            self._made.add(folder)
        return True

    def _flat(self, archived_uri: str) -> str:
        """Return the archive address with the folders below the day written into the file name."""
        year, month, day, *names = archived_uri.removeprefix(f"{self.archive_uri}/").split("/")
        return f"{self.archive_uri}/{year}/{month}/{day}/{'__'.join(names)}"

    def archived(self, before: datetime) -> Iterator[ArchivedFile]:
        """Yield the archive's files of old days (:meth:`Drop.archived`)."""
        midnight = before.replace(hour=0, minute=0, second=0, microsecond=0)
        for folder in sorted(self._archive.glob("[0-9]*/[0-9]*/[0-9]*")):
            day = day_of(folder.as_posix())
            if day is None or day >= midnight:
                continue
            for place, _, names in os.walk(folder, onerror=_unlisted):
                for name in sorted(names):
                    path = f"{place}/{name}"
                    with suppress(FileNotFoundError):
                        yield ArchivedFile(path, os.lstat(path).st_size, day)

    def remove(self, uris: Sequence[str]) -> None:
        """Delete files of the archive, with folders that are empty then (:meth:`Drop.remove`)."""
        folders = set()
        for uri in uris:
            with suppress(FileNotFoundError):
                os.unlink(uri)
            folders.add(os.path.dirname(uri))
        for folder in sorted(folders, key=len, reverse=True):
            at = folder
            # Up to the archive itself; a folder that holds anything else stays.
            while at.startswith(f"{self.archive_uri}/"):
                try:
                    os.rmdir(at)
                except OSError:
                    break
                self._made.discard(at)
                at = os.path.dirname(at)

    def replace(self, uri: str, data: bytes) -> None:
        """Give a file of the archive another content (:meth:`Drop.replace`)."""
        about = os.lstat(uri)
        halfway = _halfway(uri, "writing")
        with open(halfway, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.utime(halfway, ns=(about.st_atime_ns, about.st_mtime_ns))
        os.chmod(halfway, stat.S_IMODE(about.st_mode))
        os.replace(halfway, uri)


def _unlisted(error: OSError) -> None:
    raise error


def _open(folder: str, file: DropFile) -> int:
    """Open a file below ``folder`` without following symbolic links, even links created after the listing."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    if not file.uri.startswith(f"{folder}/") or "/" not in file.uri[len(folder) + 1 :]:
        return os.open(file.uri, flags)
    *parents, name = file.uri[len(folder) + 1 :].split("/")
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for parent in parents:
            inner = os.open(parent, flags | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(name, flags, dir_fd=at)
    finally:
        os.close(at)


def _read(folder: str, file: DropFile, limit: int) -> Content:
    descriptor = _open(folder, file)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "")
        large = about.st_size > limit
        # One byte more than the known size, to notice a file that grows while it is read.
        data = _bytes(descriptor, 65_536 if large else about.st_size + 1)
    finally:
        os.close(descriptor)
    return Content(file, data, moment(about.st_mtime), _identity(about), too_large=large)


def _bytes(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size)
    if len(data) >= size - 1 or not data:
        return data
    parts = [data]
    while data and sum(map(len, parts)) < size:
        data = os.read(descriptor, size)
        parts.append(data)
    return b"".join(parts)


def _identity(about: os.stat_result) -> object:
    return about.st_dev, about.st_ino, about.st_mtime_ns, about.st_size


def _age(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _rename(source: str, target: str) -> object:
    """Move a file and return the identity of what was moved."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return _copy_over(source, target)
    return _identity(os.lstat(target))


def _copy_over(source: str, target: str) -> object:
    """Move a file to another file system, through a temporary name, so that a kill leaves no partial file."""
    halfway = _halfway(target, "moving")
    before = _identity(os.lstat(source))
    shutil.copy2(source, halfway, follow_symlinks=False)
    with open(halfway, "rb") as copied:
        os.fsync(copied.fileno())
    os.rename(halfway, target)
    if _identity(os.lstat(source)) == before:
        os.unlink(source)
    return before


def _halfway(uri: str, what: str) -> str:
    """Return the address of a file that is being written beside ``uri``: short enough, the same each time."""
    folder, _, name = uri.rpartition("/")
    if is_too_long(f".{name}.{what}"):
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f"{folder}/.{name}.{what}"


def _in_words(error: OSError) -> str:
    """Return the kind of an error without the paths in its text."""
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__
