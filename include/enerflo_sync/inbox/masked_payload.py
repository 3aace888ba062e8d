"""A payload without personal data: its keys, shapes, ids, times and statuses."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from enerflo_sync.enerflo.times import parse_time
from enerflo_sync.errors import BadRecordError
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.resources.fingerprint import stable_bytes

_MOST_LEVELS = 64
# A key that is a contract name or an id; any other key may be somebody's name or address.
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}|[0-9]{1,19}")
_ID_KEY = re.compile(r"(?:.*_)?(?:id|ids|uuid)|.*[a-z](?:Id|ID|Ids|UUID)|hash")
_ID = re.compile(r"[0-9]{1,19}|[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}|[0-9a-f]{16,64}")
_WORD_KEYS = frozenset({"event", "webhook_event", "status", "status_name", "current_status"})
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_. -]{0,63}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]{5,16}(?:Z|[+-][0-9:]{2,6})?)?")
# Smaller numbers are counts and flags; larger ones may be phones, postal codes or amounts.
_SMALL = 1_000
_KINDS = (
    (re.compile(r"e?mail", re.IGNORECASE), PersonalData.EMAIL),
    (re.compile(r"phone|mobile", re.IGNORECASE), PersonalData.PHONE),
    (re.compile(r"(?:first|last|full|customer|agent|user)_?name", re.IGNORECASE), PersonalData.NAME),
)


def masked_payload(payload: bytes) -> Any:
    """Return a masked payload as JSON values; if it is not JSON, only its size.

    Keys, nesting, ids, times, names of events and statuses, small whole numbers and truth values stay
    unmasked. Other texts are masked by :func:`enerflo_sync.masking.mask`, other numbers by their length.
    """
    try:
        return _masked(msgspec.json.decode(payload), "", 0)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"[{len(payload):,} bytes that are no JSON]"


def readable_payload(payload: bytes) -> Any:
    """Return a payload unmasked, as JSON values or text; signed addresses lose their query."""
    payload = stable_bytes(payload)
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return payload.decode(errors="backslashreplace")


def _masked(value: Any, key: str, level: int) -> Any:
    if level > _MOST_LEVELS:
        return "[nested deeper]"
    if isinstance(value, dict):
        return {
            name if _KEY.fullmatch(name) else f"[key of {len(name)} characters, {at}]": _masked(
                inner, name, level + 1
            )
            for at, (name, inner) in enumerate(value.items())
        }
    if isinstance(value, list):
        return [_masked(inner, key, level + 1) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _masked_number(value, key)
    return _masked_text(str(value), key)


def _masked_number(value: float, key: str) -> Any:
    if isinstance(value, int) and (-_SMALL < value < _SMALL or _ID_KEY.fullmatch(key)):
        return value
    return f"[number of {len(str(value))} characters]"


def _masked_text(text: str, key: str) -> str:
    if _ID_KEY.fullmatch(key) and _ID.fullmatch(text):
        return text
    if key in _WORD_KEYS and _WORD.fullmatch(text):
        return text
    if _TIME.fullmatch(text) and _is_time(text):
        return text
    kind = next((kind for pattern, kind in _KINDS if pattern.search(key)), PersonalData.FREE_TEXT)
    return str(mask(text, kind))


def _is_time(text: str) -> bool:
    try:
        return parse_time(text) is not None
    except BadRecordError:
        return False
