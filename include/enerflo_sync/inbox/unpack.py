"""From a file's bytes to the events in it: one object, an array or JSON lines; plain or gzip; raw or wrapped.

Whatever cannot be read becomes a :class:`Problem` with its position, and the rest of the file goes on.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from enerflo_sync.enerflo.times import parse_time
from enerflo_sync.errors import BadRecordError
from enerflo_sync.mirror.fingerprint import without_nul

# Real payloads nest about ten deep.
MOST_LEVELS = 64
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_ENVELOPE = frozenset({"received_at", "headers", "isBase64Encoded", "requestContext", "source"})
_EVENT_NAMES = frozenset({"webhook_event", "event"})

_rows = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder(msgspec.Raw)
_canonical = msgspec.json.Encoder(order="deterministic")


class Document(msgspec.Struct, frozen=True):
    """One event as it lay in a file.

    :param position: its place in the file, from 0: the element of an array, the line of JSON lines.
    :param body: the event itself, out of any envelope.
    :param canonical: the body as JSON with sorted keys and no white space.
    :param received_at: when the envelope says that it arrived; None without one.
    :param nul_removed: NUL characters were taken out, which PostgreSQL refuses.
    """

    position: int
    body: dict[str, Any]
    canonical: bytes
    received_at: datetime | None = None
    nul_removed: bool = False


class Problem(msgspec.Struct, frozen=True):
    """A part of a file that is no event.

    :param reason: a stable word such as ``not_json``.
    :param payload: the bytes in question, cut after 64 KB.
    """

    position: int
    reason: str
    payload: bytes


def unpack(data: bytes, *, most_file: int, most_event: int) -> Iterator[Document | Problem]:
    """Yield what a file holds, in its order; at least one thing, so that no file is passed over in silence.

    :param most_file: bytes that a compressed file may have when it is unpacked.
    :param most_event: bytes that one event may have.
    """
    try:
        data = _plain(data, most_file)
        texts = _split(data)
    except BadRecordError as error:
        yield Problem(0, error.what, data[:65_536])
        return
    found = False
    for position, text in texts:
        found = True
        try:
            yield from _open(position, text, most_event)
        except BadRecordError as error:
            yield Problem(position, error.what, bytes(text[:65_536]))
    if not found:
        yield Problem(0, "no_event_in_it", data[:65_536])


def _plain(data: bytes, most: int) -> bytes:
    """Return the bytes without compression and byte order mark."""
    if data[:2] == _GZIP:
        data = _gunzip(data, most)
    data = data.removeprefix(_BOM)
    if not data.strip():
        raise BadRecordError("empty_file")
    return data


def _gunzip(data: bytes, most: int) -> bytes:
    parts, size = [], 0
    while data:
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(data, most - size + 1)
        except zlib.error:
            raise BadRecordError("damaged_gzip") from None
        size += len(part)
        if size > most:
            raise BadRecordError("too_large_unpacked")
        if not stream.eof:
            raise BadRecordError("truncated_gzip")
        parts.append(part)
        data = stream.unused_data
    return b"".join(parts)


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return the file's events as text, each with its position."""
    if data.lstrip()[:1] == b"[":
        try:
            return iter([(at, bytes(raw)) for at, raw in enumerate(_rows.decode(data))])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            # Lines may hold arrays, too.
            if b"\n" not in data.strip():
                raise BadRecordError(_why(error, data)) from None
    elif b"\n" not in data.strip() or _is_whole(data):
        return iter([(0, data)])
    return ((at, line) for at, line in enumerate(data.split(b"\n")) if line.strip())


def _is_whole(data: bytes) -> bool:
    """Return whether several lines are one JSON value."""
    if data.lstrip()[:1] != b"{":
        return False
    try:
        _any.decode(data)
    except RecursionError:
        return True
    except (msgspec.DecodeError, UnicodeDecodeError):
        # The first line of JSON lines is a value of its own; that of one cut off or broken object is not.
        return not _decodes(data.lstrip().split(b"\n", 1)[0])
    return True


