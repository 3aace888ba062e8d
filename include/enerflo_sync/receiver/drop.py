"""Where the files go: a whole file under its final name, or none."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from fsspec.core import url_to_fs

from enerflo_sync.errors import ConfigurationError, RetriableError

# Below this a disk counts as full for the health route, while posts are still taken as long as they fit.
LEAST_FREE_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 30

_LOCAL_SCHEMES = frozenset({"", "file", "local"})
# Stores in which an object appears when its last byte has arrived; elsewhere a rename makes it so.
_WHOLE_SCHEMES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})
_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "abfs": "azure",
    "abfss": "azure",
    "az": "azure",
}
_TEMPORARY = re.compile(r"\.\d{8}T\d{12}Z-[0-9a-f]{16}\.json\.part")
# Between the making of a temporary file and its lock. A younger one may be another process's.
_YOUNG_SECONDS = 2.0
_PROBE = ".receiver-probe"


class Drop(Protocol):
    """A place that takes files. Safe to call from many threads."""

    def put(self, name: str, data: bytes) -> None:
        """Return when ``data`` lies under ``name`` whole and survives a power cut.

        :raises RetriableError: it does not; nothing under that name is unfinished, and no other file is left.
        """
        ...

    def check(self) -> None:
        """Return when a file could be put now.

        :raises RetriableError: it could not, and why.
        """
        ...

    def free_bytes(self) -> int | None:
        """Return the room that is left, or None where a store does not tell."""
        ...


def open_drop(uri: str) -> Drop:
    """Return the drop at a path, a ``file://`` or any other URI of fsspec, after putting a trial file there.

    :raises ConfigurationError: it does not exist, cannot be written, or needs a part that is not installed.
    """
    scheme, found, path = uri.partition("://")
    try:
        drop: Drop = (
            LocalDrop(Path(path if found else uri))
            if not found or scheme in _LOCAL_SCHEMES
            else RemoteDrop(uri)
        )
        drop.check()
    except RetriableError as error:
        raise ConfigurationError(
            error.what,
            where=error.where,
            next_step="Make it, let this user write there, or correct WEBHOOK_DROP_URI (webhook_drop_uri).",
        ) from error
    return drop


class LocalDrop:
    """A folder of this machine or a mounted one: written beside, synced, renamed, and the folder synced.

    What a killed process left unfinished is removed when the folder is opened. A folder that is missing is
    not made: where a mount has failed, payloads would land on the wrong disk.

    :raises RetriableError: the folder cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        try:
            self._remove_unfinished()
        except OSError as error:
            raise self._refused(error) from error

    def put(self, name: str, data: bytes) -> None:
        """Store one file (:meth:`Drop.put`)."""
        try:
            self._write(self._folder / f".{name}.part", self._folder / name, data)
        except OSError as error:
            raise self._refused(error) from error

    def check(self) -> None:
        """Write, sync and remove a trial file (:meth:`Drop.check`)."""
        # One name per process and moment: two checks may run at once.
        trial = self._folder / f"{_PROBE}-{os.getpid()}-{time.monotonic_ns()}.part"
        try:
            try:
                _write_synced(trial, b"trial")
            finally:
                trial.unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def free_bytes(self) -> int | None:
        """Return what this user may still write (:meth:`Drop.free_bytes`); None when the folder has gone."""
        try:
            space = os.statvfs(self._folder)
        except OSError:
            return None
        return space.f_bavail * space.f_frsize

    def _write(self, temporary: Path, final: Path, data: bytes) -> None:
        try:
            _write_synced(temporary, data)
            temporary.rename(final)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _remove_unfinished(self) -> None:
        newest = time.time() - _YOUNG_SECONDS
        with os.scandir(self._folder) as entries:
            found = [entry.path for entry in entries if _TEMPORARY.fullmatch(entry.name)]
        for path in found:
            # Another receiver on the same drop finishes or removes its own.
            with suppress(FileNotFoundError, BlockingIOError):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.fstat(descriptor).st_mtime <= newest:
                        Path(path).unlink()
                finally:
                    os.close(descriptor)

    def _refused(self, error: OSError) -> RetriableError:
        return RetriableError(
            f"the drop takes no file ({error.strerror or type(error).__name__}).",
            where=str(self._folder),
            retry_after=RETRY_SECONDS,
        )


class RemoteDrop:
    """A prefix on object storage, or on anything else that fsspec reaches.

    Credentials are the storage library's own: its environment variables, profile or instance role. Putting
    objects is all that they must allow.

    :raises ConfigurationError: the URI's protocol is unknown, or its part is not installed.
    """

    def __init__(self, uri: str) -> None:
        self._scheme = uri.partition("://")[0]
        self._where = _without_user(uri)
        try:
            self._fs, root = url_to_fs(uri, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            extra = _EXTRAS.get(self._scheme)
            raise ConfigurationError(
                f"nothing here writes to {self._scheme}://.",
                where=self._where,
                next_step=f"Install enerflo-sync[{extra}]." if extra else "Install the fsspec part for it.",
            ) from error
        self._root = root.rstrip("/")

    def put(self, name: str, data: bytes) -> None:
        """Store one object (:meth:`Drop.put`)."""
        path = f"{self._root}/{name}"
        whole = self._scheme in _WHOLE_SCHEMES
        temporary = path if whole else f"{self._root}/.{name}.part"
        try:
            self._fs.pipe_file(temporary, data)
            if not whole:
                self._fs.mv(temporary, path)
        except Exception as error:
            if not whole:
                # Its own failure says less than the one at hand.
                with suppress(Exception):
                    self._fs.rm_file(temporary)
            raise self._refused(error) from error

    def check(self) -> None:
        """Put one small object, always of the same name, which the inbox passes over (:meth:`Drop.check`)."""
        try:
            self._fs.pipe_file(f"{self._root}/{_PROBE}", b"trial")
        except Exception as error:
            raise self._refused(error) from error

    def free_bytes(self) -> int | None:
        """Return None: a store has no end that it would tell (:meth:`Drop.free_bytes`)."""
        return None

    def _refused(self, error: Exception) -> RetriableError:
        """Return the error by its kind alone: each library raises its own, and their texts hold addresses."""
        return RetriableError(
            f"the store takes no object ({type(error).__name__}).",
            where=self._where,
            retry_after=RETRY_SECONDS,
        )


def _write_synced(path: Path, data: bytes) -> None:
    """Make a file that nobody else can read, and return when its bytes are on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        # Shows a receiver that starts meanwhile that this file has an owner. Some file systems have no locks:
        # there its age does so for a while.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _without_user(uri: str) -> str:
    """Return the URI without a user and password in it."""
    scheme, found, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{found}{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
