"""Load one chunk into the mirror by the poll's own path, from where an earlier reader stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

import sqlalchemy as sa

from enerflo_sync.backfill.chunks import PAGES, RECORDS, Chunk
from enerflo_sync.backfill.context import Context
from enerflo_sync.backfill.install_pages import ChunkPage, InstallPages
from enerflo_sync.backfill.list_pages import ListPage, of_installs, wanted_owners
from enerflo_sync.backfill.named import NamedInstalls
from enerflo_sync.backfill.plan import listed_since
from enerflo_sync.backfill.request import Kind
from enerflo_sync.backfill.store import (
    Backfill,
    ChunkState,
    Progress,
    StoredChunk,
    named_ids,
    note_page,
    save_progress,
)
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.enerflo.pages import Page
from enerflo_sync.errors import ContractDriftError, FatalError, NotFoundError
from enerflo_sync.mirror.details import read_directly, take_detail
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.page_store import PageStore, StoredPage
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.registry import BY_NAME
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.runs import add_api_calls

log = logging.getLogger(__name__)

# Installs of the chunk whose list row omits milestones, and which were not read directly since the start.
_UNTOLD = sa.text("""
/* enerflo-sync backfill: installs whose list row omits milestones */
select install_id from enerflo.installs
where account = :account and deleted_at is null
  and install_id in (
    select unnest(p.install_ids) from sync.backfill_pages p
    where p.account = :account and p.backfill_id = :backfill_id and p.chunk = :chunk)
  and detail_read_at is not null and detail_read_at < :started_at
