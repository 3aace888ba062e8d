"""The drop as the receiver writes it: each file is complete under its final name, or absent."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from enerflo_sync.drop.storage import WHOLE_OBJECTS, local_path, open_storage, scheme_of, without_user
from enerflo_sync.errors import ConfigurationError, RetriableError

# Below this, the health route reports a full disk; posts are still accepted while they fit.
LEAST_FREE_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 30

_TEMPORARY = re.compile(r"\.\d{8}T\d{12}Z-[0-9a-f]{16}\.json\.part")
# Time between creating a temporary file and locking it. A younger file may belong to another process.
_YOUNG_SECONDS = 2.0
_PROBE = ".receiver-probe"


class DropWriter(Protocol):
    """A place that accepts files. Safe to call from many threads."""

    def put(self, name: str, data: bytes) -> None:
        """Return when ``data`` is complete under ``name`` and survives a power cut.

        :raises RetriableError: that failed; no partial or temporary file is left.
        """
        ...

    def check(self) -> None:
        """Return if a file could be stored now.

        :raises RetriableError: it could not; the text says why.
        """
        ...

    def free_bytes(self) -> int | None:
        """Return the free space, or None if the storage does not report it."""
        ...


def open_writer(uri: str) -> DropWriter:
    """Return the drop at a path, a ``file://`` or any other URI of fsspec, after storing a trial file there.

    :raises ConfigurationError: it does not exist, is not writable, or needs a library that is not installed.
    """
    try:
        writer: DropWriter = (
            LocalWriter(Path(local_path(uri))) if scheme_of(uri) == "file" else StorageWriter(uri)
        )
        writer.check()
    except RetriableError as error:
        raise ConfigurationError(
            error.what,
            where=error.where,
            next_step="Make it, let this user write there, or correct WEBHOOK_DROP_URI (webhook_drop_uri).",
        ) from error
    return writer


class LocalWriter:
    """A local or mounted folder: write a temporary file, sync it, rename it, and sync the folder.

    Opening the folder removes what a killed process left unfinished. A missing folder is not created: after a
    failed mount, payloads would land on the wrong disk.

    :raises RetriableError: the folder cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        try:
            self._remove_unfinished()
        except OSError as error:
            raise self._refused(error) from error

    def put(self, name: str, data: bytes) -> None:
        """Store one file (:meth:`DropWriter.put`)."""
        try:
            self._write(self._folder / f".{name}.part", self._folder / name, data)
        except OSError as error:
            raise self._refused(error) from error

    def check(self) -> None:
        """Write, sync and remove a trial file (:meth:`DropWriter.check`)."""
        # A unique name per process and moment, because two checks may run at once.
        trial = self._folder / f"{_PROBE}-{os.getpid()}-{time.monotonic_ns()}.part"
        try:
            try:
                _write_synced(trial, b"trial")
            finally:
                trial.unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def free_bytes(self) -> int | None:
        """Return this user's free space (:meth:`DropWriter.free_bytes`); None if the folder is gone."""
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
            # Skip files locked by another receiver on the same drop, which finishes or removes them.
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


class StorageWriter:
    """A prefix on object storage, or on any other storage of fsspec.

    Credentials come from the storage library: environment variables, profile or instance role. They need only
    permission to put objects.

    :raises ConfigurationError: the URI's protocol is unknown, or its library is not installed.
    """

    def __init__(self, uri: str) -> None:
        self._where = without_user(uri)
        self._is_whole = scheme_of(uri) in WHOLE_OBJECTS
        self._fs, self._root = open_storage(uri, self._where)

    def put(self, name: str, data: bytes) -> None:
        """Store one object (:meth:`DropWriter.put`)."""
        path = f"{self._root}/{name}"
        temporary = path if self._is_whole else f"{self._root}/.{name}.part"
        try:
            self._fs.pipe_file(temporary, data)
            if not self._is_whole:
                self._fs.mv(temporary, path)
        except Exception as error:
            if not self._is_whole:
                # An error of the clean-up matters less than the original error.
                with suppress(Exception):
                    self._fs.rm_file(temporary)
            raise self._refused(error) from error

    def check(self) -> None:
        """Put one small object under a name that the inbox ignores (:meth:`DropWriter.check`)."""
        try:
            self._fs.pipe_file(f"{self._root}/{_PROBE}", b"trial")
        except Exception as error:
            raise self._refused(error) from error

    def free_bytes(self) -> int | None:
        """Return None: object storage reports no free space (:meth:`DropWriter.free_bytes`)."""
        return None

    def _refused(self, error: Exception) -> RetriableError:
        """Return the kind of error only: each library raises its own, and the texts contain addresses."""
        return RetriableError(
            f"the store takes no object ({type(error).__name__}).",
            where=self._where,
            retry_after=RETRY_SECONDS,
        )


def _write_synced(path: Path, data: bytes) -> None:
    """Create a file that other users cannot read, and return when its bytes are on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        # The lock tells a receiver that starts meanwhile that this file is in use. On file systems without
        # locks, the file's age tells that for a short time.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
