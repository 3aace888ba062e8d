"""Turn a request into chunks and an estimate: search the list, read a sample, extrapolate."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import msgspec
import sqlalchemy as sa

from enerflo_sync.backfill.chunks import (
    PAGES,
    Chunk,
    Source,
    Span,
    install_chunks,
    page_span,
    pages_of_a_chunk,
    record_chunks,
    whole_list_chunk,
)
from enerflo_sync.backfill.collisions import collisions
from enerflo_sync.backfill.context import Context
from enerflo_sync.backfill.estimate import Estimate
from enerflo_sync.backfill.named import OF_INSTALL
from enerflo_sync.backfill.request import Kind
from enerflo_sync.backfill.sample import Sample, sample_named, sample_pages
from enerflo_sync.backfill.search import Edge, ListSearch, Probe
from enerflo_sync.backfill.store import Backfill
from enerflo_sync.enerflo.envelopes import Listing
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.enerflo.lists import VendorList
from enerflo_sync.errors import ConfigurationError, ContractDriftError, FatalError
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.registry import ALL

log = logging.getLogger(__name__)

# Up to this number, named installs are read one by one without comparing the cost of a walk.
_FEW = 100


@dataclass(frozen=True)
class Planned:
    """What to read.

    :param listed: installs in the list when it was searched; None if it was not.
    """

    chunks: list[Chunk]
    estimate: Estimate
    per_page: int
    listed: int | None


@dataclass(frozen=True)
class _Found:
    """The install pages to read: a span of rows, the approximate number of wanted rows, and the sample."""

    chunks: list[Chunk]
    pages: int
    records: int
    sample: Sample
    per_page: int
    listed: int | None = None


def plan_backfill(context: Context, connection: sa.Connection, backfill: Backfill) -> Planned:
    """Return the chunks of a backfill and its estimate, without writing.

    :raises ConfigurationError: the window ends before the company's first install.
    """
    request = backfill.request
    if INSTALLS.name not in request.parts:
        found = _Found([], 0, 0, Sample(), backfill.per_page)
    elif request.kind is Kind.IDS:
        found = _named(context, connection, backfill)
    else:
        found = _listed(context, connection, backfill)
    chunks = list(found.chunks)
    details = found.sample.scaled(found.sample.untold, found.records)
    estimate = Estimate(
        records=found.records,
        install_requests=found.pages,
        detail_requests=details,
        sampled=found.sample.read,
        changed=found.sample.scaled(found.sample.changed, found.records),
        new=found.sample.scaled(found.sample.new, found.records),
        plan_changes=found.sample.scaled(found.sample.changes, found.records),
        page_seconds=round(found.sample.page_seconds, 3),
    )
    by_themselves = request.kind is Kind.IDS and not any(c.source == PAGES for c in chunks)
    already = OF_INSTALL if by_themselves else ()
    estimate = _with_lists(context, backfill, chunks, estimate, found.per_page, already)
    with connection.begin():
        found_collisions = collisions(connection, backfill, context.clock.now())
    estimate = msgspec.structs.replace(estimate, chunks=len(chunks), collisions=found_collisions)
    return Planned(chunks, _timed(context, estimate), found.per_page, found.listed)


# -- installs ----------------------------------------------------------------------------------------------


def _listed(context: Context, connection: sa.Connection, backfill: Backfill) -> _Found:
    search = ListSearch(context.client, backfill.per_page)
    try:
        if search.measure() is None:
            return _Found([], 0, 0, Sample(), backfill.per_page, 0)
        if backfill.request.kind is Kind.WINDOW:
            search.look_around()
            if search.is_disordered():
                log.warning("backfill_widened backfill=%s why=dates_do_not_follow_ids", backfill.backfill_id)
                return _whole_list(backfill)
        return _pages_between(context, connection, backfill, search, _window_edges(search, backfill))
    except ContractDriftError:
        # Without readable row numbers the list cannot be searched, so the walk covers all of it.
        return _whole_list(backfill)


def _whole_list(backfill: Backfill) -> _Found:
    return _Found([whole_list_chunk(1)], 0, 0, Sample(), backfill.per_page)


@dataclass(frozen=True)
class Wanted:
    """Where the wanted installs are in the list, and tests for the installs around them."""

    below: Edge
    above: Edge
    is_above: Callable[[Probe], bool]
    is_below: Callable[[Probe], bool]


def created_within(search: ListSearch, start: datetime | None, end: datetime | None) -> Wanted:
    """Return where the installs of a window are, in a list that was measured."""
    assert search.measured is not None  # noqa: S101 - it was measured
    newest, oldest = search.measured
    below, above = Edge(0, 1), Edge(search.total, search.total + 1)
    if start is not None and start > oldest.created_at:
        below = search.created_before(start)
    if end is not None and end <= newest.created_at:
        above = search.created_before(end)
    return Wanted(
        below,
        above,
        lambda probe: end is not None and probe.created_at >= end,
        lambda probe: start is not None and probe.created_at < start,
    )


def ids_within(search: ListSearch, low: int, high: int) -> Wanted:
    """Return where the installs with ids from ``low`` to ``high`` are."""
    below, above = search.ids_below(low), search.ids_below(high + 1)
    return Wanted(below, above, lambda probe: probe.install_id > high, lambda probe: probe.install_id < low)


def _window_edges(search: ListSearch, backfill: Backfill) -> Wanted:
    request = backfill.request
    assert search.measured is not None  # noqa: S101 - it was measured
    _, oldest = search.measured
    if request.window_to is not None and request.window_to <= oldest.created_at:
        raise ConfigurationError(
            f"it ends before the company's first install of {oldest.created_at.astimezone(UTC):%Y-%m-%d}.",
            where=f"the window {backfill.words}",
            next_step="Nothing was read. Check the year.",
        )
    return created_within(search, request.window_from, request.window_to)


def _pages_between(
    context: Context, connection: sa.Connection, backfill: Backfill, search: ListSearch, wanted: Wanted
) -> _Found:
    """Return the pages with wanted installs, sampled and divided into chunks."""
    records = max(0, round(wanted.above.rows_below - wanted.below.rows_below))
    span = span_of(search, wanted, backfill.per_page)
    sample = sample_pages(context, connection, backfill, _spread(span, backfill.per_page, context))
    per_page = max(1, min(backfill.per_page, sample.page_rows or backfill.per_page))
    span = span_of(search, wanted, per_page)
    pages = math.ceil((span.end - span.first) / per_page)
    # A complete sample is exact; the search is exact only to a page.
    records = sample.read if sample.pages == pages else min(records, span.end - span.first)
    chunks = install_chunks(
        search,
        span,
        per_page,
        pages_of_a_chunk(pages, context.options, sample.page_seconds),
        is_above=wanted.is_above,
        is_below=wanted.is_below,
    )
    return _Found(chunks, pages, records, sample, per_page, search.total)


def span_of(search: ListSearch, wanted: Wanted, per_page: int) -> Span:
    """Return the pages that contain wanted installs."""
    return page_span(wanted.above.newer - 1, wanted.below.older + 1, search.total, per_page, search.fallen)


def _spread(span: Span, per_page: int, context: Context) -> list[int]:
    """Return the first rows of the sampled pages: the middle of equal parts of the span."""
    pages = math.ceil((span.end - span.first) / per_page)
    # For few pages, sample only one, because a sampled page is read twice.
    most = min(context.options.samples, math.ceil(pages / 10))
    return [span.first + (2 * at + 1) * pages // (2 * most) * per_page for at in range(most)]


def _named(context: Context, connection: sa.Connection, backfill: Backfill) -> _Found:
    """Return the chunks of named installs: read one by one, or by pages if that needs fewer requests."""
    request = backfill.request
    each = sum(name in request.parts for name in (INSTALLS.name, *OF_INSTALL))
    count = len(request.install_ids) + len(request.deal_ids)
    if len(request.install_ids) > _FEW:
        walked = _walked(context, connection, backfill)
        if walked is not None and walked.pages < len(request.install_ids):
            deals = len(request.deal_ids)
            by_deal = record_chunks(deals, context.options, each, from_number=len(walked.chunks) + 1)
            return replace(
                walked,
                chunks=[*walked.chunks, *by_deal],
                records=count,
                pages=walked.pages + deals * each,
            )
    sample = sample_named(context, connection, backfill, min(5, count))
    return _Found(record_chunks(count, context.options, each), count * each, count, sample, backfill.per_page)


def _walked(context: Context, connection: sa.Connection, backfill: Backfill) -> _Found | None:
    """Return the list's pages that contain all named installs; None if the list cannot be searched."""
    ids = backfill.request.install_ids
    search = ListSearch(context.client, backfill.per_page)
    try:
        if search.measure() is None:
            return None
        wanted = ids_within(search, min(ids), max(ids))
        if (wanted.above.newer - wanted.below.older) / backfill.per_page >= len(ids):
            return None
        return _pages_between(context, connection, backfill, search, wanted)
    except ContractDriftError:
        return None


