"""Finish a backfill: widen the window if the list is out of order, find missing installs, report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from enerflo_sync.backfill.chunks import PAGES
from enerflo_sync.backfill.context import Context
from enerflo_sync.backfill.named import UNKNOWN
from enerflo_sync.backfill.report import run_report
from enerflo_sync.backfill.request import Kind
from enerflo_sync.backfill.store import (
    Backfill,
    ChunkState,
    State,
    StoredChunk,
    forget_pages,
    load_backfill,
    load_chunks,
    named_ids,
    named_pages,
    update_backfill,
)
from enerflo_sync.backfill.widen import missing_of_window, widen
from enerflo_sync.errors import NotFoundError, RetriableError
from enerflo_sync.inbox.deletions import NOT_BELIEVED, Deletions
from enerflo_sync.mirror.details import read_directly
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.sweep import ShrunkSourceError, Sweep
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.mirror.witnesses import confirm
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.warehouse.runs import add_api_calls, finish_run
from enerflo_sync.warehouse.watermarks import move_watermark

log = logging.getLogger(__name__)

_ALL = 1_000_000
_NOT_ASKED = "not named by the list, and not asked for yet"

_KNOWN = sa.text("""
/* enerflo-sync backfill: which installs the mirror knows, and whether they live there */
select install_id, deleted_at is null as lives from enerflo.installs
where account = :account and install_id = any(:ids)
""")


@dataclass
class _Rest:
    """Results of the final steps, outside the chunks.

    :param missing: installs that were searched for and that Enerflo does not have.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    missing: int = 0

    def of(self, resource: str) -> Tally:
        return self.tallies.setdefault(resource, Tally())


def finish_backfill(context: Context, connection: sa.Connection, backfill_id: str) -> None:
    """Finish a backfill whose chunks are read, and store its result as a run.

    If it is killed, the next call finishes it: a complete walk counts as a sweep only once.

    :raises RetriableError: some chunks are unread.
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
    backfill, chunks = widen(context, connection, backfill, chunks)
    rest = _Rest()
    if INSTALLS.name in backfill.request.parts:
        _conclude(context, connection, backfill, chunks, rest)
    _end(context, connection, backfill, chunks, rest)


# -- what is missing ---------------------------------------------------------------------------------------


def _conclude(
    context: Context,
    connection: sa.Connection,
    backfill: Backfill,
    chunks: Sequence[StoredChunk],
    rest: _Rest,
) -> None:
    """Find the installs that Enerflo no longer lists, if all of the requested ones were read."""
    whole = [one for one in chunks if one.chunk.source.is_of_installs]
    if any(one.progress.state is not ChunkState.DONE for one in whole):
        return
    match backfill.request.kind:
        case Kind.EVERYTHING:
            missing = _sweep(context, connection, backfill, chunks, rest)
        case Kind.WINDOW:
            missing = missing_of_window(context, connection, backfill)
        case Kind.IDS:
            by_pages = any(one.chunk.source == PAGES for one in whole)
            missing = _missing_of_named(connection, backfill) if by_pages else []
    most = context.options.confirmations
    _ask_for(context, connection, backfill, missing[:most], rest)
    if missing[most:]:
        # Each named install is wanted now; installs of a window or of everything are left to a later run.
        group = "incomplete" if backfill.request.kind is Kind.IDS else "notice"
        rest.of("installs").because(group, _NOT_ASKED, len(missing[most:]))


def _missing_of_named(connection: sa.Connection, backfill: Backfill) -> list[int]:
    with connection.begin():
        return sorted(set(backfill.request.install_ids) - named_ids(connection, backfill))


def _sweep(
    context: Context,
    connection: sa.Connection,
    backfill: Backfill,
    chunks: Sequence[StoredChunk],
    rest: _Rest,
) -> list[int]:
    """Let a walk over everything count as a sweep, once: detect deletions, and set the watermark.

    :return: installs that were absent for the first time.
    """
    assert backfill.started_at is not None  # noqa: S101 - it was read
    sweep = Sweep(connection, INSTALLS, context.account, context.options.shrink_guard)
    with connection.begin():
        for ids in named_pages(connection, backfill):
            sweep.note(ids)
    counts = [one.progress.counts.get(INSTALLS.name) for one in chunks]
    sweep.note([], sum(count.tally.nameless for count in counts if count is not None))
    now = context.clock.now()
    if backfill.outcome is not None:
        # A killed attempt has concluded the sweep already: the same walk must not count twice.
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
    """Read missing installs directly: a 404 is evidence of deletion, a success of existence."""
    guard = context.options.shrink_guard
    deletions = Deletions(context.client, connection, context.account, context.clock, guard, context.company)
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
            rest.missing += 1
            continue
        if raw is not None:
            with connection.begin():
                (batch,) = intake.take_or_refuse(connection, [raw], observation, own_answer=True)
            tally.add(batch.tally)
    with connection.begin():
        ids = {"account": context.account, "ids": [one for one, _ in gone]}
        lives = {row.install_id: row.lives for row in connection.execute(_KNOWN, ids)}
    if backfill.request.kind is Kind.IDS:
        for install_id, _ in gone:
            if install_id not in lives:
                tally.because(UNKNOWN, str(install_id))
    gone = [(install_id, observed_at) for install_id, observed_at in gone if lives.get(install_id)]
    if gone and not deletions.is_believed(len(gone)):
        rest.missing -= len(gone)
        tally.because("incomplete", f"installs: {NOT_BELIEVED}", len(gone))
        return
    for install_id, observed_at in gone:
        with connection.begin():
            tally.because("notice", "deleted", deletions.tombstone(INSTALLS, install_id, observed_at))


# -- the end -----------------------------------------------------------------------------------------------


def _end(
    context: Context,
    connection: sa.Connection,
    backfill: Backfill,
    chunks: Sequence[StoredChunk],
    rest: _Rest,
) -> None:
    """Store the run and the outcome, and delete the remembered pages, in one transaction."""
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
