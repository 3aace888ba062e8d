"""Numbers, times and values as a person reads them, the same in every output."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from enerflo_sync.counted import count_of, number
from enerflo_sync.reconcile.report import Cause, Difference

# Invisible joiners that scripts and emoji need; every other invisible character is shown as an escape.
_JOINERS: Final = frozenset("\u200c\u200d")
_CONTEXT_BEFORE_DIFFERENCE: Final = 24
# A title shows a value in full, up to this many characters.
TITLE_LIMIT: Final = 2000


class ValueKind(StrEnum):
    """Whether the text is a value, or words that describe a value or record."""

    VALUE = "value"
    REMARK = "remark"


@dataclass(frozen=True, slots=True)
class ShownValue:
    """A value as text: ``short`` fits a table cell; ``full`` has up to ``TITLE_LIMIT`` characters.

    Both show line breaks, control characters and invisible characters as visible signs.
    """

    short: str
    full: str
    kind: ValueKind = ValueKind.VALUE

    @property
    def cut(self) -> bool:
        """Return whether ``short`` leaves something out."""
        return self.short != self.full


def compact(value: int) -> str:
    """Return ``value`` in about seven characters for an axis: ``10,000``, ``120 k``, ``2.5 M``."""
    if value < 100_000:
        return number(value)
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:,.3g} {unit}" if value < 1000 * size else f"{value // size:,} {unit}"
    return number(value)


def size_text(size: int) -> str:
    """Return a number of bytes as people read it: ``1.2 MB``."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"


def share(part: int, whole: int) -> str:
    """Return ``part`` of ``whole`` in per cent, ``""`` for a whole of nothing, never rounded to 0 or 100."""
    if whole <= 0:
        return ""
    if 0 < part < whole * 0.001:
        return "<0.1 %"
    if whole * 0.999 < part < whole:
        return ">99.9 %"
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent in (0, 100) else f"{percent:.1f} %"


def utc(moment: datetime) -> str:
    """Return an aware time to the minute in UTC: ``2025-03-03 14:05 UTC``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def day(moment: datetime) -> str:
    """Return the day of an aware time in UTC: ``2025-03-03``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d")


def iso(moment: datetime) -> str:
    """Return an aware time in UTC as ISO 8601 to the second: ``2025-03-03T14:05:09Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(span: timedelta) -> str:
    """Return a length of time with its two largest units: ``3.4 s``, ``2 min 5 s``, ``3 d 4 h``."""
    seconds = max(span.total_seconds(), 0.0)
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, part_size, part_name in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            part = whole % size // part_size
            return f"{number(whole // size)} {name}" + (f" {part} {part_name}" if part else "")
    return f"{seconds:.1f} s"


def key_names(key: Mapping[str, Any]) -> str:
    """Return the key's column names as one text."""
    return " · ".join(visible(str(name)) for name in key)


def key_values(key: Mapping[str, Any]) -> str:
    """Return the key's values as one text, in the order of :func:`key_names`."""
    return " · ".join(visible(value if isinstance(value, str) else _json(value)) for value in key.values())


