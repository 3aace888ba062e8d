"""Decode JSON from outside or refuse it with a stable word; canonical form of JSON."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from enerflo_sync.errors import BadRecordError
from enerflo_sync.json_parts import MOST_LEVELS

_canonical = msgspec.json.Encoder(order="deterministic")


def canonical_json(value: Any) -> bytes:
    """Return a JSON value as text with sorted keys and no white space."""
    return _canonical.encode(value)


def decode_json(text: bytes) -> tuple[Any, bytes]:
    """Return the JSON value of ``text`` and its canonical form.

    :raises BadRecordError: not JSON, not UTF-8, nested too deeply, a number out of range, or a repeated key.
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecordError(_why(error, text)) from None
    if text.count(b"{") + text.count(b"[") > MOST_LEVELS and _levels(value) > MOST_LEVELS:
        raise BadRecordError("nested_too_deep")
    canonical = canonical_json(value)
    if not _has_all_strings(canonical, text):
        _refuse_repeated_keys(text)
    return value, canonical


def _why(error: Exception, text: bytes) -> str:
    """Return the stable word for a JSON decoder's error."""
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
    r"""Return whether the canonical form still contains every string of ``text``.

    Decoding drops one of two equal keys, and with it two quotes. A quote inside a string appears in both
    forms, except as ``\u0022``, where this returns False. Costs a twentieth of :func:`_refuse_repeated_keys`.
    """
    return canonical.count(b'"') == text.count(b'"') and b"u0022" not in text


def _refuse_repeated_keys(text: bytes) -> None:
    def check(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) != len(pairs):
            raise BadRecordError("repeated_key")

    json.loads(text, object_pairs_hook=check)
