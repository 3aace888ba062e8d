"""Widen a window if the list is out of order: read around it, or the whole list."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import sqlalchemy as sa

from enerflo_sync.backfill.chunks import PAGES, Chunk, install_chunks, whole_list_chunk
from enerflo_sync.backfill.context import Context
from enerflo_sync.backfill.plan import Wanted, created_within, span_of
from enerflo_sync.backfill.readers import read_chunk
from enerflo_sync.backfill.request import Kind
from enerflo_sync.backfill.search import ListSearch, created_at_of
from enerflo_sync.backfill.store import (
    Backfill,
    ChunkState,
    StoredChunk,
    insert_chunks,
    load_backfill,
    load_chunks,
    update_backfill,
)
from enerflo_sync.errors import NotFoundError
from enerflo_sync.mirror.details import read_directly
from enerflo_sync.resources.installs import INSTALLS

log = logging.getLogger(__name__)

# How many of the installs that the mirror has in the window, but no page listed, are read directly first, to
# tell a disordered list from deleted installs.
_ASKED_FIRST = 5
# Each round reads as far as the disorder found in the previous round.
_MOST_ROUNDS = 8

_MISSING = sa.text("""
/* enerflo-sync backfill: installs of the window that its pages did not name */
select i.install_id from enerflo.installs i
where i.account = :account and i.deleted_at is null and i.observed_at <= :started_at
  and (cast(:from as timestamptz) is null or i.created_at >= :from)
  and (cast(:to as timestamptz) is null or i.created_at < :to)
  and not exists (
    select from sync.backfill_pages p
    where p.account = i.account and p.backfill_id = :backfill_id and i.install_id = any(p.install_ids))
