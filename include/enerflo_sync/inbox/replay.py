"""The replay job: retry quarantined items by the same paths as all other input.

A part of a file is read again from the archive, an event is identified again by the current code and
configuration, a record is requested again. Files come first, since they contain events.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.drop.drop import Drop
from enerflo_sync.inbox.hydrate import Hydration, Progress
from enerflo_sync.inbox.ingest import LOCK, IngestOptions
from enerflo_sync.inbox.quarantine_items import ItemKind, ItemState, QuarantineItem, Selection, select_items
from enerflo_sync.inbox.replay_events import EventReplay
from enerflo_sync.inbox.replay_files import FileReplay
from enerflo_sync.inbox.replay_records import RecordReplay, wanted_record
from enerflo_sync.inbox.replay_report import (
    ItemOutcome,
    Outcomes,
    ReplayOutcome,
    ReplayReport,
    ReplayResult,
)
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.quarantine import decide
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

JOB = "replay"
# Ids per statement: the driver sends at most 65,535 parameters.
_CHUNK = 10_000


def replay(
    client: Callable[[], EnerfloClient],
    engine: sa.Engine,
    drop: Callable[[], Drop],
    account: str,
    selection: Selection,
    *,
    dry: bool,
    by: str,
    clock: Clock,
    rng: random.Random,
    calls: CallCounter,
    options: IngestOptions,
    run_id: str | None = None,
    progress: Progress | None = None,
) -> ReplayReport:
    """Retry the selected items, and return the outcome of each.

    May be killed at any point and repeated: an item is closed only after its content is stored, and a closed
    item is not retried. An event's item is closed in the transaction that applies the event.

    :param client: called only when a record must be read from Enerflo; :param drop: only for files.
    :param dry: only report what would be done: read the archive and the warehouse, write nothing.
    :param by: who asks for the replay; stored with the closed items.
    :raises ConfigurationError: the selection is ambiguous, no open item matches, or no drop is configured.
    :raises AuthenticationError: the key is not accepted; the events wait for the next ingest.
    :raises RetriableError: the warehouse is gone, or an ingest of this account takes too long.
    """
    tell = progress or (lambda *_: None)
    with warehouse_errors("replay"), engine.connect() as connection:
        if dry:
            with connection.begin():
                items = select_items(connection, account, selection)
            verdicts = _look(connection, drop, account, items, clock, options)
            return _report(None, account, items, verdicts)
        with alone(connection, account, LOCK, wait=True):
            with connection.begin():
                items = select_items(connection, account, selection)
            run = Run(connection, account, JOB, clock, rng, run_id=run_id)
            with run.recording(calls):
                work = _Replay(client, drop, connection, run, clock, options, by, tell)
                verdicts = work.go(items)
    return _report(run.run_id, account, items, verdicts)


class _Replay:
    """One replay that is not dry."""

    def __init__(
        self,
        client: Callable[[], EnerfloClient],
        drop: Callable[[], Drop],
        connection: sa.Connection,
        run: Run,
        clock: Clock,
        options: IngestOptions,
        by: str,
        progress: Progress,
    ) -> None:
        self._client = client
        self._connection = connection
        self._run = run
        self._clock = clock
        self._options = options
        self._by = by
        self._progress = progress
        self._files = FileReplay(connection, drop, run.account, options.limits, clock)
        self._events = EventReplay(connection, run.account, options.limits.ignored)

    def go(self, items: list[QuarantineItem]) -> Outcomes:
        """Retry the items, and close those that succeed."""
        verdicts = _beforehand(items)
        by_kind = _by_kind(items, verdicts)
        taken = self._take(by_kind.get(ItemKind.FILE, []), verdicts)
        self._hydrate(by_kind.get(ItemKind.EVENT, []), taken, verdicts)
        self._read(by_kind.get(ItemKind.RECORD, []), verdicts)
        return verdicts

    def _take(self, items: list[QuarantineItem], verdicts: Outcomes) -> list[str]:
        found, taken = self._files.load_files(items, self._run)
        with self._connection.begin():
            self._close(found)
        verdicts |= found
        return taken

    def _hydrate(self, items: list[QuarantineItem], taken: list[str], verdicts: Outcomes) -> None:
        """Hydrate the events of the items and of the files."""
        waiting = [*self._events.identify_again(items, self._run), *taken]
        if waiting:
            hydration = Hydration(
                self._client(), self._connection, self._run, self._clock, self._options.hydration
            )
            hydration.run(self._progress, only=waiting)
        with self._connection.begin():
            found = self._events.conclude(items)
            self._close(found)
        verdicts |= found

    def _read(self, items: list[QuarantineItem], verdicts: Outcomes) -> None:
        if not items:
            return
        options = self._options.hydration
        records = RecordReplay(self._client(), self._connection, self._run, self._clock, options)
        for done, item in enumerate(items, start=1):
            verdict = records.serve(item)
            with self._connection.begin():
                self._close({item.item_id: verdict})
            verdicts[item.item_id] = verdict
            self._progress("items", done, len(items))

    def _close(self, verdicts: Outcomes) -> None:
        """Mark closed items as replayed, in the caller's transaction."""
        ids = [item_id for item_id, verdict in verdicts.items() if verdict.closes]
        for at in range(0, len(ids), _CHUNK):
            some, now = ids[at : at + _CHUNK], self._clock.now()
            decide(self._connection, self._run.account, some, "replayed", by=self._by, at=now)