def _decodes(text: bytes) -> bool:
    try:
        _any.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _open(position: int, text: bytes, most: int) -> Iterator[Document | Problem]:
    """Yield the event in ``text``, or those in the envelope or the line's array that it is."""
    if len(text) > most:
        raise BadRecordError("event_too_large")
    stripped = without_nul(text)
    value, canonical = _decoded(stripped)
    if isinstance(value, list):
        for item in value:
            yield _document(position, item, None, nul_removed=len(stripped) < len(text))
        if not value:
            raise BadRecordError("no_event_in_it")
        return
    if not isinstance(value, dict):
        raise BadRecordError("not_an_object")
    if not _is_envelope(value):
        yield Document(position, value, canonical, None, len(stripped) < len(text))
        return
    received_at = _received_at(value)
    body = _unwrapped(value)
    for item in body if isinstance(body, list) else [body]:
        yield _document(position, item, received_at, nul_removed=len(stripped) < len(text))


def _document(position: int, body: Any, received_at: datetime | None, *, nul_removed: bool) -> Document:
    if not isinstance(body, dict):
        raise BadRecordError("not_an_object")
    return Document(position, body, _canonical.encode(body), received_at, nul_removed)


def _decoded(text: bytes) -> tuple[Any, bytes]:
    """Return the JSON value of ``text`` and its canonical form.

    :raises BadRecordError: no JSON, not UTF-8, nested too deep, a number out of range, or a key twice.
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecordError(_why(error, text)) from None
    if text.count(b"{") + text.count(b"[") > MOST_LEVELS and _levels(value) > MOST_LEVELS:
        raise BadRecordError("nested_too_deep")
    canonical = _canonical.encode(value)
    if not _has_all_strings(canonical, text):
        _refuse_repeated_keys(text)
    return value, canonical


def _why(error: Exception, text: bytes) -> str:
    """Return the stable word for what a JSON decoder met."""
    if isinstance(error, RecursionError):
        return "nested_too_deep"
    try:
        text.decode()
    except UnicodeDecodeError:
        return "not_utf8"
    if "truncated" in str(error):
        return "truncated_json"
    return "number_out_of_range" if "out of range" in str(error) else "not_json"


def _levels(value: Any) -> int:
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        item, level = waiting.pop()
        if isinstance(item, dict | list):
            deepest = max(deepest, level)
            inner = item.values() if isinstance(item, dict) else item
            waiting.extend((one, level + 1) for one in inner)
    return deepest


def _has_all_strings(canonical: bytes, text: bytes) -> bool:
    r"""Return whether no string of ``text`` was lost on the way to its canonical form.

    Of a key that stands twice one is lost, with its two quotes. A quote in a string is one in both forms, but
    for ``\u0022``, where this says False. Asking costs a twentieth of :func:`_refuse_repeated_keys`.
    """
    return canonical.count(b'"') == text.count(b'"') and b"u0022" not in text


def _refuse_repeated_keys(text: bytes) -> None:
    def check(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) != len(pairs):
            raise BadRecordError("repeated_key")

    json.loads(text, object_pairs_hook=check)


def _is_envelope(value: dict[str, Any]) -> bool:
    has_body = "body" in value or "body_base64" in value
    return has_body and not _ENVELOPE.isdisjoint(value) and _EVENT_NAMES.isdisjoint(value)


def _unwrapped(envelope: dict[str, Any]) -> Any:
    """Return the body of an envelope: as it stands, or decoded where it is text (an API gateway's form)."""
    body = envelope.get("body", envelope.get("body_base64"))
    if "body" not in envelope or envelope.get("isBase64Encoded") is True:
        if not isinstance(body, str):
            raise BadRecordError("body_not_base64")
        try:
            return _decoded(without_nul(base64.b64decode(body, validate=True)))[0]
        except binascii.Error:
            raise BadRecordError("body_not_base64") from None
    if isinstance(body, str):
        if not body.strip():
            raise BadRecordError("empty_body")
        return _decoded(without_nul(body.encode("utf-8", "surrogatepass")))[0]
    return body


def _received_at(envelope: dict[str, Any]) -> datetime | None:
    context = envelope.get("requestContext")
    epoch = context.get("timeEpoch", context.get("requestTimeEpoch")) if isinstance(context, dict) else None
    for value in (envelope.get("received_at"), epoch):
        try:
            moment = parse_time(value)
        except BadRecordError:
            continue
        if moment is not None:
            return moment
    return None
