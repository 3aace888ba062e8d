"""The poll: walk Enerflo's lists, load changed records, detect deleted ones."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
from msgspec import Raw

from enerflo_sync.clock import Clock
from enerflo_sync.enerflo.failures import AuthenticationError, PermissionRefusedError
from enerflo_sync.enerflo.lists import VendorList
from enerflo_sync.enerflo.pages import Page, PageWalk
from enerflo_sync.errors import (
    ConfigurationError,
    ContractDriftError,
    EnerfloSyncError,
    FatalError,
    NotFoundError,
)
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.mirror.details import next_due, read_directly, take_detail
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.page_store import PageStore
from enerflo_sync.mirror.read_ahead import read_ahead
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.mirror.refused_key import require_some_permission
from enerflo_sync.mirror.sweep import ShrunkSourceError, Sweep
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.mirror.witnesses import confirm, forget
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.registry import ALL, USUAL
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.declared import filled_by_sweep
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.runs import RunReport
from enerflo_sync.warehouse.watermarks import move_watermark, read_watermark

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class PollOptions:
    """What a poll reads, and how.

    :param resources: names of :data:`enerflo_sync.resources.registry.ALL`.
    :param notes_lookback: how far before the last run's start notes are read again: clocks differ, and a
        note may be listed later than its own time.
    :param notes_sweep_every: maximum age of the last full read of the notes: `created_after` never shows an
        edit or a deletion.
    :param full: read all notes now, whatever the age of the last full read.
    :param shrink_guard: share of known records that may be missing before a sweep is refused.
    :param accept_shrink: accept, this once, a sweep that returns far fewer records.
    :param accept_company: accept that the account has another company now, and remember that company.
    :param confirmations: absent installs to read directly at the end; a 404 is proof of deletion.
    :param details: installs to read directly per poll if the list omits their milestones.
    :param component_keys: where a change order's components are.
    :param accounts: the names of all configured accounts; None looks for no former name of a new account.
    :param read_ahead: pages fetched while the previous page is stored; 0 in a simulation.
    """

    resources: frozenset[str] = frozenset(USUAL)
    per_page: int = 500
    min_per_page: int = 25
    notes_lookback: timedelta = timedelta(minutes=15)
    notes_sweep_every: timedelta = timedelta(hours=24)
    full: bool = False
    shrink_guard: float = 0.2
    accept_shrink: bool = False
    accept_company: bool = False
    confirmations: int = 50
    details: int = 60
    component_keys: ComponentKeys = ComponentKeys()  # noqa: RUF009 - frozen
    accounts: frozenset[str] | None = None
    read_ahead: int = 1


@dataclass
class _Poll:
    client: EnerfloClient
    engine: sa.Engine
    connection: sa.Connection
    run: Run
    clock: Clock
    options: PollOptions
    company: CompanyGuard
    progress: Progress = field(default=lambda *_: None)

    def observation(self, observed_at: datetime) -> Observation:
        return Observation(self.run.account, observed_at, "poll", f"poll:{self.run.run_id}")

    def read(self, resource: Resource) -> None:
        if resource is not INSTALLS:
            self.company.ensure()
        if resource.with_keys is not None:
            resource = resource.with_keys(self.options.component_keys)
        if resource.read_all is not None:
            self._in_one_answer(resource, resource.read_all)
        elif resource.listing is not None and resource.swept is not None:
            self._what_is_new(resource, resource.listing, resource.swept)
        elif resource.listing is not None:
            self._sweep(resource, self._walk(resource.listing))

    def _walk(self, listing: VendorList, since: datetime | None = None) -> PageWalk:
        options = self.options
        return listing.walk(self.client, since, per_page=options.per_page, floor=options.min_per_page)

    def _guard(self) -> float | None:
        return None if self.options.accept_shrink else self.options.shrink_guard

    def _in_one_answer(self, resource: Resource, read_all: Callable[[EnerfloClient], Sequence[Raw]]) -> None:
        observed_at = self.clock.now()
        records = read_all(self.client)
        account, floor = self.run.account, resource.shrink_floor
        sweep = Sweep(self.connection, resource, account, self._guard(), floor=floor)
        with self.connection.begin():
            seen = self.observation(observed_at)
            tally = Tally()
            for batch in Intake(resource).take_or_refuse(self.connection, records, seen):
                sweep.note(batch.ids, batch.tally.nameless)
                tally.add(batch.tally)
            sweep.conclude(self.clock.now(), started_at=observed_at)
        self.run.count(resource.name, tally)
        self.progress(resource.name, tally.read, tally.read)

    def _sweep(self, resource: Resource, walk: PageWalk) -> None:
        started_at = self.clock.now()
        intake = Intake(resource)
        with self._asked_for(walk) as pages:
            account, floor = self.run.account, resource.shrink_floor
            sweep = Sweep(self.connection, resource, account, self._guard(), floor=floor)
            held = self._store(resource, pages, intake, sweep)
        if resource is INSTALLS and held:
            self._confirm_held(intake, held)
        if not walk.complete:
            self.run.incomplete(resource.name, f"walk stopped: {walk.stop_reason}")
            return
        now = self.clock.now()
        with self.connection.begin():
            gone = sweep.conclude(now, started_at=started_at)
            confirm(self.connection, resource, self.run.account, started_at)
            if resource.swept is None:
                self._move_watermark(resource, resource.name, started_at)
        if gone.absent or gone.deleted:
            log.info("sweep resource=%s absent=%s deleted=%s", resource.name, gone.absent, gone.deleted)
            self.run.notice(resource.name, "absent", gone.absent)
            self.run.notice(resource.name, "deleted", gone.deleted)
        if resource is INSTALLS:
            if gone.absent:
                self._confirm_absent(intake, sweep, now)
            self._read_details(intake)

    def _asked_for(self, walk: PageWalk) -> AbstractContextManager[Iterable[Page]]:
        """Return the walk's pages; request the first now, each other one while the previous is stored."""
        return closing(read_ahead(walk, self.options.read_ahead))

    def _store(
        self, resource: Resource, pages: Iterable[Page], intake: Intake, sweep: Sweep | None
    ) -> list[int]:
        """Store the walk's pages while later ones are prepared; return the held records (:mod:`.lag`)."""
        held: list[int] = []
        # Count an empty list too, so that the run's report names it.
        self.run.count(resource.name, Tally())

        def believable(page: Page) -> None:
            if resource is INSTALLS:
                self.company.check(page.records)
            if sweep is not None and page.total is not None:
                sweep.check(page.total)

        done, depth = 0, self.options.read_ahead
        store = PageStore(
            self.engine, self.connection, intake, self.observation, depth=depth, before=believable
        )
        for stored in store.store(pages):
            if sweep is not None:
                sweep.note(stored.ids, stored.tally.nameless)
            held += stored.held
            self.run.count(resource.name, stored.tally)
            done += stored.tally.read
            self.progress(resource.name, done, stored.page.total)
        return held

    def _confirm_held(self, intake: Intake, held: Sequence[int]) -> None:
        """Read held installs directly and believe the answer: the list's versions are outdated."""
        for install_id in held[: self.options.confirmations]:
            observed_at = self.clock.now()
            try:
                raw = self._read_directly(install_id)
            except NotFoundError:
                # The install does not exist (or still does not): the next sweeps decide.
                continue
            if raw is not None:
                self._take_own_answer(intake, raw, observed_at)

    def _take_own_answer(self, intake: Intake, raw: bytes, observed_at: datetime) -> None:
        seen = self.observation(observed_at)
        with self.connection.begin():
            (batch,) = intake.take_or_refuse(self.connection, [raw], seen, own_answer=True)
        self.run.count("installs", batch.tally)

    def _read_directly(self, install_id: int) -> bytes | None:
        """Return one install; None, with a line in the run's report, if it cannot be read at the moment."""
        return read_directly(
            self.client, install_id, lambda error: self.run.incomplete("milestones", f"install {error}")
        )

    def _confirm_absent(self, intake: Intake, sweep: Sweep, now: datetime) -> None:
        """Read absent installs directly: a 404 is evidence of deletion, a success of existence."""
        for install_id in sweep.absentees(now, self.options.confirmations):
            observed_at = self.clock.now()
            try:
                raw = self._read_directly(install_id)
            except NotFoundError:
                with self.connection.begin():
                    self.run.notice("installs", "deleted", sweep.tombstone(install_id, observed_at))
                continue
            if raw is not None:
                self._take_own_answer(intake, raw, observed_at)

    def _read_details(self, intake: Intake) -> None:
        """Read milestones from the installs directly if the list omits them."""
        with self.connection.begin():
            due = next_due(self.connection, self.run.account, self.options.details, self.clock.now())
        for done, install_id in enumerate(due, start=1):
            observation = self.observation(self.clock.now())
            try:
                raw = self._read_directly(install_id)
            except NotFoundError:
                # The next sweep will not list it either, and then tombstones it.
                raw = None
            with self.connection.begin():
                tally = take_detail(self.connection, intake, raw, observation, install_id)
            self.run.count("milestones", tally)
            self.progress("milestones", done, len(due))

    def report_unknown_statuses(self) -> None:
        rows = self.connection.execute(sa.text(UNKNOWN_STATUSES), {"account": self.run.account})
        for name, count in rows.fetchall():
            self.run.notice("installs", f"unknown_status: {name}", count)
        self.connection.rollback()

    def _what_is_new(self, resource: Resource, listing: VendorList, swept_mark: str) -> None:
        """Read new records, or all records if the last full read is too old."""
        started_at, name, account = self.clock.now(), resource.name, self.run.account
        with self.connection.begin():
            swept = read_watermark(self.connection, account, swept_mark)
            known_until = read_watermark(self.connection, account, name)
        due = swept is None or started_at - swept >= self.options.notes_sweep_every
        moved = [name]
        if self.options.full or due or known_until is None:
            self._sweep(resource, self._walk(listing))
            moved.append(swept_mark)
        else:
            since = self._known_until(resource, known_until) - self.options.notes_lookback
            walk = self._walk(listing, since)
            with self._asked_for(walk) as pages:
                self._store(resource, pages, Intake(resource), None)
            if not walk.complete:
                self.run.incomplete(name, f"walk stopped: {walk.stop_reason}")
            else:
                with self.connection.begin():
                    confirm(self.connection, resource, account, started_at, listed_after=since)
        if not self.run.is_incomplete(name):
            with self.connection.begin():
                for mark in moved:
                    self._move_watermark(resource, mark, started_at)

    def _known_until(self, resource: Resource, watermark: datetime) -> datetime:
        """Return until when new records are known, by Enerflo's clock, which may be behind the database's.

        No record can be missing that is older than the newest one. A read of all comes once a day.
        """
        newest = sa.text(
            f"select created_at from {resource.table.fullname} where account = :account"  # noqa: S608 - declared
            f" order by {resource.id_column} desc limit 1"
        )
        with self.connection.begin():
            created: datetime | None = self.connection.scalar(newest, {"account": self.run.account})
        earliest = watermark - self.options.notes_sweep_every
        return watermark if created is None else min(watermark, max(created, earliest))

    def _move_watermark(self, resource: Resource, name: str, started_at: datetime) -> None:
        """Set the watermark ``name`` in the caller's transaction, after everything up to it was read.

        The watermark is the run's start, so that the next run reads again what was written during this one.
        """
        account, run_id = self.run.account, self.run.run_id
        if name == (resource.swept or resource.name):
            filled_by_sweep(self.connection, account, resource.table.name, started_at)
        move_watermark(self.connection, account, name, started_at, run_id=run_id, now=self.clock.now())