order by install_id desc
""")


class ChunkReader:
    """Reads one chunk of a backfill; its records and its progress commit together.

    :param backfill: its state when reading began.
    """

    def __init__(self, context: Context, connection: sa.Connection, backfill: Backfill, stored: StoredChunk):
        self._context = context
        self._connection = connection
        self._backfill = backfill
        self._chunk: Chunk = stored.chunk
        self._progress: Progress = stored.progress
        self._observe = partial(context.observation, backfill.backfill_id)

    def read(self) -> Progress:
        """Read the rest of the chunk, and return its progress.

        :raises AuthenticationError: the key is no longer accepted; stored records stay.
        :raises ShrunkSourceError: the list suddenly has far fewer installs.
        """
        progress = self._progress
        if progress.state in (ChunkState.DONE, ChunkState.INCOMPLETE):
            return progress
        progress.started_at = progress.started_at or self._context.clock.now()
        progress.state = ChunkState.READING
        source = self._chunk.source
        if source == PAGES:
            self._installs()
        elif source == RECORDS:
            named = NamedInstalls(self._context, self._connection, self._backfill)
            named.read(self._chunk, progress, self._save)
        else:
            self._list(BY_NAME[source])
        if progress.state is ChunkState.READING:
            progress.state = ChunkState.DONE
        progress.finished_at = self._context.clock.now()
        with self._connection.begin():
            self._save()
        return progress

    def _save(self) -> None:
        """Store the chunk's progress and the calls since the last time, in the caller's transaction."""
        progress, context = self._progress, self._context
        counts = context.calls.take()
        progress.requests += int(sum(one["calls"] for one in counts.values()))
        progress.throttled += int(sum(one["throttled"] for one in counts.values()))
        hour = context.clock.now().replace(minute=0, second=0, microsecond=0)
        add_api_calls(self._connection, context.account, hour, counts)
        save_progress(self._connection, self._backfill, self._chunk.number, progress)

    def _give_up(self, resource: str, why: str) -> None:
        log.warning("backfill_chunk_incomplete chunk=%s resource=%s", self._chunk.number, resource)
        self._progress.incomplete(resource, why)
        self._progress.state = ChunkState.INCOMPLETE

    def _store(self, resource: Resource, pages: Iterable[Page], also: Callable[[StoredPage], None]) -> None:
        store = PageStore(
            self._context.engine,
            self._connection,
            Intake(resource),
            self._observe,
            # Fetch nothing ahead: a kill would waste fetched pages, and the budget is the limit anyway.
            depth=0,
            before=self._refuse_another_company if resource is INSTALLS else None,
            also=also,
        )
        for _ in store.store(pages):
            self._context.progress(self._chunk.label, self._progress.rows, self._chunk.rows)

    def _refuse_another_company(self, page: Page) -> None:
        self._context.company.check(page.records)

    # -- installs ------------------------------------------------------------------------------------------

    def _installs(self) -> None:
        request = self._backfill.request
        with self._connection.begin():
            seen = named_ids(self._connection, self._backfill, self._chunk.number)
        only = set(request.install_ids) if request.kind is Kind.IDS else None
        pages = InstallPages(self._context, self._backfill, self._chunk, self._progress, seen, only)
        self._store(INSTALLS, pages, self._installs_stored)
        if not pages.complete:
            self._give_up("installs", pages.stopped or "the walk was left early")
            return
        self._read_untold()

    def _installs_stored(self, stored: StoredPage) -> None:
        page, progress = stored.page, self._progress
        assert isinstance(page, ChunkPage)  # noqa: S101 - of InstallPages
        progress.count("installs", stored.tally, stored.new)
        progress.count("installs", _outside(page.outside))
        progress.reached_id, progress.reached_row = page.reached_id, page.reached_row
        progress.reached_total = page.reached_total
        progress.pages += 1
        progress.rows += len(page.ids)
        progress.disorder_seconds = page.disorder_seconds
        progress.ids_disordered = page.ids_disordered
        note_page(self._connection, self._backfill, self._chunk.number, progress.pages, page.ids)
        self._save()

    def _read_untold(self) -> None:
        """Read milestones from the installs directly if the list omits them."""
        values = {
            "account": self._context.account,
            "backfill_id": self._backfill.backfill_id,
            "chunk": self._chunk.number,
            "started_at": self._backfill.started_at,
        }
        with self._connection.begin():
            untold = list(self._connection.scalars(_UNTOLD, values))
        intake = Intake(INSTALLS)
        for done, install_id in enumerate(untold, start=1):
            observation = self._observe(self._context.clock.now())
            try:
                raw = read_directly(
                    self._context.client,
                    install_id,
                    lambda error: self._progress.incomplete("milestones", f"install {error}"),
                )
            except NotFoundError:
                # Deleted since its page was read: the backfill's final steps handle it.
                raw = None
            with self._connection.begin():
                tally = take_detail(self._connection, intake, raw, observation, install_id)
                self._progress.count("milestones", tally)
                self._save()
            self._context.progress(f"milestones, {self._chunk.label}", done, len(untold))

    # -- the other lists -----------------------------------------------------------------------------------

    def _list(self, resource: Resource) -> None:
        """Read a list to its end, starting after the last stored page."""
        options, listing = self._context.options, resource.listing
        assert listing is not None  # noqa: S101 - it was planned
        if resource.with_keys is not None:
            resource = resource.with_keys(options.component_keys)
        walk = listing.walk(
            self._context.client,
            listed_since(self._context, self._backfill, listing),
            per_page=options.per_page,
            floor=options.min_per_page,
            start=self._progress.reached_row,
        )
        with self._connection.begin():
            wanted = wanted_owners(self._connection, self._backfill, resource)
        self._context.company.ensure()
        pages = of_installs(walk, resource, wanted)
        try:
            self._store(resource, pages, partial(self._list_stored, resource.name))
        except AuthenticationError:
            raise
        except (FatalError, ContractDriftError) as error:
            self._connection.rollback()
            self._give_up(resource.name, str(error))
            return
        if not walk.complete:
            self._give_up(resource.name, f"walk stopped: {walk.stop_reason}")

    def _list_stored(self, resource: str, stored: StoredPage) -> None:
        page, progress = stored.page, self._progress
        assert isinstance(page, ListPage)  # noqa: S101 - of of_installs
        progress.count(resource, stored.tally, stored.new)
        progress.count(resource, _outside(page.outside))
        progress.reached_row = (page.number - 1) * page.per_page
        progress.pages += 1
        progress.rows += page.listed
        self._save()


def _outside(count: int) -> Tally:
    tally = Tally(read=count, skipped=count)
    if count:
        tally.because("skipped", "outside_of_what_was_asked_for", count)
    return tally


def read_chunk(context: Context, backfill: Backfill, stored: StoredChunk) -> Progress:
    """Read one chunk on its own connection, under a lock (:meth:`ChunkReader.read`).

    :raises RetriableError: another process reads it.
    """
    job = f"reading of chunk {stored.chunk.number} of {backfill.backfill_id}"
    with context.engine.connect() as connection, alone(connection, context.account, job):
        return ChunkReader(context, connection, backfill, stored).read()