order by i.install_id
""")


def widen(
    context: Context, connection: sa.Connection, backfill: Backfill, chunks: Sequence[StoredChunk]
) -> tuple[Backfill, Sequence[StoredChunk]]:
    """Continue reading around the window as far as creation times, or ids, were out of order."""
    if _is_out_of_place(context, connection, backfill, chunks):
        backfill, chunks = _read_more(
            context, connection, backfill, [whole_list_chunk(len(chunks) + 1)], backfill.widened_seconds
        )
    for _ in range(_MOST_ROUNDS):
        found = max((one.progress.disorder_seconds for one in chunks), default=0.0)
        ids_disordered = any(one.progress.ids_disordered for one in chunks)
        more: list[Chunk] = []
        if ids_disordered and not any(_is_whole(one.chunk) for one in chunks):
            more = [whole_list_chunk(len(chunks) + 1)]
        elif not ids_disordered and found > backfill.widened_seconds:
            more = _around(context, backfill, chunks, found)
        if found <= backfill.widened_seconds and not more:
            break
        log.warning(
            "backfill_widened backfill=%s seconds=%.0f chunks=%s", backfill.backfill_id, found, len(more)
        )
        backfill, chunks = _read_more(context, connection, backfill, more, found)
    return backfill, chunks


def _read_more(
    context: Context, connection: sa.Connection, backfill: Backfill, more: Sequence[Chunk], seconds: float
) -> tuple[Backfill, Sequence[StoredChunk]]:
    """Read further chunks, and return the backfill and all its chunks in their new state."""
    with connection.begin():
        insert_chunks(connection, backfill, more)
        update_backfill(connection, backfill, context.clock.now(), widened_seconds=seconds)
    for chunk in more:
        with connection.begin():
            stored = load_chunks(connection, context.account, backfill.backfill_id)
        read_chunk(context, backfill, stored[chunk.number - 1])
    with connection.begin():
        backfill = load_backfill(connection, context.account, backfill.backfill_id)
        return backfill, load_chunks(connection, context.account, backfill.backfill_id)


def _is_out_of_place(
    context: Context, connection: sa.Connection, backfill: Backfill, chunks: Sequence[StoredChunk]
) -> bool:
    """Return whether an install of the window exists although the window's pages did not list it.

    The dates of such a list do not follow its ids, so a time window is not a contiguous part of the list.
    """
    is_window = backfill.request.kind is Kind.WINDOW and INSTALLS.name in backfill.request.parts
    if not is_window or any(_is_whole(one.chunk) for one in chunks):
        return False
    if any(one.progress.state is not ChunkState.DONE for one in chunks if one.chunk.source.is_of_installs):
        return False
    missing = missing_of_window(context, connection, backfill)
    step = max(1, len(missing) // _ASKED_FIRST)
    for install_id in missing[::step][:_ASKED_FIRST]:
        with suppress(NotFoundError):
            raw = read_directly(context.client, install_id, lambda _: None)
            if raw is not None and backfill.request.holds(created_at_of(raw)):
                log.warning("backfill_widened backfill=%s install=%s", backfill.backfill_id, install_id)
                return True
    return False


def _is_whole(chunk: Chunk) -> bool:
    return chunk.source == PAGES and chunk.high_id is None and chunk.low_id is None


def _around(
    context: Context, backfill: Backfill, chunks: Sequence[StoredChunk], seconds: float
) -> list[Chunk]:
    """Return the chunks above and below those already read, as far as times may be out of order.

    If no install is listed more than ``seconds`` too late or too early, no install of the window lies beyond
    these chunks.
    """
    read = [one.chunk for one in chunks if one.chunk.source == PAGES]
    request = backfill.request
    if request.kind is not Kind.WINDOW or not read:
        return []
    top, bottom = _highest(read), _lowest(read)
    search, out = ListSearch(context.client, backfill.per_page), timedelta(seconds=seconds)
    if search.measure() is None:
        return []
    around: list[Chunk] = []
    start, end, size = request.window_from, request.window_to, backfill.per_page
    wanted = created_within(search, start and start - out, end and end + out)

    def chunks_of(part: Wanted) -> list[Chunk]:
        return install_chunks(
            search, span_of(search, part, size), size, context.options.most_chunks,
            is_above=part.is_above, is_below=part.is_below,
        )  # fmt: skip

    if top is not None:
        edge = search.ids_below(top + 1)
        upper = replace(wanted, below=edge, is_below=lambda probe: probe.install_id <= top)
        around += _kept(chunks_of(upper), low=top)
    if bottom is not None:
        edge = search.ids_below(bottom + 1)
        lower = replace(wanted, above=edge, is_above=lambda probe: probe.install_id >= bottom)
        around += _kept(chunks_of(lower), high=bottom)
    number = len(chunks) + 1
    return [replace(one, number=number + at, label=f"widened: {one.label}") for at, one in enumerate(around)]


def _highest(chunks: Sequence[Chunk]) -> int | None:
    """Return the highest id read; None if reading began at the list's front."""
    tops = [one.high_id for one in chunks]
    return None if None in tops else max(top for top in tops if top is not None)


def _lowest(chunks: Sequence[Chunk]) -> int | None:
    """Return the highest id below the part read; None if reading went to the list's end."""
    bottoms = [one.low_id for one in chunks]
    return None if None in bottoms else min(low for low in bottoms if low is not None)


def _kept(chunks: Sequence[Chunk], *, low: int | None = None, high: int | None = None) -> list[Chunk]:
    """Return chunks without the ids already read by others; their number of rows is then unknown."""
    kept = []
    for one in chunks:
        low_id, high_id = one.low_id, one.high_id
        if low is not None:
            low_id = low if low_id is None else max(low, low_id)
        if high is not None:
            high_id = high if high_id is None else min(high, high_id)
        if low_id is None or high_id is None or high_id > low_id:
            kept.append(replace(one, low_id=low_id, high_id=high_id, rows=None))
    return kept


def missing_of_window(context: Context, connection: sa.Connection, backfill: Backfill) -> list[int]:
    """Return the mirror's live installs in a window that its pages did not list."""
    request = backfill.request
    values = {
        "account": context.account,
        "backfill_id": backfill.backfill_id,
        "started_at": backfill.started_at,
        "from": request.window_from,
        "to": request.window_to,
    }
    with connection.begin():
        return list(connection.scalars(_MISSING, values))
