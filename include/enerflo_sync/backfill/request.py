"""The request for a backfill: a window of creation dates, named installs, or everything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.registry import ALL

# Maximum named installs per backfill; for more, use a window, or everything.
MOST_IDS = 250_000
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    """How the installs are chosen."""

    WINDOW = "window"
    IDS = "ids"
    EVERYTHING = "everything"


# Resources that a backfill can read; milestones come with their installs.
_READ = [INSTALLS, *(one for one in ALL if one.backfilled_by is not None)]

if TYPE_CHECKING:

    class Part(StrEnum):
        """A name of what a backfill reads."""
else:
    Part = StrEnum("Part", {one.name.upper(): one.name for one in _READ})
    Part.__doc__ = "What is read of them; milestones come with their installs."

ALL_PARTS: frozenset[Part] = frozenset(Part(one.name) for one in _READ if one.by_default)


@dataclass(frozen=True)
class BackfillRequest:
    """One choice of installs.

    :param window_from: inclusive lower bound of the creation time; None for no bound.
    :param window_to: exclusive upper bound.
    :param install_ids: distinct, highest first.
    :param deal_ids: uuids of v2 deals, distinct, in order.
    """

    kind: Kind
    window_from: datetime | None = None
    window_to: datetime | None = None
    install_ids: Sequence[int] = ()
    deal_ids: Sequence[str] = ()
    parts: Collection[Part] = field(default=ALL_PARTS)

    @property
    def hash(self) -> str:
        """Return a hash that is equal for equal choices."""
        content = [
            str(self.kind),
            self.window_from and self.window_from.isoformat(),
            self.window_to and self.window_to.isoformat(),
            list(self.install_ids),
            list(self.deal_ids),
            sorted(self.parts),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def words(self) -> str:
        """Return the choice in words: ``2023-04-01 … 2023-04-30``."""
        if self.kind is Kind.EVERYTHING:
            return "everything"
        if self.kind is Kind.IDS:
            count = len(self.install_ids) + len(self.deal_ids)
            return f"{count:,} named install{'' if count == 1 else 's'} ({self.hash[:8]})"
        return window_words(self.window_from, self.window_to)

    def holds(self, created_at: datetime | None) -> bool:
        """Return whether an install with that creation time is in the window; an unknown time is."""
        if self.kind is not Kind.WINDOW or created_at is None:
            return True
        after = self.window_from is None or created_at >= self.window_from
        return after and (self.window_to is None or created_at < self.window_to)


def window_words(start: datetime | None, end: datetime | None) -> str:
    """Return a window as people write it, with its last day inclusive."""
    first = "the beginning" if start is None else _moment_words(start)
    last = "now" if end is None else _moment_words(end, last=True)
    return first if first == last else f"{first} … {last}"


def _moment_words(moment: datetime, *, last: bool = False) -> str:
    at = moment.astimezone(UTC)
    if at.time() == time(0):
        return (at - timedelta(days=1) if last else at).date().isoformat()
    return at.strftime("%Y-%m-%d %H:%M")


def window_request(
    start: str | None, end: str | None, *, now: datetime, parts: Collection[Part] = ALL_PARTS
) -> BackfillRequest:
    """Return the request for installs created from ``start`` to ``end``.

    :param start: a day (from its midnight, UTC) or a moment; None for no lower bound.
    :param end: a day (to its end) or a moment (exclusive); None for now.
    :raises ConfigurationError: a date is invalid or in the future, or ``end`` is before ``start``.
    """
    if start is None and end is None:
        raise _bad_window("it has neither a beginning nor an end.", "Give --from or --to, or --everything.")
    begin = None if start is None else _moment(start, "from", to_its_end=False)
    stop = None if end is None else _moment(end, "to", to_its_end=True)
    if begin is not None and begin >= now:
        raise _bad_window(f"it begins in the future, {begin:%Y-%m-%d}.", "No install has that date yet.")
    if begin is not None and stop is not None and begin >= stop:
        raise _bad_window("it ends before it begins.", "Change from and to over.")
    if stop is not None and stop <= _EARLIEST:
        raise _bad_window(f"it ends before {_EARLIEST:%Y}.", "Enerflo did not exist then: check the year.")
    # An end in the future is dropped, so that the same words mean the same window at any hour.
    return BackfillRequest(Kind.WINDOW, begin, stop if stop and stop < now else None, parts=parts)


def _moment(text: str, name: str, *, to_its_end: bool) -> datetime:
    text = text.strip()
    try:
        if len(text) <= len("2023-04-01"):
            day = datetime.combine(date.fromisoformat(text), time(0), UTC)
            return day + timedelta(days=1) if to_its_end else day
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise _bad_window(f"{name} is no date.", "Write it as 2023-04-01 or 2023-04-01T12:00Z.") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _bad_window(what: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(what, where="the window of creation dates", next_step=next_step)


def named_request(
    install_ids: Collection[int], deal_ids: Collection[str], *, parts: Collection[Part] = ALL_PARTS
) -> BackfillRequest:
    """Return the request for installs by id and by their deal's uuid.

    :raises ConfigurationError: none are given, or more than :data:`MOST_IDS`.
    """
    count = len(install_ids) + len(deal_ids)
    if not count:
        raise ConfigurationError(
            "no install is named.", where="the ids", next_step="Give install ids or deal uuids."
        )
    if count > MOST_IDS:
        raise ConfigurationError(
            f"{count:,} installs are named, and {MOST_IDS:,} are the most.",
            where="the ids",
            next_step="Choose a window of creation dates, or --everything.",
        )
    ids = tuple(sorted(set(install_ids), reverse=True))
    return BackfillRequest(Kind.IDS, None, None, ids, tuple(dict.fromkeys(deal_ids)), parts)


def whole_request(*, parts: Collection[Part] = ALL_PARTS) -> BackfillRequest:
    """Return the request for everything that Enerflo lists."""
    return BackfillRequest(Kind.EVERYTHING, parts=parts)
