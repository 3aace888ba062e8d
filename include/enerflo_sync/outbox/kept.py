"""Whether a value at Enerflo is our value in another form: escaped, shortened, or with a coarser time.

The rules apply after Enerflo accepted a write or may have accepted it. If Enerflo shows neither our value nor
the former one, the value is ours if one of the changes below turns our value into it, or if the response to
the write contains it; otherwise somebody else wrote it. If Enerflo shows the former value, our value was not
stored, unless the former value is our time cut to the minute, the hour or the day. A day may begin at
midnight of any time zone, because the vendor's zone may not be declared.
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
# An HTML entity that was cut in two.
_HALF_ENTITY = re.compile(r"&[#\w]{0,8}$")
_HALF_TAG = re.compile(r"</?[a-zA-Z][^<>]*$")
# Shorter notes may begin alike by chance.
_LONG_ENOUGH = 40
_NOT_PLAIN = re.compile(r"[\W_]+")
_BEYOND_BASIC = re.compile("[\U00010000-\U0010ffff\ufe0f\u200d]")
# The clocks of both sides may differ by this much; Enerflo dates a note by its own clock, to the second.
_SLACK_SECONDS = 900
_WEST, _EAST = timedelta(hours=12), timedelta(hours=14)
_UNITS = ({"second": 0}, {"minute": 0}, {"hour": 0})


def is_coarser(sent: datetime, found: datetime, zones: Iterable[str]) -> bool:
    """Return whether ``found`` is ``sent`` cut to the minute, hour or day, with days in one of the zones."""
    for zone in {"UTC", *zones}:
        local = sent.astimezone(ZoneInfo(zone)).replace(microsecond=0)
        for unit in _UNITS:
            local = local.replace(**unit)  # type: ignore[arg-type]
            if local.astimezone(UTC) == found.astimezone(UTC):
                return True
    # The vendor may round to the nearest minute.
    return found.second == 0 and abs(found - sent) <= timedelta(seconds=30)


def is_day_of(sent: datetime, found: datetime) -> bool:
    """Return whether ``found`` is the midnight at which the day of ``sent`` begins, in any time zone.

    The vendor's own zone may not be declared. Offsets of time zones are multiples of a quarter of an hour.
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
    """Return whether ``found`` is ``sent`` as a vendor may store it: escaped, without emoji, or shortened.

    :param cut: whether a text counts that is only the beginning of ``sent``.
    """
    return any(_same(form, found, cut) for form in stored_forms(sent))


def stored_forms(sent: str) -> frozenset[str]:
    """Return what :func:`plain_form` may make of a text once a vendor has stored it whole."""
    return frozenset(_spelled(one) for one in (sent, _TAG.sub("", sent)))


def plain_form(found: str) -> str:
    """Return a stored text without what a vendor may have changed; empty if nothing else is in it."""
    return _spelled(found)


def _same(wanted: str, found: str, cut: bool) -> bool:
    whole = _spelled(found)
    if whole == wanted or not cut:
        return whole == wanted
    part = _spelled(_HALF_ENTITY.sub("", found.rstrip()))
    return bool(part) and len(part) < len(wanted) and wanted.startswith(part)


def _spelled(text: str) -> str:
    """Return a text without the details that a vendor may change."""
    for _ in range(3):
        text = html.unescape(text)
    return " ".join(_BEYOND_BASIC.sub("", text).split())


def is_alike(sent: str, found: str) -> bool:
    """Return whether two texts may be the same note: only letters and digits are compared.

    Texts without letters and digits, for example only emoji, are all alike. Enerflo may make HTML of a text,
    and add words before or after it; a short text may be part of another note by chance.
    """
    if is_respelled(sent, found):
        return True
    theirs = {_plain(one) for one in (found, _TAG.sub(" ", found))}
    mine = {_plain(one) for one in (sent, _TAG.sub("", sent))}
    return not mine.isdisjoint(theirs) or any(
        len(one) >= _LONG_ENOUGH and one in other for one in mine for other in theirs
    )


def may_be_one(mine: str, theirs: str) -> bool:
    """Return whether two notes may be one by their :func:`bare_text`: alike, or one of them cut."""
    one, other = sorted((mine, theirs), key=len)
    return bool(one) and (one == other or (len(one) >= _LONG_ENOUGH and other.startswith(one)))


def bare_text(text: str) -> str:
    """Return the letters and digits of a text that may be HTML, and may be cut in a tag or an entity."""
    text = _HALF_TAG.sub("", _HALF_ENTITY.sub("", text.rstrip()))
    return _NOT_PLAIN.sub("", _TAG.sub(" ", _spelled(text))).casefold()


def is_stored_form(text: str, found: str) -> bool:
    """Return whether a text of Enerflo is one that it may make of a text that is not empty."""
    return plain_form(found) in stored_forms(text) - {""}


def made_since(note: Mapping[str, Any], sent_at: datetime) -> bool:
    """Return whether a note of the mirror was created after a request was sent, with slack for the clocks."""
    if note["created_at"] is None:
        return False
    return (sent_at - datetime.fromisoformat(note["created_at"])).total_seconds() <= _SLACK_SECONDS


def may_be_made_since(note: Mapping[str, Any], sent_at: datetime) -> bool:
    """Return whether a note of the mirror may have been created after a request was sent.

    Enerflo's clock may be behind ours by more than the slack; when we first saw the note is by ours alone.
    """
    return made_since(note, sent_at) or datetime.fromisoformat(note["observed_at"]) > sent_at


def _plain(text: str) -> str:
    return _NOT_PLAIN.sub("", _spelled(text)).encode("ascii", "ignore").decode().casefold()


def value_in_answer(answer: Any, name: str) -> Any:
    """Return the value under a name in a write's response; None unless the name occurs exactly once."""
    found = [one[name] for one in _objects(_decoded(answer)) if name in one]
    return found[0] if len(found) == 1 else None


def note_in_answer(answer: Any, before: Container[int]) -> Mapping[str, Any] | None:
    """Return the new note in the response to its request; None if there is none, or several.

    :param before: ids of notes that existed before, because the response may list all notes of an install.
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
