"""The report of a backfill, done or planned: one object for command line, run note and approval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from enerflo_sync.backfill.estimate import Compared, Estimate, compare
from enerflo_sync.backfill.named import MISSING, UNKNOWN
from enerflo_sync.backfill.store import Backfill, ChunkState, State, StoredChunk
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.warehouse.runs import RunReport, RunState


class ChunkReport(msgspec.Struct, frozen=True, kw_only=True):
    """One chunk: its content and its progress."""

    number: int
    resource: str
    label: str
    state: ChunkState
    rows: int
    expected: int | None
    requests: int


class BackfillReport(msgspec.Struct, frozen=True, kw_only=True):
    """One backfill: ``read = new + changed + unchanged + quarantined + skipped``.

    :param words: the request in words.
    :param missing: requested installs that Enerflo does not have: a direct read answered 404, or two
        complete lists omitted them.
    :param minutes: from the first chunk to the end, waits included.
    :param throttled: answers of 429.
    :param reasons: count per reason, grouped as in ``sync.runs``.
    :param compared: the estimate beside the actual values; empty until the end.
    """

    backfill_id: str
    account: str
    kind: str
    words: str
    state: State
    read: int
    new: int
    changed: int
    unchanged: int
    quarantined: int
    skipped: int
    missing: int
    requests: int
    throttled: int
    minutes: float | None
    widened_seconds: float
    reasons: Mapping[str, Mapping[str, int]]
    resources: Mapping[str, Mapping[str, Any]]
    chunks: Sequence[ChunkReport]
    estimate: Estimate | None
    compared: Sequence[Compared]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_partial(self) -> bool:
        """Return whether any record was quarantined or could not be read."""
        return bool(self.quarantined or self.reasons.get("incomplete"))

    @property
    def unknown(self) -> Sequence[str]:
        """Return the ids and uuids that were named and that neither Enerflo nor the mirror knows."""
        return sorted(self.reasons.get(UNKNOWN, ()))

    @property
    def needs_a_person(self) -> bool:
        """Return whether a finished backfill needs a person."""
        return self.state is State.FINISHED and (self.is_partial or bool(self.unknown))


def totals(chunks: Sequence[StoredChunk], rest: Mapping[str, Tally]) -> dict[str, Tally]:
    """Return the outcomes of the records of all chunks, by resource.

    :param rest: outcomes outside the chunks, by resource.
    """
    found: dict[str, Tally] = {}
    for one in chunks:
        for name, count in one.progress.counts.items():
            found.setdefault(name, Tally()).add(count.tally)
    for name, tally in rest.items():
        found.setdefault(name, Tally()).add(tally)
    return found


def run_report(
    backfill: Backfill,
    chunks: Sequence[StoredChunk],
    rest: Mapping[str, Tally],
    *,
    finished_at: datetime,
    requests: int,
    failure: str | None = None,
) -> RunReport:
    """Return the backfill as a run of ``sync.runs``.

    :param requests: number of requests outside the chunks.
    :raises EnerfloSyncError: a record that was read has no recorded outcome.
    """
    by_resource = totals(chunks, rest)
    total = Tally()
    for tally in by_resource.values():
        total.add(tally)
    if failure:
        total.because("failed", failure)
    else:
        total.check(f"backfill {backfill.backfill_id}")
    partial = total.quarantined or "incomplete" in total.reasons
    return RunReport(
        run_id=backfill.backfill_id,
        account=backfill.account,
        job="backfill",
        state=RunState.FAILED if failure else RunState.PARTIAL if partial else RunState.OK,
        started_at=backfill.started_at or backfill.created_at,
        finished_at=finished_at,
        requests=requests + sum(one.progress.requests for one in chunks),
        resources={name: tally.as_dict() for name, tally in by_resource.items()},
        **total.as_dict(),
    )


def backfill_report(backfill: Backfill, chunks: Sequence[StoredChunk]) -> BackfillReport:
    """Return the report of a stored backfill in its present state."""
    outcome = backfill.outcome or {}
    rest = {name: _tally(found) for name, found in outcome.get("rest", {}).items()}
    by_resource = totals(chunks, rest)
    total = Tally()
    for tally in by_resource.values():
        total.add(tally)
    new = sum(count.new for one in chunks for count in one.progress.counts.values())
    new = min(new, total.applied)
    estimate = None if backfill.estimate is None else msgspec.convert(backfill.estimate, Estimate)
    requests = backfill.requests + sum(one.progress.requests for one in chunks)
    reading = sum(one.progress.requests for one in chunks)
    minutes = None
    if backfill.started_at is not None and backfill.finished_at is not None:
        minutes = round((backfill.finished_at - backfill.started_at).total_seconds() / 60, 2)
    installs = by_resource.get("installs", Tally())
    compared: Sequence[Compared] = ()
    if estimate is not None and minutes is not None:
        happened = {
            "requests": reading,
            "minutes": minutes,
            "installs": installs.read - installs.skipped,
            "changed": installs.applied,
        }
        compared = compare(estimate, happened)
    missing = outcome.get("missing", 0) + sum(total.reasons.get(MISSING, {}).values())
    return BackfillReport(
        backfill_id=backfill.backfill_id,
        account=backfill.account,
        kind=str(backfill.request.kind),
        words=backfill.words,
        state=backfill.state,
        read=total.read,
        new=new,
        changed=total.applied - new,
        unchanged=total.unchanged,
        quarantined=total.quarantined,
        skipped=total.skipped,
        missing=missing,
        requests=requests,
        throttled=backfill.throttled + sum(one.progress.throttled for one in chunks),
        minutes=minutes,
        widened_seconds=backfill.widened_seconds,
        reasons={group: dict(counts) for group, counts in total.reasons.items()},
        resources={name: tally.as_dict() for name, tally in by_resource.items()},
        chunks=[_chunk_report(one) for one in chunks],
        estimate=estimate,
        compared=compared,
        created_at=backfill.created_at,
        started_at=backfill.started_at,
        finished_at=backfill.finished_at,
    )


def _chunk_report(one: StoredChunk) -> ChunkReport:
    return ChunkReport(
        number=one.chunk.number,
        resource=str(one.chunk.source),
        label=one.chunk.label,
        state=one.progress.state,
        rows=one.progress.rows,
        expected=one.chunk.rows,
        requests=one.progress.requests,
    )


def _tally(found: Mapping[str, Any]) -> Tally:
    counted = ("read", "applied", "unchanged", "quarantined", "skipped")
    tally = Tally(**{name: found[name] for name in counted})
    for group, reasons in found["reasons"].items():
        for reason, count in reasons.items():
            tally.because(group, reason, count)
    return tally
