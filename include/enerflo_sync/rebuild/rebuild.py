"""The job that derives the mirror again from stored records, and shows or writes the differences.

It works through the stored records in chunks. Each chunk is one repeatable-read transaction. If another job
changes the same rows meanwhile, the transaction fails and the chunk is repeated. So a rebuild may run beside
polls and ingests. It may also be killed at any time: all committed rows are right, and another run completes
the work.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection
from contextlib import ExitStack, closing
from datetime import datetime
from string import Template

import psycopg
import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.errors import BadRecordError, EnerfloSyncError, RetriableError, bad_record
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.quarantine import add_to_quarantine
from enerflo_sync.mirror.read_ahead import read_ahead
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.rebuild.condition import Condition
from enerflo_sync.rebuild.from_designs import SignedDesigns
from enerflo_sync.rebuild.from_payloads import PayloadRecords
from enerflo_sync.rebuild.from_versions import StoredVersions
from enerflo_sync.rebuild.report import Differences, RebuildReport, TableOutcome
from enerflo_sync.rebuild.source import REFUSED, Chunk, Portion, Source
from enerflo_sync.rebuild.tables import RebuildTable
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.resources.registry import ALL
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.refused import refuses_a_row
from enerflo_sync.warehouse.schema import submissions

log = logging.getLogger(__name__)

JOB = "rebuild"
Progress = Callable[[str, int, int | None], None]

# How often, and after how many seconds, a chunk is repeated when another job writes the same rows; a poll
# writes a page in a fraction of a second.
_ATTEMPTS = 20
_PAUSE = 0.5
# Shorter than the server's deadlock_timeout, so that a deadlock ends our transaction and never the poll's.
_LOCK_TIMEOUT = "set local lock_timeout = '500ms'"
_IN_THE_WAY = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
)

_FORGET_BYTES = Template("""
/* enerflo-sync rebuild: make the next poll compare these $name again */
update $table set raw_hash = null
where account = %(account)s and $id = any(%(ids)s::bigint[]) and raw_hash is not null
""")


def rebuild(
    engine: sa.Engine,
    account: str,
    *,
    clock: Clock,
    rng: random.Random,
    tables: Collection[RebuildTable] = tuple(RebuildTable),
    condition: Condition | None = None,
    write: bool = False,
    fills: bool = False,
    component_keys: ComponentKeys = ComponentKeys(),  # noqa: B008 - frozen
    run_id: str | None = None,
    progress: Progress | None = None,
) -> RebuildReport:
    """Derive mirror tables again from raw versions and stored events, by the functions of poll and webhooks.

    A row that equals its stored record is not written. A written row gets the start of the rebuild as
    ``observed_at`` and the observer of the stored content as ``observed_by``. Tombstones stay. A row that
    belongs to a record is tombstoned if the record does not list it.

    :param condition: the installs to rebuild, with the records that belong to them; None means everything.
    :param fills: whether declared columns are filled for the first time. A row that differs only in these
        columns keeps its ``observed_at``, so that a read that is in progress still counts as newer.
    :param write: whether differences are written; if not, nothing is written, not even a run.
    :raises ConfigurationError: PostgreSQL cannot evaluate the condition, or a right is missing.
    :raises RetriableError: another rebuild is running, another job keeps writing the same rows, or the
        warehouse went away.
    """
    with (
        warehouse_errors(JOB),
        engine.connect() as plain,
    ):
        connection = plain.execution_options(isolation_level="REPEATABLE READ")
        if condition is not None:
            condition.check(connection)
        at = clock.now()
        with connection.begin():
            keys = component_keys
            sources = _sources(
                connection, account, set(tables), condition, at, keys, write=write, fills=fills
            )
        with ExitStack() as whole:
            run = None
            if write:
                # A migration that fills columns waits for its turn; a person who rebuilds is told at once.
                whole.enter_context(alone(connection, account, JOB, wait=fills))
                run = Run(connection, account, JOB, clock, rng, run_id=run_id)
                whole.enter_context(run.recording(CallCounter()))
            work = _Rebuild(connection, account, clock, at, run, progress or (lambda *_: None))
            for source in sources:
                work.go(source)
    return RebuildReport(
        account=account,
        written=write,
        started_at=at,
        finished_at=clock.now(),
        tables=work.differences.of_tables(),
        unreadable=work.differences.of_unreadable(),
        left=work.differences.left,
        run_id=run.run_id if run else None,
        state=run.report.state if run else None,
    )


def _sources(
    connection: sa.Connection,
    account: str,
    tables: Collection[RebuildTable],
    condition: Condition | None,
    at: datetime,
    keys: ComponentKeys,
    *,
    write: bool,
    fills: bool,
) -> list[Source]:
    wanted = {str(one) for one in tables}
    resources = [one.with_keys(keys) if one.with_keys is not None else one for one in ALL]
    sources: list[Source] = []
    for one in resources:
        some = wanted & {str(part.table.name) for part in one.parts}
        if one.versions is not None and some:
            sources.append(
                StoredVersions(connection, account, one, some, condition, at, write=write, fills=fills)
            )
    if submissions.name in tables:
        sources.append(SignedDesigns(connection, account, condition, write=write))
    for one in resources:
        if one.versions is None and one.payloads is not None and one.name in wanted:
            sources.append(PayloadRecords(connection, account, one, one.payloads, condition, at, write=write))
    return sources


class _Rebuild:
    """A running rebuild.

    :param run: the run in ``sync.runs``; None if nothing is written.
    """

    def __init__(
        self,
        connection: sa.Connection,
        account: str,
        clock: Clock,
        at: datetime,
        run: Run | None,
        progress: Progress,
    ) -> None:
        self.differences = Differences()
        self._connection = connection
        self._account = account
        self._clock = clock
        self._at = at
        self._run = run
        self._progress = progress

    def go(self, source: Source) -> None:
        """Compare all portions of a source with the mirror."""
        with self._connection.begin():
            total = source.begin()
        done = known = 0
        with closing(read_ahead(source.portions(), 1)) as portions:
            for portion in portions:
                for chunk in self._worked(source, portion):
                    self._count(source, chunk)
                    known += chunk.known
                done += len(portion.keys)
                self._progress(source.name, done, max(done, total))
        with self._connection.begin():
            left = source.left(known)
        for (table_name, reason), count in left.items():
            self.differences.leave(table_name, reason, count)

    def _worked(self, source: Source, portion: Portion) -> list[Chunk]:
        """Return the chunks of a portion; if a record cannot be written, find it by bisection."""
        try:
            return [self._chunk(source, portion)]
        except Exception as error:
            trouble = _trouble_of_a_record(error)
            if trouble is None:
                raise
        self._connection.rollback()
        keys = portion.keys
        if len(keys) == 1:
            return [self._chunk(source, Portion(keys), refuse=trouble)]
        middle = len(keys) // 2
        halves = Portion(keys[:middle], portion.ready), Portion(keys[middle:], portion.ready)
        return [chunk for half in halves for chunk in self._worked(source, half)]

    def _chunk(self, source: Source, portion: Portion, *, refuse: BadRecordError | None = None) -> Chunk:
        for _ in range(_ATTEMPTS):
            try:
                with self._connection.begin():
                    self._connection.exec_driver_sql(_LOCK_TIMEOUT)
                    chunk = source.work(portion, refuse=refuse)
                    if self._run is not None and chunk.rejected:
                        self._quarantine(chunk)
                    return chunk
            except (*_IN_THE_WAY, sa.exc.OperationalError) as error:
                if not isinstance(getattr(error, "orig", error), _IN_THE_WAY):
                    raise
                self._connection.rollback()
                log.info("rebuild_again source=%s error=%s", source.name, type(error).__name__)
                self._clock.sleep(_PAUSE)
        raise RetriableError(
            "somebody else keeps writing the same rows.",
            where=f"account {self._account}, {source.name}",
            next_step="What was written before is right. Run it again when the poll or ingest has ended.",
        )

    def _quarantine(self, chunk: Chunk) -> None:
        """Quarantine records that cannot be read, and make the next poll read these records again."""
        add_to_quarantine(self._connection, self._account, chunk.rejected, self._at)
        for one in ALL:
            rejected = [item for item in chunk.rejected if item.table_name == one.table.name]
            if one.versions is not None and rejected:
                ids = [item.key[one.id_column] for item in rejected if item.key]
                statement = _FORGET_BYTES.substitute(one.names)
                driver_connection(self._connection).execute(statement, {"account": self._account, "ids": ids})

    def _count(self, source: Source, chunk: Chunk) -> None:
        for outcome in chunk.outcomes:
            self.differences.add(outcome)
        for item in chunk.rejected:
            self.differences.cannot_read(str(item.table_name or source.name), item.described, item.key or {})
        for reason, key in chunk.unreadable:
            self.differences.cannot_read(source.name, reason, key)
        for (table_name, reason), count in chunk.left.items():
            self.differences.leave(table_name, reason, count)
        if self._run is not None:
            self._count_in_run(self._run, source, chunk)

    def _count_in_run(self, run: Run, source: Source, chunk: Chunk) -> None:
        """Add a chunk to the counts of the run: its records, and the rows that belong to them."""
        for outcome in chunk.outcomes:
            run.count(outcome.table_name, _tally(outcome))
        tally = Tally(read=len(chunk.rejected), quarantined=len(chunk.rejected))
        for item in chunk.rejected:
            tally.because("quarantined", item.described)
        for reason, _ in chunk.unreadable:
            tally.read += 1
            tally.skipped += 1
            tally.because("skipped", f"event not readable: {reason}")
            run.incomplete(source.name, f"a stored event cannot be read: {reason}")
        for (table_name, reason), count in chunk.left.items():
            if table_name == source.name:
                tally.read += count
                tally.skipped += count
                tally.because("skipped", reason, count)
            else:
                run.notice(table_name, reason, count)
        run.count(source.name, tally)


def _trouble_of_a_record(error: Exception) -> BadRecordError | None:
    """Return the error as a bad record if one record makes its whole chunk fail; None for other errors.

    An error of the driver without an SQLSTATE means that it could not encode a value, so a record caused it.
    """
    if isinstance(error, psycopg.Error):
        if refuses_a_row(error):
            return BadRecordError(REFUSED)
        return bad_record(error) if isinstance(error, psycopg.DataError) and error.sqlstate is None else None
    others = (EnerfloSyncError, sa.exc.SQLAlchemyError, OSError)
    return None if isinstance(error, others) else bad_record(error)


def _tally(outcome: TableOutcome) -> Tally:
    read = outcome.rows + outcome.gone
    return Tally(read=read, applied=outcome.differing, unchanged=read - outcome.differing)
