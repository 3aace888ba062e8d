"""The ingest job: load a drop's events, hydrate their records, delete old archive files."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from enerflo_sync.clock import Clock, days_apart
from enerflo_sync.drop.drop import Drop, expire
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.inbox.archive import erase_archived, needed_files
from enerflo_sync.inbox.batch import MEGABYTE, Limits
from enerflo_sync.inbox.forgotten_files import Theirs
from enerflo_sync.inbox.forgotten_later import Learned
from enerflo_sync.inbox.hydrate import HydrateOptions, Hydration
from enerflo_sync.inbox.load import DropLoader, Progress
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.runs import RunReport

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

log = logging.getLogger(__name__)

JOB = "webhooks"
# Jobs that change an account's inbox hold this lock (:func:`enerflo_sync.warehouse.alone.alone`).
LOCK = "ingest"


@dataclass(frozen=True)
class IngestOptions:
    """How a drop is ingested.

    :param keep_archive: age at which archived files are deleted; None keeps them for ever.
    :param read_ahead: batches of files read while the previous one is stored; 0 in a simulation.
    """

    limits: Limits = Limits(32 * MEGABYTE, 4 * MEGABYTE)  # noqa: RUF009 - frozen
    hydration: HydrateOptions = field(default_factory=HydrateOptions)
    keep_archive: timedelta | None = None
    read_ahead: int = 1


def ingest(
    client: EnerfloClient | None,
    engine: sa.Engine,
    drop: Drop,
    account: str,
    *,
    clock: Clock,
    rng: random.Random,
    calls: CallCounter,
    options: IngestOptions = IngestOptions(),
    run_id: str | None = None,
    progress: Progress | None = None,
) -> RunReport:
    """Ingest the files in the drop, hydrate their records, and return what was done.

    May be killed at any point and run again: each event is stored once, a file leaves the drop only after its
    events are committed, and an event becomes ``applied`` in the transaction that stores its record. If
    Enerflo does not answer, events wait for a later run.

    :param client: reads the records; None leaves every event waiting.
    :raises ConfigurationError: the drop or the warehouse's tables are missing or not permitted.
    :raises RenamedAccountError: the account had another name before. Its files stay in the drop.
    :raises AuthenticationError: the key is not accepted; the files are ingested nevertheless.
    :raises RetriableError: the warehouse is gone, or another ingest of this account takes too long.
    """
    tell = progress or (lambda *_: None)
    with (
        warehouse_errors("ingest"),
        engine.connect() as connection,
        alone(connection, account, LOCK, wait=True),
    ):
        run = Run(connection, account, JOB, clock, rng, run_id=run_id)
        with run.recording(calls):
            depth = options.read_ahead
            if client is not None:
                # Events that were stored under another name would be read under none of them.
                accounts = options.hydration.accounts
                CompanyGuard(client, engine, account, configured=accounts).ensure_no_former_name()
            DropLoader(connection, drop, account, options.limits, clock, depth).run(run, tell)
            if client is not None:

                def erase_files(found: Learned) -> None:
                    theirs = Theirs(found.forgotten, options.limits.ignored)
                    erase_archived(drop, found.files, theirs, options.limits)

                Hydration(client, connection, run, clock, options.hydration, erase_files).run(tell)
            if options.keep_archive is not None and days_apart(clock) is not None:
                run.incomplete("files", "old archived ones are kept: the clocks are days apart")
            elif options.keep_archive is not None:
                _expire(connection, drop, clock.now() - options.keep_archive, run)
    return run.report


def _expire(connection: sa.Connection, drop: Drop, before: datetime, run: Run) -> None:
    with connection.begin():
        keep = needed_files(connection)
    try:
        gone = expire(drop, before, keep)
    except (OSError, EnerfloSyncError) as error:
        run.incomplete("files", f"old archived ones cannot be deleted: {type(error).__name__}")
    else:
        run.notice("files", "archived, deleted by age", gone)
