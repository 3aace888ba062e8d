"""Walk a list endpoint page by page while the list changes (REFERENCE.md §3).

**Why no record is skipped.** Lists come newest ids first. A record added during the walk pushes rows towards
the end, and the next page repeats some: duplicates, no loss. A record deleted from the part already read
pulls rows towards the front, and the next page would start too late. With ``i`` records added and ``d``
deleted between two answers, at most ``d - i`` rows are skipped, and ``total`` falls by at least that number
(deletions further down only make it fall more). So when ``total`` falls by ``f``, the walk goes back ``f``
rows; when ``total`` does not fall, nothing was skipped. Endpoints that return only ``totalPages`` hide a
fall within one page: there the walk goes back as many pages as ``totalPages`` fell. It can still miss a
record, which the next walk catches.

**Why the size may change.** A page number counts in pages of the requested size. A walk that has passed
``covered`` rows and changes to size ``s`` continues with page ``covered // s + 1``, and reads up to
``s - 1`` rows again. If pages were shorter than requested (a server caps the size or hides rows),
``covered`` is the number of rows received, which never exceeds the rows passed.

**Why a 200 is not enough.** A page may come empty or short although its own ``total`` or ``totalPages``
promises more. The walk requests such a page again. If the first page stays short, its length is the server's
page limit, and later pages are measured by it. If any other page stays short, the walk is incomplete: it
continues to the end, but absence from it proves nothing.

A total may also be too small, where the vendor keeps a count that it updates later. When a page holds more
rows than its total leaves for it, the walk uses the total no longer, and ends with the first empty page.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from enerflo_sync.enerflo.envelopes import Envelope, Listing
from enerflo_sync.enerflo.failures import AnswerTooHeavyError
from enerflo_sync.errors import ContractDriftError

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

__all__ = ["Envelope", "Page", "PageWalk", "StopReason"]

log = logging.getLogger(__name__)

_GROW_AFTER = 8
# Upper bound of rows in one walk; the largest accounts have some hundred thousand.
MOST_ROWS = 20_000_000
GROWTH = 20_000
# How many times a page with too few rows is requested again.
ASKED_AGAIN = 2


class Page(msgspec.Struct, frozen=True):
    """One page as received.

    :param number: page number at size ``per_page``, from 1; numbers repeat after the walk goes back.
    :param total: number of all rows when the page was read; None if the endpoint does not return it.
    :param records: undecoded rows; they keep the page's bytes in memory, so release the page after use.
    :param requested_at: when the page was requested, aware UTC; its content is at least as new.
    """

    number: int
    per_page: int
    total: int | None
    records: list[msgspec.Raw]
    requested_at: datetime


class StopReason(StrEnum):
    """Why a walk ended."""

    TOTAL_REACHED = "total_reached"
    LAST_PAGE = "last_page"
    EMPTY_PAGE = "empty_page"
    SHORT_PAGE = "short_page"
    REPEATED_PAGE = "repeated_page"
    NOT_ENDING = "not_ending"


class _Identity(msgspec.Struct):
    """The fields that identify a row; on notes, ``id`` is the install's (REFERENCE.md §6.3)."""

    id: object = None
    note_id: object = None


_identity = msgspec.json.Decoder(_Identity)


