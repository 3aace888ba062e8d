"""The job that erases customers' personal data from all stored data, and keeps a receipt of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.drop.drop import Drop, storable
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError
from enerflo_sync.inbox.archive import erase_archived, files_of_others
from enerflo_sync.inbox.batch import Limits
from enerflo_sync.inbox.forgotten_files import TheirsTogether
from enerflo_sync.inbox.ingest import LOCK as INBOX
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.forgotten import Forgotten
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.rebuild.rebuild import JOB as REBUILD
from enerflo_sync.reconcile.live import case_folding, live_comparisons
from enerflo_sync.reconcile.observation import OBSERVATION
from enerflo_sync.retention.forget_customer import CustomerErasure
from enerflo_sync.retention.forget_customer import ForgetReport as ForgetReport
from enerflo_sync.retention.forget_rows import unmapped_tables
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.storing import nobody_stores

JOB = "forget"
# How many customers share one look through the archive: their texts are searched for in every file.
TOGETHER = 100
Progress = Callable[[str, int, int | None], None]
# How many files are read from the archive together.
_FILES = 200
# Before this moment are all days of an archive: a clock that was wrong may have named one of them.
_EVERY_DAY = datetime.max.replace(tzinfo=UTC)


class ForgetReports(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased of several customers, or would be erased.

    :param customers: a report of each.
    :param left_out: by customer, why nothing was erased: unknown, or a change of theirs is not finished.
    """

    customers: Sequence[ForgetReport]
    left_out: dict[int, str]


def forget(
    engine: sa.Engine,
    config: SyncConfig,
    account: str,
    customer_ids: Sequence[int],
    drop: Callable[[], Drop | None],
    *,
    former: Mapping[str, Callable[[], Drop]] | None = None,
    by: str,
    limits: Limits,
    clock: Clock,
    rng: random.Random,
    write: bool,
    wait: bool = False,
    run_id: str | None = None,
    progress: Progress | None = None,
) -> ForgetReports:
    """Erase customers' personal data from mirror, versions, events, archive, ledger, plans and quarantine.

    Keys, times, statuses and counts are kept, and a receipt of each is stored. As long as a receipt exists, a
    poll, a webhook, a replay or a rebuild stores the customer's records without personal data, and mapped
    fields with personal data are neither compared nor planned. The CRM's own rows are not changed. A repeated
    run erases what is left.

    :param customer_ids: not many more than :data:`TOGETHER`. The archive is read once for all of them.
    :param former: opens each archive that the account had before its webhooks went to another place.
    :param by: the person who orders it; stored in the receipt.
    :param limits: the limits of files and events, as in the ingest.
    :param write: whether data is erased; otherwise it is only counted.
    :param wait: wait for a plan or an apply of the account that is running.
    :raises ConfigurationError: nobody is named; or the only customer is not known, or a change of the
        customer's records is not finished. Of several, such customers are left out.
    :raises RetriableError: a plan, an apply, a rebuild or an ingest of the account is running, or the
        warehouse is away.
    """
    if not by.strip():
        raise ConfigurationError("nobody is named.", where="--by", next_step="Give the name of who forgets.")
    with warehouse_errors(JOB), engine.connect() as connection, ExitStack() as whole:
        # These locks keep plan, apply, reconciliation, rebuild and ingest from running meanwhile.
        whole.enter_context(alone(connection, account, wait=wait))
        if write:
            whole.enter_context(alone(connection, account, REBUILD))
            whole.enter_context(alone(connection, account, OBSERVATION, wait=True))
            whole.enter_context(alone(connection, account, INBOX, wait=True))
        run = Run(connection, account, JOB, clock, rng, run_id=run_id)
        every = [
            CustomerErasure(connection, account, one, by.strip(), run, write=write) for one in customer_ids
        ]
        works, left_out = _erasable(connection, config, account, every)
        if write and works:
            whole.enter_context(run.recording(CallCounter()))
            # After the receipts are committed, no job stores the customers' personal data any more; a page
            # that a poll prepared before is prepared again.
            with connection.begin():
                nobody_stores(connection, account)
                for work in works:
                    work.write_receipt({})
        # Rows are erased last, because a repeated run needs their values to find the customers' files.
        archives = _Archives(connection, account, works, limits, progress or (lambda *_: None), write=write)
        archives.erase(drop())
        for place, open_archive in (former or {}).items():
            archives.erase_former(place, open_archive)
        for done, work in enumerate(works, start=1):
            work.erase_rows()
            archives.tell("customers", done, len(works))
        reports = [work.report(archives.not_read, archives.not_there) for work in works]
        return ForgetReports(customers=reports, left_out=left_out)


def _erasable(
    connection: sa.Connection, config: SyncConfig, account: str, every: Sequence[CustomerErasure]
) -> tuple[list[CustomerErasure], dict[int, str]]:
    """Return the customers who can be forgotten now, with their texts, and by number why others cannot.

    :raises ConfigurationError: the only customer cannot.
    """
    works, left_out = [], {}
    with connection.begin():
        fold = case_folding(connection)
        comparisons = live_comparisons(connection, config, account, fold, all_tables=True)
        unmapped = unmapped_tables(connection, account, comparisons)
    for work in every:
        try:
            with connection.begin():
                work.require_no_open_writes(comparisons, unmapped)
        except ConfigurationError as error:
            if len(every) == 1:
                raise
            left_out[work.customer_id] = str(error)
        else:
            works.append(work)
    together = Forgotten(
        frozenset(work.customer_id for work in works),
        frozenset(install for work in works for install in work.who.installs),
        frozenset(uuid for work in works for uuid in work.who.uuids),
    )
    for work in works:
        with connection.begin():
            work.find_values(together)
    return works, left_out


class _Archives:
    """The archives of an account, each of which is read once for several customers."""

    def __init__(
        self,
        connection: sa.Connection,
        account: str,
        works: Sequence[CustomerErasure],
        limits: Limits,
        tell: Progress,
        *,
        write: bool,
    ) -> None:
        self._connection = connection
        self._account = account
        self._works = works
        self._limits = limits
        self._write = write
        self.tell = tell
        self.not_read: list[str] = []
        self.not_there: list[str] = []

    def erase_former(self, place: str, opens: Callable[[], Drop]) -> None:
        """Erase the customers' data in an archive from before; one that cannot be read stops nothing else."""
        try:
            if self._works and not self.erase(opens()):
                self.not_there.append(place)
        except (EnerfloSyncError, OSError):
            self.not_read.append(place)

    def erase(self, drop: Drop | None) -> int:
        """Erase the customers' data in all files: a duplicate delivery is in a file that no event names.

        Returns how many files there are.
        """
        if drop is None or not self._works:
            return 0
        theirs = TheirsTogether.of([work.theirs(self._limits.ignored) for work in self._works])
        seen = 0
        for some in self._files(drop):
            erase_archived(drop, some, theirs, self._limits, write=self._write, told=theirs.count)
            seen += len(some)
            self.tell("archive", seen, None)
        self.tell("archive", seen, seen)
        for position, work in enumerate(self._works):
            work.count_files(theirs.files[position])
        return seen

    def _files(self, drop: Drop) -> Iterator[list[str]]:
        with self._connection.begin():
            of_others = files_of_others(self._connection, self._account, drop.archive_uri)
        some: list[str] = []
        for file in drop.archived(_EVERY_DAY):
            if storable(file.uri) not in of_others:
                some.append(file.uri)
            if len(some) == _FILES:
                yield some
                some = []
        if some:
            yield some
