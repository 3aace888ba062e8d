"""Hydrate waiting events: read their records from Enerflo, and load them by the poll's own path.

Only Enerflo's present answer counts, whatever the order, age and number of the events. Each record is read
once per run for all its events. A record commits together with the state of the events that it serves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.enerflo.failures import AuthenticationError, PermissionRefusedError
from enerflo_sync.errors import (
    BadRecordError,
    ContractDriftError,
    EnerfloSyncError,
    FatalError,
    NotFoundError,
    RetriableError,
    bad_record,
)
from enerflo_sync.inbox.answers import NotListedError
from enerflo_sync.inbox.deletions import NOT_BELIEVED, Deletions
from enerflo_sync.inbox.forgotten_later import Learned, learn
from enerflo_sync.inbox.pending import Pending, Waiting, mark_applied, put_off, quarantine_events
from enerflo_sync.inbox.reads import Answer, Reads
from enerflo_sync.inbox.submissions import keep_submissions
from enerflo_sync.mirror.batch import Batch, Observation
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.mirror.quarantine import Rejected
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.mirror.refused_key import require_some_permission
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.resources.event import Need
from enerflo_sync.resources.registry import READS
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.refused import refuses_a_row

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]

# Needs whose key is a record's own id, with the record's resource.
_OWN = {subject: resource for subject, (resource, read) in READS.items() if read.owner is None}
# After this many failed reads in a row Enerflo counts as unavailable, and the remaining events wait.
GIVE_UP_AFTER = 3


@dataclass(frozen=True)
class HydrateOptions:
    """The bounds of one run.

    :param most: records to read; the next run continues with the rest.
    :param not_found_for: how long to retry a record that neither Enerflo nor the mirror knows.
    :param shrink_guard: maximum share of the known installs that 404s may mark as deleted within a day.
    :param component_keys: where a change order's components are.
    :param accounts: the names of all configured accounts (:class:`enerflo_sync.mirror.poll.PollOptions`).
    """

    most: int = 1_500
    not_found_for: timedelta = timedelta(hours=1)
    shrink_guard: float = 0.2
    component_keys: ComponentKeys = ComponentKeys()  # noqa: RUF009 - frozen
    accounts: frozenset[str] | None = None


class Hydration:
    """Hydrates the waiting events of one account.

    :param erase_files: erases archived files of a customer whom only an answer shows to be forgotten.
    """

    def __init__(
        self,
        client: EnerfloClient,
        connection: sa.Connection,
        run: Run,
        clock: Clock,
        options: HydrateOptions,
        erase_files: Callable[[Learned], object] = lambda _: None,
    ) -> None:
        self._erase_files = erase_files
        self._connection = connection
        self._account = run.account
        self._run = run
        self._clock = clock
        self._options = options
        self._client = client
        self._company = CompanyGuard(client, connection.engine, run.account, configured=options.accounts)
        self._reads = Reads(client, connection, run.account, options.component_keys, self._company)
        self._deletions = Deletions(
            client, connection, run.account, clock, options.shrink_guard, self._company
        )
        # Known records whose read answered 404, and when it was requested; believed all together or not at
        # all.
        self._missing: list[tuple[Need, tuple[Resource, int], datetime]] = []
        self._may_read_something = False
        self._failed_in_a_row = 0

    def run(self, progress: Progress, only: list[str] | None = None) -> None:
        """Read the records of the waiting events, within the account's request budget.

        :param only: ids of the events to hydrate; None means all that are due.
        :raises AuthenticationError: the key is not accepted; every event keeps waiting.
        """
        with self._connection.begin():
            pending = Pending.load(self._connection, self._account, self._clock.now(), only)
        needs = pending.needs()
        for done, need in enumerate(needs):
            if done >= self._options.most or self._failed_in_a_row >= GIVE_UP_AFTER:
                break
            if need in pending.by_need:
                self._serve(need, pending)
            progress("records", done + 1, len(needs))
        self._tombstone_missing(pending)
        self._report_left(pending)

    def _report_left(self, pending: Pending) -> None:
        left = {event.event_id for events in pending.by_need.values() for event in events}
        if not left:
            return
        why = "Enerflo does not answer" if self._failed_in_a_row >= GIVE_UP_AFTER else "the next run's work"
        self._run.notice("events", f"waiting, {why}", len(left))
        if self._failed_in_a_row >= GIVE_UP_AFTER:
            self._run.incomplete("records", f"{why}; the events wait and are taken up later")

    def _serve(self, need: Need, pending: Pending) -> None:
        events = pending.by_need[need]
        observed_at = self._clock.now()
        try:
            answer = self._reads.read(need, events)
        except AuthenticationError:
            raise
        except NotListedError:
            self._ask_later(need, pending, "not_listed", "does not list the record yet")
        except NotFoundError:
            self._not_there(need, pending, observed_at)
        except RetriableError as error:
            self._failed_in_a_row += 1
            self._put_off(need, pending, f"could not be read: {type(error).__name__}")
        except (BadRecordError, ContractDriftError, FatalError) as error:
            self._refused(need, pending, error)
        except (EnerfloSyncError, sa.exc.SQLAlchemyError, psycopg.Error):
            raise
        except Exception as error:
            # Only this answer or these payloads are unreadable: the other events continue.
            self._refused(need, pending, bad_record(error))
        else:
            self._failed_in_a_row = 0
            observation = self._observation(events, observed_at)
            try:
                self._store(need, answer, observation, pending)
            except psycopg.Error as error:
                if not refuses_a_row(error):
                    raise
                # The warehouse refuses one of the records: store again one by one, and quarantine only that
                # record.
                self._connection.rollback()
                self._store(need, answer, observation, pending, one_by_one=True)

    def _observation(self, events: list[Waiting], observed_at: datetime) -> Observation:
        """Return the observation: the arrival time of the first webhook, the file of the last."""
        arrived = min(event.received_at for event in events)
        return Observation(self._account, observed_at, "webhook", events[-1].source_uri, arrived)

    def _store(
        self,
        need: Need,
        answer: Answer,
        observation: Observation,
        pending: Pending,
        *,
        one_by_one: bool = False,
    ) -> None:
        """Load an answer into the mirror and record the outcome of its events, in one transaction."""
        served = [also for also in (need, *answer.tells) if also in pending.by_need]
        arrived = {also.subject: min(event.received_at for event in pending.by_need[also]) for also in served}
        with self._connection.begin():
            batches = self._reads.bring_in(answer, observation, arrived, one_by_one=one_by_one)
            for item in _own_refused(need, batches)[:1]:
                about_it = [also for also in served if also.subject in _OWN]
                for also in about_it:
                    self._quarantine(pending.dismiss(also), item.reason, item.field)
            complete = [one for also in served for one in pending.served(also)]
            not_taken = self._reads.not_taken(complete)
            self._quarantine(not_taken, "order_without_time", "change_orders")
            taken = [event for event in complete if event not in not_taken]
            self._finish(taken, observation, answer.install_id)
            learned = learn(self._connection, self._account, need, answer)
            if learned is not None:
                # Before the commit: whatever fails here, the events wait and this is done again.
                self._erase_files(learned)
        for resource, batch in batches:
            self._run.count(resource.name, batch.tally)

    def _finish(self, served: list[Waiting], observation: Observation, install_id: int | None) -> None:
        """Mark events as applied and store their designs, in the caller's transaction."""
        bad = keep_submissions(self._connection, self._account, served, observation, install_id)
        for event, error in bad:
            self._quarantine([event], error.what, error.field)
        troubled = {event.event_id for event, _ in bad}
        good = [event for event in served if event.event_id not in troubled]
        now = self._clock.now()
        mark_applied(self._connection, self._account, good, now, observation.observed_at, install_id)
        self._run.notice("events", "applied", len(good))

    def _not_there(self, need: Need, pending: Pending, observed_at: datetime) -> None:
        """Handle a 404: evidence of deletion for a known record, otherwise a reason to retry later."""
        with self._connection.begin():
            known = self._reads.known_record(need)
        if known is not None:
            self._failed_in_a_row = 0
            self._missing.append((need, known, observed_at))
            return
        try:
            # A key of another company answers 404 for all records of this account.
            self._company.ensure()
        except RetriableError as error:
            self._failed_in_a_row += 1
            self._put_off(need, pending, f"could not be read: {type(error).__name__}")
            return
        self._ask_later(need, pending, "not_found", "does not know the record yet")

    def _ask_later(self, need: Need, pending: Pending, reason: str, why: str) -> None:
        """Let events wait whose record Enerflo does not return; quarantine them after too long a wait."""
        events = pending.by_need[need]
        self._failed_in_a_row = 0
        now = self._clock.now()
        late = [event for event in events if now - event.received_at >= self._options.not_found_for]
        soon = [event for event in events if event not in late]
        with self._connection.begin():
            self._quarantine(late, reason, need.subject)
            put_off(self._connection, self._account, soon, now, reason)
        self._run.notice("events", f"waiting, Enerflo {why}", len(soon))
        pending.dismiss(need)

    def _tombstone_missing(self, pending: Pending) -> None:
        """Tombstone the known records whose reads answered 404: all, or none if the guard refuses."""
        missing = [one for one in self._missing if one[0] in pending.by_need]
        if not missing:
            return
        reason = NOT_BELIEVED
        try:
            believed = self._deletions.is_believed(len({known for _, known, _ in missing}))
        except RetriableError as error:
            believed, reason = False, f"could not be read: {type(error).__name__}"
        for need, known, observed_at in missing:
            if need not in pending.by_need:
                continue
            if believed:
                self._gone(need, known, pending, observed_at)
            else:
                self._put_off(need, pending, reason)

    def _gone(self, need: Need, known: tuple[Resource, int], pending: Pending, observed_at: datetime) -> None:
        """Tombstone a known record, and mark its events as applied."""
        observation = self._observation(pending.by_need[need], observed_at)
        with self._connection.begin():
            deleted = self._deletions.tombstone(*known, observed_at)
            self._finish(pending.served(need), observation, None)
        self._run.notice(need.subject, "deleted", deleted)

    def _put_off(self, need: Need, pending: Pending, reason: str) -> None:
        events = pending.dismiss(need)
        log.warning("hydration_put_off subject=%s events=%d why=%s", need.subject, len(events), reason)
        with self._connection.begin():
            put_off(self._connection, self._account, events, self._clock.now(), reason)
        self._run.notice("events", "waiting, their record could not be read", len(events))
        self._run.incomplete("records", reason)

    def _refused(self, need: Need, pending: Pending, error: Exception) -> None:
        if isinstance(error, PermissionRefusedError) and not self._may_read_something:
            # If the key may read nothing at all, every event keeps waiting.
            require_some_permission(self._client)
            self._may_read_something = True
        reason = error.what if isinstance(error, BadRecordError) else type(error).__name__
        log.warning("hydration_refused subject=%s error=%s", need.subject, type(error).__name__)
        with self._connection.begin():
            self._quarantine(pending.dismiss(need), f"not_readable: {reason}", need.subject)

    def _quarantine(self, events: list[Waiting], reason: str, field: str) -> None:
        """Quarantine events in the caller's transaction."""
        if not events:
            return
        quarantine_events(self._connection, self._account, events, self._clock.now(), reason, field)
        tally = Tally(read=len(events), quarantined=len(events))
        tally.because("quarantined", f"{reason} at {field}", len(events))
        self._run.count("waiting", tally)


def _own_refused(need: Need, batches: Sequence[tuple[Resource, Batch]]) -> list[Rejected]:
    """Return the quarantine items of the record that a need names; none if it names several records."""
    own = _OWN.get(need.subject)
    return [item for resource, batch in batches if resource is own for item in batch.rejected]
