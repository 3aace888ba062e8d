"""Replay of records: request them again by key, and load them by the inbox's reads and intake."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.enerflo.change_orders import read_change_order
from enerflo_sync.enerflo.failures import AuthenticationError, PermissionRefusedError
from enerflo_sync.enerflo.times import parse_time
from enerflo_sync.errors import (
    BadRecordError,
    ContractDriftError,
    EnerfloSyncError,
    FatalError,
    NotFoundError,
    RetriableError,
    bad_record,
)
from enerflo_sync.inbox.customer_read import read_customer_of
from enerflo_sync.inbox.deletions import NOT_BELIEVED, Deletions
from enerflo_sync.inbox.hydrate import GIVE_UP_AFTER, HydrateOptions
from enerflo_sync.inbox.pending import Waiting
from enerflo_sync.inbox.quarantine_items import QuarantineItem, payload_of
from enerflo_sync.inbox.reads import Answer, Reads
from enerflo_sync.inbox.replay_report import ItemOutcome, ReplayOutcome
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.mirror.quarantine import standing
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.change_orders import CHANGE_ORDERS, ORDERS_OF, change_orders_resource
from enerflo_sync.resources.customers import CUSTOMERS
from enerflo_sync.resources.event import Need
from enerflo_sync.resources.notes import NOTES, NOTES_OF
from enerflo_sync.resources.registry import ALL, BY_NAME
from enerflo_sync.resources.resource import DirectRead, Resource
from enerflo_sync.warehouse.refused import refuses_a_row

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

log = logging.getLogger(__name__)

# By the table name of an item: the resource that is read from Enerflo.
_READ: Mapping[str, Resource] = {part.table.name: one for one in ALL if one.reads for part in one.parts}


@dataclass(frozen=True)
class Wanted:
    """The record of an item."""

    resource: Resource
    record_id: int

    @property
    def read(self) -> DirectRead:
        """Return how the record is read directly."""
        return self.resource.reads[-1]

    def __str__(self) -> str:
        """Return the record's name for people: ``installs/123``."""
        return f"{self.resource.name}/{self.record_id}"


def wanted_record(item: QuarantineItem) -> Wanted | ItemOutcome:
    """Return the record to read again for an item, or the reason why none can be read."""
    resource = _READ.get(item.table_name or "")
    if resource is None:
        return ItemOutcome(
            ReplayOutcome.NOT_REPLAYABLE, "no single record of this kind can be read; the next poll does"
        )
    found = (item.key or {}).get(resource.id_column)
    if not isinstance(found, int):
        return ItemOutcome(
            ReplayOutcome.NOT_REPLAYABLE, "it has no id, so there is nothing to ask Enerflo for"
        )
    return Wanted(resource, found)


