"""Run a backfill from request to report, as a whole or step by step for an orchestrator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import msgspec
import psycopg
import sqlalchemy as sa

from enerflo_sync.backfill.context import Context
from enerflo_sync.backfill.finish import finish_backfill
from enerflo_sync.backfill.plan import plan_backfill
from enerflo_sync.backfill.readers import read_chunk
from enerflo_sync.backfill.report import BackfillReport, backfill_report, run_report
from enerflo_sync.backfill.request import BackfillRequest, Kind
from enerflo_sync.backfill.store import (
    Backfill,
    ChunkState,
    State,
    StoredChunk,
    insert_backfill,
    insert_chunks,
    load_backfill,
    load_chunks,
    update_backfill,
)
from enerflo_sync.clock import skew_of
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.mirror.reading_run import new_run_id
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.runs import add_api_calls, finish_run, start_run

_OLDEST = sa.text("""
/* enerflo-sync backfill: the oldest install of an account that was polled whole */
select min(created_at) from enerflo.installs i
where i.account = :account and exists (
  select from sync.watermarks w where w.account = i.account and w.name = 'installs')
""")


class Backfills:
    """The backfills of one account."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def backfill(
        self,
        request: BackfillRequest,
        *,
        backfill_id: str | None = None,
        estimated: Callable[[BackfillReport], None] = lambda _: None,
    ) -> BackfillReport:
        """Estimate a backfill, read it, and return its report.

        If it is killed, :meth:`resume` continues: at most one page per chunk is read again.

        :param estimated: called with the estimate before anything is stored in the mirror.
        :raises ConfigurationError: the request is invalid (raised before any request to Enerflo).
        :raises RetriableError: another backfill of the same installs is running, or Enerflo does not answer.
        :raises AuthenticationError: the key is not accepted; resume after correcting it.
        :raises ShrunkSourceError: the list suddenly has far fewer installs; nothing was deleted.
        """
        with self._working(request) as connection:
            backfill = self._insert(connection, request, backfill_id)
            self._plan(connection, backfill)
            estimated(self._report(connection, backfill.backfill_id))
            return self._go_on(connection, backfill.backfill_id)

    def estimate(self, request: BackfillRequest, *, backfill_id: str | None = None) -> BackfillReport:
        """Store and return a backfill's estimate, for :meth:`resume` to read. Raises as above."""
        with self._working(request) as connection:
            backfill = self._insert(connection, request, backfill_id)
            self._plan(connection, backfill)
            return self._report(connection, backfill.backfill_id)

    def resume(self, backfill_id: str, request: BackfillRequest | None = None) -> BackfillReport:
        """Continue a backfill that was estimated, or whose reading stopped early.

        :param request: the request again, if the caller gives one; it must be unchanged.
        :raises ConfigurationError: the backfill does not exist, has ended, or was replaced by another one of
            the same installs; or the mapping or the request has changed.
        """
        with self._context.engine.connect() as connection, connection.begin():
            backfill = self._resumable(connection, backfill_id, request)
        with self._working(backfill.request) as connection:
            if backfill.estimate is None:
                # The backfill was killed during its search.
                self._plan(connection, backfill)
            return self._go_on(connection, backfill_id)

    # -- steps ---------------------------------------------------------------------------------------------

    def start(self, backfill_id: str) -> list[StoredChunk]:
        """Start or continue reading an estimated backfill, and return its unread chunks.

        Raises as :meth:`resume`.
        """
        with warehouse_errors("backfill"), self._context.engine.connect() as connection:
            with connection.begin():
                backfill = self._resumable(connection, backfill_id, None)
            return self._start(connection, backfill)

    def read(self, backfill_id: str, number: int) -> StoredChunk:
        """Read one chunk of a started backfill, and return it; a chunk that was read costs nothing.

        :raises RetriableError: another process reads it, or Enerflo does not answer.
        """
        with warehouse_errors("backfill"), self._context.engine.connect() as connection:
            with connection.begin():
                backfill = self._resumable(connection, backfill_id, None)
            job = _job(backfill.request)
            with alone(connection, self._context.account, job, shared=True):
                self._read_one(connection, backfill, number)
            with connection.begin():
                chunks = load_chunks(connection, backfill.account, backfill.backfill_id)
            return _numbered(chunks, backfill, number)

    def finish(self, backfill_id: str) -> BackfillReport:
        """Finish a backfill whose chunks are read, and return its report; raises as :meth:`backfill`."""
        with warehouse_errors("backfill"), self._context.engine.connect() as connection:
            with alone(connection, self._context.account, f"end of {backfill_id}"):
                finish_backfill(self._context, connection, backfill_id)
            return self._report(connection, backfill_id)

    def report(self, backfill_id: str) -> BackfillReport:
        """Return a backfill's report in its present state.

        :raises ConfigurationError: there is no backfill with that id.
        """
        with warehouse_errors("backfill"), self._context.engine.connect() as connection:
            return self._report(connection, backfill_id)

    # -- inside --------------------------------------------------------------------------------------------

    @contextmanager
    def _working(self, request: BackfillRequest) -> Iterator[sa.Connection]:
        """Yield a connection that holds the lock on backfills of the same installs."""
        context = self._context
        with warehouse_errors("backfill"), context.engine.connect() as connection:
            with connection.begin():
                self._check_window(connection, request)
            with alone(connection, context.account, _job(request)):
                yield connection

    def _check_window(self, connection: sa.Connection, request: BackfillRequest) -> None:
        if request.kind is not Kind.WINDOW or request.window_to is None:
            return
        oldest = connection.scalar(_OLDEST, {"account": self._context.account})
        if oldest is not None and request.window_to <= oldest:
            raise ConfigurationError(
                f"it ends before the company's first install of {oldest:%Y-%m-%d}.",
                where=f"the window {request.words}",
                next_step="Nothing was read. Check the year.",
            )

    def _insert(
        self, connection: sa.Connection, request: BackfillRequest, backfill_id: str | None
    ) -> Backfill:
        context, now = self._context, self._context.clock.now()
        backfill_id = backfill_id or new_run_id("backfill", now, context.rng)
        with connection.begin():
            insert_backfill(
                connection,
                context.account,
                backfill_id,
                request,
                mapping_hash=context.options.mapping_hash,
                per_page=context.options.per_page,
                now=now,
            )
            return load_backfill(connection, context.account, backfill_id)

    def _resumable(
        self, connection: sa.Connection, backfill_id: str, request: BackfillRequest | None
    ) -> Backfill:
        backfill = load_backfill(connection, self._context.account, backfill_id)
        wrong = None
        if backfill.state is State.FINISHED:
            wrong = "it has ended.", "Start a new one without --resume."
        elif backfill.state is State.SUPERSEDED:
            wrong = "a later backfill of the same installs has taken its place.", "Resume that one."
        elif request is not None and request.hash != backfill.request_hash:
            wrong = (
                f"it is one of {backfill.words}, and {request.words} is asked for now.",
                "Resume it without naming installs, or start a new one.",
            )
        elif backfill.mapping_hash != self._context.options.mapping_hash:
            wrong = (
                "the mapping has changed since it began.",
                "Start a new one: what was read before is not read by the new mapping.",
            )
        if wrong is not None:
            raise ConfigurationError(wrong[0], where=f"backfill {backfill_id}", next_step=wrong[1])
        return backfill

    def _go_on(self, connection: sa.Connection, backfill_id: str) -> BackfillReport:
        """Do the remaining steps; record the run as failed on an error."""
        context = self._context
        with connection.begin():
            backfill = load_backfill(connection, context.account, backfill_id)
        self._start(connection, backfill)
        try:
            self._read_all(connection, backfill)
            finish_backfill(context, connection, backfill.backfill_id)
        except BaseException as error:
            with suppress(sa.exc.SQLAlchemyError, psycopg.Error):
                connection.rollback()
                self._record_failure(connection, backfill, type(error).__name__)
            raise
        return self._report(connection, backfill.backfill_id)

    def _plan(self, connection: sa.Connection, backfill: Backfill) -> None:
        context = self._context
        planned = plan_backfill(context, connection, backfill)
        now = context.clock.now()
        with connection.begin():
            insert_chunks(connection, backfill, planned.chunks)
            update_backfill(
                connection,
                backfill,
                now,
                estimate=msgspec.to_builtins(planned.estimate),
                per_page=planned.per_page,
                listed=planned.listed,
                **self._calls(connection),
            )

    def _calls(self, connection: sa.Connection) -> dict[str, int]:
        """Count the calls since the last time, in the caller's transaction, and return their number."""
        counts = self._context.calls.take()
        hour = self._context.clock.now().replace(minute=0, second=0, microsecond=0)
        add_api_calls(connection, self._context.account, hour, counts)
        return {
            "requests": int(sum(one["calls"] for one in counts.values())),
            "throttled": int(sum(one["throttled"] for one in counts.values())),
        }

    def _start(self, connection: sa.Connection, backfill: Backfill) -> list[StoredChunk]:
        now = self._context.clock.now()
        with connection.begin():
            began = backfill.started_at or now
            update_backfill(connection, backfill, now, state=str(State.READING), started_at=began)
            skew = skew_of(self._context.clock)
            start_run(connection, backfill.account, "backfill", backfill.backfill_id, began, skew)
            chunks = load_chunks(connection, backfill.account, backfill.backfill_id)
        return [one for one in chunks if one.progress.state in (ChunkState.WAITING, ChunkState.READING)]

    def _read_all(self, connection: sa.Connection, backfill: Backfill) -> None:
        """Read the unread chunks in parallel; the lists of child records come after all installs."""
        with connection.begin():
            backfill = load_backfill(connection, backfill.account, backfill.backfill_id)
            chunks = load_chunks(connection, backfill.account, backfill.backfill_id)
        left = [one.chunk for one in chunks if one.progress.state is not ChunkState.DONE]
        self._read_some(connection, backfill, [one.number for one in left if one.source.is_of_installs])
        self._read_some(connection, backfill, [one.number for one in left if not one.source.is_of_installs])

    def _read_some(self, connection: sa.Connection, backfill: Backfill, numbers: Sequence[int]) -> None:
        workers = min(self._context.options.workers, len(numbers))
        if workers <= 1:
            for number in numbers:
                self._read_one(connection, backfill, number)
            return
        with ThreadPoolExecutor(workers, thread_name_prefix="backfill") as pool:
            tasks = [pool.submit(self._read_apart, backfill, number) for number in numbers]
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _read_apart(self, backfill: Backfill, number: int) -> None:
        with self._context.engine.connect() as connection:
            self._read_one(connection, backfill, number)

    def _read_one(self, connection: sa.Connection, backfill: Backfill, number: int) -> None:
        with connection.begin():
            chunks = load_chunks(connection, backfill.account, backfill.backfill_id)
        stored = _numbered(chunks, backfill, number)
        if not stored.chunk.source.is_of_installs and not _installs_are_read(chunks):
            raise RetriableError(
                f"chunk {number} is of what belongs to installs, and those are not read yet.",
                where=f"backfill {backfill.backfill_id}",
                next_step="Read the chunks of installs first.",
            )
        read_chunk(self._context, backfill, stored)

    def _record_failure(self, connection: sa.Connection, backfill: Backfill, failure: str) -> None:
        now = self._context.clock.now()
        with connection.begin():
            update_backfill(connection, backfill, now, **self._calls(connection))
            present = load_backfill(connection, backfill.account, backfill.backfill_id)
            chunks = load_chunks(connection, backfill.account, backfill.backfill_id)
            report = run_report(
                present, chunks, {}, finished_at=now, requests=present.requests, failure=failure
            )
            finish_run(connection, report)

    def _report(self, connection: sa.Connection, backfill_id: str) -> BackfillReport:
        with connection.begin():
            backfill = load_backfill(connection, self._context.account, backfill_id)
            return backfill_report(backfill, load_chunks(connection, backfill.account, backfill_id))


def _job(request: BackfillRequest) -> str:
    return f"backfill of {request.words}"


def _numbered(chunks: Sequence[StoredChunk], backfill: Backfill, number: int) -> StoredChunk:
    found = next((one for one in chunks if one.chunk.number == number), None)
    if found is None:
        raise ConfigurationError(
            f"it has no chunk {number}.", where=f"backfill {backfill.backfill_id}", next_step="Start it."
        )
    return found


def _installs_are_read(chunks: Sequence[StoredChunk]) -> bool:
    ended = (ChunkState.DONE, ChunkState.INCOMPLETE)
    return all(one.progress.state in ended for one in chunks if one.chunk.source.is_of_installs)
