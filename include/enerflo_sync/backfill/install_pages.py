"""Read the pages of one chunk of installs, even if the list has moved since the chunk was planned.

The ids at its ends define a chunk. Its walk begins with a page that reaches the upper end. It ends at the
lower end, or after as many installs as were between the two at planning: new installs appear only at the
list's front, so there cannot be more.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from enerflo_sync.backfill.chunks import Chunk
from enerflo_sync.backfill.context import Context
from enerflo_sync.backfill.search import created_at_of, install_id_of
from enerflo_sync.backfill.store import Backfill, Progress
from enerflo_sync.enerflo.pages import Page, PageWalk, StopReason
from enerflo_sync.mirror.sweep import ShrunkSourceError, most_missing
from enerflo_sync.resources.installs import INSTALL_LIST


class ChunkPage(Page, frozen=True):
    """One page of a chunk, without rows of neighbouring chunks and rows read before.

    :param ids: installs of the chunk that are new on this page.
    :param reached_id: the chunk was read completely down to this id; ``reached_total`` is the list's number
        of rows at that time, and ``reached_row`` the next row.
    :param outside: number of rows created outside the window, which are not among the records.
    :param disorder_seconds: how far creation times were out of order so far.
    :param ids_disordered: whether ids were out of order.
    """

    ids: list[int]
    reached_id: int | None
    reached_total: int | None
    reached_row: int
    outside: int
    disorder_seconds: float
    ids_disordered: bool


class InstallPages:
    """The pages of one chunk; iterate once.

    :param progress: where an earlier reader stopped; if the list has lost rows since, the last stored page is
        read again.
    :param seen: the ids that the earlier reader stored.
    :param only: the wanted installs if they are named; None for all.

    Afterwards ``complete`` tells whether the whole chunk was read, and ``stopped`` the reason if not.
    """

    def __init__(
        self,
        context: Context,
        backfill: Backfill,
        chunk: Chunk,
        progress: Progress,
        seen: set[int],
        only: set[int] | None = None,
    ) -> None:
        self.complete = False
        self.stopped: str | None = None
        self._context = context
        self._backfill = backfill
        self._chunk = chunk
        self._seen = seen
        self._only = only
        self._reached = progress.reached_id
        self._row = progress.reached_row
        self._known_total = progress.reached_total
        # The first page has to reach this id, so that there is no hole between it and the part already read.
        self._anchor = chunk.high_id if self._reached is None else self._reached
        self._begun = self._anchor is None
        # Whether the walk has jumped ahead once, and whether it has seen rows above the chunk.
        self._ahead = False
        self._above = False
        self._lowest = self._reached
        self._earliest: datetime | None = None
        self._total: int | None = None
        self._reached_total = progress.reached_total
        self._fell = False
        self._disorder = progress.disorder_seconds
        self._ids_disordered = progress.ids_disordered
        self._sorted = chunk.high_id is not None or chunk.low_id is not None or chunk.rows is not None

    def __iter__(self) -> Iterator[ChunkPage]:
        step = self._backfill.per_page
        while not self.complete and self.stopped is None:
            walk = self._walk()
            aim = None
            for page in walk:
                self._check(page.total)
                aim = None if self._begun else self._aim(page, step)
                if aim is not None:
                    break
                if not self._begun:
                    continue
                cut = self._cut(page)
                is_over = self._is_over(page)
                self.complete = is_over and not walk.is_lacking
                if is_over and walk.is_lacking:
                    self.stopped = f"walk stopped: {StopReason.SHORT_PAGE}"
                yield cut
                if is_over:
                    return
            else:
                aim = self._after_the_end(walk, step)
            if aim is not None:
                self._row, step = aim, step * 2

    def _walk(self) -> PageWalk:
        options = self._context.options
        size = self._backfill.per_page
        return INSTALL_LIST.walk(
            self._context.client, per_page=size, floor=min(size, options.min_per_page), start=self._row
        )

    def _check(self, total: int | None) -> None:
        listed, guard = self._backfill.listed, self._context.options.shrink_guard
        if total is None or listed is None:
            return
        if listed - total > most_missing(listed, guard):
            raise ShrunkSourceError(
                f"Enerflo lists {total:,} installs where it listed {listed:,} when the backfill began.",
                where=f"backfill {self._backfill.backfill_id}",
                next_step="Nothing was deleted. Check the key's rights, then resume it; if the installs are"
                " really gone, start a new one.",
            )

    def _aim(self, page: Page, step: int) -> int | None:
        """Return the row to read instead, or None to keep this walk (its next page, if not this one)."""
        anchor = self._anchor or 0
        ids = [found for raw in page.records if (found := install_id_of(raw)) is not None]
        start = (page.number - 1) * page.per_page
        known, self._known_total = self._known_total, None
        if known is not None and page.total is not None and page.total >= known:
            # Only new installs moved the list, so no row was skipped.
            self._begun = True
            return None
        if not ids:
            return None
        if min(ids) > anchor:
            self._above = True
            grown = (page.total or 0) - (self._backfill.listed or 0)
            ahead = (self._chunk.first_row + grown) // page.per_page * page.per_page
            if self._ahead or ahead <= start + page.per_page:
                return None
            self._ahead, self._above = True, False
            return ahead
        # The page reaches the anchor; or the list has lost rows, and the rows above the chunk are known.
        self._begun = max(ids) >= anchor or start == 0 or self._above
        return None if self._begun else max(0, start - step)

    def _after_the_end(self, walk: PageWalk, step: int) -> int | None:
        """Return the row to read instead of past the list's end; otherwise set how the chunk ended."""
        if not self._begun and self._row > 0 and not self._above:
            return max(0, min(self._row, walk.expected_total or 0) - step)
        self.complete = walk.complete
        self.stopped = None if walk.complete else f"walk stopped: {walk.stop_reason}"
        return None

    def _cut(self, page: Page) -> ChunkPage:
        records, ids, outside = [], [], 0
        above: int | None = None
        for raw in page.records:
            install_id = install_id_of(raw)
            if install_id is None:
                # Its owner is unknown, so it is quarantined, whatever chunk it belongs to.
                records.append(raw)
                continue
            self._ids_disordered |= above is not None and install_id >= above
            above = install_id
            if not self._is_ours(install_id) or install_id in self._seen:
                continue
            self._note_order(install_id, raw)
            self._seen.add(install_id)
            ids.append(install_id)
            if not self._is_wanted(install_id, raw):
                outside += 1
                continue
            records.append(raw)
        self._note_reached(page)
        return ChunkPage(
            page.number, page.per_page, page.total, records, page.requested_at,
            ids, self._reached, self._reached_total, self._row, outside, self._disorder,
            self._ids_disordered and self._sorted,
        )  # fmt: skip

    def _is_ours(self, install_id: int) -> bool:
        high, low = self._chunk.high_id, self._chunk.low_id
        return (high is None or install_id <= high) and (low is None or install_id > low)

    def _is_wanted(self, install_id: int, raw: msgspec.Raw) -> bool:
        if self._only is not None:
            return install_id in self._only
        return self._backfill.request.holds(created_at_of(raw))

    def _note_order(self, install_id: int, raw: msgspec.Raw) -> None:
        if self._lowest is not None and install_id > self._lowest:
            # The walk went back for skipped rows, and rows in between do not show the list's order.
            return
        self._lowest = install_id
        created_at = created_at_of(raw)
        if created_at is None:
            return
        if self._earliest is not None and created_at > self._earliest:
            late = (created_at - self._earliest).total_seconds()
            self._disorder = max(self._disorder, late)
        self._earliest = created_at if self._earliest is None else min(self._earliest, created_at)

    def _note_reached(self, page: Page) -> None:
        """Store where a resume continues: never beyond a page whose total fell.

        Rows before such a page may have been skipped; the walk goes back for them next.
        """
        self._fell = self._total is not None and page.total is not None and page.total < self._total
        self._total = page.total
        if not self._fell:
            self._reached, self._reached_total = self._lowest, page.total
            self._row = (page.number - 1) * page.per_page + len(page.records)

    def _is_over(self, page: Page) -> bool:
        low, rows = self._chunk.low_id, self._chunk.rows
        if low is None or self._fell:
            # The walk itself knows the list's end, and may still go back for skipped rows.
            return False
        if rows is not None and len(self._seen) >= rows:
            return True
        return any((found := install_id_of(raw)) is not None and found <= low for raw in page.records)