def key_under(names: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """Return the key's values for a column headed by ``names``, with the key's own names if they differ."""
    if list(key) == list(names):
        return key_values(key)
    return " · ".join(f"{visible(str(name))} {key_values({name: value})}" for name, value in key.items())


def visible(text: str) -> str:
    r"""Return ``text`` with invisible characters made visible, safe for a terminal and for a table cell.

    Line breaks become ``⏎``, spaces at the ends ``␣``; control, format and unusual space characters become
    their escape (``\u00a0``). So neither an escape sequence nor a reversed reading order gets through.
    """
    body = text.strip(" ")
    head = "␣" * (len(text) - len(text.lstrip(" ")))
    tail = "␣" * (len(text) - len(text.rstrip(" "))) if body else ""
    if body.isprintable():
        return f"{head}{body}{tail}"
    return head + "".join(_visible_character(c) for c in body.replace("\r\n", "\n")) + tail


def _visible_character(character: str) -> str:
    if character == "\n":
        return "⏎"
    if character.isprintable() or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")


def shown_values(difference: Difference, width: int) -> tuple[ShownValue, ShownValue]:
    """Return Enerflo's value and the CRM's value, each cut to about ``width`` characters.

    Long values are cut around the first place at which they differ. Values that would look the same (``12``
    and ``"12"``, composed and decomposed letters) are shown as ASCII JSON.
    """
    ours, theirs = difference.enerflo_value, difference.crm_value
    if difference.field is None:
        return (
            _side_of_record(ours, theirs, difference.cause, _ABSENT_IN_ENERFLO, width, NOT_IN_MIRROR),
            _side_of_record(theirs, ours, difference.cause, _ABSENT_IN_CRM, width, NO_RECORD),
        )
    left, right = _plain(ours), _plain(theirs)
    if not difference.masked and ours is not None and theirs is not None and _look_alike(left, right):
        left, right = _json(ours, ascii_only=True), _json(theirs, ascii_only=True)
    start = 0
    if max(len(left), len(right)) > width and ours is not None and theirs is not None:
        start = max(_first_difference(left, right) - _CONTEXT_BEFORE_DIFFERENCE, 0)
    return _shown(ours, left, start, width), _shown(theirs, right, start, width)


def shown_value(value: Any, width: int) -> ShownValue:
    """Return one value by itself, cut to about ``width`` characters."""
    return _shown(value, record_words(value), 0, width)


NO_RECORD: Final = "no record"
# Enerflo may have a record that the mirror lacks, because the record was quarantined.
NOT_IN_MIRROR: Final = "in quarantine"
_ABSENT_IN_CRM: Final = frozenset({Cause.MISSING_IN_CRM, Cause.DELETED_IN_CRM})
_ABSENT_IN_ENERFLO: Final = frozenset({Cause.MISSING_IN_ENERFLO, Cause.DELETED_IN_ENERFLO})


def _side_of_record(
    value: Any, other: Any, cause: Cause, absent: frozenset[Cause], width: int, rejected: str
) -> ShownValue:
    if value is not None:
        return _shown(value, record_words(value), 0, width)
    if cause is Cause.QUARANTINED and other is not None:
        words = rejected
    elif cause in absent or other is not None:
        words = NO_RECORD
    elif cause in _ABSENT_IN_CRM | _ABSENT_IN_ENERFLO:
        words = "record"
    else:
        # Such a cause does not say which side lacks the record.
        words = "not told"
    return ShownValue(words, words, ValueKind.REMARK)


def record_words(value: Any) -> str:
    """Return a side's value of a whole record: ``install_id 5``, or for a repeated key ``2 rows: 7, 8``."""
    if isinstance(value, dict) and isinstance(value.get("keys"), list):
        return f"{count_of(value['rows'], 'row')}: {', '.join(key_values(key) for key in value['keys'])}"
    if isinstance(value, dict):
        return ", ".join(f"{visible(name)} {visible(_bare(part))}" for name, part in value.items())
    return _plain(value)


def _bare(part: Any) -> str:
    return part if isinstance(part, str) else _json(part)


def _plain(value: Any) -> str:
    return visible(value) if isinstance(value, str) else _json(value)


def _json(value: Any, *, ascii_only: bool = False) -> str:
    return visible(json.dumps(value, ensure_ascii=ascii_only, default=str, sort_keys=True))


def _look_alike(left: str, right: str) -> bool:
    return unicodedata.normalize("NFC", left) == unicodedata.normalize("NFC", right)


def _first_difference(left: str, right: str) -> int:
    """Return the index of the first character that differs; if none does, the length of the shorter text."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(left), len(right)))


def _shown(value: Any, text: str, start: int, width: int) -> ShownValue:
    if value is None:
        return ShownValue("no value", "no value", ValueKind.REMARK)
    if value == "":
        return ShownValue("empty text", "empty text", ValueKind.REMARK)
    full = text
    if len(text) > TITLE_LIMIT:
        full = f"{text[:TITLE_LIMIT]}… ({number(len(text))} characters)"
    if len(text) <= width:
        return ShownValue(text, text)
    piece = text[start : start + width].rstrip()
    return ShownValue(f"{'…' if start else ''}{piece}{'…' if start + width < len(text) else ''}", full)
