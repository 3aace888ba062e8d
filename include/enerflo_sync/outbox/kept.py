"""Whether a value that Enerflo shows is what it made of ours: re-spelled, cut, or kept to a coarser time.

The rule, once Enerflo accepted a write or may have. A third value, neither ours nor the one from before, is
ours where it can be made of ours by the changes below, or where the write's own answer shows the same. Any
other third value was written by somebody else meanwhile. The value from before says that ours was not kept,
unless it is also our own time cut to the minute, the hour or the day. The vendor's day counts in any zone, as
nobody may have declared it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

_TAG = re.compile(r"<[^<>]*>")
# Of an entity that a vendor cut in two.
_HALF_ENTITY = re.compile(r"&[#\w]{0,8}$")
_NOT_PLAIN = re.compile(r"[\W_]+")
_BEYOND_BASIC = re.compile("[\U00010000-\U0010ffff\ufe0f\u200d]")
# Enerflo dates a note by its own clock, to the second.
_SLACK_SECONDS = 900
_WEST, _EAST = timedelta(hours=12), timedelta(hours=14)
_UNITS = ({"second": 0}, {"minute": 0}, {"hour": 0})


def is_coarser(sent: datetime, found: datetime, zones: Iterable[str]) -> bool:
    """Return whether a moment is another one cut to its minute, hour or day, the day in one of the zones."""
    for zone in {"UTC", *zones}:
        local = sent.astimezone(ZoneInfo(zone)).replace(microsecond=0)
        for unit in _UNITS:
            local = local.replace(**unit)  # type: ignore[arg-type]
            if local.astimezone(UTC) == found.astimezone(UTC):
                return True
    # A vendor that rounds to the minute.
    return found.second == 0 and abs(found - sent) <= timedelta(seconds=30)


def is_day_of(sent: datetime, found: datetime) -> bool:
    """Return whether a moment is the midnight with which the day of another one begins, in any zone.

    A vendor keeps days in its own zone, which nobody may have declared. Offsets are quarters of an hour.
    """
    found = found.astimezone(UTC)
    midnight = timedelta(hours=found.hour, minutes=found.minute)
    if found.second or found.microsecond or found.minute % 15:
        return False
    offsets = (-midnight, timedelta(days=1) - midnight)
    return any(
        (sent.astimezone(UTC) + offset).date() == (found + offset).date()
        for offset in offsets
        if -_WEST <= offset <= _EAST
    )


def is_respelled(sent: str, found: str, *, cut: bool = True) -> bool:
    """Return whether a text is another one as a vendor may keep it: escaped, blanks and emoji lost, cut.

    :param cut: also where only its beginning is left.
    """
    return any(_same(_spelled(one), found, cut) for one in (sent, _TAG.sub("", sent)))


def _same(wanted: str, found: str, cut: bool) -> bool:
    whole = _spelled(found)
    if whole == wanted or not cut:
        return whole == wanted
    part = _spelled(_HALF_ENTITY.sub("", found.rstrip()))
    return bool(part) and len(part) < len(wanted) and wanted.startswith(part)


def _spelled(text: str) -> str:
    """Return a text without what a vendor may change of it."""
    for _ in range(3):
        text = html.unescape(text)
    return " ".join(_BEYOND_BASIC.sub("", text).split())


def is_alike(sent: str, found: str) -> bool:
    """Return whether a note may be another one, however it is spelled: letters and digits alone count.

    A text without any, as one of emoji, is like any other without any.
    """
    if is_respelled(sent, found):
        return True
    return any(_plain(one) == _plain(found) for one in (sent, _TAG.sub("", sent)))


def made_since(note: Mapping[str, Any], sent_at: datetime) -> bool:
    """Return whether a note of the mirror was made after a request went out, by either side's clock."""
    if note["created_at"] is None:
        return False
    return (sent_at - datetime.fromisoformat(note["created_at"])).total_seconds() <= _SLACK_SECONDS


def _plain(text: str) -> str:
    return _NOT_PLAIN.sub("", _spelled(text)).encode("ascii", "ignore").decode().casefold()


def value_in_answer(answer: Any, name: str) -> Any:
    """Return what a write's answer says under a name; None where it does not say it exactly once."""
    found = [one[name] for one in _objects(_decoded(answer)) if name in one]
    return found[0] if len(found) == 1 else None


def note_in_answer(answer: Any, before: Container[int]) -> Mapping[str, Any] | None:
    """Return the new note that the answer to its request shows; None where it shows none, or several.

    :param before: notes that stood there before: an answer may list all of an install's notes.
    """
    notes = [one for one in _objects(_decoded(answer)) if isinstance(one.get("note_id"), int)]
    found = [one for one in notes if one["note_id"] not in before]
    return found[0] if len(found) == 1 else None


def _decoded(answer: Any) -> Any:
    try:
        return msgspec.json.decode(answer) if isinstance(answer, bytes) else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(one)