class RecordReplay:
    """Reads quarantined records of one account again, each once for all its items."""

    def __init__(
        self,
        client: EnerfloClient,
        connection: sa.Connection,
        run: Run,
        clock: Clock,
        options: HydrateOptions,
    ) -> None:
        self._client = client
        self._connection = connection
        self._account = run.account
        self._run = run
        self._clock = clock
        self._orders = change_orders_resource(options.component_keys)
        company = CompanyGuard(client, connection.engine, run.account, configured=options.accounts)
        self._reads = Reads(client, connection, run.account, options.component_keys, company)
        self._deletions = Deletions(client, connection, run.account, clock, options.shrink_guard, company)
        self._said: dict[tuple[str, int], ItemOutcome] = {}
        self._seen_again: dict[tuple[str, int], set[str]] = {}
        self._failed_in_a_row = 0

    def serve(self, item: QuarantineItem) -> ItemOutcome:
        """Read an item's record and store it; return the outcome.

        :raises AuthenticationError: the key is not accepted.
        """
        wanted = wanted_record(item)
        if isinstance(wanted, ItemOutcome):
            return wanted
        key = (wanted.resource.name, wanted.record_id)
        if key not in self._said:
            self._said[key] = self._try(wanted, item)
        said = self._said[key]
        again = self._seen_again.get(key, set())
        if said.outcome is ReplayOutcome.STILL_FAILING and again and item.item_id not in again:
            # Another item now has the record's present content.
            return ItemOutcome(said.outcome, said.detail, closes=True)
        return said

    def _try(self, wanted: Wanted, item: QuarantineItem) -> ItemOutcome:
        if self._failed_in_a_row >= GIVE_UP_AFTER:
            return ItemOutcome(ReplayOutcome.WAITING, "not tried: Enerflo does not answer")
        observed_at = self._clock.now()
        with self._connection.begin():
            known = _object(payload_of(self._connection, self._account, item.item_id))
        try:
            answer = self._read(wanted, item, known)
        except AuthenticationError:
            raise
        except NotFoundError:
            self._failed_in_a_row = 0
            return self._gone(wanted, observed_at)
        except RetriableError as error:
            self._failed_in_a_row += 1
            self._run.incomplete("records", f"could not be read: {type(error).__name__}")
            return ItemOutcome(ReplayOutcome.WAITING, f"could not be read now: {type(error).__name__}")
        except BadRecordError as error:
            return ItemOutcome(ReplayOutcome.STILL_FAILING, error.what)
        except (ContractDriftError, FatalError) as error:
            return ItemOutcome(ReplayOutcome.STILL_FAILING, f"not_readable: {type(error).__name__}")
        except (EnerfloSyncError, sa.exc.SQLAlchemyError, psycopg.Error):
            raise
        except Exception as error:
            return ItemOutcome(ReplayOutcome.STILL_FAILING, f"not_readable: {bad_record(error).what}")
        self._failed_in_a_row = 0
        return self._store(wanted, answer, *self._observation(wanted, item, observed_at))

    def _observation(
        self, wanted: Wanted, item: QuarantineItem, observed_at: datetime
    ) -> tuple[Observation, dict[str, datetime]]:
        """Return the item's own observation (who saw the record), and when its webhook arrived."""
        polled = (item.evidence_uri or "").startswith("poll:")
        by, arrived = ("poll", {}) if polled else ("webhook", {wanted.read.subject: item.first_seen_at})
        return Observation(self._account, observed_at, by, f"replay:{self._run.run_id}"), arrived

    def _store(
        self,
        wanted: Wanted,
        answer: Answer,
        observation: Observation,
        arrived: Mapping[str, datetime],
    ) -> ItemOutcome:
        key = wanted.resource.key(wanted.record_id)
        try:
            with self._connection.begin():
                before = standing(self._connection, self._account, key)
                tallies = self._reads.store(answer, observation, arrived)
                after = standing(self._connection, self._account, key)
        except psycopg.Error as error:
            if not refuses_a_row(error):
                raise
            self._connection.rollback()
            refused = Tally(read=1, quarantined=1)
            refused.because("quarantined", "refused_by_the_warehouse")
            self._run.count(wanted.resource.name, refused)
            return ItemOutcome(ReplayOutcome.STILL_FAILING, "refused_by_the_warehouse")
        for name, tally in tallies:
            self._run.count(name, tally)
        again = {one for one, (count, _) in after.items() if count > before.get(one, (0, ""))[0]}
        if again:
            self._seen_again[wanted.resource.name, wanted.record_id] = again
            return ItemOutcome(ReplayOutcome.STILL_FAILING, after[min(again)][1])
        if not _holds(answer, wanted):
            return ItemOutcome(ReplayOutcome.NOT_FOUND, "Enerflo's answer does not list it")
        return ItemOutcome(ReplayOutcome.REPLAYED, f"{wanted} was read again", closes=True)

    def _gone(self, wanted: Wanted, observed_at: datetime) -> ItemOutcome:
        """Treat a 404 of the record's own endpoint as deletion, and close its item."""
        if not wanted.resource.is_read_by_key:
            return ItemOutcome(
                ReplayOutcome.NOT_FOUND, f"Enerflo does not show {wanted}; the next sweep decides"
            )
        try:
            believed = self._deletions.is_believed()
        except RetriableError as error:
            return ItemOutcome(ReplayOutcome.WAITING, f"could not be read now: {type(error).__name__}")
        if not believed:
            return ItemOutcome(ReplayOutcome.WAITING, NOT_BELIEVED)
        with self._connection.begin():
            deleted = self._deletions.tombstone(wanted.resource, wanted.record_id, observed_at)
        self._run.notice(wanted.resource.name, "deleted", deleted)
        return ItemOutcome(
            ReplayOutcome.NOT_FOUND, f"Enerflo has no {wanted} any more; the item is closed", closes=True
        )

    def _read(self, wanted: Wanted, item: QuarantineItem, known: Mapping[str, Any]) -> Answer:
        """Return Enerflo's present data of the record.

        :param known: the quarantined record, whose fields tell where else to look for it.
        :raises NotFoundError: there is no such record.
        """
        if wanted.resource is CUSTOMERS:
            return self._customer(wanted.record_id, known)
        if wanted.read.owner is None:
            return self._reads.read(Need(wanted.read.subject, str(wanted.record_id)), [])
        install_id = known.get("epc_install_id") or known.get("install_id")
        if wanted.resource is NOTES:
            return self._note(install_id or known.get("id"), item, known)
        if wanted.resource is CHANGE_ORDERS:
            return self._change_order(wanted.record_id, install_id)
        return self._of_owner(wanted.read, known.get(BY_NAME[wanted.read.owner].id_column), item)

    def _of_owner(self, read: DirectRead, owner_id: Any, item: QuarantineItem) -> Answer:
        """Read all child records of the record's owner."""
        if not isinstance(owner_id, int):
            raise BadRecordError("the record does not say to whom it belongs")
        need = Need(read.subject, str(owner_id))
        since = Waiting(item.item_id, "", (need,), item.first_seen_at, item.evidence_uri or "", 0)
        return self._reads.read(need, [since])

    def _note(self, install_id: Any, item: QuarantineItem, known: Mapping[str, Any]) -> Answer:
        """Read the notes of the note's install; without such a list, all notes since its creation."""
        if not isinstance(install_id, int):
            raise BadRecordError("the note does not say on which install it stands")
        need = Need(NOTES_OF, str(install_id))
        try:
            made_at = parse_time(known.get("created_at")) or item.first_seen_at
        except BadRecordError:
            made_at = item.first_seen_at
        since = Waiting(item.item_id, "", (need,), made_at, item.evidence_uri or "", 0)
        return self._reads.read(need, [since])

    def _customer(self, customer_id: int, known: Mapping[str, Any]) -> Answer:
        """Read the customer as an event does, searching by the quarantined record's words."""
        name = " ".join(str(known.get(part) or "") for part in ("first_name", "last_name")).strip()
        return read_customer_of(self._client, str(customer_id), [{"full_name": name, **known}])

    def _change_order(self, order_id: int, install_id: Any) -> Answer:
        """Read the order directly, or all orders of its install if Enerflo has no such endpoint."""
        try:
            return Answer([(self._orders, [read_change_order(self._client, order_id)])])
        except (NotFoundError, PermissionRefusedError, ContractDriftError):
            if not isinstance(install_id, int):
                raise
            answer = self._reads.read(Need(ORDERS_OF, str(install_id)), [])
            for _, records in answer.records:
                mine = [raw for raw in records if _has_id(self._orders, raw, order_id)]
                if mine:
                    return Answer([(self._orders, mine)])
            raise


def _holds(answer: Answer, wanted: Wanted) -> bool:
    return any(
        _has_id(resource, raw, wanted.record_id)
        for resource, records in answer.records
        if resource.name == wanted.resource.name
        for raw in records
    )


def _has_id(resource: Resource, raw: bytes | memoryview, record_id: int) -> bool:
    try:
        return resource.record_id(bytes(raw)) == record_id
    except BadRecordError:
        return False


def _object(payload: bytes) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
