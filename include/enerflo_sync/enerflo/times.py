"""One parser for every time format that Enerflo sends (REFERENCE.md §4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from enerflo_sync.errors import BadRecordError

FIRST_YEAR = 1990
LAST_YEAR = 2100
_FIRST, _AFTER_LAST = f"{FIRST_YEAR}-", f"{LAST_YEAR + 1}-"
# Every third character of ``YYYY-MM-DD HH:MM:SS``, with a space or a T; then the endings that mean UTC.
_SPACED, _WITH_T = "-- ::", "--T::"
_UTC_ENDS = frozenset({"Z", "+00:00", "+0000", ".000000Z", ".000Z"})
_EMPTY = ("", "0000-00-00", "0000-00-00 00:00:00")
# Epoch numbers from here on are milliseconds: as seconds they would lie after the year 5000.
_MILLISECONDS_FROM = 100_000_000_000
# Upper bounds: beyond any plausible epoch time, and a length that every number parser accepts.
_MOST_EPOCH, _MOST_DIGITS = 10**15, 40
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_OFFSET = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})")
_SPACED_OFFSET = re.compile(r"\s+(?=[+-][0-9]{2}:?[0-9]{2}$)|\s*(?:UTC|GMT)$")


def parse_time(value: object) -> datetime | None:
    """Return ``value`` as an aware UTC datetime, or None if it is empty.

    Accepted: ``YYYY-MM-DD HH:MM:SS`` (UTC, with or without fraction), ISO 8601 with ``Z`` or an offset,
    a date alone (its midnight UTC), a PHP Carbon object ``{"date": ..., "timezone": ...}``, epoch seconds
    and epoch milliseconds as numbers or digits. Empty: None, ``""``, ``0000-00-00 00:00:00`` and ``[]``
    (PHP's empty object).

    :raises BadRecordError: anything else, and years before 1990 or after 2100.
    """
    if isinstance(value, str):
        if len(value) == 19 and value[10] == " " and value[0] != "0":
            try:
                return _sane(datetime.fromisoformat(value + "+00:00"), value)
            except ValueError:
                raise _bad(value) from None
        return _from_text(value, UTC)
    if value is None:
        return None
    if isinstance(value, bool):
        raise _bad(value)
    if isinstance(value, int | float):
        return _from_epoch(value)
    if isinstance(value, Mapping):
        return _from_carbon(value)
    if isinstance(value, list) and not value:
        return None
    raise _bad(value)


def time_text(value: object) -> str | None:
    """Return what :func:`parse_time` returns, as PostgreSQL writes it in UTC (``2026-03-02 08:00:00+00``).

    Bulk loads use this text, which skips the datetime objects and compares equal to PostgreSQL's output.

    :raises BadRecordError: as :func:`parse_time`.
    """
    if value is None:
        return None
    # Check the fixed characters in one slice, because each install has twenty times.
    if type(value) is str and _FIRST <= value < _AFTER_LAST:
        marks, end = value[4:17:3], value[19:]
        spaced = marks == _SPACED and not end and len(value) == 19
        if spaced or (marks == _WITH_T and end in _UTC_ENDS):
            try:
                datetime.fromisoformat(value[:19])
            except ValueError:
                raise _bad(value) from None
            return value + "+00" if spaced else f"{value[:10]} {value[11:19]}+00"
    moment = parse_time(value)
    return None if moment is None else moment.isoformat(" ").removesuffix(":00")


def parse_date(value: object) -> date | None:
    """Return ``value`` as a UTC calendar date, or None; accepts what :func:`parse_time` accepts.

    A date without a time is returned unchanged.

    :raises BadRecordError: as :func:`parse_time`.
    """
    moment = parse_time(value)
    return None if moment is None else moment.date()


def is_time(value: object) -> bool:
    """Return whether ``value`` is a time that :func:`parse_time` accepts, and not empty."""
    try:
        return parse_time(value) is not None
    except BadRecordError:
        return False


def _from_text(value: str, zone: tzinfo) -> datetime | None:
    text = value.strip()
    if text in _EMPTY or text.startswith("0000-00-00"):
        return None
    if _NUMBER.fullmatch(text):
        if len(text) > _MOST_DIGITS:
            raise _bad(value)
        return _from_epoch(float(text) if "." in text else int(text))
    try:
        moment = datetime.fromisoformat(_SPACED_OFFSET.sub("", text))
    except ValueError:
        raise _bad(value) from None
    return _in_utc(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone), value)


def _from_epoch(value: float) -> datetime:
    if not abs(value) <= _MOST_EPOCH:
        raise _bad(value)
    seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
    try:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise _bad(value) from None
    return _sane(moment, value)


def _from_carbon(value: Mapping[object, object]) -> datetime | None:
    inner = value.get("date")
    if inner is None and not value:
        return None
    if not isinstance(inner, str):
        raise _bad(value)
    return _from_text(inner, _zone(value.get("timezone"), value))


def _zone(name: object, value: object) -> tzinfo:
    if name in (None, "", "UTC", "Z", "GMT"):
        return UTC
    if not isinstance(name, str):
        raise _bad(value)
    offset = _OFFSET.fullmatch(name)
    try:
        if offset is None:
            return ZoneInfo(name)
        size = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(-size if offset[1] == "-" else size)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _bad(value) from None


def _in_utc(moment: datetime, value: object) -> datetime:
    try:
        return _sane(moment.astimezone(UTC), value)
    except (OverflowError, ValueError):
        raise _bad(value) from None


def _sane(moment: datetime, value: object) -> datetime:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise BadRecordError(
            f"the time {_shape(value)} lies in the year {moment.year}, outside {FIRST_YEAR} to {LAST_YEAR}.",
        )
    return moment


def _bad(value: object) -> BadRecordError:
    return BadRecordError(f"{_shape(value)} is not a time in any form that Enerflo is known to send.")


def _shape(value: object) -> str:
    """Return the type and form of ``value`` without its content, which may be personal data."""
    if isinstance(value, str):
        return "'" + re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", value[:40])) + "'"
    return f"a value of type {type(value).__name__}"
