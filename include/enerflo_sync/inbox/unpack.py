"""Unpack a file into events: one object, an array or JSON lines; plain or gzip; with or without envelope.

An unreadable part becomes a :class:`Problem` with its position, and the rest of the file continues.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.gzip_parts import gunzip
from enerflo_sync.inbox.envelope import is_envelope, received_at_of, unwrapped
from enerflo_sync.inbox.json_text import canonical_json, decode_json
from enerflo_sync.json_parts import elements
from enerflo_sync.resources.fingerprint import raw_hash, without_nul

GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
# Bytes kept of an unreadable part.
_KEPT = 65_536

_any = msgspec.json.Decoder(msgspec.Raw)


class Document(msgspec.Struct, frozen=True, gc=False):
    """One event in a file.

    :param position: its place in the file, from 0: the element of an array, the line of JSON lines.
    :param body: the event itself, without an envelope.
    :param canonical: the body as JSON with sorted keys and no white space.
    :param received_at: arrival time in the envelope; None without one.
    :param nul_removed: NUL characters, which PostgreSQL refuses, were removed.
    """

    position: int
    body: dict[str, Any]
    canonical: bytes
    received_at: datetime | None = None
    nul_removed: bool = False


class Problem(msgspec.Struct, frozen=True, gc=False):
    """A part of a file that is not an event.

    :param reason: a stable word such as ``not_json``.
    :param payload: the part's bytes, truncated after 64 KB.
    :param mark: the digest of all its bytes if they were truncated.
    :param whole: the payload is the whole file's, also if parts before it are events.
    """

    position: int
    reason: str
    payload: bytes
    mark: str = ""
    whole: bool = False

    @classmethod
    def of(cls, position: int, reason: str, data: bytes, *, whole: bool = False) -> Problem:
        """Return a problem that keeps the beginning of ``data``."""
        mark = raw_hash(data).hex() if len(data) > _KEPT else ""
        return cls(position, reason, data[:_KEPT], mark, whole)


def unpack(data: bytes, *, most_file: int, most_event: int) -> Iterator[Document | Problem]:
    """Yield the parts of a file in order; at least one, so that no file is skipped silently.

    :param most_file: maximum size in bytes of a compressed file after unpacking.
    :param most_event: maximum size in bytes of one event.
    """
    if (usual := _usual(data, most_event)) is not None:
        yield usual
        return
    position = -1
    try:
        data = plain(data, most_file)
        for position, text in split(data):
            try:
                yield from _open(position, text, most_event)
            except Exception as error:
                yield Problem.of(position, bad_record(error).what, text)
    except Exception as error:
        # The file as a whole, or the rest after the last separable element.
        yield Problem.of(position + 1, bad_record(error).what, data, whole=True)
        return
    if position < 0:
        yield Problem.of(0, "no_event_in_it", data)


def _usual(data: bytes, most: int) -> Document | None:
    """Return the event if the file is one raw event, as most are, else None: a third of the general work."""
    if data[:1] != b"{" or len(data) > most or b"u0000" in data:
        return None
    try:
        value, canonical = decode_json(data)
    except Exception:
        # The general path finds the reason.
        return None
    return None if is_envelope(value) else Document(0, value, canonical)


def plain(data: bytes, most: int) -> bytes:
    """Return a file's bytes decompressed, and without a byte order mark.

    :raises BadRecordError: empty, or not to be unpacked within ``most`` bytes.
    """
    if data[:2] == GZIP:
        data = gunzip(data, most)
    data = data.removeprefix(_BOM)
    if not data.strip():
        raise BadRecordError("empty_file")
    return data


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield a file's events as text, with their positions.

    :raises BadRecordError: an array is cut off; what could be told apart was yielded before.
    """
    first = data.lstrip()[:1]
    if b"\n" in data.strip() and not _is_whole(data) and (first != b"[" or _has_whole_line(data)):
        yield from enumerate_lines(data)
    elif first == b"[":
        yield from elements(data)
    else:
        yield 0, data


def _is_whole(data: bytes) -> bool:
    """Return whether several lines are one JSON value, valid or not."""
    try:
        _any.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # JSON lines contain a line that is a complete value; one broken object contains none.
        return not _has_whole_line(data)
    return True


def _has_whole_line(data: bytes) -> bool:
    return any(line.lstrip()[:1] in (b"{", b"[") and _decodes(line) for _, line in enumerate_lines(data))


def _decodes(text: bytes) -> bool:
    try:
        _any.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def enumerate_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the non-blank lines with their numbers from 0, without building a list."""
    for at, line in enumerate(io.BytesIO(data)):
        if line.strip():
            yield at, line.rstrip(b"\r\n")


def _open(position: int, text: bytes, most: int) -> Iterator[Document | Problem]:
    """Yield the event in ``text``, or the events if it is an envelope or an array."""
    if len(text) > most:
        raise BadRecordError("event_too_large")
    stripped = without_nul(text)
    nul_removed = len(stripped) < len(text)
    value, canonical = decode_json(stripped)
    received_at = None
    if isinstance(value, dict) and not is_envelope(value):
        yield Document(position, value, canonical, None, nul_removed)
        return
    if isinstance(value, dict):
        received_at = received_at_of(value)
        value = unwrapped(value)
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, dict):
            yield Document(position, item, canonical_json(item), received_at, nul_removed)
        else:
            yield Problem.of(position, "not_an_object", msgspec.json.encode(item))
    if not items:
        raise BadRecordError("no_event_in_it")
