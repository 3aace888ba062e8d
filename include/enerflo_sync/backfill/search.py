"""Find rows of the install list by search, without a full read: ids and creation times descend in it.

Each probe requests one row. Positions count from the list's end: new installs appear at its front, so a
position stays valid while the company grows.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from enerflo_sync.enerflo.envelopes import Listing
from enerflo_sync.enerflo.times import parse_time
from enerflo_sync.errors import BadRecordError, ContractDriftError, RetriableError
from enerflo_sync.resources.installs import INSTALL_LIST, INSTALLS

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

# How many rows further a probe looks if a row has no readable id or time.
_STEPS = 5
# How often an empty page is requested if the list promises more rows.
_TRIES = 3
# Interpolated guesses before bisection; every second guess is on the opposite side of the first.
_GUESSES = 4
# Probes across the list that test whether times follow the ids.
_LOOKS = 8
# A larger disorder than this is no late signature: whole histories were imported.
_ORDERLY = timedelta(days=1)


class _Created(msgspec.Struct):
    created_at: object = None


_created = msgspec.json.Decoder(_Created)


def created_at_of(raw: bytes | memoryview) -> datetime | None:
    """Return a record's creation time; None if it is unreadable."""
    try:
        return parse_time(_created.decode(raw).created_at)
    except Exception:
        return None


def install_id_of(raw: bytes | memoryview) -> int | None:
    """Return a record's id; None if it has no usable one."""
    try:
        return INSTALLS.record_id(raw)
    except BadRecordError:
        return None


@dataclass(frozen=True)
class Probe:
    """One row of the list.

    :param from_end: its position; 1 is the oldest install.
    """

    from_end: int
    install_id: int
    created_at: datetime


Value = Callable[[Probe], float]


@dataclass(frozen=True)
class Edge:
    """Two positions between which the list crosses a value: ``older`` is below the value, ``newer`` is not.

    Positions count from the end; 0 and the number of rows plus one stand for the list's ends.

    :param about: interpolated number of rows below the value; None if unknown.
    """

    older: int
    newer: int
    about: float | None = None

    @property
    def rows_below(self) -> float:
        """Return the approximate number of rows below the value."""
        return self.older if self.about is None else self.about


