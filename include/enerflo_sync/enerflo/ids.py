"""Check identifiers before they become part of a request path (REFERENCE.md §5)."""

from __future__ import annotations

import re

from enerflo_sync.errors import BadRecordError

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_INTEGER = re.compile(r"[1-9][0-9]{0,18}")
_ID_SEGMENT = re.compile(rf"(?<=/)(?:[0-9]+|{_UUID.pattern})(?=/|$)")


def integer_id(value: object, name: str) -> str:
    """Return ``value`` as the decimal text of a positive 64-bit id.

    :param name: what the id is, for the error: ``"install id"``.
    :raises BadRecordError: ``value`` is not such an id.
    """
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if _INTEGER.fullmatch(text) is None or int(text) >= 1 << 63:
        raise BadRecordError(f"the {name} is not a positive whole number.", field=name)
    return text


def uuid_id(value: object, name: str) -> str:
    """Return ``value`` as a lower-case uuid with hyphens (a v2 deal or customer id).

    :raises BadRecordError: ``value`` is not a uuid.
    """
    if not isinstance(value, str) or _UUID.fullmatch(value) is None:
        raise BadRecordError(f"the {name} is not a uuid.", field=name)
    return value.lower()


def integer_or_uuid(value: object, name: str) -> str:
    """Return ``value`` as :func:`integer_id` or :func:`uuid_id` does.

    :raises BadRecordError: ``value`` is neither.
    """
    if isinstance(value, str) and "-" in value:
        return uuid_id(value, name)
    return integer_id(value, name)


def endpoint_of(path: str) -> str:
    """Return ``path`` with every id replaced by a placeholder: the key of the per-endpoint counters."""
    return _ID_SEGMENT.sub("{id}", path)
