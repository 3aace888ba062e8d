"""A drop on object storage, or on any other storage of fsspec: s3, gs, abfs, sftp, memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from enerflo_sync.drop.drop import (
    ArchivedFile,
    Content,
    DropFile,
    NotRead,
    dated_name,
    day_of,
    distinct_name,
    is_temporary,
    moment,
    refuse_archive_inside,
)
from enerflo_sync.drop.storage import EXTRAS, Store, open_storage
from enerflo_sync.errors import ConfigurationError, RetriableError

# Objects read in parallel, to hide the storage's latency; four times as many are kept in memory.
_TOGETHER = 8


class RemoteDrop:
    """Objects below a prefix, moved by copy and delete.

    Credentials come from ``store``, or from the storage library: environment, profile or instance role.

    :param settle: minimum age of an object in seconds before it is read.
    :param store: opens the storage of a scheme.
    """

    def __init__(
        self, uri: str, archive_uri: str | None, settle: float = 0.0, store: Store | None = None
    ) -> None:
        self.store = store
        self._scheme = uri.partition("://")[0]
        self._fs, self._root = open_storage(uri, "webhook_drop_uri", store)
        self.unlisted = 0
        archive_uri = archive_uri or self._archive_beside()
        self._archive = self._fs._strip_protocol(archive_uri).rstrip("/")
        refuse_archive_inside(self._root, self._archive)
        self._settle = timedelta(seconds=settle)
        self.uri = uri
        self.archive_uri = archive_uri

    def _archive_beside(self) -> str:
        """Return the prefix ``archive`` beside the drop's prefix.

        :raises ConfigurationError: the drop is a whole bucket, so nothing can be beside it.
        """
        parent, slash, _ = self._root.rpartition("/")
        if not slash and self._scheme in EXTRAS:
            raise ConfigurationError(
                "the drop is a whole bucket, and its archive cannot lie beside it.",
                where="webhook_archive_uri",
                next_step=f"Use a prefix, such as {self._scheme}://{self._root}/drop, or set the option.",
            )
        return f"{self._scheme}://{parent}/archive"

    def waiting(self) -> Iterator[DropFile]:
        """Yield the objects that are ready to read, by name (:meth:`Drop.waiting`)."""
        with self._store_errors():
            found = self._fs.find(self._root, detail=True)
            if not found:
                self._fs.invalidate_cache()
                self._check_container()
        newest = datetime.now(UTC) - self._settle
        for path in sorted(found):
            name = path.removeprefix(self._root).lstrip("/")
            if name and not is_temporary(name) and (not self._settle or _modified(found[path]) <= newest):
                yield DropFile(name, f"{self._scheme}://{path}")

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        """Translate the errors of storage libraries, which have no common base class."""
        try:
            yield
        except FileNotFoundError:
            raise self._unusable("does not exist") from None
        except PermissionError:
            raise self._unusable("may not be used with these credentials") from None
        except Exception as error:
            name = type(error).__name__
            if "Credential" in name:
                raise self._unusable("cannot be opened: no credentials are found") from None
            raise RetriableError(
                f"the store does not answer ({name}).",
                where=self.uri,
                next_step="Nothing was lost; run it again. If it stays, check the address and the network.",
            ) from None

    def _check_container(self) -> None:
        """Raise if the bucket is missing; object storage cannot tell an empty prefix from a missing one."""
        self._fs.ls(self._root.split("/")[0] if self._scheme in EXTRAS else self._root)

    def _unusable(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            f"the drop {self.uri} {why}.",
            where="webhook_drop_uri",
            next_step="Create it and grant list, read, write and delete, or correct the option.",
        )

    def read(self, files: Sequence[DropFile], limit: int) -> Iterator[Content | NotRead]:
        """Yield the content of each object (:meth:`Drop.read`)."""
        with ThreadPoolExecutor(_TOGETHER, "inbox-read") as readers:
            for start in range(0, len(files), 4 * _TOGETHER):
                some = files[start : start + 4 * _TOGETHER]
                yield from readers.map(partial(self._read, limit=limit), some)

    def _read(self, file: DropFile, limit: int) -> Content | NotRead:
        path = self._fs._strip_protocol(file.uri)
        try:
            about = self._fs.info(path)
            large = (about.get("size") or 0) > limit
            data = self._fs.cat_file(path, start=0, end=65_536) if large else self._fs.cat_file(path)
        except FileNotFoundError:
            return NotRead(file, "vanished", vanished=True)
        except Exception as error:
            return NotRead(file, type(error).__name__)
        return Content(file, data, _modified(about), _identity(about), too_large=large)

    def archive_name(self, content: Content, day: date) -> str:
        """Return the archive address of an object (:meth:`Drop.archive_name`)."""
        target = f"{self.archive_uri}/{dated_name(content, day)}"
        with self._store_errors():
            taken = self._fs.exists(self._path(target))
        return distinct_name(target, content) if taken else target

    def _path(self, uri: str) -> str:
        path: str = self._fs._strip_protocol(uri)
        return path

    def move(self, content: Content, archived_uri: str) -> str | None:
        """Move the object that was read to the archive (:meth:`Drop.move`)."""
        source, target = self._path(content.file.uri), self._path(archived_uri)
        try:
            if _identity(self._fs.info(source)) != content.identity:
                return "it was replaced after it was read"
            if self._fs.exists(target) and _identity(self._fs.info(target)) != content.identity:
                target = self._path(distinct_name(archived_uri, content))
            if self._scheme not in EXTRAS:
                self._fs.makedirs(self._fs._parent(target), exist_ok=True)
            # Not `copy` or `mv`: those treat a bracket or a star in a name as a pattern.
            self._fs.cp_file(source, target)
            if _identity(self._fs.info(source)) != content.identity:
                # The copy may contain a newer, still unread version.
                self._fs.rm_file(target)
                return "it was replaced after it was read"
            self._fs.rm_file(source)
        except FileNotFoundError:
            return None if self._fs.exists(target) else "it vanished before it could be moved"
        except Exception as error:
            return type(error).__name__
        return None

    def archived(self, before: datetime) -> Iterator[ArchivedFile]:
        """Yield the archive's objects of old days (:meth:`Drop.archived`)."""
        midnight = before.replace(hour=0, minute=0, second=0, microsecond=0)
        with self._store_errors():
            folders = sorted(self._fs.glob(f"{self._archive}/*/*/*"))
        for folder in folders:
            day = day_of(folder)
            if day is not None and day < midnight:
                with self._store_errors():
                    found = self._fs.find(folder, detail=True)
                for path in sorted(found):
                    yield ArchivedFile(f"{self._scheme}://{path}", found[path].get("size") or 0, day)

    def remove(self, uris: Sequence[str]) -> None:
        """Delete objects of the archive (:meth:`Drop.remove`)."""
        with self._store_errors():
            for uri in uris:
                # Not `rm` of all: it takes a bracket or a star in a name for a pattern.
                with suppress(FileNotFoundError):
                    self._fs.rm_file(self._path(uri))
            if self._scheme not in EXTRAS:
                self._remove_empty({self._fs._parent(self._path(uri)) for uri in uris})

    def _remove_empty(self, folders: set[str]) -> None:
        for folder in sorted(folders, key=len, reverse=True):
            at = folder
            while at.startswith(f"{self._archive}/") and not self._fs.ls(at, detail=False):
                self._fs.rmdir(at)
                at = self._fs._parent(at)

    def replace(self, uri: str, data: bytes) -> None:
        """Give an object of the archive another content (:meth:`Drop.replace`)."""
        with self._store_errors():
            self._fs.pipe_file(self._path(uri), data)


def _modified(about: dict[str, Any]) -> datetime:
    value = about.get("LastModified") or about.get("last_modified") or about.get("updated")
    value = value or about.get("created") or about.get("mtime")
    if isinstance(value, int | float):
        return moment(value)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return datetime.now(UTC)


def _identity(about: dict[str, Any]) -> object:
    return about.get("ETag") or about.get("etag") or (about.get("size"), _modified(about))
