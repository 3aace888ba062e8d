"""A backfill's work in parts: which pages, or which named installs, each of them reads."""

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
    """What a chunk reads: pages of the list of the resource of this name, or installs one by one."""

    __slots__ = ()

    @property
    def is_of_installs(self) -> bool:
        """Return whether installs are read, which comes before what belongs to them."""
        return self in (PAGES, RECORDS)


# Of installs: pages of their list, or one by one.
PAGES, RECORDS = Source(INSTALLS.name), Source("records")


@dataclass(frozen=True)
class Chunk:
    """One part, as it is planned.

    :param number: from 1, in the order in which they are read one after the other.
    :param label: what it holds, for people.
    :param first_row: rows of the list before it; of ``RECORDS``, named installs before it.
    :param rows: rows that it holds; None where that is not known.
    :param high_id: its highest install id; None where it begins with the list.
    :param low_id: the highest id below it; None where it goes to the list's end.
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
    """Rows of the install list to be read, whole pages: from ``first`` to before ``end``."""

    first: int
    end: int


def page_span(newest: int, oldest: int, total: int, per_page: int, slack: int = 0) -> Span:
    """Return the pages that hold the rows between two places from the list's end.

    :param newest: the place of the first row, counted from the end.
    :param oldest: that of the last one.
    :param slack: by how many rows the places are uncertain.
    """
    first = max(0, total - newest - slack)
    end = min(total, total - oldest + 1 + slack)
    return Span(first // per_page * per_page, min(total, math.ceil(max(end, 0) / per_page) * per_page))


def pages_of_a_chunk(pages: int, options: BackfillOptions, page_seconds: float) -> int:
    """Return how many pages make a chunk that is worth its own task, within the most chunks allowed.

    :param page_seconds: how long a page took; the request budget, which those that read at once share, may
        make it longer.
    """
    workers = max(1, options.workers)
    worth = math.ceil(options.chunk_seconds / max(page_seconds, workers / options.rate()))
    wanted = max(worth, math.ceil(pages / options.most_chunks), 1)
    chunks = pages // wanted
    if chunks > workers:
        # So many that nobody reads the last one alone.
        chunks -= chunks % workers
    # As equal as possible: none of them is a short rest.
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
    """Return the chunks of a span, each between two installs that the list holds now.

    By these, and not by page numbers, a chunk knows what it has to read when the list has moved. They are
    looked at from the newest on: what is deleted meanwhile can only make a chunk smaller than expected.

    :param is_above: whether nothing that is wanted is listed before an install; the span grows until that
        holds of its first one.
    :param is_below: whether neither the install nor anything after it is wanted; the same of the end.
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
            # By their places when they were looked at: the list may have moved since it was measured. To
            # an open end comes what is signed meanwhile.
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
    """Return the chunks of so many named installs, which are read one by one."""
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
    """Return the chunk that reads every install, whatever their order."""
    return Chunk(number, PAGES, "the whole list, in whatever order")