def _look(
    connection: sa.Connection,
    drop: Callable[[], Drop],
    account: str,
    items: list[QuarantineItem],
    clock: Clock,
    options: IngestOptions,
) -> Outcomes:
    """Return what a replay would do, without writing and without requests to Enerflo."""
    verdicts = _beforehand(items)
    by_kind = _by_kind(items, verdicts)
    files = FileReplay(connection, drop, account, options.limits, clock)
    verdicts |= files.look(by_kind.get(ItemKind.FILE, []))
    events = EventReplay(connection, account, options.limits.ignored)
    verdicts |= events.look(by_kind.get(ItemKind.EVENT, []))
    for item in by_kind.get(ItemKind.RECORD, []):
        wanted = wanted_record(item)
        verdicts[item.item_id] = (
            wanted
            if isinstance(wanted, ItemOutcome)
            else ItemOutcome(ReplayOutcome.WOULD_REPLAY, f"read {wanted} again")
        )
    return verdicts


def _beforehand(items: list[QuarantineItem]) -> Outcomes:
    """Return verdicts that need no retry: closed items, and kinds that cannot be replayed."""
    verdicts: Outcomes = {}
    for item in items:
        if item.state == ItemState.REPLAYED:
            verdicts[item.item_id] = ItemOutcome(ReplayOutcome.REPLAYED, "before; there is nothing to do")
        elif item.kind not in (ItemKind.FILE, ItemKind.EVENT, ItemKind.RECORD):
            why = f"items of kind {item.kind} cannot be replayed yet"
            if item.kind == ItemKind.CHANGE_ORDER:
                why = "it is checked again by itself; enerflo-sync quarantine release lets it through"
            verdicts[item.item_id] = ItemOutcome(ReplayOutcome.NOT_REPLAYABLE, why)
    return verdicts


def _by_kind(items: list[QuarantineItem], decided: Outcomes) -> dict[str, list[QuarantineItem]]:
    """Return the remaining items by kind."""
    found: dict[str, list[QuarantineItem]] = {}
    for item in items:
        if item.item_id not in decided:
            found.setdefault(item.kind, []).append(item)
    return found


def _report(
    run_id: str | None, account: str, items: list[QuarantineItem], verdicts: Outcomes
) -> ReplayReport:
    results = [
        ReplayResult(
            item_id=item.item_id,
            kind=item.kind,
            reason=item.reason,
            outcome=verdicts[item.item_id].outcome,
            detail=verdicts[item.item_id].detail,
        )
        for item in items
    ]
    return ReplayReport(run_id=run_id, account=account, dry=run_id is None, results=results)
