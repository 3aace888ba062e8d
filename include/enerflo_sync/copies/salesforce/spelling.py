"""Values in the form of Salesforce's REST API, by the type of the field."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

_TEXTS: Final = frozenset(
    "string textarea picklist multipicklist combobox email phone url id reference encryptedstring".split()
)
_NUMBERS: Final = frozenset("int long double currency percent".split())
_BOOLEANS: Final = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


def is_written(kind: str) -> bool:
    """Return whether values of a field's type can be sent."""
    return kind in _TEXTS or kind in _NUMBERS or kind in {"boolean", "date", "datetime"}


def is_text(kind: str) -> bool:
    """Return whether a field's type is a text, so that one value may have several spellings."""
    return kind in _TEXTS


class NotSpelledError(Exception):
    """A value does not fit a field's type; the text names both types, never the value."""


def spelled(value: Any, kind: str, zone: str) -> Any:
    """Return a value of the copy's column in the form of the REST API.

    :param kind: the field's type as Salesforce describes it.
    :param zone: the zone of times without one.
    :raises NotSpelledError: the value does not fit, so nothing may be sent.
    """
    if value is None:
        if kind == "boolean":
            raise NotSpelledError("a checkbox is true or false, and never empty")
        return None
    made = _made(value, kind, zone)
    if made is None:
        raise NotSpelledError(f"a field of type {kind} does not take a value of type {type(value).__name__}")
    return made


def _made(value: Any, kind: str, zone: str) -> Any:
    if kind in _TEXTS:
        return _text(value)
    if kind in _NUMBERS:
        return _number(value)
    if kind == "boolean":
        return value if isinstance(value, bool) else _BOOLEANS.get(str(value).strip().lower())
    if kind == "date":
        return _day(value)
    if kind == "datetime" and isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=ZoneInfo(zone))
        moment = aware.astimezone(UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"
    return None


def _text(value: Any) -> str | None:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return value
        case int():
            return str(value)
        case Decimal():
            return f"{value:f}"
        case _:
            # The form of a time in a text field is not known.
            return None


def _number(value: Any) -> int | Decimal | None:
    if isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _day(value: Any) -> str | None:
    if isinstance(value, datetime):
        return None
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, str) and _DAY.fullmatch(value) else None
