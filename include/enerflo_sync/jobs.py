"""Every job as one function, called alike by the command line and by Airflow.

This module and ``cli`` are the only ones that know all rooms.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import msgspec
import requests
import sqlalchemy as sa

from enerflo_sync.backfill.context import BackfillOptions, Context, PlannedTable
from enerflo_sync.backfill.run import Backfills
from enerflo_sync.clock import Clock, DatabaseClock, SystemClock
from enerflo_sync.crm.config import AccountConfig, SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.mapping import Side, SourceOfTruth, TableName
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.gaps import schedule
from enerflo_sync.gaps.find import find_gaps
from enerflo_sync.gaps.report import GapReport
from enerflo_sync.inbox.batch import MEGABYTE, Limits
from enerflo_sync.inbox.drop import Drop, open_drop
from enerflo_sync.inbox.hydrate import HydrateOptions
from enerflo_sync.inbox.ingest import IngestOptions, ingest
from enerflo_sync.inbox.quarantine import (
    Filter,
    ItemDetail,
    QuarantineGroup,
    dismiss_items,
    list_groups,
    list_items,
    show_item,
)
from enerflo_sync.inbox.quarantine_items import QuarantineItem, Selection, select_items
from enerflo_sync.inbox.replay import replay
from enerflo_sync.inbox.replay_report import ReplayReport
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.change_orders import ComponentKeys
from enerflo_sync.mirror.poll import PollOptions, Progress, poll
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.mirror.witness_report import DAYS, WitnessReport, witness_report
from enerflo_sync.notify.message import Message
from enerflo_sync.notify.run import NotifyReport, Send, new_messages, notify
from enerflo_sync.notify.store import StoredMessage, stored
from enerflo_sync.quality.gate import ORDER_ID, release
from enerflo_sync.quality.life_cycle.graph import LIFE_CYCLE_FILE, LifeCycle, load_life_cycle
from enerflo_sync.quality.life_cycle.store import read_life_cycle
from enerflo_sync.quality.report import QualityReport
from enerflo_sync.quality.run import check_change_orders
from enerflo_sync.quality.store import SHOWN, read_report
from enerflo_sync.quality.suite import SUITE_FILE, Suite, load_suite
from enerflo_sync.rebuild.condition import read_condition
from enerflo_sync.rebuild.report import RebuildReport
from enerflo_sync.rebuild.run import rebuild
from enerflo_sync.rebuild.tables import RebuildTable
from enerflo_sync.reconcile.report import ReconciliationReport
from enerflo_sync.reconcile.run import reconcile
from enerflo_sync.reconcile.store import last_full_at
from enerflo_sync.sync.apply import ApplyReport, apply_plan
from enerflo_sync.sync.decided_plan import WHOLE, approve_plan, hold_plan, reject_plan
from enerflo_sync.sync.explain import explain
from enerflo_sync.sync.explanation import Explanation, masked_explanation
from enerflo_sync.sync.parts import Part
from enerflo_sync.sync.plan import make_plans
from enerflo_sync.sync.plan_reads import read_plan
from enerflo_sync.sync.plan_report import PlanReport
from enerflo_sync.sync.reopen import Refusal, WhichRefusals, reopen, standing_refusals
from enerflo_sync.sync.retry import RetryReport, RetrySelection, retry
from enerflo_sync.sync.reveal import note_reveal
from enerflo_sync.sync.undo import make_undo
from enerflo_sync.sync.verify import Verification, verify_plan
from enerflo_sync.sync.what_if import WhatIf, what_if
from enerflo_sync.warehouse.engine import ask_time, server_time, warehouse_engine, warehouse_errors
from enerflo_sync.warehouse.migrate import require_migrated
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget
from enerflo_sync.warehouse.request_lanes import Lane
from enerflo_sync.warehouse.runs import RunReport

DEFAULT_CONFIG = Path("include/config/sync.yaml")
CONFIG_VARIABLE = "ENERFLO_SYNC_CONFIG"


@dataclass(frozen=True)
class Credentials:
    """Where one account's two sides are, and what opens them: asked for only by the job that needs it.

    Each call returns the value or raises :class:`ConfigurationError` that says where to set it.
    """

    base_url: Callable[[], str] = field(repr=False)
    api_key: Callable[[], str] = field(repr=False)
    warehouse_url: Callable[[], str] = field(repr=False)

    @classmethod
    def of(cls, settings: AccountConfig) -> Credentials:
        """Return the credentials that the configuration file names."""
        return cls(
            base_url=lambda: settings.need("base_url"),
            api_key=lambda: settings.need("api_key"),
            warehouse_url=lambda: settings.need("warehouse_url"),
        )


@dataclass
class Workplace:
    """One account, opened: configuration, warehouse, and a client when one is asked for.

    :param session: carries proxies and TLS settings; inside Airflow it is the connection's.
    :param clock: handed to everything that waits or stamps a time. In place of the machine's clock stands
        the warehouse's (:class:`enerflo_sync.clock.DatabaseClock`); any other clock is used as it is.
    :param rng: handed to everything that rolls dice (jitter, run ids).
    """

    account: str
    config: SyncConfig
    config_path: Path
    credentials: Credentials
    session: requests.Session = field(default_factory=requests.Session)
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        """Put the database's clock in place of the machine's; nothing is connected yet."""
        if type(self.clock) is SystemClock:
            machine = self.clock
            self.clock = DatabaseClock(machine, lambda: ask_time(self.engine))

    @cached_property
    def settings(self) -> AccountConfig:
        """Return the account's own section of the configuration."""
        return self.config.account(self.account)

    @cached_property
    def engine(self) -> sa.Engine:
        """Return the warehouse's engine; nothing is connected yet."""
        return warehouse_engine(self.credentials.warehouse_url())

    @cached_property
    def calls(self) -> CallCounter:
        """Return the counter of this workplace's HTTP calls."""
        return CallCounter()

    @cached_property
    def client(self) -> EnerfloClient:
        """Return the account's client, whose request budget is shared by every process with this key.

        :raises ConfigurationError: the address or the key is missing or cannot be used.
        """
        return self._client(Lane.LIVE)

    def _client(self, lane: Lane) -> EnerfloClient:
        api_key = self.credentials.api_key()
        fingerprint = key_fingerprint(api_key)
        budget = WarehouseRequestBudget(self.engine, self.account, fingerprint, self.clock, lane=lane)
        return EnerfloClient(
            self.session,
            self.credentials.base_url(),
            api_key,
            budget=budget,
            clock=self.clock,
            rng=self.rng,
            on_call=self.calls.add,
        )

    def close(self) -> None:
        """Give the connections back. The workplace may be used again."""
        self.session.close()
        if "engine" in self.__dict__:
            self.engine.dispose()

    def poll(
        self,
        *,
        resources: frozenset[PollResource] | None = None,
        full: bool = False,
        accept_shrink: bool = False,
        accept_company: bool = False,
        run_id: str | None = None,
        progress: Progress | None = None,
        read_ahead: int = 1,
    ) -> RunReport:
        """Bring the mirror up to what Enerflo lists now (:func:`enerflo_sync.mirror.poll.poll`).

        :param resources: what to read; what the configuration says where None.
        """
        require_migrated(self.engine)
        settings = self.config.poll
        options = PollOptions(
            resources=resources or frozenset(PollResource(name) for name in settings.resources),
            per_page=settings.per_page,
            min_per_page=settings.min_per_page,
            notes_lookback=timedelta(minutes=settings.lookback_minutes),
            full=full,
            shrink_guard=settings.shrink_guard_percent / 100,
            accept_shrink=accept_shrink,
            accept_company=accept_company,
            component_keys=ComponentKeys(**self.config.change_orders.model_dump()),
            read_ahead=read_ahead,
        )
        return poll(
            self.client,
            self.engine,
            self.account,
            clock=self.clock,
            rng=self.rng,
            calls=self.calls,
            options=options,
            run_id=run_id,
            progress=progress,
        )

    def backfills(self, *, progress: Progress | None = None, workers: int = 1) -> Backfills:
        """Return the account's backfills (:mod:`enerflo_sync.backfill.run`), which yield to all other work.

        :param workers: chunks that are read at once.
        """
        require_migrated(self.engine)
        settings = self.config.poll
        options = BackfillOptions(
            mapping_hash=mapping_hash(self.config, self.account),
            per_page=settings.per_page,
            min_per_page=settings.min_per_page,
            notes_lookback=timedelta(minutes=settings.lookback_minutes),
            shrink_guard=settings.shrink_guard_percent / 100,
            component_keys=ComponentKeys(**self.config.change_orders.model_dump()),
            workers=workers,
            planned=planned_tables(self.config, self.account),
        )
        return Backfills(
            Context(
                self._client(Lane.BACKFILL),
                self.engine,
                self.account,
                self.clock,
                self.rng,
                self.calls,
                options,
                progress or (lambda *_: None),
            )
        )

    @cached_property
    def drop(self) -> Drop:
        """Return the place into which the account's webhook payloads are dropped; nothing is touched yet.

        :raises ConfigurationError: it is not configured, or its kind of storage is not installed.
        """
        return open_drop(
            self.settings.need("webhook_drop_uri"),
            self.settings.webhook_archive_uri,
            self.config.webhooks.settle_seconds,
        )

    def ingest(
        self,
        *,
        run_id: str | None = None,
        progress: Progress | None = None,
        read_ahead: int = 1,
    ) -> RunReport:
        """Bring dropped webhook payloads into the mirror (:func:`enerflo_sync.inbox.ingest.ingest`)."""
        require_migrated(self.engine)
        return ingest(
            self.client,
            self.engine,
            self.drop,
            self.account,
            clock=self.clock,
            rng=self.rng,
            calls=self.calls,
            options=self._ingest_options(read_ahead),
            run_id=run_id,
            progress=progress,
        )

    def _ingest_options(self, read_ahead: int = 1) -> IngestOptions:
        settings = self.config.webhooks
        return IngestOptions(
            limits=Limits(
                file=settings.max_file_mb * MEGABYTE,
                event=settings.max_event_mb * MEGABYTE,
                ignored=frozenset(settings.ignored_events),
            ),
            hydration=HydrateOptions(
                most=settings.max_records,
                not_found_for=timedelta(minutes=settings.not_found_minutes),
                shrink_guard=self.config.poll.shrink_guard_percent / 100,
                component_keys=ComponentKeys(**self.config.change_orders.model_dump()),
            ),
            keep_archive=None if settings.archive_days is None else timedelta(days=settings.archive_days),
            read_ahead=read_ahead,
        )

    def quarantine_groups(self, wanted: Filter) -> list[QuarantineGroup]:
        """Return what stands in quarantine by fingerprint, each with one masked example."""
        require_migrated(self.engine)
        with warehouse_errors("quarantine"), self.engine.connect() as connection:
            return list_groups(connection, self.account, wanted)

    def quarantine_items(self, wanted: Filter) -> list[QuarantineItem]:
        """Return the items in quarantine, without their payloads."""
        require_migrated(self.engine)
        with warehouse_errors("quarantine"), self.engine.connect() as connection:
            return list_items(connection, self.account, wanted)

    def quarantine_item(self, item: str, *, reveal: bool = False, by: str = "") -> ItemDetail:
        """Return everything about one item; to reveal its payload is recorded under ``by``.

        :param item: an id, or the beginning of one.
        :raises ConfigurationError: there is no such item, or several.
        """
        require_migrated(self.engine)
        with warehouse_errors("quarantine"), self.engine.begin() as connection:
            return show_item(connection, self.account, item, reveal=reveal, by=by, clock=self.clock)

    def replay(
        self,
        *,
        items: Sequence[str] = (),
        fingerprint: str | None = None,
        event: str | None = None,
        everything: bool = False,
        dry: bool = True,
        by: str,
        run_id: str | None = None,
        progress: Progress | None = None,
    ) -> ReplayReport:
        """Try quarantined items again (:func:`enerflo_sync.inbox.replay.replay`); dry unless told otherwise.

        Exactly one of ``items``, ``fingerprint``, ``event`` and ``everything`` says which.
        """
        require_migrated(self.engine)
        return replay(
            lambda: self.client,
            self.engine,
            lambda: self.drop,
            self.account,
            Selection(tuple(items), fingerprint, event, everything),
            dry=dry,
            by=by,
            clock=self.clock,
            rng=self.rng,
            calls=self.calls,
            options=self._ingest_options(),
            run_id=run_id,
            progress=progress,
        )

    def dismiss(
        self,
        *,
        items: Sequence[str] = (),
        fingerprint: str | None = None,
        everything: bool = False,
        reason: str,
        by: str,
    ) -> int:
        """Close open items that nothing has to be done about, and return how many that were.

        Exactly one of ``items``, ``fingerprint`` and ``everything`` says which.

        :raises ConfigurationError: the selection is not clear, no open item fits, or a text is empty.
        """
        require_migrated(self.engine)
        selection = Selection(tuple(items), fingerprint, None, everything)
        with warehouse_errors("quarantine"), self.engine.begin() as connection:
            return dismiss_items(connection, self.account, selection, reason=reason, by=by, clock=self.clock)

    def rebuild(
        self,
        *,
        tables: Sequence[RebuildTable] = (),
        where: str | None = None,
        write: bool = False,
        run_id: str | None = None,
        progress: Progress | None = None,
    ) -> RebuildReport:
        """Derive the mirror again from what is stored (:func:`enerflo_sync.rebuild.run.rebuild`).

        Reads Enerflo not at all, and writes nothing unless told to.

        :param tables: all that can be derived where none is named.
        :param where: a condition on the mirror's installs.
        """
        condition = None if where is None else read_condition(where)
        require_migrated(self.engine)
        return rebuild(
            self.engine,
            self.account,
            clock=self.clock,
            rng=self.rng,
            tables=tables or tuple(RebuildTable),
            condition=condition,
            write=write,
            component_keys=ComponentKeys(**self.config.change_orders.model_dump()),
            run_id=run_id,
            progress=progress,
        )

    def reconcile(
        self, *, full: bool = False, progress: Callable[[str, int, int], None] | None = None
    ) -> ReconciliationReport:
        """Compare the mirror with the CRM's tables and store the result.

        All rows are compared where that is asked for, or due by ``schedule.full_reconcile``.
        Reads Enerflo not at all. :raises ConfigurationError: the mapping does not fit the live tables.
        """
        require_migrated(self.engine)
        with warehouse_errors("reconcile"):
            full = full or self._full_is_due()
            return reconcile(self.engine, self.config, self.account, full=full, progress=progress)

    def _full_is_due(self) -> bool:
        """Return whether a full reconciliation was due since the last one, by ``schedule.full_reconcile``."""
        due = schedule.cron(self.settings.schedule.full_reconcile)
        with self.engine.connect() as connection:
            last = last_full_at(connection, self.account)
            return last is None or due(last) <= server_time(connection)

    def plan(self, *, progress: Callable[[str, int, int], None] | None = None) -> PlanReport:
        """Make the plans of a round and return the first of them (:meth:`plans`)."""
        return self.plans(progress=progress)[0]

    def plans(self, *, progress: Callable[[str, int, int], None] | None = None) -> list[PlanReport]:
        """Reconcile, and decide about every difference (:func:`enerflo_sync.sync.plan.make_plan`).

        Returns one plan, or two where a part of the changes waits for a person and the others do not.
        Change orders that nobody checked yet are judged first (:meth:`quality`).
        Reads Enerflo not at all, and writes nothing but its own tables.
        """
        self._judge_change_orders()
        report = self.reconcile(progress=progress)
        return make_plans(self.engine, self.config, self.account, report.reconciliation_id, progress=progress)

    def apply(
        self,
        plan_hash: str,
        *,
        approved_by: str | None = None,
        part: Part = WHOLE,
        run_id: str | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> ApplyReport:
        """Apply a plan (:func:`enerflo_sync.sync.apply.apply_plan`)."""
        require_migrated(self.engine)
        return apply_plan(
            self.engine,
            lambda: self.client,
            self.config,
            self.account,
            plan_hash,
            approved_by=approved_by,
            part=part,
            clock=self.clock,
            rng=self.rng,
            calls=self.calls,
            run_id=run_id,
            progress=progress,
        )

    @property
    def writes_anything(self) -> bool:
        """Return whether the mode of any table of the account allows to write."""
        return self.config.writes_anything(self.account)

    def stored_plan(self, plan_hash: str) -> PlanReport:
        """Return a plan as it stands now (:func:`enerflo_sync.sync.plan_reads.read_plan`)."""
        require_migrated(self.engine)
        with warehouse_errors("plan"), self.engine.connect() as connection:
            return read_plan(connection, self.account, plan_hash)

    def approve(self, plan_hash: str, *, by: str, part: Part = WHOLE) -> PlanReport:
        """Approve a plan that waits, or a part of it, without applying it yet."""
        require_migrated(self.engine)
        with warehouse_errors("approve"), self.engine.begin() as connection:
            plan = hold_plan(connection, self.account, plan_hash)
            now = server_time(connection)
            approve_plan(connection, plan, by, now, config=self.config, part=part)
            return read_plan(connection, self.account, plan.plan_hash)

    def verify(self, plan_hash: str, report: ReconciliationReport) -> Verification:
        """Return how many of a plan's applied changes a later reconciliation found to differ."""
        require_migrated(self.engine)
        with warehouse_errors("verify"), self.engine.connect() as connection:
            plan = read_plan(connection, self.account, plan_hash)
            return verify_plan(connection, self.account, plan.plan_hash, report.reconciliation_id)

    def reject(
        self, plan_hash: str, *, by: str | None, reason: str | None = None, part: Part = WHOLE
    ) -> PlanReport:
        """Reject a plan that waits, or a part of it (:func:`enerflo_sync.sync.decided_plan.reject_plan`)."""
        require_migrated(self.engine)
        with warehouse_errors("reject"), self.engine.begin() as connection:
            return reject_plan(
                connection,
                self.account,
                plan_hash,
                who=by,
                reason=reason,
                now=server_time(connection),
                config=self.config,
                part=part,
            )

    def refusals(self, which: WhichRefusals | None = None) -> list[Refusal]:
        """Return what stands refused, unmasked (:func:`enerflo_sync.sync.reopen.standing_refusals`)."""
        require_migrated(self.engine)
        with warehouse_errors("reopen"), self.engine.connect() as connection:
            return standing_refusals(connection, self.config, self.account, which or WhichRefusals())

    def reopen(self, which: WhichRefusals, *, by: str) -> list[Refusal]:
        """Let changes that were refused be planned again (:func:`enerflo_sync.sync.reopen.reopen`)."""
        require_migrated(self.engine)
        with warehouse_errors("reopen"), self.engine.begin() as connection:
            return reopen(connection, self.config, self.account, which, by=by)

    def retry(self, selection: RetrySelection, *, by: str) -> RetryReport:
        """Have the next plan try parked changes again (:func:`enerflo_sync.sync.retry.retry`)."""
        require_migrated(self.engine)
        with warehouse_errors("retry"), self.engine.begin() as connection:
            return retry(connection, self.config, self.account, selection, by)

    def undo(self, plan_hash: str) -> PlanReport:
        """Make the plan that takes an applied one back (:func:`enerflo_sync.sync.undo.make_undo`)."""
        require_migrated(self.engine)
        return make_undo(self.engine, self.config, self.account, plan_hash)

    def what_if(
        self,
        file: Path,
        environ: Mapping[str, str],
        *,
        days: int = 30,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> WhatIf:
        """Return what the configuration in ``file`` would do (:func:`enerflo_sync.sync.what_if.what_if`).

        :param environ: fills the variables of ``file``.
        """
        new = load_config(file, environ)
        require_migrated(self.engine)
        return what_if(self.engine, self.config, new, self.account, days=days, progress=progress)

    @cached_property
    def suite(self) -> Suite:
        """Return the declared checks of change orders.

        :raises ConfigurationError: the file cannot be read, or holds mistakes.
        """
        return load_suite(SUITE_FILE.find(self.config_path, os.environ), os.environ)

    @cached_property
    def life_cycle(self) -> LifeCycle:
        """Return the declared life-cycle of installs.

        :raises ConfigurationError: the file cannot be read, or holds mistakes.
        """
        return load_life_cycle(LIFE_CYCLE_FILE.find(self.config_path, os.environ), os.environ)

    def quality(
        self,
        *,
        full: bool = False,
        with_expectations: bool = True,
        with_life_cycle: bool = True,
        run_id: str | None = None,
    ) -> QualityReport:
        """Check change orders and life-cycles (:func:`enerflo_sync.quality.run.check_change_orders`)."""
        require_migrated(self.engine)
        return check_change_orders(
            self.engine,
            self.config,
            self.suite,
            self.account,
            clock=self.clock,
            rng=self.rng,
            life_cycle=self.life_cycle if with_life_cycle else None,
            with_expectations=with_expectations,
            full=full,
            run_id=run_id,
        )

    def quality_report(self, *, most: int = SHOWN) -> QualityReport:
        """Return how change orders and life-cycles stand, as they were checked last; checks nothing.

        :param most: how many failing orders and how many findings are told.
        """
        require_migrated(self.engine)
        with warehouse_errors("quality"), self.engine.connect() as connection:
            report = read_report(connection, self.suite, self.account, most=most)
            histories = read_life_cycle(connection, self.life_cycle, self.account, None, most=most)
            return msgspec.structs.replace(report, life_cycle=histories)

    def _judge_change_orders(self) -> None:
        if TableName.CHANGE_ORDERS in self.config.tables_for(self.account):
            self.quality(with_expectations=False, with_life_cycle=False)

    def release(self, items: Sequence[str], *, reason: str, by: str) -> int:
        """Let change orders through that a check holds (:func:`enerflo_sync.quality.gate.release`).

        :param items: ids of their quarantine items, or the beginnings of ids.
        :raises ConfigurationError: an item is not of a held change order, or a text is empty.
        """
        require_migrated(self.engine)
        mapping = self.config.tables_for(self.account).get(TableName.CHANGE_ORDERS)
        with warehouse_errors("quarantine"), self.engine.begin() as connection:
            found = select_items(connection, self.account, Selection(tuple(items)))
            return release(
                connection,
                self.account,
                found,
                key_column=next(
                    (
                        crm
                        for crm, own in (mapping.join_columns if mapping else {}).items()
                        if own == ORDER_ID
                    ),
                    ORDER_ID,
                ),
                reason=reason,
                by=by,
                now=self.clock.now(),
            )

    def notify(self, send: Send) -> NotifyReport:
        """Tell what was not told yet (:func:`enerflo_sync.notify.run.notify`)."""
        require_migrated(self.engine)
        return notify(self.engine, self.config, self.account, send, clock=self.clock)

    def notifications(self, *, most: int = 20) -> tuple[list[Message], list[StoredMessage]]:
        """Return what would be told now, and what was told or waits, newest first; tells nobody."""
        require_migrated(self.engine)
        with warehouse_errors("notify"), self.engine.connect() as connection:
            new = new_messages(connection, self.config, self.account, self.clock.now())
            kept = stored(connection, self.account, most=most)
            connection.rollback()
        return new, kept

    def explain(
        self,
        table: str,
        key: str,
        *,
        field: str | None = None,
        as_of: datetime | None = None,
        reveal: bool = False,
        by: str = "",
    ) -> Explanation:
        """Tell why a record is as it is (:func:`enerflo_sync.sync.explain.explain`), masked unless revealed.

        :param reveal: give personal data unmasked, and note in ``sync.reveals`` that ``by`` asked for it.
        """
        require_migrated(self.engine)
        with warehouse_errors("explain"), self.engine.begin() as connection:
            found = explain(connection, self.config, self.account, table, key, field, as_of)
            if not reveal:
                return masked_explanation(found, self.config)
            note_reveal(connection, self.account, f"{found.table}/{key.strip()}", by, self.clock.now())
            return found

    def gaps(self, *, every: float | None = None, days: int = DAYS) -> GapReport:
        """Return the stretches of time that were not seen whole; reads the warehouse only.

        :param every: minutes after which a poll and an ingest are due; by ``schedule`` in sync.yaml if None.
        :param days: how far back closed ones are told, 1 to 90.
        """
        require_migrated(self.engine)
        times = self.settings.schedule
        with warehouse_errors("gaps"), self.engine.connect() as connection:
            return find_gaps(
                connection,
                self.account,
                self.clock.now(),
                lists=self.config.poll.resources,
                poll_due=schedule.every(every) if every else schedule.cron(times.poll),
                ingest_due=schedule.every(every) if every else schedule.cron(times.webhooks),
                sweep_every=PollOptions().notes_sweep_every,
                days=days,
            )

    def witnesses(self, *, days: int = DAYS) -> WitnessReport:
        """Return which changes of the last ``days`` days poll and webhooks saw; reads the warehouse only.

        :param days: calendar days in UTC, 1 to 90; today is one of them.
        """
        require_migrated(self.engine)
        with warehouse_errors("witnesses"), self.engine.connect() as connection:
            return witness_report(connection, self.account, self.clock.now(), days=days)


def mapping_hash(config: SyncConfig, account: str) -> str:
    """Return the sha-256 of all by which records of an account are read and compared."""
    keys = config.change_orders.model_dump_json()
    return hashlib.sha256(f"{config.hash(account)}|{keys}".encode()).hexdigest()


def planned_tables(config: SyncConfig, account: str) -> dict[str, PlannedTable]:
    """Return, by mirror table, which of its columns a plan may write to the CRM."""
    return {
        str(name): PlannedTable(
            frozenset(
                field.enerflo
                for field in table.fields.values()
                if field.source_of_truth is not SourceOfTruth.CRM
            ),
            Side.CRM in table.create_in,
        )
        for name, table in config.tables_for(account).items()
    }


def key_fingerprint(api_key: str) -> str:
    """Return what names a key in the warehouse without giving it away: 16 hex digits of its sha-256."""
    return hashlib.sha256(api_key.encode()).hexdigest()[:16]


def find_config(environ: Mapping[str, str]) -> Path:
    """Return the path of sync.yaml: ``ENERFLO_SYNC_CONFIG``, or ``include/config/sync.yaml``."""
    return Path(environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)


def open_workplace(account: str, environ: Mapping[str, str], config_path: Path | None = None) -> Workplace:
    """Return the account's workplace with credentials from the configuration and the environment.

    :raises ConfigurationError: the file cannot be read, or names no such account.
    """
    path = config_path or find_config(environ)
    config = load_config(path, environ)
    return Workplace(account, config, path, Credentials.of(config.account(account)))
