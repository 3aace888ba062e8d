"""Pages of one resource on their way into the mirror: the one loop of polls and backfills."""

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

# A page with fewer changes waits for the next ones: most of what a handful of changes costs is their
# transaction. A page's answer stays in memory as long as it waits.
MANY_CHANGES = 250
MOST_PAGES = 5

# The run's own record is committed for good, and everything before it with it; a page that a power cut takes
# is read again.
_COMMITTED_SOON = "set local synchronous_commit = off"


@dataclass(frozen=True)
class _Prepared:
    """A page that was parsed as far as it changed.

    :param begun: done once what is stored of it ahead is committed; None where nothing is.
    """

    batch: Batch
    page: Page
    begun: Future[None] | None = None


@dataclass(frozen=True)
class StoredPage:
    """What became of one page, or of several that were stored together.

    :param page: the last of them.
    :param ids: every id that they name, also of records that are unchanged or put aside.
    :param new: how many of them the mirror did not hold when the page was prepared.
    :param held: those whose listed version is older than the mirror's.
    """

    page: Page
    ids: Sequence[int]
    tally: Tally
    new: int
    held: Sequence[int] = ()


@dataclass(frozen=True)
class PageStore:
    """Stores the pages of a walk, those with few changes some at a time, while the next ones are prepared.

    :param engine: lends the connection on which pages are prepared.
    :param connection: stores them; with no transaction open.
    :param observe: says who saw a page that was asked for at that moment.
    :param depth: pages prepared while the last one is stored; 0 in a simulation.
    :param before: called with each page before it is prepared, with the first one maybe twice; what it raises
        ends the walk.
    :param also: called in the transaction that stores a page, after it. Where this is given each page has a
        transaction of its own, also one that leaves the mirror alone.
    """

    engine: sa.Engine
    connection: sa.Connection
    intake: Intake
    observe: Callable[[datetime], Observation]
    depth: int = 1
    before: Callable[[Page], None] | None = None
    also: Callable[[StoredPage], None] | None = None

    def store(self, pages: Iterable[Page]) -> Iterator[StoredPage]:
        """Yield pages once they are committed."""
        # Closed here, whatever happens: its thread stands within ``pages``, which the caller may close then.
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
            # One record holds what the warehouse refuses: find it, and put only that one aside.
            self.connection.rollback()
        else:
            for one in pages:
                # Whoever waits for the next page still holds this one.
                one.batch.blocks.clear()
            return [stored]
        if len(pages) == 1:
            return [self._store_one_by_one(last)]
        return [stored for one in pages for stored in self._store_pages([one])]

    def _prepared(self, pages: Iterable[Page], beside: ThreadPoolExecutor) -> Iterator[_Prepared]:
        """Yield pages, parsed as far as they changed."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as lookups:
            for page in self._begun_early(pages):
                if self.before is not None:
                    self.before(page)
                seen = self.observe(page.requested_at)
                batch = self.intake.prepare(lookups, page.records, seen, listed=True)
                ahead = self.depth and batch.all_new and batch.blocks[-1].rows >= MANY_CHANGES
                yield _Prepared(batch, page, beside.submit(self._keep_versions, batch) if ahead else None)

    def _keep_versions(self, batch: Batch) -> None:
        """Store the raw versions of records that are new, most of what is stored of them, and commit.

        Beside the rows of the page before. A run that ends in between leaves versions without a row: the
        next one brings it, as it brings whatever a page lacks.
        """
        with self.engine.begin() as connection:
            connection.exec_driver_sql(_COMMITTED_SOON)
            self.intake.keep_versions(connection, batch)

    def _begun_early(self, pages: Iterable[Page]) -> Iterator[Page]:
        """Yield pages, the first one in two: while it is prepared the warehouse has nothing to do."""
        rest = iter(pages)
        if self.depth and self.also is None:
            # Without a name for the page: it would keep it in memory as long as the walk goes on.
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
        """Return a page as it is beside the mirror of now, whose rows of it are locked."""
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
    """Lend a thread until the end, and leave undone then what it has not begun."""
    pool = ThreadPoolExecutor(1, name)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _in_two(page: Page) -> Iterator[Page]:
    """Yield a page's first records, as many as are stored at once where they are new, and the others."""
    for records in (page.records[:MANY_CHANGES], page.records[MANY_CHANGES:]):
        if records:
            yield structs.replace(page, records=records)


def _stored(page: Page, batch: Batch) -> StoredPage:
    return StoredPage(page, batch.ids, batch.tally, len(batch.new), batch.held)


def _with_few_changes_together(prepared: Iterable[_Prepared]) -> Iterator[list[_Prepared]]:
    """Yield prepared pages, those with few changes some at a time, which costs little more than one.

    Those that wait are yielded also where the walk fails, so that each run stores what it could read.
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
