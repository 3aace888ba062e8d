"""The end of a backfill: the walk widened where the list was out of order, what is missing, the report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from enerflo_sync.backfill.chunks import Chunk, Source, install_chunks, whole_list_chunk
from enerflo_sync.backfill.context import Context
from enerflo_sync.backfill.plan import Wanted, created_within, span_of
from enerflo_sync.backfill.readers import read_chunk
from enerflo_sync.backfill.report import run_report
from enerflo_sync.backfill.request import Kind, Part
from enerflo_sync.backfill.search import ListSearch
from enerflo_sync.backfill.store import (
    Backfill,
    ChunkState,
    State,
    StoredChunk,
    forget_pages,
    insert_chunks,
    load_backfill,
    load_chunks,
    named_ids,
    named_pages,
    update_backfill,
)
from enerflo_sync.errors import NotFoundError, RetriableError
from enerflo_sync.inbox.burial import Burial
from enerflo_sync.mirror.details import read_directly
from enerflo_sync.mirror.installs import INSTALLS
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.sweep import ShrunkSourceError, Sweep
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.mirror.witnesses import confirm
from enerflo_sync.warehouse.runs import add_api_calls, finish_run
from enerflo_sync.warehouse.watermarks import move_watermark

log = logging.getLogger(__name__)

# Each round reads what lies within the disorder that the last one found.
_MOST_ROUNDS = 8
_ALL = 1_000_000

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


@dataclass
class _Rest:
    """What the end found beside the chunks."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    missing: int = 0

    def of(self, resource: str) -> Tally:
        return self.tallies.setdefault(resource, Tally())


def finish_backfill(context: Context, connection: sa.Connection, backfill_id: str) -> None:
    """Conclude a backfill whose chunks are read, and store what it did as a run.

    Killed anywhere, it is finished by the next call: what a complete walk says of deletions counts once.

    :raises RetriableError: chunks are left to be read.
    """
    with connection.begin():
        backfill = load_backfill(connection, context.account, backfill_id)
        chunks: Sequence[StoredChunk] = load_chunks(connection, context.account, backfill_id)
    if backfill.state is State.FINISHED:
        return
    left = [
        one.chunk.number
        for one in chunks
        if one.progress.state not in (ChunkState.DONE, ChunkState.INCOMPLETE)
    ]
    if left:
        raise RetriableError(
            f"{len(left)} of its {len(chunks)} chunks are not read yet (the first is {left[0]}).",
            where=f"backfill {backfill_id}",
            next_step=f"Go on with enerflo-sync backfill --resume {backfill_id}.",
        )
    backfill, chunks = _widen(context, connection, backfill, chunks)
    rest = _Rest()
    if Part.INSTALLS in backfill.request.parts:
        _conclude(context, connection, backfill, chunks, rest)
    _end(context, connection, backfill, chunks, rest)


# -- disorder ----------------------------------------------------------------------------------------------


def _widen(
    context: Context, connection: sa.Connection, backfill: Backfill, chunks: Sequence[StoredChunk]
) -> tuple[Backfill, Sequence[StoredChunk]]:
    """Read on around the window as far as creation times, or ids, were found out of order."""
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
        with connection.begin():
            insert_chunks(connection, backfill, more)
            update_backfill(connection, backfill, context.clock.now(), widened_seconds=found)
        for chunk in more:
            with connection.begin():
                stored = load_chunks(connection, context.account, backfill.backfill_id)
            read_chunk(context, backfill, stored[chunk.number - 1])
        with connection.begin():
            backfill = load_backfill(connection, context.account, backfill.backfill_id)
            chunks = load_chunks(connection, context.account, backfill.backfill_id)
    return backfill, chunks


def _is_whole(chunk: Chunk) -> bool:
    return chunk.source is Source.INSTALLS and chunk.high_id is None and chunk.low_id is None


def _around(
    context: Context, backfill: Backfill, chunks: Sequence[StoredChunk], seconds: float
) -> list[Chunk]:
    """Return the chunks above and below those that were read, as far as times may be out of order.

    Where no install is listed more than ``seconds`` too late or too early, none that belongs to the window
    lies beyond.
    """
    read = [one.chunk for one in chunks if one.chunk.source is Source.INSTALLS]
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
    """Return the highest id that was read up to; None where that was the list's front."""
    tops = [one.high_id for one in chunks]
    return None if None in tops else max(top for top in tops if top is not None)


def _lowest(chunks: Sequence[Chunk]) -> int | None:
    """Return the highest id below what was read; None where that went to the list's end."""
    bottoms = [one.low_id for one in chunks]
    return None if None in bottoms else min(low for low in bottoms if low is not None)


def _kept(chunks: Sequence[Chunk], *, low: int | None = None, high: int | None = None) -> list[Chunk]:
    """Return chunks cut off where others were read already: how many rows they hold is not known then."""
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


# -- what is missing ---------------------------------------------------------------------------------------