# -- the other lists, time ----------------------------------------------------------------------------------


def _with_lists(
    context: Context,
    backfill: Backfill,
    chunks: list[Chunk],
    estimate: Estimate,
    per_page: int,
    already: Collection[str],
) -> Estimate:
    """Add the chunks of the other lists, and their cost.

    :param already: resources that are read with each named install.
    """
    parts = {name for name in backfill.request.parts if name not in already}
    since, requests = backfill.request.window_from, {}
    for resource in ALL:
        listing = resource.listing
        if resource.backfilled_by is None or listing is None or resource.name not in parts:
            continue
        after = listed_since(context, backfill, listing)
        count = _count(partial(listing.page, context.client, 1, 1, after))
        what = resource.name.replace("_", " ")
        label = f"all {what}" if since is None or after is None else f"{what} since {since:%Y-%m-%d}"
        chunks.append(Chunk(len(chunks) + 1, Source(resource.name), label))
        requests[resource.name] = math.ceil(count / per_page) or 1
    return msgspec.structs.replace(estimate, list_requests=requests)


def listed_since(context: Context, backfill: Backfill, listing: VendorList) -> datetime | None:
    """Return the creation time from which a list's records are wanted; None if all must be read."""
    since = backfill.request.window_from
    if since is None or listing.created_after is None:
        return None
    return since - context.options.notes_lookback


def _count(read: Callable[[], Listing]) -> int:
    """Return a list's number of rows from a one-row request; 0 if it does not exist or is refused."""
    try:
        listing = read()
    except AuthenticationError:
        raise
    except (FatalError, ContractDriftError):
        return 0
    if listing.total is not None:
        return listing.total
    return (listing.total_pages or 1) * len(listing.records)


def _timed(context: Context, estimate: Estimate) -> Estimate:
    options = context.options
    slowest = estimate.install_requests * estimate.page_seconds / max(1, options.workers)

    def minutes(rate: float) -> float:
        return round(max(estimate.requests / rate, slowest) / 60, 2)

    return msgspec.structs.replace(
        estimate,
        minutes_alone=minutes(options.rate()),
        minutes_beside_live=minutes(options.rate(beside_live=True)),
    )
