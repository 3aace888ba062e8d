"""Tell whether a record changed without parsing it, and keep what is safe to keep of its bytes."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec
import xxhash

from enerflo_sync.errors import BadRecordError

RAW_HASH_LENGTH = 16
# The user who asks, not the record (REFERENCE §6.1): differs per key and sometimes per answer.
VOLATILE = "logged_in_user"
_VOLATILE_NAME = f'"{VOLATILE}"'.encode()
_NO_ONE = _VOLATILE_NAME + b":null"
_VOLATILE_MEMBER = re.compile(_VOLATILE_NAME + rb"\s*:\s*\{[^{}]*+\}")
# The query part of an address, as far as it goes within a JSON string: PHP writes `/` as `\/`, and may write
# `&` as `\u0026`.
_QUERY = re.compile(rb'\?(?:[^"\\ \t\n\r\f\v]++|\\/|\\u0026)*+')
# A pre-signed file URL: its query is a credential, and new in every answer (REFERENCE §10).
# Words and no classes: of those the matcher knows by which bytes they can begin.
_SIGNED = re.compile(rb"X-Amz-|Signature=|Expires=|\?token=|&token=|\\u0026token=|\?sig=|&sig=|\\u0026sig=")
_ADDRESS = re.compile(rb'https?:(?:[^"\\ \t\n\r\f\v?]++|\\/)++')
_LONGEST_ADDRESS = 2_000
# A JSON escape for NUL, which PostgreSQL refuses in text and jsonb; `\\u0000` is plain text and stays.
_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def stable_bytes(raw: bytes | memoryview) -> bytes:
    """Return the record's bytes without the parts that differ in every answer and mean nothing."""
    data = bytes(raw)
    kept: list[bytes] = []
    # From the end: Enerflo puts it last.
    start = data.rfind(_VOLATILE_NAME)
    member = _VOLATILE_MEMBER.match(data, start) if start >= 0 else None
    if member is None:
        _keep_unsigned(data, 0, len(data), kept)
    else:
        _keep_unsigned(data, 0, start, kept)
        kept.append(_NO_ONE)
        _keep_unsigned(data, member.end(), len(data), kept)
    return b"".join(kept)


def _keep_unsigned(data: bytes, begin: int, stop: int, kept: list[bytes]) -> None:
    """Add what lies between two places of ``data``, without the queries of its signed addresses."""
    at = data.find(b"?", begin, stop)
    while at >= 0:
        query = _QUERY.match(data, at, stop)
        end = query.end() if query else at + 1
        if _SIGNED.search(data, at, end) and _ends_an_address(data, at):
            kept.append(data[begin:at])
            begin = end
        at = data.find(b"?", end, stop)
    kept.append(data[begin:stop])


def _ends_an_address(data: bytes, end: int) -> bool:
    begin = data.rfind(b"http", max(0, end - _LONGEST_ADDRESS), end)
    return begin >= 0 and _ADDRESS.fullmatch(data, begin, end) is not None


def raw_hash(stable: bytes) -> bytes:
    """Return :data:`RAW_HASH_LENGTH` bytes that are equal only for equal bytes; no parsing.

    Not a cryptographic hash: nobody gains by forging a record that looks unchanged.
    """
    return xxhash.xxh3_128_digest(stable)


def same_bytes(digest: bytes, other: bytes) -> bool:
    """Return whether two digests are of the same bytes, whoever read them."""
    return digest[:RAW_HASH_LENGTH] == other[:RAW_HASH_LENGTH]


def decode(stable: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the record as plain values, and the bytes that say just that.

    The bytes are shorter than ``stable`` where NUL characters were removed, which PostgreSQL refuses.

    :raises BadRecordError: it is not a JSON object in UTF-8.
    """
    stable = without_nul(stable)
    try:
        record = msgspec.json.decode(stable)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecordError(_undecodable(error)) from None
    if not isinstance(record, dict):
        raise BadRecordError("not_an_object")
    if record.get(VOLATILE) is not None:
        # A form that the pattern does not know: the slow way, with the same result.
        record[VOLATILE] = None
        stable = msgspec.json.encode(record)
    return record, stable


def as_text(stable: bytes) -> str:
    """Return the record as PostgreSQL may take it for jsonb; it may still be no JSON.

    :raises BadRecordError: it is not in UTF-8, or in an unusual form and no JSON object.
    """
    unusual = _VOLATILE_NAME in stable and _NO_ONE not in stable
    try:
        return (decode(stable)[1] if unusual else without_nul(stable)).decode()
    except UnicodeDecodeError:
        raise BadRecordError("not_utf8") from None


def without_nul(data: bytes) -> bytes:
    """Return JSON text without the NUL characters that PostgreSQL refuses."""
    return _ESCAPED_NUL.sub(rb"\1", data) if b"\\u0000" in data else data


def content_hash(data: bytes) -> str:
    """Return the sha-256, in hex, of a record's bytes without their volatile parts."""
    return hashlib.sha256(data).hexdigest()


def _undecodable(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not_utf8"
    if isinstance(error, RecursionError):
        return "nested_too_deep"
    return "number_out_of_range" if "out of range" in str(error) else "not_json"
