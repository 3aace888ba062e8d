"""Pages of one resource on their way into the mirror: the one loop of polls and backfills."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
import sqlalchemy as sa

from enerflo_sync.enerflo.pages import Page
from enerflo_sync.mirror.details import mark_due
from enerflo_sync.mirror.intake import Batch, Intake, Observation
from enerflo_sync.mirror.read_ahead import read_ahead
from enerflo_sync.mirror.tally import Tally


@dataclass(frozen=True)
class StoredPage:
    """What became of one page.

    :param ids: every id that it names, also of records that are unchanged or put aside.
    :param new: how many of them the mirror did not hold when the page was prepared.
    """

    page: Page
    ids: Sequence[int]
    tally: Tally
    new: int


@dataclass(frozen=True)
class PageStore:
    """Stores page after page, each in a transaction of its own, while the next ones are prepared.

    :param engine: lends the connection on which pages are prepared.
    :param connection: stores them; with no transaction open.
    :param observe: says who saw a page that was asked for at that moment.
    :param depth: pages fetched, and prepared, while the last one is stored; 0 in a simulation.
    :param before: called with each page before it is prepared; what it raises ends the walk.
    :param also: called in the transaction that stores a page, after it. A page that leaves the mirror alone
        has a transaction only where this is given.
    """

    engine: sa.Engine
    connection: sa.Connection
    intake: Intake
    observe: Callable[[datetime], Observation]
    depth: int = 1
    before: Callable[[Page], None] | None = None
    also: Callable[[StoredPage], None] | None = None

    def store(self, pages: Iterable[Page]) -> Iterator[StoredPage]:
        """Yield each page once it is committed."""
        for batch, page in read_ahead(self._prepared(pages), self.depth):
            try:
                yield self._store_page(batch, page)
            except (psycopg.DataError, psycopg.errors.CardinalityViolation):
                # One record holds what the warehouse refuses: find it, and put only that one aside.
                self.connection.rollback()
                yield self._store_one_by_one(page)

    def _prepared(self, pages: Iterable[Page]) -> Iterator[tuple[Batch, Page]]:
        """Yield pages, parsed as far as they changed."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as lookups:
            for page in read_ahead(pages, self.depth):
                if self.before is not None:
                    self.before(page)
                yield self.intake.prepare(lookups, page.records, self.observe(page.requested_at)), page

    def _store_page(self, batch: Batch, page: Page) -> StoredPage:
        nothing_to_write = self.intake.leaves_alone(batch)
        if nothing_to_write and self.also is None:
            return _stored(page, batch)
        with self.connection.begin():
            # The run's own record is committed for good, and everything before it with it; a page that
            # a power cut takes is read again.
            self.connection.exec_driver_sql("set local synchronous_commit = off")
            if not nothing_to_write:
                self._take(batch)
            stored = _stored(page, batch)
            if self.also is not None:
                self.also(stored)
        return stored

    def _take(self, batch: Batch) -> None:
        self.intake.store(self.connection, batch)
        mark_due(self.connection, batch.observation.account, batch.untold)

    def _store_one_by_one(self, page: Page) -> StoredPage:
        tally, ids, new = Tally(), list[int](), 0
        observation = self.observe(page.requested_at)
        for raw in page.records:
            try:
                with self.connection.begin():
                    batch = self.intake.prepare(self.connection, [raw], observation)
                    self._take(batch)
            except psycopg.DataError:
                self.connection.rollback()
                with self.connection.begin():
                    batch = self.intake.refuse(self.connection, raw, observation)
            tally.add(batch.tally)
            ids += batch.ids
            new += len(batch.new)
        stored = StoredPage(page, ids, tally, new)
        if self.also is not None:
            with self.connection.begin():
                self.also(stored)
        return stored


def _stored(page: Page, batch: Batch) -> StoredPage:
    return StoredPage(page, batch.ids, batch.tally, len(batch.new))
