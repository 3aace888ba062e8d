"""How well two columns of matched rows agree, by a rough comparison that ignores their exact form.

The rough comparison only finds columns that correspond. :mod:`enerflo_sync.reconcile.fit` then reads all rows
to propose how the columns are compared.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import TypeVar

from enerflo_sync.reconcile.fit.labels import LABELS

_T = TypeVar("_T")

_WHOLE = re.compile(r"[-+]?0*\d{1,18}(\.0*)?")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?")
_FIGURES = re.compile(r"[^0-9.eE+-]")
_BARE = re.compile(r"[\W_]+")
# Rounding of one side, and the distance between two time zones.
_ROUNDED = 0.005
_FACTORS = (1, 100, 1000)
_FURTHEST = timedelta(hours=14)
_QUARTER = timedelta(minutes=15)


class Form(StrEnum):
    """The form in which two columns agree."""

    TEXT = "text"
    LABEL = "label"
    NUMBER = "number"
    TIME = "time"


@dataclass(frozen=True)
class Agreement:
    """How two columns agree: they have the same value in ``same`` of the ``both`` rows where both have one.

    :param distinct: how many different values Enerflo has in these rows.
    """

    form: Form
    both: int
    same: int
    distinct: int

    @property
    def share(self) -> float:
        """Return the share of rows that agree."""
        return self.same / self.both if self.both else 0.0


class Column:
    """The values of one column in matched rows, as texts, numbers and times."""

    def __init__(self, values: Sequence[str | None]) -> None:
        self.values = values

    @cached_property
    def texts(self) -> list[str | None]:
        """Return the values without case, punctuation and blanks."""
        return [_BARE.sub("", value).casefold() or None if value else None for value in self.values]

    @cached_property
    def numbers(self) -> list[float | None]:
        """Return the values as numbers; ``$7,500.00`` is read as one, too."""
        return [_number(value) for value in self.values]

    @cached_property
    def times(self) -> list[datetime | None]:
        """Return the values as times; a time without a zone is read in UTC."""
        return [_time(value) for value in self.values]


def whole(value: str | None) -> int | None:
    """Return the whole number in a text; None if the text is not one."""
    text = (value or "").strip()
    return int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else None


def folded(value: str | None) -> str:
    """Return a text in lower case without leading and trailing blanks."""
    return (value or "").strip().casefold()


def _number(value: str | None) -> float | None:
    text = (value or "").strip()
    if not _NUMBER.fullmatch(text):
        text = _FIGURES.sub("", text)
    return float(text) if _NUMBER.fullmatch(text) else None


def _time(value: str | None) -> datetime | None:
    text = (value or "").strip()
    if text[:4].isdigit() and text[4:5] == "-":
        with suppress(ValueError, OverflowError):
            found = datetime.fromisoformat(text)
            return found if found.tzinfo else found.replace(tzinfo=UTC)
    return None


def of_texts(crm: Column, mirror: Column, *, labels: bool) -> Agreement:
    """Return how two columns agree as texts, or, with ``labels``, as one label per value."""
    pairs = _both(crm.texts, mirror.texts)
    same = sum(1 for mine, theirs in pairs if mine == theirs)
    distinct = len({theirs for _, theirs in pairs})
    labelled = _as_labels(pairs) if labels and 1 < distinct <= LABELS else 0
    if labelled > same:
        return Agreement(Form.LABEL, len(pairs), labelled, distinct)
    return Agreement(Form.TEXT, len(pairs), same, distinct)


def _as_labels(pairs: Sequence[tuple[str, str]]) -> int:
    """Return in how many rows Enerflo's value has its usual label; 0 if all values have the same label."""
    beside: dict[str, Counter[str]] = defaultdict(Counter)
    for mine, theirs in pairs:
        beside[theirs][mine] += 1
    usual = {theirs: counted.most_common(1)[0] for theirs, counted in beside.items()}
    # A name and an id that occur together only once do not show that one is the label of the other.
    if len({label for label, _ in usual.values()}) < max(2, len(usual) - 1) or len(pairs) < 3 * len(usual):
        return 0
    return sum(number for _, number in usual.values())


def of_numbers(crm: Column, mirror: Column) -> Agreement:
    """Return how two columns agree as numbers, even if one is rounded or has another unit."""
    pairs = _both(crm.numbers, mirror.numbers)
    best = max((sum(1 for a, b in pairs if _near(a, b * by)) for by in _FACTORS), default=0)
    return Agreement(Form.NUMBER, len(pairs), best, len({b for _, b in pairs}))


def _near(mine: float, theirs: float) -> bool:
    return abs(mine - theirs) <= _ROUNDED * max(abs(mine), abs(theirs))


def of_times(crm: Column, mirror: Column) -> Agreement:
    """Return how two columns agree as times or days, in any time zone."""
    pairs = _both(crm.times, mirror.times)
    return Agreement(Form.TIME, len(pairs), _steady(pairs), len({b for _, b in pairs}))


def _steady(pairs: Sequence[tuple[datetime, datetime]]) -> int:
    """Return how many pairs are at one distance, or at two as a zone has in summer and in winter."""
    if pairs and all(mine.time() == datetime.min.time() for mine, _ in pairs):
        apart = [(mine.date() - theirs.date()).days for mine, theirs in pairs]
        return max(sum(-1 <= days <= 0 for days in apart), sum(0 <= days <= 1 for days in apart))
    offsets: Counter[int] = Counter()
    for mine, theirs in pairs:
        offset = mine.replace(microsecond=0) - theirs.replace(microsecond=0)
        quarters = round(offset / _QUARTER)
        if abs(offset) <= _FURTHEST and abs(offset - quarters * _QUARTER) < timedelta(minutes=1):
            offsets[quarters] += 1
    return sum(number for _, number in offsets.most_common(2))


def _both(left: Sequence[_T | None], right: Sequence[_T | None]) -> list[tuple[_T, _T]]:
    return [(a, b) for a, b in zip(left, right, strict=True) if a is not None and b is not None]
