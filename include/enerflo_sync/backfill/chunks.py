"""Divide a backfill's work into chunks: which pages, or which named installs, each chunk reads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from enerflo_sync.backfill.context import BackfillOptions
from enerflo_sync.backfill.search import ListSearch, Probe
from enerflo_sync.resources.installs import INSTALLS


class Source(str):
    """What a chunk reads: pages of the list of this resource, or installs one by one."""

    __slots__ = ()

    @property
    def is_of_installs(self) -> bool:
        """Return whether the chunk reads installs, which come before their child records."""
        return self in (PAGES, RECORDS)


# Sources of installs: pages of their list, or single reads.
PAGES, RECORDS = Source(INSTALLS.name), Source("records")


@dataclass(frozen=True)
class Chunk:
    """One planned chunk.

    :param number: from 1, in reading order.
    :param label: its content, for people.
    :param first_row: rows of the list before it; for ``RECORDS``, named installs before it.
    :param rows: number of its rows; None if unknown.
    :param high_id: its highest install id; None if it starts at the list's front.
    :param low_id: the highest id below it; None if it extends to the list's end.
    """

    number: int
    source: Source
    label: str
    first_row: int = 0
    rows: int | None = None
    high_id: int | None = None
    low_id: int | None = None


@dataclass(frozen=True)
class Span:
    """Rows of the install list to read, in whole pages: from ``first`` to before ``end``."""

    first: int
    end: int


def page_span(newest: int, oldest: int, total: int, per_page: int, slack: int = 0) -> Span:
    """Return the pages that contain the rows between two positions counted from the list's end.

    :param newest: position of the first row.
    :param oldest: position of the last row.
    :param slack: uncertainty of the positions, in rows.
    """
    first = max(0, total - newest - slack)
    end = min(total, total - oldest + 1 + slack)
    return Span(first // per_page * per_page, min(total, math.ceil(max(end, 0) / per_page) * per_page))


def pages_of_a_chunk(pages: int, options: BackfillOptions, page_seconds: float) -> int:
    """Return the number of pages per chunk: worth a task, within the maximum number of chunks.

    :param page_seconds: duration of a page; the request budget, which parallel chunks share, may make it
        longer.
    """
    workers = max(1, options.workers)
    worth = math.ceil(options.chunk_seconds / max(page_seconds, workers / options.rate()))
    wanted = max(worth, math.ceil(pages / options.most_chunks), 1)
    chunks = pages // wanted
    if chunks > workers:
        # A multiple of the workers, so that no worker reads the last chunk alone.
        chunks -= chunks % workers
    # Equal sizes leave no short last chunk.
    return math.ceil(pages / max(1, chunks)) if pages else wanted


def install_chunks(
    search: ListSearch,
    span: Span,
    per_page: int,
    pages_a_chunk: int,
    *,
    is_above: Callable[[Probe], bool],
    is_below: Callable[[Probe], bool],
    from_number: int = 1,
) -> list[Chunk]:
    """Return the chunks of a span, each bounded by two installs that the list contains now.

    Install ids, unlike page numbers, still identify a chunk after the list has moved. They are read from the
    newest on, so that deletions meanwhile can only make a chunk smaller than expected.

    :param is_above: whether no wanted install is listed before this one; the span grows until that holds for
        its first install.
    :param is_below: whether neither this install nor any after it is wanted; the span grows until that holds
        for its last one.
    """
    if span.end <= span.first:
        return []
    total, size = search.total, per_page
    first, top = span.first, search.at(total - span.first) if span.first else None
    while top is not None and not is_above(top):
        first = max(0, first - size)
        top = search.at(total - first) if first else None
    cuts, bounds = [first], [top]
    for row in range(first + pages_a_chunk * size, span.end, pages_a_chunk * size):
        cuts.append(row)
        bounds.append(search.at(total - row))
    end, bottom = span.end, search.at(total - span.end) if span.end < total else None
    while bottom is not None and not is_below(bottom):
        end += size
        bottom = search.at(total - end) if end < total else None
    cuts.append(end)
    bounds.append(bottom)
    ends = [*zip(itertools.pairwise(cuts), itertools.pairwise(bounds), strict=True)]
    return [
        Chunk(
            from_number + at,
            PAGES,
            f"{_dates(search, low, high)}, {_pages(begin, stop, size)}",
            first_row=begin,
            # Positions at the time of the probes: the list may have moved since it was measured. An open end
            # also receives the installs created meanwhile.
            rows=high.from_end - low.from_end if high is not None and low is not None else None,
            high_id=high.install_id if high else None,
            low_id=low.install_id if low else None,
        )
        for at, ((begin, stop), (high, low)) in enumerate(ends)
    ]


def _pages(begin: int, stop: int, per_page: int) -> str:
    first, last = begin // per_page + 1, math.ceil(stop / per_page)
    return f"page {first:,}" if first == last else f"pages {first:,}–{last:,}"  # noqa: RUF001 - a range


def _dates(search: ListSearch, low: Probe | None, high: Probe | None) -> str:
    ends = search.measured
    first = low.created_at if low else ends[1].created_at if ends else None
    last = high.created_at if high else ends[0].created_at if ends else None
    return f"{_day(first)} … {_day(last)}"


def _day(moment: datetime | None) -> str:
    return "?" if moment is None else moment.astimezone(UTC).date().isoformat()


def record_chunks(
    count: int, options: BackfillOptions, requests_each: int, *, from_number: int = 1
) -> list[Chunk]:
    """Return the chunks of ``count`` named installs, which are read one by one."""
    worth = math.ceil(options.chunk_seconds * options.rate() / requests_each)
    size = max(worth, math.ceil(count / options.most_chunks), 1)
    size = math.ceil(count / max(1, count // size)) if count else size
    starts = range(0, count, size)
    return [
        Chunk(
            from_number + index,
            RECORDS,
            f"named installs {start + 1:,}–{min(start + size, count):,}",  # noqa: RUF001 - a range
            first_row=start,
            rows=min(size, count - start),
        )
        for index, start in enumerate(starts)
    ]


def whole_list_chunk(number: int) -> Chunk:
    """Return the chunk that reads every install in any order."""
    return Chunk(number, PAGES, "the whole list, in whatever order")