UNKNOWN_STATUSES = """
/* enerflo-sync: statuses that the company's table does not list */
select i.status_name, i.installs
from (
  select status_name, count(*) as installs from enerflo.installs
  where account = :account and deleted_at is null and status_name is not null
  group by status_name
) i
where not exists (
  select from enerflo.install_statuses s where s.account = :account and s.name = i.status_name
)
order by 1
"""


def _failure(work: _Poll, resource: Resource) -> EnerfloSyncError | None:
    """Read a resource, and return why it could not be read, which is reported; None if it could."""
    try:
        work.read(resource)
    except AuthenticationError:
        raise
    except (FatalError, ContractDriftError, ShrunkSourceError) as error:
        work.connection.rollback()
        log.warning("poll_incomplete resource=%s error=%s", resource.name, type(error).__name__)
        work.run.incomplete(resource.name, str(error))
        return error
    return None


def poll(
    client: EnerfloClient,
    engine: sa.Engine,
    account: str,
    *,
    clock: Clock,
    rng: random.Random,
    calls: CallCounter,
    options: PollOptions = PollOptions(),
    run_id: str | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Load what Enerflo lists now into the mirror of one account, and return what was read and done.

    Pages commit one by one (or grouped if they have few changes), and a watermark moves only after everything
    that it covers. So the next run completes a run that was killed at any point. A resource that the key may
    not read, or that answers in an unknown form, is reported as incomplete, and the others continue.

    :param calls: the client's call counter (``on_call=calls.add``).
    :param progress: called with resource, records so far and their total, if the vendor returns one.
    :raises AuthenticationError: the key is not accepted, or every read is refused. Change the key; a retry
        cannot help.
    :raises AnotherCompanyError: the key belongs to another company; nothing was stored.
    :raises RetriableError: Enerflo or the warehouse stayed unreachable despite retries.
    :raises ConfigurationError: the warehouse lacks tables or rights, or every list is missing: the base URL
        is wrong.
    """
    with warehouse_errors("poll"), engine.connect() as connection:
        run = Run(connection, account, "poll", clock, rng, run_id=run_id)
        with run.recording(calls):
            company = CompanyGuard(
                client, engine, account, accept=options.accept_company, configured=options.accounts
            )
            work = _Poll(
                client, engine, connection, run, clock, options, company, progress or (lambda *_: None)
            )
            # Installs come first: their list shows whose key it is before anything is stored.
            wanted = [resource for resource in ALL if resource.name in options.resources]
            failures = [_failure(work, resource) for resource in wanted]
            if all(isinstance(error, PermissionRefusedError) for error in failures):
                require_some_permission(client)
            if len(failures) > 1 and all(isinstance(error, NotFoundError) for error in failures):
                raise ConfigurationError(
                    "nothing that a poll reads is there (404): what answers is not Enerflo's API.",
                    where="the base URL",
                    next_step="Correct base_url, or the host of its Airflow connection. Nothing was stored.",
                )
            if INSTALLS in wanted:
                work.report_unknown_statuses()
            with connection.begin():
                forget(connection, account, clock.now())
    return run.report
