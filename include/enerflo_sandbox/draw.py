"""Repeatable draws: any record of the company follows from the seed, the record's kind and its number."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")
_DAY_SECONDS = 86_400
_EPOCH = datetime(1970, 1, 1)
_AWARE_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Draw:
    """Up to 32 small draws for one record; the same arguments give the same draws on every machine.

    :param seed: the company's seed.
    :param kind: a word that keeps kinds of record apart.
    :param number: the record's number within its kind.
    """

    __slots__ = ("_at", "_bytes")

    def __init__(self, seed: int, kind: str, number: int) -> None:
        self._bytes = blake2b(f"{seed}/{kind}/{number}".encode()).digest()
        self._at = 0

    def below(self, limit: int) -> int:
        """Return the next draw, 0 <= draw < ``limit`` <= 65536."""
        at = self._at
        self._at = at + 2
        return (self._bytes[at] << 8 | self._bytes[at + 1]) % limit

    def one_in(self, limit: int) -> bool:
        """Return True once in ``limit`` draws on average."""
        return self.below(limit) == 0

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of ``choices``."""
        return choices[self.below(len(choices))]

    def hex(self, length: int) -> str:
        """Return ``length`` hexadecimal digits that do not depend on the draws made so far."""
        return self._bytes.hex()[:length]


# A record holds about 20 times: putting them together from parts made once is the larger half of its cost.
@lru_cache(maxsize=4096)
def _day(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).date().isoformat()


@lru_cache(maxsize=_DAY_SECONDS)
def _time(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).time().isoformat()


def naive(moment: int | None) -> str | None:
    """Return epoch seconds as ``YYYY-MM-DD HH:MM:SS``, the vendor's naive UTC form (REFERENCE.md §4)."""
    if moment is None:
        return None
    day, second = divmod(moment, _DAY_SECONDS)
    return f"{_day(day)} {_time(second)}"


def offset(moment: int) -> str:
    """Return epoch seconds as ISO 8601 with ``+00:00`` (REFERENCE.md §4)."""
    day, second = divmod(moment, _DAY_SECONDS)
    return f"{_day(day)}T{_time(second)}+00:00"


def aware(moment: int | None) -> datetime | None:
    """Return epoch seconds as an aware UTC datetime."""
    return None if moment is None else _AWARE_EPOCH + timedelta(seconds=moment)


def moment_of(value: datetime) -> int:
    """Return an aware datetime as whole epoch seconds: v1 has one-second resolution (REFERENCE.md §4)."""
    return int((value - _AWARE_EPOCH).total_seconds())
