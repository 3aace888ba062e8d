"""The parts that all writes of one push share: read a record, mark changes, send, record outcomes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy, agree_written
from enerflo_sync.agreed.outcomes import Applying, Decision, record_outcome
from enerflo_sync.agreed.own_writes import note_sending, note_unsent, note_written, noting_rows
from enerflo_sync.agreed.refusals import why_refused
from enerflo_sync.apply.enerflo.attempt import Attempt, CallOutcome, attempted
from enerflo_sync.apply.enerflo.report import PushReport
from enerflo_sync.apply.enerflo.source import Sources
from enerflo_sync.clock import Clock
from enerflo_sync.copies.fresh_rows import FreshRows
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.errors import BadRecordError, NotFoundError
from enerflo_sync.inbox.answers import Answer
from enerflo_sync.inbox.reads import Reads
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.outbox.changes import OutboxChange, mark_accepted, mark_sent, mark_unsent
from enerflo_sync.outbox.links import Link, LinkState, is_taken, link_state, write_link
from enerflo_sync.outbox.values import EnerfloValues
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.refused import crm_refuses_a_row

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

log = logging.getLogger(__name__)

# A gateway times out before the server behind it does. So a write whose response was lost may still be
# running, and the push waits this many seconds before it reads the record.
_PAUSES = (5.0, 15.0, 45.0)
_NOT_LINKED = "the CRM does not take Enerflo's id"
_TAKEN = "another of its rows names the same record."
_KEPT_ROW = "its table keeps the row as it was."


class _NotTakenError(Exception):
    """The CRM's row still exists without Enerflo's id, although the id was written to it."""


@dataclass(frozen=True)
class PushOutcome:
    """The outcome of some changes.

    :param reason: why they were not made, or how it was found out that they were made; never a value.
    :param link: the CRM row that gets the id of its new record.
    :param kept: by position, the value as Enerflo stores it, if Enerflo spells it differently.
    """

    changes: Sequence[OutboxChange]
    decision: Decision
    reason: str | None = None
    link: Link | None = None
    kept: Mapping[int, Any] = field(default_factory=dict)


class PushRun:
    """One push of one plan. No transaction is open while a request is under way.

    :ivar troubled: whether the present record could not be reached; several in a row end the run.
    """

    def __init__(
        self,
        client: EnerfloClient,
        connection: sa.Connection,
        applying: Applying,
        config: SyncConfig,
        comparisons: Mapping[str, Comparison],
        clock: Clock,
        component_keys: ComponentKeys,
        fresh: FreshRows | None = None,
    ) -> None:
        self.client = client
        self.connection = connection
        self.applying = applying
        self.config = config
        self.comparisons = comparisons
        self.clock = clock
        self.report = PushReport()
        self.troubled = False
        self._component_keys = component_keys
        self._ended: dict[int, Decision] = {}
        self._sent: set[int] = set()
        self._read_at: datetime | None = None
        self._sources = Sources(connection, applying, config, comparisons, fresh)
        # Positions of sent changes whose CRM row is not the one of their record any more.
        self._astray: set[int] = set()
        # Positions of changes for which an earlier request of this run may still be executed.
        self._in_doubt: set[int] = set()
        self._company = CompanyGuard(client, connection.engine, applying.account, configured=config.names)
        with connection.begin():
            self._values = EnerfloValues(connection)

    @property
    def account(self) -> str:
        """Return the account's name."""
        return self.applying.account

    @property
    def evidence(self) -> str:
        """Return the text by which the confirmations of this run can be looked up."""
        return f"push:{self.applying.run_id}"

    def same(self, comparison: Comparison, field: str, left: Any, right: Any) -> bool:
        """Return whether two JSON values are the same by the mapping, in the caller's transaction."""
        return self._values.same(comparison, field, left, right)

    def open(self, changes: Iterable[OutboxChange]) -> list[OutboxChange]:
        """Return the changes that have no outcome in this run yet."""
        return [change for change in changes if change.position not in self._ended]

    def ended(self, change: OutboxChange) -> Decision | None:
        """Return the outcome of a change in this run; None if it has none yet."""
        return self._ended.get(change.position)

    def bring_in(self, read: Callable[[Reads], Answer], own: Resource | None = None) -> Answer:
        """Read a record and load it into the mirror by the same function as polls and webhooks.

        :param own: the resource of this record: if the mirror rejects one of its records, that is an error.
        :raises BadRecordError: Enerflo's record cannot be used. Otherwise raises as ``read``.
        :raises AnotherCompanyError: the API key now belongs to another company, which has no such record.
        """
        # ``Reads`` remembers which lists it has read, so each read needs a new one to see present values.
        reads = Reads(self.client, self.connection, self.account, self._component_keys, self._company)
        seen = Observation(self.account, self.clock.now(), "push", self.evidence)
        try:
            answer = read(reads)
        except NotFoundError:
            self._company.ensure()
            raise
        self._company.ensure()
        self._read_at = seen.observed_at
        try:
            with self.connection.begin():
                batches = reads.bring_in(answer, seen, {})
        except psycopg.DataError:
            # The warehouse refuses one of the records: loaded one by one, only that record is quarantined.
            self.connection.rollback()
            with self.connection.begin():
                batches = reads.bring_in(answer, seen, {}, one_by_one=True)
        for resource, batch in batches:
            if resource is own and batch.rejected:
                raise BadRecordError(batch.rejected[0].described)
        return answer

    def judges_by(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Note the observation times of the mirror's rows from which outcomes are derived.

        A poll may read the same record during this run; the mirror's row then has the poll's time. Its values
        still count as the result of our write.
        """
        times = [datetime.fromisoformat(row["observed_at"]) for row in rows if row.get("observed_at")]
        self._read_at = max([*times, *([self._read_at] if self._read_at is not None else [])], default=None)

    def leave_moved(self, changes: Sequence[OutboxChange], record: Mapping[str, Any] | None = None) -> None:
        """Record changes as moved whose value the CRM no longer has, before Enerflo is read.

        A change that an earlier run sent is kept even if its value changed, or its row is gone or names
        another record, because Enerflo may have received it.

        :param record: the record of Enerflo that a new CRM row already became, if the row may have its id.
        """
        fresh = [change for change in changes if change.sent_at is None]
        sent = [change for change in changes if change.sent_at is not None and change.op == "update"]
        with self.connection.begin():
            moved = self._sources.moved(fresh, record=record)
            # If Enerflo did not receive it, it is not sent either: ``send`` looks at its row once more.
            self._astray.update(self._sources.moved(sent, values=False))
        self._finish_moved(changes, moved)

    def _finish_moved(self, changes: Sequence[OutboxChange], moved: Mapping[int, str]) -> None:
        by_reason: dict[str, list[OutboxChange]] = {}
        for change in changes:
            if change.position in moved:
                by_reason.setdefault(moved[change.position], []).append(change)
        self.finish(PushOutcome(some, Decision.MOVED, reason) for reason, some in by_reason.items())

    def send(
        self,
        changes: Sequence[OutboxChange],
        write: Callable[[Sequence[OutboxChange]], object],
        refusals: Mapping[int, str],
        record: Mapping[str, Any] | None = None,
    ) -> Attempt | None:
        """Mark the changes as sent, commit that, write, and return the result; None if no change was left.

        The CRM's values are checked again in the transaction that marks the changes; changes whose value the
        CRM no longer has are recorded as moved.

        :param record: the record of Enerflo that a new CRM row already became, if the row may have its id.
        :raises AuthenticationError: the API key is not accepted; the changes wait.
        :raises ConfigurationError: the request was redirected. The write may have been made, so the changes
            stay sent.
        :raises AnotherCompanyError: the API key now belongs to another company; nothing was sent.
        """
        self._company.ensure()
        with self.connection.begin():
            moved = self._sources.moved(changes, record=record)
            left = [change for change in changes if change.position not in moved]
            mark_sent(self.connection, self.applying, left, self.clock.now())
            if left:
                note_sending(self.connection, self.account, self._records(left))
            self._sent.update(change.position for change in left)
        self._finish_moved(changes, moved)
        if not left:
            return None
        changes = left
        try:
            attempt = attempted(lambda: write(left), refusals)
        except AuthenticationError:
            self._unsend(changes)
            raise
        if attempt.outcome in (CallOutcome.UNSENT, CallOutcome.REFUSED):
            self._unsend(changes)
        elif attempt.outcome is CallOutcome.UNKNOWN:
            self._in_doubt.update(change.position for change in changes)
        table, positions = changes[0].table, [change.position for change in changes]
        log.info("push_sent table=%s positions=%s outcome=%s", table, positions, attempt.outcome)
        return attempt

    def _unsend(self, changes: Sequence[OutboxChange]) -> None:
        """Remove the mark ``sent`` after a request without effect, unless an earlier one may have effect."""
        sure = [one for one in changes if one.sent_at is None and one.position not in self._in_doubt]
        with self.connection.begin():
            mark_unsent(self.connection, self.applying, sure)
            if len(sure) == len(changes):
                note_unsent(self.connection, self.account, self._records(sure))

    def accepted(self, changes: Sequence[OutboxChange], new_id: int | None) -> None:
        """Store and commit that Enerflo accepted the request of the changes, so that it is not sent again.

        :param new_id: the id of the new record, if the response contained it.
        """
        with self.connection.begin():
            mark_accepted(self.connection, self.applying, changes, self.clock.now(), new_id)

    def pause(self, tries: int) -> None:
        """Wait before the record is read, because a write whose response was lost may still be running."""
        self.clock.sleep(_PAUSES[min(tries, len(_PAUSES)) - 1])

    def finish(self, verdicts: Iterable[PushOutcome]) -> None:
        """Record outcomes, each in one transaction with its agreed values.

        If the CRM's table refuses the id of a new record, the changes of that record are parked.
        """
        verdicts = [verdict for verdict in verdicts if verdict.changes]
        self._finish_together([verdict for verdict in verdicts if verdict.link is None])
        for verdict in verdicts:
            if verdict.link is None:
                continue
            try:
                self._finish_together([verdict])
            except _NotTakenError as error:
                why = str(error)
            except sa.exc.DBAPIError as error:
                if not isinstance(error.orig, psycopg.Error) or not crm_refuses_a_row(error.orig):
                    raise
                why = _TAKEN if isinstance(error, sa.exc.IntegrityError) else f"{why_refused(error.orig)}."
            else:
                continue
            self._finish_together([PushOutcome(verdict.changes, Decision.PARKED, f"{_NOT_LINKED}: {why}")])

    def _finish_together(self, verdicts: Sequence[PushOutcome]) -> None:
        if not verdicts:
            return
        now = self.clock.now()
        with self.connection.begin():
            for verdict in verdicts:
                self._end(verdict, now)
        for verdict in verdicts:
            self._ended.update((change.position, verdict.decision) for change in verdict.changes)
            self.report.count(verdict.decision, len(verdict.changes), verdict.reason)

    def _end(self, verdict: PushOutcome, now: datetime) -> None:
        reason = verdict.reason
        if verdict.link is not None and not self._link(verdict.link):
            reason = "the CRM's row is gone by now, or names another record"
        record_outcome(
            self.connection,
            self.applying,
            [change.position for change in verdict.changes],
            verdict.decision,
            now,
            reason=reason,
            evidence=self.evidence,
            kept=verdict.kept,
        )
        if verdict.decision is Decision.APPLIED:
            self._agree(verdict.changes)
            if self._were_sent(verdict.changes):
                note_written(self.connection, self.account, self._records(verdict.changes, verdict.link))

    def _link(self, link: Link) -> bool:
        with noting_rows(self.connection, link.comparison, self.account, [json.dumps(link.key)]):
            if write_link(self.connection, link, self.applying):
                return True
        # A trigger may skip the update. A row without the id would be created at Enerflo again, so this is an
        # error.
        if link_state(self.connection, link.comparison, link.key) is LinkState.OPEN:
            raise _NotTakenError(_TAKEN if is_taken(self.connection, link) else _KEPT_ROW)
        return False

    def _were_sent(self, changes: Sequence[OutboxChange]) -> bool:
        """Return whether a request with any of the changes was sent, in this run or in an earlier one."""
        return any(change.sent_at is not None or change.position in self._sent for change in changes)

    def _agree(self, changes: Sequence[OutboxChange]) -> None:
        """Store the agreed values of written changes, so that the next plan does not see them as changes.

        A row that by now is gone, names another record or is one of two agrees on nothing with this record.
        """
        by_table: dict[str, list[int]] = {}
        for change in changes:
            if change.rule != LAST_MILESTONE and change.position not in self._astray:
                by_table.setdefault(change.table, []).append(change.position)
        for table, positions in by_table.items():
            comparison = self.comparisons[table]
            plan_hash = self.applying.plan_hash
            by = AgreedBy.UNDO if changes[0].rule == AgreedBy.UNDO else AgreedBy.PUSH
            agree_written(self.connection, comparison, self.account, plan_hash, positions, by, self._read_at)

    def _records(
        self, changes: Sequence[OutboxChange], link: Link | None = None
    ) -> list[tuple[str, Mapping[str, Any]]]:
        """Return kind and mirror key of each record that the changes update, or of the created record."""
        if link is not None:
            return [(link.comparison.kind, link.record)]
        return [
            (self.comparisons[change.table].kind, change.enerflo_key)
            for change in changes
            if change.enerflo_key is not None
        ]