class PageWalk:
    """The pages of one list endpoint in order; iterate once.

    If ``complete`` is true afterwards, every row that was in the list during the whole walk was delivered at
    least once; a row may be delivered twice. A short page never ends the walk. ``complete`` is false if a
    page stayed shorter than the list's own totals say (``is_lacking``).

    :param client: reads the pages and retries.
    :param per_page: rows per request; halved down to ``floor`` when a page is too heavy for the server or
        takes longer than ``slow_seconds``, doubled again after a run of quick pages.
    :param params: further query parameters.
    :param start: rows to skip: the walk begins with the page that contains the next row, and the guarantee
        above holds from that row on.

    After the walk: ``complete`` (also False if the caller stopped early), ``expected_total`` (the last
    total), ``requests`` (HTTP attempts), ``rows`` (delivered, repeats included), ``stop_reason`` (None until
    the end), ``is_lacking`` (also valid during the walk: a page so far lacked rows).
    """

    def __init__(
        self,
        client: EnerfloClient,
        path: str,
        envelope: Envelope,
        *,
        params: Mapping[str, str | int] | None = None,
        per_page: int = 500,
        floor: int = 25,
        slow_seconds: float = 20.0,
        start: int = 0,
    ) -> None:
        self.complete = False
        self.expected_total: int | None = None
        self.requests = 0
        self.rows = 0
        self.stop_reason: StopReason | None = None
        self._client = client
        self._path = path
        self._envelope = envelope
        self._params = dict(params or {})
        self._largest = per_page
        self._floor = min(floor, per_page)
        self._slow_seconds = slow_seconds
        self._number = 1
        self._size = per_page
        self._covered = 0
        self.is_lacking = False
        self._asked_again = 0
        self._short_rows: int | None = None
        # The server's page limit, known once a page has fewer rows than requested.
        self._cap: int | None = None
        self._pages: int | None = None
        self._total_is_wrong = False
        self._short_seen = False
        self._most_rows = 0
        self._first_total: int | None = None
        self._quick = 0
        self._grown = False
        self._grow_after = _GROW_AFTER
        self._seen: set[int] = set()
        self._go_to(start)
        self._iterator = self._walk()

    def __iter__(self) -> Iterator[Page]:
        """Return the walk's only iterator."""
        return self._iterator

    def _walk(self) -> Iterator[Page]:
        while self.stop_reason is None:
            listing, requested_at, seconds = self._fetch()
            if self._ask_again(listing):
                continue
            page = Page(self._number, self._size, listing.total, listing.records, requested_at)
            stop = self._accept(listing, seconds)
            self.rows += len(page.records)
            if page.records:
                yield page
            self.stop_reason = stop or self._not_ending()
            if self.stop_reason is None:
                self._refuse_endless()
        log.info(
            "enerflo.walk_ended path=%s reason=%s complete=%s rows=%d total=%s requests=%d",
            self._path, self.stop_reason, self.complete, self.rows, self.expected_total, self.requests,
        )  # fmt: skip

    def _fetch(self) -> tuple[Listing, datetime, float]:
        """Return the page at the current position; request fewer rows if the page is too heavy."""
        names = self._envelope
        while True:
            params = {**self._params, **names.page_params(self._number, self._size)}
            try:
                answer = self._client.read(
                    self._path, params, names.decode, shrinkable=self._size > self._floor
                )
            except AnswerTooHeavyError:
                self.requests += 1
                self._shrink(self._covered)
                continue
            self.requests += answer.attempts
            return answer.value, answer.requested_at, answer.seconds

    def _ask_again(self, listing: Listing) -> bool:
        """Return whether to request this page again because it has fewer rows than its totals say."""
        rows, expected = len(listing.records), self._expected_rows(listing)
        if self._cap is not None and rows > self._cap:
            # The supposed page limit of the server was a page that lacked rows.
            self.is_lacking, self._cap = True, rows
        if rows >= expected:
            return False
        may_be_cap = rows > 0 and self._cap is None and self._most_rows <= rows
        if self._asked_again < ASKED_AGAIN and not (may_be_cap and rows == self._short_rows):
            self._asked_again += 1
            self._short_rows = rows
            # Until it is known whether this is the server's limit, pages do not grow beyond it.
            self._short_seen, self._most_rows = True, max(self._most_rows, rows)
            return True
        if may_be_cap and rows == self._short_rows:
            self._cap = rows
        else:
            log.warning(
                "enerflo.walk_short_page path=%s page=%d rows=%d of=%d",
                self._path, self._number, rows, expected,
            )  # fmt: skip
            self.is_lacking = True
        return False

    def _expected_rows(self, listing: Listing) -> int:
        """Return how many rows the page must hold according to its own totals."""
        most = self._size if self._cap is None else min(self._size, self._cap)
        if listing.total is not None and not self._total_is_wrong:
            return min(most, max(0, listing.total - (self._number - 1) * most))
        pages = listing.total_pages
        if pages is None or self._number > pages or pages == 1:
            # Enerflo reports one page for an empty list.
            return 0
        return most if self._number < pages else 1

    def _accept(self, listing: Listing, seconds: float) -> StopReason | None:
        """Move past this page, or back if the list lost rows; return the reason to stop, if any."""
        rows = len(listing.records)
        before, total = self.expected_total, self._trusted_total(listing.total, rows)
        pages_before, pages = self._pages, listing.total_pages
        self.expected_total, self._pages = total, pages
        fell = max(0, before - total) if before is not None and total is not None else 0
        if total is None and pages is not None and pages_before is not None:
            fell = max(0, pages_before - pages) * self._size
        grew = _rose(before, total) or _rose(pages_before, pages)
        end = self._covered + rows
        if fell and self._covered:
            log.info("enerflo.walk_step_back path=%s page=%d rows=%d", self._path, self._number, fell)
            self._go_to(max(0, self._covered - fell))
            return None
        if not rows:
            # Some vendors name a next page on every page, so that a total says more.
            is_end = end >= total if total is not None else not listing.more
            self.complete = is_end and not self.is_lacking
            return StopReason.EMPTY_PAGE
        if grew:
            # Added records push rows onto later pages, which then legitimately repeat earlier ones.
            self._seen.clear()
        if self._is_repeated(listing.records):
            return self._stop_repeating(listing, total, rows)
        if self._reached(total, pages, rows, end) and not listing.more:
            self.complete = not self.is_lacking
            if self.is_lacking:
                return StopReason.SHORT_PAGE
            return StopReason.TOTAL_REACHED if total is not None else StopReason.LAST_PAGE
        self._advance(rows, end, seconds)
        return None

    def _trusted_total(self, total: int | None, rows: int) -> int | None:
        """Return ``total``, or None if the list has more rows: it counts the page's rows, or is outdated."""
        if total is not None and rows and total < self._covered + rows:
            self._total_is_wrong = True
        return None if self._total_is_wrong else total

    def _reached(self, total: int | None, pages: int | None, rows: int, end: int) -> bool:
        if total is not None:
            # A total equal to a full first page may be that page's own count; a second page decides.
            return end >= total and not (self._number == 1 and total == rows == self._size)
        return pages is not None and self._number >= pages

    def _is_repeated(self, records: list[msgspec.Raw]) -> bool:
        mark = hash((len(records), _mark(records[0]), _mark(records[-1])))
        if mark in self._seen:
            return True
        self._seen.add(mark)
        return False

    def _stop_repeating(self, listing: Listing, total: int | None, rows: int) -> StopReason:
        pages = listing.total_pages
        if listing.more or total is not None or (pages is not None and self._number <= pages):
            raise ContractDriftError(
                f"page {self._number} repeats an earlier page, while the answer says that there is more.",
                where=f"GET {self._path}",
                next_step="Check that the endpoint still takes its page parameters (REFERENCE.md §3).",
            )
        # Without a total, a server may repeat its last page past the end, or ignore the page number.
        self.complete = (self._number > 2 or rows < self._size) and not self.is_lacking
        return StopReason.REPEATED_PAGE

    def _advance(self, rows: int, end: int, seconds: float) -> None:
        self._short_seen = self._short_seen or rows < self._size
        self._most_rows = max(self._most_rows, rows)
        self._number += 1
        self._covered = end
        self._asked_again, self._short_rows = 0, None
        if seconds > self._slow_seconds and self._size > self._floor:
            self._shrink(end)
            return
        self._quick = self._quick + 1 if seconds < self._slow_seconds / 4 else 0
        wider = min(self._size * 2, self._largest)
        aligned = end % wider == 0 or self._quick >= 2 * self._grow_after
        if self._size < wider and self._quick >= self._grow_after and aligned and not self._short_seen:
            self._grown = True
            self._resize(wider, end)

    def _shrink(self, covered: int) -> None:
        if self._grown:
            self._grow_after *= 2
            self._grown = False
        smaller = self._size // 2
        if self._short_seen:
            smaller = min(smaller, self._most_rows)
        self._resize(max(self._floor, smaller), covered)

    def _resize(self, size: int, covered: int) -> None:
        log.info("enerflo.walk_resize path=%s from=%d to=%d", self._path, self._size, size)
        self._size = size
        self._pages = None
        self._quick = 0
        self._go_to(covered)

    def _go_to(self, covered: int) -> None:
        """Set the next page number so that the row after ``covered`` rows is not skipped."""
        self._number = covered // self._size + 1
        rows_a_page = min(self._size, self._most_rows) if self._short_seen else self._size
        self._covered = (self._number - 1) * rows_a_page
        self._asked_again, self._short_rows = 0, None
        self._seen.clear()

    def _refuse_endless(self) -> None:
        """Return while the walk can still end.

        :raises ContractDriftError: the list grows as fast as it is read, or exceeds any plausible size.
        """
        if self._first_total is None:
            self._first_total = self.expected_total
        most = MOST_ROWS
        if self._first_total is not None:
            # A company does not create as many records again while its list is read.
            most = min(most, 2 * self._first_total + GROWTH)
        if self.rows <= most:
            return
        began = "an unknown number of" if self._first_total is None else f"{self._first_total:,}"
        raise ContractDriftError(
            f"the list does not end: {self.rows:,} rows were read, of {began} when the walk began.",
            where=f"GET {self._path}",
            next_step="What was read is stored. Check that the endpoint takes its page parameters"
            " (REFERENCE.md §3). The bounds are fixed, no setting moves them: twice the rows of the beginning"
            f" and {GROWTH:,} more (GROWTH), and {MOST_ROWS:,} in all (MOST_ROWS).",
        )

    def _not_ending(self) -> StopReason | None:
        """Return a stop reason once the walk made far more requests than the list can need."""
        if self.expected_total is None:
            return None
        bound = 100 + 4 * (self.expected_total // self._floor)
        return StopReason.NOT_ENDING if self.requests > bound else None


def _rose(before: int | None, now: int | None) -> bool:
    return before is not None and now is not None and now > before


def _mark(record: msgspec.Raw) -> str | bytes:
    """Return the row's ids, by which pages are compared, since other fields may be volatile."""
    try:
        identity = _identity.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bytes(record)
    if identity.id is None and identity.note_id is None:
        return bytes(record)
    return f"{identity.id}/{identity.note_id}"
