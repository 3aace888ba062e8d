"""Finding rows of the install list without reading it: ids fall from row to row, creation times with them.

Every probe asks for one row. Rows are counted from the list's end, since new installs come in at its front:
the place of a row from the end does not move while the company grows.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec

from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.envelopes import Listing
from enerflo_sync.enerflo.times import parse_time
from enerflo_sync.errors import BadRecordError, ContractDriftError, RetriableError
from enerflo_sync.resources.installs import INSTALL_LIST, INSTALLS

# How many rows further on a probe looks where one has no id or time that can be read.
_STEPS = 5
# So often an empty page is asked for where the list says that there is more.
_TRIES = 3
# Guesses by proportion before the bracket is halved; each second one is on the other side of the first.
_GUESSES = 4
# Rows all over the list that show whether times follow the ids.
_LOOKS = 8
# Times out of order by more than this are no delay of signing: whole histories were imported.
_ORDERLY = timedelta(days=1)


class _Created(msgspec.Struct):
    created_at: object = None


_created = msgspec.json.Decoder(_Created)


def created_at_of(raw: bytes | memoryview) -> datetime | None:
    """Return when a record says that it was created; None where that cannot be read."""
    try:
        return parse_time(_created.decode(raw).created_at)
    except Exception:
        return None


def install_id_of(raw: bytes | memoryview) -> int | None:
    """Return a record's id; None where it has none that can be used."""
    try:
        return INSTALLS.record_id(raw)
    except BadRecordError:
        return None


@dataclass(frozen=True)
class Probe:
    """One row of the list.

    :param from_end: its place, 1 for the oldest install.
    """

    from_end: int
    install_id: int
    created_at: datetime


Value = Callable[[Probe], float]


@dataclass(frozen=True)
class Edge:
    """Where the list passes a value: the row at ``older`` is below it, that at ``newer`` is not.

    Both are places from the end; 0 and one more than there are rows stand for the ends.

    :param about: how many rows are below it, in proportion between the two; None where that is not known.
    """

    older: int
    newer: int
    about: float | None = None

    @property
    def rows_below(self) -> float:
        """Return about how many rows are below the value."""
        return self.older if self.about is None else self.about


class ListSearch:
    """A search in the list of installs.

    :param exact: an edge is found when it lies between two rows so far apart: a page.
    :raises ContractDriftError: while searching: the list has no total, or ignores the size asked for, so that
        rows have no number.
    """

    def __init__(self, client: EnerfloClient, exact: int) -> None:
        self.total = 0
        # Rows that were deleted while we searched: places are uncertain by so many.
        self.fallen = 0
        # The newest and the oldest install, once measured.
        self.measured: tuple[Probe, Probe] | None = None
        self._client = client
        self._exact = max(1, exact)
        # By place; times, or ids, in one order with them.
        self._known: dict[int, Probe] = {}

    def measure(self) -> tuple[Probe, Probe] | None:
        """Return the newest and the oldest install; None of an empty list."""
        newest = self._at_row(0)
        oldest, from_end = None, 1
        while newest is not None and oldest is None and self.total:
            before = self.total
            oldest = self.at(from_end)
            # Past the end where the list has just become shorter: its new length is known now. Else the last
            # rows have no id or time that can be read, and the one before them is looked at.
            from_end += self.total >= before
        self.measured = (newest, oldest) if newest is not None and oldest is not None else None
        return self.measured

    def at(self, from_end: int) -> Probe | None:
        """Return the row at a place now, or the next readable one towards the end; None past the end."""
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
        """Return the page of one row, asked for again while it is empty and the list says that it is longer.

        :raises RetriableError: it stays empty.
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
        """Look at some rows all over a list that was measured, for :meth:`is_disordered`."""
        for part in range(1, _LOOKS + 1):
            self.at(max(1, self.total * part // (_LOOKS + 1)))

    def is_disordered(self) -> bool:
        """Return whether creation times do not follow the ids, by the rows that were looked at."""
        latest: datetime | None = None
        for _, probe in sorted(self._known.items()):
            if latest is not None and latest - probe.created_at > _ORDERLY:
                return True
            latest = probe.created_at if latest is None else max(latest, probe.created_at)
        return False

    def created_before(self, moment: datetime) -> Edge:
        """Return where installs created before ``moment`` begin."""
        return self._edge(moment.timestamp(), lambda probe: probe.created_at.timestamp())

    def ids_below(self, install_id: int) -> Edge:
        """Return where installs of lower ids begin."""
        return self._edge(float(install_id), lambda probe: float(probe.install_id))

    def _edge(self, target: float, value: Value) -> Edge:
        edge, step, stuck = self._bracket(target, value), 0, 0
        while edge.newer - edge.older > self._exact and stuck < _STEPS:
            guess = self._guess(edge, target, value, step)
            if self._at_row(self.total - min(max(guess, edge.older + 1), edge.newer - 1)) is None:
                # The list became shorter than the place: what is known of its end is old.
                self._known.clear()
                if self.measure() is None:
                    return Edge(0, 1)
            before, edge = edge, self._bracket(target, value)
            # Rows that cannot be read may leave nothing to look at in between.
            stuck, step = stuck + 1 if edge == before else 0, step + 1
        share = self._share(edge, target, value)
        if share is None:
            return edge
        return replace(edge, about=edge.older + share * (edge.newer - edge.older - 1))

    def _share(self, edge: Edge, target: float, value: Value) -> float | None:
        """Return how far the target is on the way from the older row to the newer; None where not known."""
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
        """Return the next place to look at: in proportion at first, then in the middle."""
        middle = (edge.older + edge.newer) // 2
        share = self._share(edge, target, value)
        if step >= _GUESSES or share is None:
            return middle
        guess = edge.older + round((edge.newer - edge.older) * share)
        # A little further than the last guess, so that the edge lies between the two.
        beyond = self._exact * 9 // 10
        if step % 2:
            return edge.older + beyond if share < 0.5 else edge.newer - beyond
        return guess
