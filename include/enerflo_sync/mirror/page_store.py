"""Load the pages of one resource into the mirror: the one loop of polls and backfills."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice

import psycopg
import sqlalchemy as sa
from msgspec import structs

from enerflo_sync.enerflo.pages import Page
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.mirror.batch import Batch, Observation, together
from enerflo_sync.mirror.details import mark_due
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.read_ahead import read_ahead
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.warehouse.refused import refuses_a_row

# Pages with fewer changes are stored together, because a few changes cost little more than their
# transaction. A waiting page's answer stays in memory.
MANY_CHANGES = 250
MOST_PAGES = 5

# The run record flushes earlier asynchronous commits. A page lost in a power cut is read again.
_COMMITTED_SOON = "set local synchronous_commit = off"


@dataclass(frozen=True)
class _Prepared:
    """A page whose changed records are parsed.

    :param begun: resolves once the raw versions stored ahead are committed; None if none are.
    """

    batch: Batch
    page: Page
    begun: Future[None] | None = None


@dataclass(frozen=True)
class StoredPage:
    """The outcome of one page, or of several pages stored together.

    :param page: the last of the pages.
    :param ids: every id on the pages, also of unchanged and quarantined records.
    :param new: how many of them were not in the mirror when their page was prepared.
    :param held: records whose listed version is older than the mirror's.
    """

    page: Page
    ids: Sequence[int]
    tally: Tally
    new: int
    held: Sequence[int] = ()


@dataclass(frozen=True)
class PageStore:
    """Stores the pages of a walk while later pages are prepared; pages with few changes share a transaction.

    :param engine: provides the connection for preparing pages.
    :param connection: stores pages; must have no open transaction.
    :param observe: returns the observation for a page requested at the given time.
    :param depth: pages prepared while the previous page is stored; 0 in a simulation.
    :param before: called with each page before its preparation, perhaps twice with the first page; an
        exception ends the walk.
    :param also: called in each page's storing transaction, after the page. If given, every page gets its own
        transaction, even a page that changes nothing.
    """

    engine: sa.Engine
    connection: sa.Connection
    intake: Intake
    observe: Callable[[datetime], Observation]
    depth: int = 1
    before: Callable[[Page], None] | None = None
    also: Callable[[StoredPage], None] | None = None

    def store(self, pages: Iterable[Page]) -> Iterator[StoredPage]:
        """Yield pages after their commit."""
        # Close the reading thread first: it iterates ``pages``, which the caller may close afterwards.
        with (
            _one_thread("raw-versions") as beside,
            closing(read_ahead(self._prepared(pages, beside), self.depth)) as prepared,
        ):
            one_by_one = ([one] for one in prepared)
            for some in _with_few_changes_together(prepared) if self.also is None else one_by_one:
                yield from self._store_pages(some)

    def _store_pages(self, pages: Sequence[_Prepared]) -> list[StoredPage]:
        last = pages[-1].page
        for one in pages:
            if one.begun is not None:
                one.begun.result()
        try:
            stored = self._store_batch(together([one.batch for one in pages]), [one.page for one in pages])
        except psycopg.Error as error:
            if not refuses_a_row(error):
                raise
            # The warehouse refuses one record: find it, and quarantine only that record.
            self.connection.rollback()
        else:
            for one in pages:
                # The caller keeps this page until it asks for the next one.
                one.batch.blocks.clear()
            return [stored]
        if len(pages) == 1:
            return [self._store_one_by_one(last)]
        return [stored for one in pages for stored in self._store_pages([one])]

    def _prepared(self, pages: Iterable[Page], beside: ThreadPoolExecutor) -> Iterator[_Prepared]:
        """Yield pages with their changed records parsed."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as lookups:
            for page in self._begun_early(pages):
                if self.before is not None:
                    self.before(page)
                seen = self.observe(page.requested_at)
                batch = self.intake.prepare(lookups, page.records, seen, listed=True)
                ahead = self.depth and batch.all_new and batch.blocks[-1].rows >= MANY_CHANGES
                yield _Prepared(batch, page, beside.submit(self._keep_versions, batch) if ahead else None)

    def _keep_versions(self, batch: Batch) -> None:
        """Insert the raw versions of new records ahead of their rows, and commit.

        Raw versions are most of a new record's bytes, so they load in parallel with the previous page's rows:
        a first load takes a tenth to a fifth less time (decision 0013). A run that stops in
        between leaves versions without rows; the next run loads the rows.
        """
        with self.engine.begin() as connection:
            connection.exec_driver_sql(_COMMITTED_SOON)
            self.intake.keep_versions(connection, batch)

    def _begun_early(self, pages: Iterable[Page]) -> Iterator[Page]:
        """Yield pages, the first in two parts, so that the warehouse gets work sooner."""
        rest = iter(pages)
        if self.depth and self.also is None:
            # No local name for the page, which would keep it in memory during the whole walk.
            yield from chain.from_iterable(map(_in_two, islice(rest, 1)))
        yield from rest

    def _store_batch(self, batch: Batch, pages: Sequence[Page]) -> StoredPage:
        nothing_to_write = self.intake.leaves_alone(batch)
        if nothing_to_write and self.also is None:
            return _stored(pages[-1], batch)
        with self.connection.begin():
            self.connection.exec_driver_sql(_COMMITTED_SOON)
            if not nothing_to_write:
                if self.intake.is_overtaken(self.connection, batch):
                    batch = together([self._prepare_again(page) for page in pages])
                self._take(batch)
            stored = _stored(pages[-1], batch)
            if self.also is not None:
                self.also(stored)
        return stored

    def _prepare_again(self, page: Page) -> Batch:
        """Prepare a page again against the current mirror, whose rows of this page are locked."""
        seen = self.observe(page.requested_at)
        return self.intake.prepare(self.connection, page.records, seen, listed=True)

    def _take(self, batch: Batch) -> None:
        self.intake.store(self.connection, batch)
        mark_due(self.connection, batch.observation.account, batch.untold)

    def _store_one_by_one(self, page: Page) -> StoredPage:
        tally, ids, held, new = Tally(), list[int](), list[int](), 0
        observation = self.observe(page.requested_at)
        for raw in page.records:
            try:
                with self.connection.begin():
                    batch = self.intake.prepare(self.connection, [raw], observation, listed=True)
                    if self.intake.is_overtaken(self.connection, batch):
                        batch = self.intake.prepare(self.connection, [raw], observation, listed=True)
                    self._take(batch)
            except psycopg.Error as error:
                if not refuses_a_row(error):
                    raise
                self.connection.rollback()
                with self.connection.begin():
                    batch = self.intake.refuse(self.connection, raw, observation)
            tally.add(batch.tally)
            ids += batch.ids
            held += batch.held
            new += len(batch.new)
        stored = StoredPage(page, ids, tally, new, held)
        if self.also is not None:
            with self.connection.begin():
                self.also(stored)
        return stored


