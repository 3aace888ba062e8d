"""Where webhooks go: files in a drop folder or bucket, or a receiver's URL."""

from __future__ import annotations

import base64
import gzip
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import fsspec
import msgspec
import requests
from fsspec.implementations.local import LocalFileSystem

from enerflo_sync.clock import Clock, SystemClock
from enerflo_sync.errors import ConfigurationError, RetriableError

Headers = Mapping[str, str]


class Target(Protocol):
    """Something that takes webhooks one by one."""

    def send(self, body: bytes, headers: Headers) -> str:
        """Take one body and return what it is called there (a file name, an HTTP status).

        :raises RetriableError: when it was not taken.
        """
        ...

    def flush(self) -> frozenset[str]:
        """Let everything taken so far arrive; return the names of what could not after all."""
        ...


class DropFormat(StrEnum):
    """How a dropped file holds its bodies; ``MIXED`` draws wrapping, packing and compression per file."""

    RAW = "raw"
    ENVELOPE = "envelope"
    GATEWAY = "gateway"
    ARRAY = "array"
    LINES = "lines"
    GZIP = "gzip"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class _Shape:
    wrap: DropFormat = DropFormat.RAW
    pack: DropFormat = DropFormat.RAW
    compressed: bool = False


_SHAPES: dict[DropFormat, _Shape] = {
    DropFormat.RAW: _Shape(),
    DropFormat.ENVELOPE: _Shape(wrap=DropFormat.ENVELOPE),
    DropFormat.GATEWAY: _Shape(wrap=DropFormat.GATEWAY),
    DropFormat.ARRAY: _Shape(pack=DropFormat.ARRAY),
    DropFormat.LINES: _Shape(pack=DropFormat.LINES),
    DropFormat.GZIP: _Shape(compressed=True),
}
_LARGEST_BATCH = 20


class _Names(msgspec.Struct):
    webhook_event: str | None = None
    event: str | None = None


@dataclass(slots=True)
class _Batch:
    name: str
    shape: _Shape
    limit: int
    rows: list[bytes] = field(default_factory=list)