class ListSearch:
    """A search in the install list.

    :param exact: an edge is found when its two rows are this close: a page.
    :raises ContractDriftError: while searching: the list has no total, or ignores the requested size, so that
        rows have no number.
    """

    def __init__(self, client: EnerfloClient, exact: int) -> None:
        self.total = 0
        # Rows deleted during the search, which is the uncertainty of positions.
        self.fallen = 0
        # The newest and the oldest install after ``measure``.
        self.measured: tuple[Probe, Probe] | None = None
        self._client = client
        self._exact = max(1, exact)
        # Probes by position; times, or ids, ascend with the positions.
        self._known: dict[int, Probe] = {}

    def measure(self) -> tuple[Probe, Probe] | None:
        """Return the newest and the oldest install; None for an empty list."""
        newest = self._at_row(0)
        oldest, from_end = None, 1
        while newest is not None and oldest is None and self.total:
            before = self.total
            oldest = self.at(from_end)
            # If the probe is past the end, the list has shrunk, and its new length is known. Otherwise the
            # last rows have no readable id or time, so try the row before them.
            from_end += self.total >= before
        self.measured = (newest, oldest) if newest is not None and oldest is not None else None
        return self.measured

    def at(self, from_end: int) -> Probe | None:
        """Return the row at a position, or the next readable row towards the end; None past the end."""
        return self._at_row(max(0, self.total - from_end))

    def _at_row(self, row: int) -> Probe | None:
        for step in range(_STEPS):
            listing = self._listed(row + step)
            self._note_total(listing.total, len(listing.records))
            if not listing.records:
                return None
            install_id, created_at = (
                install_id_of(listing.records[0]),
                created_at_of(listing.records[0]),
            )
            if install_id is not None and created_at is not None:
                probe = Probe(self.total - row - step, install_id, created_at)
                self._known[probe.from_end] = probe
                return probe
        raise ContractDriftError(
            f"{_STEPS} installs in a row have no id or no time of creation.",
            where="GET /api/v3/installs",
            next_step="Backfill everything instead: that needs no search.",
        )

    def _listed(self, row: int) -> Listing:
        """Return the page of one row; retry while it is empty although the list promises more rows.

        :raises RetriableError: the page stays empty.
        """
        for _ in range(_TRIES):
            listing = INSTALL_LIST.page(self._client, row + 1, 1)
            if listing.records or listing.total is None or listing.total <= row:
                return listing
        raise RetriableError(
            f"row {row + 1} of the list is empty, while the list says that it has {listing.total:,} rows.",
            where="GET /api/v3/installs",
            next_step="Nothing was concluded from it. Run it again.",
        )

    def _note_total(self, total: int | None, rows: int) -> None:
        if total is None or rows > 1:
            raise ContractDriftError(
                "the list of installs does not number its rows.",
                where="GET /api/v3/installs",
                next_step="Backfill everything instead: that needs no search.",
            )
        if self.total and total < self.total:
            self.fallen += self.total - total
        self.total = total

    def look_around(self) -> None:
        """Probe some rows across a measured list, for :meth:`is_disordered`."""
        for part in range(1, _LOOKS + 1):
            self.at(max(1, self.total * part // (_LOOKS + 1)))

    def is_disordered(self) -> bool:
        """Return whether creation times do not follow the ids, according to the probed rows."""
        latest: datetime | None = None
        for _, probe in sorted(self._known.items()):
            if latest is not None and latest - probe.created_at > _ORDERLY:
                return True
            latest = probe.created_at if latest is None else max(latest, probe.created_at)
        return False

    def created_before(self, moment: datetime) -> Edge:
        """Return the edge of installs created before ``moment``."""
        return self._edge(moment.timestamp(), lambda probe: probe.created_at.timestamp())

    def ids_below(self, install_id: int) -> Edge:
        """Return the edge of installs with lower ids."""
        return self._edge(float(install_id), lambda probe: float(probe.install_id))

    def _edge(self, target: float, value: Value) -> Edge:
        edge, step, stuck = self._bracket(target, value), 0, 0
        while edge.newer - edge.older > self._exact and stuck < _STEPS:
            guess = self._guess(edge, target, value, step)
            if self._at_row(self.total - min(max(guess, edge.older + 1), edge.newer - 1)) is None:
                # The list is now shorter than the position, so its known end is outdated.
                self._known.clear()
                if self.measure() is None:
                    return Edge(0, 1)
            before, edge = edge, self._bracket(target, value)
            # Unreadable rows may leave nothing to probe in between.
            stuck, step = stuck + 1 if edge == before else 0, step + 1
        share = self._share(edge, target, value)
        if share is None:
            return edge
        return replace(edge, about=edge.older + share * (edge.newer - edge.older - 1))

    def _share(self, edge: Edge, target: float, value: Value) -> float | None:
        """Return the target's relative distance from the older row to the newer; None if unknown."""
        older, newer = self._known.get(edge.older), self._known.get(edge.newer)
        if older is None or newer is None or value(newer) <= value(older):
            return None
        return (target - value(older)) / (value(newer) - value(older))

    def _bracket(self, target: float, value: Value) -> Edge:
        places = sorted(self._known)
        at = bisect.bisect_left(places, target, key=lambda place: value(self._known[place]))
        older = places[at - 1] if at else 0
        newer = places[at] if at < len(places) else self.total + 1
        return Edge(older, newer)

    def _guess(self, edge: Edge, target: float, value: Value, step: int) -> int:
        """Return the next position to probe: interpolated at first, then the middle."""
        middle = (edge.older + edge.newer) // 2
        share = self._share(edge, target, value)
        if step >= _GUESSES or share is None:
            return middle
        guess = edge.older + round((edge.newer - edge.older) * share)
        # Slightly beyond the previous guess, so that the edge lies between the two.
        beyond = self._exact * 9 // 10
        if step % 2:
            return edge.older + beyond if share < 0.5 else edge.newer - beyond
        return guess