@contextmanager
def _one_thread(name: str) -> Iterator[ThreadPoolExecutor]:
    """Provide a thread until the block ends; cancel the work that it has not started."""
    pool = ThreadPoolExecutor(1, name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _in_two(page: Page) -> Iterator[Page]:
    """Yield a page's first records (as many as load ahead when new), then the others."""
    for records in (page.records[:MANY_CHANGES], page.records[MANY_CHANGES:]):
        if records:
            yield structs.replace(page, records=records)


def _stored(page: Page, batch: Batch) -> StoredPage:
    return StoredPage(page, batch.ids, batch.tally, len(batch.new), batch.held)


def _with_few_changes_together(prepared: Iterable[_Prepared]) -> Iterator[list[_Prepared]]:
    """Yield prepared pages; group pages with few changes, because a group costs little more than one page.

    A waiting group is yielded even if the walk fails, so that each run stores what it could read.
    """
    waiting: list[_Prepared] = []
    changes = 0
    try:
        for one in prepared:
            if not one.batch.changed:
                yield [one]
                continue
            if not all(other.batch.goes_with(one.batch) for other in waiting):
                yield waiting
                waiting, changes = [], 0
            waiting.append(one)
            changes += len(one.batch.changed)
            if changes >= MANY_CHANGES or len(waiting) == MOST_PAGES:
                yield waiting
                waiting, changes = [], 0
    except EnerfloSyncError:
        if waiting:
            yield waiting
        raise
    if waiting:
        yield waiting