def _conclude(
    context: Context,
    connection: sa.Connection,
    backfill: Backfill,
    chunks: Sequence[StoredChunk],
    rest: _Rest,
) -> None:
    """Find out which installs the source does not list any more, where all of them were read."""
    whole = [one for one in chunks if one.chunk.source.is_of_installs]
    if any(one.progress.state is not ChunkState.DONE for one in whole):
        return
    match backfill.request.kind:
        case Kind.EVERYTHING:
            missing = _sweep(context, connection, backfill, rest)
        case Kind.WINDOW:
            missing = _missing_of_window(context, connection, backfill)
        case Kind.IDS:
            by_pages = any(one.chunk.source is Source.INSTALLS for one in whole)
            missing = _missing_of_named(connection, backfill) if by_pages else []
    rest.missing += len(missing)
    _ask_for(context, connection, backfill, missing[: context.options.confirmations], rest)


def _missing_of_named(connection: sa.Connection, backfill: Backfill) -> list[int]:
    with connection.begin():
        return sorted(set(backfill.request.install_ids) - named_ids(connection, backfill))


def _missing_of_window(context: Context, connection: sa.Connection, backfill: Backfill) -> list[int]:
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


def _sweep(context: Context, connection: sa.Connection, backfill: Backfill, rest: _Rest) -> list[int]:
    """Let a walk over everything count as a sweep, once: deletion by evidence, and the watermark.

    :return: the installs that it found absent for the first time.
    """
    assert backfill.started_at is not None  # noqa: S101 - it was read
    sweep = Sweep(connection, INSTALLS, context.account, context.options.shrink_guard)
    with connection.begin():
        for ids in named_pages(connection, backfill):
            sweep.note(ids)
    now = context.clock.now()
    if backfill.outcome is not None:
        # Concluded before a kill: the same look must not count twice.
        return sweep.absentees(backfill.finished_at or now, _ALL)
    try:
        with connection.begin():
            gone = sweep.conclude(now, started_at=backfill.started_at)
            confirm(connection, INSTALLS, context.account, backfill.started_at)
            move_watermark(
                connection, context.account, INSTALLS.name, backfill.started_at,
                run_id=backfill.backfill_id, now=now,
            )  # fmt: skip
            outcome = {"absent": gone.absent, "deleted": gone.deleted}
            update_backfill(connection, backfill, now, outcome=outcome, finished_at=now)
    except ShrunkSourceError as error:
        connection.rollback()
        rest.of("installs").because("incomplete", f"installs: {error}")
        return []
    rest.missing = gone.deleted
    if gone.deleted:
        rest.of("installs").because("notice", "deleted", gone.deleted)
    if gone.absent:
        rest.of("installs").because("notice", "absent", gone.absent)
    return sweep.absentees(now, _ALL)


def _ask_for(
    context: Context, connection: sa.Connection, backfill: Backfill, missing: Sequence[int], rest: _Rest
) -> None:
    """Read missing installs directly: a 404 is evidence of deletion, anything else that they are there."""
    guard = context.options.shrink_guard
    burial = Burial(context.client, connection, context.account, context.clock, guard, context.company)
    intake, tally = Intake(INSTALLS), rest.of("installs")
    gone: list[tuple[int, datetime]] = []
    for install_id in missing:
        observation = context.observation(backfill.backfill_id, context.clock.now())
        try:
            raw = read_directly(
                context.client, install_id, lambda why: tally.because("incomplete", f"install {why}")
            )
        except NotFoundError:
            gone.append((install_id, observation.observed_at))
            continue
        if raw is not None:
            with connection.begin():
                tally.add(intake.take_own_answer(connection, raw, observation).tally)
            rest.missing -= 1
    if gone and not burial.is_believed(len(gone)):
        tally.because("notice", "more installs are gone than is believed at once", len(gone))
        return
    for install_id, observed_at in gone:
        with connection.begin():
            tally.because("notice", "deleted", burial.bury(INSTALLS, install_id, observed_at))


# -- the end -----------------------------------------------------------------------------------------------


def _end(
    context: Context,
    connection: sa.Connection,
    backfill: Backfill,
    chunks: Sequence[StoredChunk],
    rest: _Rest,
) -> None:
    """Store the run and the outcome, and forget the pages, in one transaction."""
    now = context.clock.now()
    counts = context.calls.take()
    requests = int(sum(one["calls"] for one in counts.values()))
    throttled = int(sum(one["throttled"] for one in counts.values()))
    if backfill.widened_seconds:
        rest.of("installs").because(
            "notice",
            f"the walk was widened: creation times are out of order by {backfill.widened_seconds:.0f} s",
        )
    if any(one.progress.ids_disordered for one in chunks):
        rest.of("installs").because("notice", "the whole list was read: its ids are out of order")
    report = run_report(
        backfill, chunks, rest.tallies, finished_at=now, requests=backfill.requests + requests
    )
    outcome = {
        **(backfill.outcome or {}),
        "missing": max(0, rest.missing),
        "rest": {name: tally.as_dict() for name, tally in rest.tallies.items()},
    }
    with connection.begin():
        hour = now.replace(minute=0, second=0, microsecond=0)
        add_api_calls(connection, context.account, hour, counts)
        finish_run(connection, report)
        forget_pages(connection, backfill)
        update_backfill(
            connection, backfill, now, requests=requests, throttled=throttled,
            outcome=outcome, state=str(State.FINISHED), finished_at=now,
        )  # fmt: skip