class FileDrop:
    """Writes webhooks as files whose names sort by second: ``20250106T000001-update_install-000007.json``.

    A file appears whole or not at all: locally by a temporary name that starts with a dot and a rename, in a
    store by one PUT. A name that is taken, as by an earlier run, is passed over. Batches (arrays, JSON lines)
    hold up to 20 bodies and are written by ``flush`` at the latest. A local folder that is missing is made.

    :param uri: a local path, or any fsspec URI such as ``s3://bucket/drop``.
    :param clock: whose time stands in names and envelopes.
    :param rng: draws what ``MIXED`` leaves open; one seed gives the same files.
    :raises ConfigurationError: when the place cannot be opened.
    """

    def __init__(
        self,
        uri: str | Path,
        *,
        clock: Clock | None = None,
        formats: DropFormat = DropFormat.RAW,
        rng: random.Random | None = None,
    ) -> None:
        self.clock = clock if clock is not None else SystemClock()
        self.formats = DropFormat(formats)
        self.files = 0
        self._rng = rng if rng is not None else random.Random(0)
        self._batch: _Batch | None = None
        self._failed: set[str] = set()
        try:
            self._store, self._root = fsspec.core.url_to_fs(str(uri))
            self._is_local = isinstance(self._store, LocalFileSystem)
            if self._is_local:
                Path(self._root).mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError, ImportError) as error:
            raise ConfigurationError(
                f"the webhook drop cannot be opened ({type(error).__name__}).",
                where=urlsplit(str(uri)).scheme or str(uri),
                next_step="Name a folder that may be made, or a URI whose fsspec package is installed.",
            ) from error

    def send(self, body: bytes, headers: Headers) -> str:
        """Write one body, or put it into the batch under way, and return the file's name.

        :param body: JSON, unless the format is raw, gateway or gzip, which hold any bytes.
        :raises RetriableError: when the file cannot be written.
        """
        if self._batch is None:
            shape = self._shape()
            whole = shape.pack is DropFormat.RAW
            limit = 1 if whole else self._rng.randrange(2, _LARGEST_BATCH + 1)
            self._batch = _Batch(self._name(_event_of(body) if whole else "batch", shape), shape, limit)
        batch = self._batch
        batch.rows.append(self._wrapped(body, headers, batch.shape.wrap))
        if len(batch.rows) >= batch.limit:
            self._batch = None
            if batch.limit == 1:
                self._write(batch)
            else:
                self._write_later_reported(batch)
        return batch.name

    def flush(self) -> frozenset[str]:
        """Write the batch under way; return the names of batches that could not be written since the last."""
        batch, self._batch = self._batch, None
        if batch is not None:
            self._write_later_reported(batch)
        failed, self._failed = frozenset(self._failed), set()
        return failed

    def _shape(self) -> _Shape:
        if self.formats is not DropFormat.MIXED:
            return _SHAPES[self.formats]
        return _Shape(
            wrap=self._rng.choice((DropFormat.RAW, DropFormat.ENVELOPE, DropFormat.GATEWAY)),
            pack=self._rng.choice((DropFormat.RAW, DropFormat.ARRAY, DropFormat.LINES)),
            compressed=self._rng.random() < 0.25,
        )

    def _name(self, event: str, shape: _Shape) -> str:
        ending = ".jsonl" if shape.pack is DropFormat.LINES else ".json"
        zipped = ".gz" if shape.compressed else ""
        while True:
            self.files += 1
            name = f"{self.clock.now():%Y%m%dT%H%M%S}-{event}-{self.files:06d}{ending}{zipped}"
            if not self._store.exists(f"{self._root}/{name}"):
                return name

    def _wrapped(self, body: bytes, headers: Headers, wrap: DropFormat) -> bytes:
        if wrap is DropFormat.RAW:
            return body
        if wrap is DropFormat.GATEWAY:
            return self._gateway_event(body, headers)
        return msgspec.json.encode(
            {
                "received_at": self.clock.now().isoformat(timespec="microseconds"),
                "source": "sandbox",
                "headers": dict(headers),
                "body": msgspec.Raw(body),
            }
        )

    def _gateway_event(self, body: bytes, headers: Headers) -> bytes:
        """Return what an AWS API gateway hands on: the body as text, or base64 where it chose so."""
        coded = self._rng.random() < 0.5 or not _is_text(body)
        return msgspec.json.encode(
            {
                "resource": "/hooks",
                "path": "/hooks",
                "httpMethod": "POST",
                "headers": dict(headers),
                "requestContext": {"requestTimeEpoch": int(self.clock.now().timestamp() * 1000)},
                "body": base64.b64encode(body).decode() if coded else body.decode(),
                "isBase64Encoded": coded,
            }
        )

    def _write_later_reported(self, batch: _Batch) -> None:
        try:
            self._write(batch)
        except RetriableError:
            self._failed.add(batch.name)

    def _write(self, batch: _Batch) -> None:
        data = _packed(batch)
        try:
            if self._is_local:
                _write_whole(Path(self._root) / batch.name, data)
            else:
                self._store.pipe_file(f"{self._root}/{batch.name}", data)
        except OSError as error:
            raise RetriableError(
                f"a webhook file of {len(data)} bytes was not written ({type(error).__name__}).",
                where=batch.name,
                next_step="Check that the drop exists, has space, and may be written.",
            ) from error


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _packed(batch: _Batch) -> bytes:
    if batch.shape.pack is DropFormat.ARRAY:
        data = b"[" + b",".join(batch.rows) + b"]"
    else:
        data = b"\n".join(batch.rows) + (b"\n" if batch.shape.pack is DropFormat.LINES else b"")
    # Without a time in its header the same bytes give the same file.
    return gzip.compress(data, mtime=0) if batch.shape.compressed else data


def _write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def _event_of(body: bytes) -> str:
    try:
        names = msgspec.json.decode(body, type=_Names)
    except msgspec.DecodeError:
        return "unknown"
    name = names.webhook_event or names.event or "unknown"
    return "".join(sign for sign in name if sign.isalnum() or sign in "._")[:60] or "unknown"


class HttpPost:
    """Posts webhooks to a receiver, one connection kept open.

    :param headers: sent with each post beside the webhook's own, such as the shared secret.
    :param timeout: seconds to wait for the receiver.
    :param session: how to send; a plain ``requests`` session where absent.
    """

    def __init__(
        self,
        url: str,
        headers: Headers | None = None,
        *,
        timeout: float = 10.0,
        session: requests.Session | None = None,
    ) -> None:
        self._url = url
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._post: Callable[..., Any] = (session if session is not None else requests.Session()).post

    def send(self, body: bytes, headers: Headers) -> str:
        """Post one body and return the answer's status.

        :raises RetriableError: when no answer came or it was not 2xx, redirects included. Its text holds no
            path: the path of a receiver is a secret.
        """
        host = urlsplit(self._url).netloc.rpartition("@")[2]
        try:
            answer = self._post(
                self._url,
                data=body,
                headers={**headers, **self._headers},
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise RetriableError(
                f"a webhook of {len(body)} bytes was not taken ({type(error).__name__}).",
                where=host,
                next_step="Check that the receiver runs there.",
            ) from error
        if not 200 <= answer.status_code < 300:
            raise RetriableError(
                f"a webhook of {len(body)} bytes was answered with {answer.status_code}.",
                where=host,
                next_step="Check the receiver's path, its secret and its log.",
            )
        return str(answer.status_code)

    def flush(self) -> frozenset[str]:
        """Return nothing: a post has arrived when ``send`` returns."""
        return frozenset()
