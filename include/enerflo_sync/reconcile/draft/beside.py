"""What stands beside what: how two columns of matched rows agree, however roughly each is written.

The rough comparison only finds which columns belong together. How they are compared from then on is proposed
by :mod:`enerflo_sync.reconcile.fit`, from all rows.
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

from enerflo_sync.reconcile.fit.values import LABELS

_T = TypeVar("_T")

_WHOLE = re.compile(r"[-+]?0*\d{1,18}(\.0*)?")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?")
_FIGURES = re.compile(r"[^0-9.eE+-]")
_BARE = re.compile(r"[\W_]+")
# What one side rounds, and what two zones are apart.
_ROUNDED = 0.005
_FACTORS = (1, 100, 1000)
_FURTHEST = timedelta(hours=14)
_QUARTER = timedelta(minutes=15)


class Form(StrEnum):
    """In which form two columns agree."""

    TEXT = "text"
    LABEL = "label"
    NUMBER = "number"
    TIME = "time"


@dataclass(frozen=True)
class Agreement:
    """How two columns agree: ``same`` of the ``both`` rows in which each has a value.

    :param distinct: how many different values of Enerflo these rows have.
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
    """The values of one column at matched rows, as texts, and as what they can be read as."""

    def __init__(self, values: Sequence[str | None]) -> None:
        self.values = values

    @cached_property
    def texts(self) -> list[str | None]:
        """Return the values without case, punctuation and blanks."""
        return [_BARE.sub("", value).casefold() or None if value else None for value in self.values]

    @cached_property
    def numbers(self) -> list[float | None]:
        """Return the values as numbers, also of ``$7,500.00``."""
        return [_number(value) for value in self.values]

    @cached_property
    def times(self) -> list[datetime | None]:
        """Return the values as times; those without a zone as UTC."""
        return [_time(value) for value in self.values]


def whole(value: str | None) -> int | None:
    """Return a text as the whole number that it spells; None where it is none."""
    text = (value or "").strip()
    return int(text.partition(".")[0]) if _WHOLE.fullmatch(text) else None


def folded(value: str | None) -> str:
    """Return a text without outer blanks and case."""
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
    """Return how two columns agree as texts, or else, with ``labels``, as a label for each value."""
    pairs = _both(crm.texts, mirror.texts)
    same = sum(1 for mine, theirs in pairs if mine == theirs)
    distinct = len({theirs for _, theirs in pairs})
    labelled = _as_labels(pairs) if labels and 1 < distinct <= LABELS else 0
    if labelled > same:
        return Agreement(Form.LABEL, len(pairs), labelled, distinct)
    return Agreement(Form.TEXT, len(pairs), same, distinct)


def _as_labels(pairs: Sequence[tuple[str, str]]) -> int:
    """Return in how many rows each of Enerflo's values has its usual label; 0 where all have one."""
    beside: dict[str, Counter[str]] = defaultdict(Counter)
    for mine, theirs in pairs:
        beside[theirs][mine] += 1
    usual = {theirs: counted.most_common(1)[0] for theirs, counted in beside.items()}
    # Names and ids stand beside each other once: that says nothing.
    if len({label for label, _ in usual.values()}) < max(2, len(usual) - 1) or len(pairs) < 3 * len(usual):
        return 0
    return sum(number for _, number in usual.values())


def of_numbers(crm: Column, mirror: Column) -> Agreement:
    """Return how two columns agree as numbers, whatever is rounded, or written in another unit."""
    pairs = _both(crm.numbers, mirror.numbers)
    best = max((sum(1 for a, b in pairs if _near(a, b * by)) for by in _FACTORS), default=0)
    return Agreement(Form.NUMBER, len(pairs), best, len({b for _, b in pairs}))


def _near(mine: float, theirs: float) -> bool:
    return abs(mine - theirs) <= _ROUNDED * max(abs(mine), abs(theirs))


def of_times(crm: Column, mirror: Column) -> Agreement:
    """Return how two columns agree as times or days, in whatever zone."""
    pairs = _both(crm.times, mirror.times)
    return Agreement(Form.TIME, len(pairs), _steady(pairs), len({b for _, b in pairs}))


def _steady(pairs: Sequence[tuple[datetime, datetime]]) -> int:
    """Return how many pairs are of one moment, or two whole offsets apart, as a zone's summer and winter."""
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
