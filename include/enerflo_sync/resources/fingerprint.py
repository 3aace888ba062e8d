"""Detect changed records without parsing them, and remove volatile and secret parts of their bytes."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec
import xxhash

from enerflo_sync.errors import BadRecordError

RAW_HASH_LENGTH = 16
# The user of the request, not the record's (REFERENCE §6.1): it differs by key and sometimes by answer.
VOLATILE = "logged_in_user"
_VOLATILE_NAME = f'"{VOLATILE}"'.encode()
_NO_ONE = _VOLATILE_NAME + b":null"
_VOLATILE_MEMBER = re.compile(_VOLATILE_NAME + rb"\s*:\s*\{[^{}]*+\}")
# The query of an address within a JSON string: PHP writes `/` as `\/`, and may write `&` as `\u0026`.
_QUERY = re.compile(rb'\?(?:[^"\\ \t\n\r\f\v]++|\\/|\\u0026)*+')
# A pre-signed file URL: its query is a credential, and new in every answer (REFERENCE §10). The pattern has
# words and no character classes, so that the matcher knows the first bytes of a match.
_SIGNED = re.compile(rb"X-Amz-|Signature=|Expires=|\?token=|&token=|\\u0026token=|\?sig=|&sig=|\\u0026sig=")
_ADDRESS = re.compile(rb'https?:(?:[^"\\ \t\n\r\f\v?]++|\\/)++')
_LONGEST_ADDRESS = 2_000
# A JSON escape for NUL, which PostgreSQL refuses in text and jsonb; `\\u0000` is plain text and stays.
_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def stable_bytes(raw: bytes | memoryview) -> bytes:
    """Return the record's bytes without parts that differ in every answer and mean nothing."""
    data = bytes(raw)
    kept: list[bytes] = []
    # Searched from the end, since Enerflo puts it last.
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
    """Append the bytes between two places of ``data``, without the queries of signed addresses."""
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
    """Return :data:`RAW_HASH_LENGTH` bytes that are equal only for equal bytes; does not parse.

    The hash is not cryptographic, since nobody gains from forging a record that looks unchanged.
    """
    return xxhash.xxh3_128_digest(stable)


def same_bytes(digest: bytes, other: bytes) -> bool:
    """Return whether two digests are of the same bytes, whichever reader made them."""
    return digest[:RAW_HASH_LENGTH] == other[:RAW_HASH_LENGTH]


def decode(stable: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the record as plain values, and the bytes with exactly these values.

    The bytes are shorter than ``stable`` if NUL characters were removed, which PostgreSQL refuses.

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
        # The pattern does not match this form: the slow way gives the same result.
        record[VOLATILE] = None
        stable = msgspec.json.encode(record)
    return record, stable


def as_text(stable: bytes) -> str:
    """Return the record as text that PostgreSQL may accept as jsonb; it is not checked to be JSON.

    :raises BadRecordError: it is not UTF-8, or has an unusual form and is not a JSON object.
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
