"""The reads that events ask for, and the storing of their answers, by kind of record."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from enerflo_sync.enerflo.change_orders import read_change_order, read_install_change_orders
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.customers import read_customer, search_customers
from enerflo_sync.enerflo.failures import PermissionRefusedError
from enerflo_sync.enerflo.installs import find_install, read_install
from enerflo_sync.enerflo.notes import read_install_notes, walk_notes
from enerflo_sync.errors import ContractDriftError, NotFoundError
from enerflo_sync.inbox.event import Need, Subject
from enerflo_sync.inbox.payloads import change_orders_of, customer_of, load_bodies, search_words
from enerflo_sync.inbox.pending import Waiting
from enerflo_sync.mirror.change_orders import ComponentKeys, change_orders_resource
from enerflo_sync.mirror.customers import CUSTOMERS
from enerflo_sync.mirror.installs import INSTALLS
from enerflo_sync.mirror.intake import Intake, Observation
from enerflo_sync.mirror.notes import NOTES
from enerflo_sync.mirror.resource import Resource
from enerflo_sync.mirror.sweep import bury
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.warehouse.schema import customers, installs

log = logging.getLogger(__name__)

Records = Sequence[bytes | memoryview]
# A note may be listed a little later than the event about it, or be dated by another clock.
_NOTES_LOOKBACK = timedelta(minutes=15)
# Which reads' events are about the records of a resource.
_ABOUT = {
    "installs": (Subject.INSTALL, Subject.DEAL),
    "customers": (Subject.CUSTOMER,),
    "notes": (Subject.NOTES,),
    "change_orders": (Subject.CHANGE_ORDERS,),
}


@dataclass(frozen=True)
class Answer:
    """What one read gave.

    :param records: by resource, as Enerflo answered.
    :param said: by resource, what only a payload says: stored where the mirror does not know the record.
    :param tells: further needs that the answer serves.
    """

    records: Sequence[tuple[Resource, Records]]
    said: Sequence[tuple[Resource, Records]] = ()
    tells: Sequence[Need] = ()
    install_id: int | None = None


class Reads:
    """Reads and stores the records of one account."""

    def __init__(
        self, client: EnerfloClient, connection: sa.Connection, account: str, keys: ComponentKeys
    ) -> None:
        self._client = client
        self._connection = connection
        self._account = account
        self._change_orders = change_orders_resource(keys)
        self._intakes: dict[str, Intake] = {}
        # Whether Enerflo answers for the notes of one install, which it does not document.
        self._notes_by_install: bool | None = None
        self._notes_walked_from: datetime | None = None

    def read(self, need: Need, events: Sequence[Waiting]) -> Answer:
        """Return what Enerflo says now.

        :raises NotFoundError: there is no such record.
        """
        match need.subject:
            case Subject.INSTALL:
                return self._install(read_install(self._client, need.key), int(need.key))
            case Subject.DEAL:
                return self._deal(need.key)
            case Subject.CUSTOMER:
                return self._customer(need, events)
            case Subject.NOTES:
                return self._notes(need.key, min(event.received_at for event in events))
            case Subject.CHANGE_ORDERS:
                return self._orders(need, events)

    def _deal(self, deal_id: str) -> Answer:
        raw = find_install(self._client, deal_id)
        install_id = INSTALLS.record_id(raw)
        return self._install(raw, install_id, Need(Subject.INSTALL, str(install_id)))

    def _install(self, raw: bytes, install_id: int, *tells: Need) -> Answer:
        """Read the install's notes, too: their list by time of creation never shows an edit (design §6)."""
        notes = self._notes_of(install_id)
        if notes is None:
            return Answer([(INSTALLS, [raw])], tells=tells, install_id=install_id)
        return Answer(
            [(INSTALLS, [raw]), (NOTES, notes)],
            tells=(*tells, Need(Subject.NOTES, str(install_id))),
            install_id=install_id,
        )

    def _notes_of(self, install_id: int | str) -> list[bytes] | None:
        """Return an install's notes, None where Enerflo does not answer for those of one install."""
        if self._notes_by_install is False:
            return None
        try:
            rows = read_install_notes(self._client, install_id)
        except (NotFoundError, PermissionRefusedError, ContractDriftError):
            if self._notes_by_install is None:
                self._notes_by_install = False
            return None
        self._notes_by_install = True
        return [bytes(row) for row in rows]

    def _notes(self, install_id: str, since: datetime) -> Answer:
        rows = self._notes_of(install_id)
        if rows is None:
            rows = self._notes_since(since - _NOTES_LOOKBACK)
        return Answer([(NOTES, rows)], install_id=int(install_id))

    def _notes_since(self, since: datetime) -> list[bytes]:
        """Return all notes made since; none where a walk of this run has brought them already."""
        if self._notes_walked_from is not None and self._notes_walked_from <= since:
            return []
        walk = walk_notes(self._client, created_after=since)
        rows = [bytes(row) for page in walk for row in page.records]
        self._notes_walked_from = since
        return rows

    def _customer(self, need: Need, events: Sequence[Waiting]) -> Answer:
        """Search the list, whose rows are the mirror's form; a payload speaks where nothing else does."""
        bodies = load_bodies(self._connection, self._account, [event.event_id for event in events])
        for words in search_words(need.key, bodies):
            for raw in search_customers(self._client, words):
                if self._is_customer(raw, need.key, words):
                    return Answer([(CUSTOMERS, [bytes(raw)])])
        if not need.key.isdigit():
            # Some keys may read a customer by its uuid, which tells the number at least (REFERENCE.md §13.7).
            return Answer([], [(CUSTOMERS, [self._by_uuid(need.key)])])
        try:
            read_customer(self._client, need.key)
        except PermissionRefusedError:
            log.info("customer_not_readable id=%s", need.key)
        said = [record for body in bodies if (record := customer_of(body)) is not None]
        return Answer([], [(CUSTOMERS, said[-1:])])

    def _by_uuid(self, uuid: str) -> bytes:
        try:
            return read_customer(self._client, uuid)
        except PermissionRefusedError:
            raise NotFoundError("no customer is found by this id.", where="GET /api/v1/customers") from None

    def _is_customer(self, raw: msgspec.Raw, key: str, words: str) -> bool:
        if key.isdigit():
            return CUSTOMERS.record_id(bytes(raw)) == int(key)
        # Searched by the uuid itself: the row names it among its integrations.
        return words == key and key.encode() in bytes(raw).lower()

    def _orders(self, need: Need, events: Sequence[Waiting]) -> Answer:
        """Read the install's orders; each by itself, or from the payload, where there is no list of them."""
        install_id = int(need.key)
        try:
            rows = [bytes(row) for row in read_install_change_orders(self._client, need.key)]
            return Answer([(self._change_orders, rows)], install_id=install_id)
        except (NotFoundError, PermissionRefusedError, ContractDriftError):
            pass
        bodies = load_bodies(self._connection, self._account, [event.event_id for event in events])
        told = change_orders_of(bodies)
        read, said = [], []
        for order_id, payload in told.items():
            try:
                read.append(read_change_order(self._client, order_id))
            except (NotFoundError, PermissionRefusedError, ContractDriftError):
                said.append(payload)
        return Answer([(self._change_orders, read)], [(self._change_orders, said)], install_id=install_id)

    def store(
        self, answer: Answer, observation: Observation, arrived: Mapping[Subject, datetime]
    ) -> list[tuple[str, Tally]]:
        """Bring an answer into the mirror, in the caller's transaction.

        :param arrived: when the first event arrived that asked for a read of that subject: what comes along
            with another record's event was told by none.
        """
        tallies = []
        for resource, records in answer.records:
            seen = _told(observation, resource, arrived)
            batch = self._intake(resource).take(self._connection, records, seen)
            tallies.append((resource.name, batch.tally))
        for resource, records in answer.said:
            unknown = [raw for raw in records if not self._knows(resource, raw)]
            seen = _told(observation, resource, arrived)
            batch = self._intake(resource).take(self._connection, unknown, seen)
            batch.tally.because("notice", "taken from the payload", len(unknown))
            tallies.append((resource.name, batch.tally))
        return tallies

    def _intake(self, resource: Resource) -> Intake:
        return self._intakes.setdefault(resource.name, Intake(resource))

    def _knows(self, resource: Resource, raw: bytes | memoryview) -> bool:
        table = resource.table
        column = table.c[resource.id_column]
        query = sa.select(column).where(
            table.c.account == self._account, column == resource.record_id(bytes(raw))
        )
        return self._connection.scalar(query) is not None

    def bury(self, need: Need, observed_at: datetime) -> tuple[bool, int]:
        """Mark a record deleted that Enerflo does not know any more.

        :return: whether we know it at all, and how many records were marked now.
        """
        resource, record_id = self._known_record(need)
        if resource is None or record_id is None:
            return False, 0
        return True, bury(self._connection, resource, self._account, record_id, observed_at)

    def _known_record(self, need: Need) -> tuple[Resource | None, int | None]:
        resource: Resource = CUSTOMERS if need.subject is Subject.CUSTOMER else INSTALLS
        if need.subject is Subject.CUSTOMER and not need.key.isdigit():
            return None, None
        table = customers if resource is CUSTOMERS else installs
        column = table.c[resource.id_column]
        where = table.c.deal_id == need.key if need.subject is Subject.DEAL else column == int(need.key)
        found = self._connection.scalar(sa.select(column).where(table.c.account == self._account, where))
        return resource, found


def _told(observation: Observation, resource: Resource, arrived: Mapping[Subject, datetime]) -> Observation:
    times = [arrived[subject] for subject in _ABOUT[resource.name] if subject in arrived]
    return replace(observation, arrived_at=min(times, default=None))
