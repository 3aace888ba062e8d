"""The reads that events need, and the loading of their answers, by kind of record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from enerflo_sync.enerflo.change_orders import read_change_order, read_install_change_orders
from enerflo_sync.enerflo.installs import find_install, read_install
from enerflo_sync.enerflo.notes import read_install_notes
from enerflo_sync.enerflo.times import parse_time
from enerflo_sync.errors import BadRecordError, ContractDriftError, NotFoundError, RetriableError
from enerflo_sync.inbox.answers import Answer, NotListedError, Records, given, record_id_of, same_record
from enerflo_sync.inbox.customer_read import read_customer_of
from enerflo_sync.inbox.payloads import load_bodies, stored_bodies
from enerflo_sync.inbox.pending import Waiting
from enerflo_sync.mirror.batch import Batch, Observation
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources import change_orders, customers, installs, notes
from enerflo_sync.resources.change_orders import ComponentKeys, change_orders_of, change_orders_resource
from enerflo_sync.resources.customers import CUSTOMERS
from enerflo_sync.resources.event import Need
from enerflo_sync.resources.fingerprint import decode, stable_bytes
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.notes import NOTE_LIST, NOTES
from enerflo_sync.resources.registry import READS
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.watermarks import read_watermark

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

__all__ = ["Answer", "Reads"]

# A note may be listed a little after its event, or be dated by another clock.
_NOTES_LOOKBACK = timedelta(minutes=15)


class Reads:
    """Reads and stores the records of one account.

    :param company: refuses answers to another company's key; None skips that check.
    """

    def __init__(
        self,
        client: EnerfloClient,
        connection: sa.Connection,
        account: str,
        keys: ComponentKeys,
        company: CompanyGuard | None = None,
    ) -> None:
        self._company = company
        self._client = client
        self._connection = connection
        self._account = account
        self._change_orders = change_orders_resource(keys)
        self._intakes: dict[str, Intake] = {}
        # Whether Enerflo answers the undocumented list of one install's notes; None until tried.
        self._notes_by_install: bool | None = None
        self._notes_walked_from: datetime | None = None
        # Change orders whose payload in the last answer had new values without a time.
        self._undated: set[str] = set()
        # Installs whose direct read answered 404.
        self._not_there: set[int] = set()

    def read(self, need: Need, events: Sequence[Waiting]) -> Answer:
        """Return Enerflo's present data for ``need``.

        :raises NotFoundError: the record does not exist, or (:class:`NotListedError`) is not returned.
        :raises BadRecordError: the answer is another record.
        :raises AnotherCompanyError: the key belongs to another company.
        """
        answer = self._read(need, events)
        if self._company is not None:
            listed = [raw for resource, records in answer.records for raw in records if resource is INSTALLS]
            if listed:
                self._company.check(listed)
            else:
                self._company.ensure()
        return answer

    def _read(self, need: Need, events: Sequence[Waiting]) -> Answer:
        match need.subject:
            case installs.BY_ID:
                return self._install(same_record(INSTALLS, self._read_install(need.key), need.key))
            case installs.BY_DEAL:
                return self._install(find_install(self._client, need.key), of_deal=True)
            case customers.CUSTOMER:
                return self._customer(need.key, events)
            case notes.NOTES_OF:
                return self._notes(need.key, min(event.received_at for event in events))
            case change_orders.ORDERS_OF:
                return self._orders(need, events)
        return self._ordinary(need, events)

    def _ordinary(self, need: Need, events: Sequence[Waiting]) -> Answer:
        """Read the child records of the record that a need names, as its read is declared.

        :raises NotListedError: Enerflo does not answer, and no poll has read the whole list since the events.
        """
        resource, read = READS.get(need.subject, (None, None))
        if resource is None or read is None or read.rows is None:
            # A newer release stored this need before a downgrade.
            raise BadRecordError("unknown_read", field=need.subject)
        rows = given(partial(read.rows, self._client, need.key))
        if rows is None and events:
            self._require_poll(resource, events)
        return Answer([(resource, [bytes(row) for row in rows or ()])], is_whole=rows is not None)

    def _read_install(self, install_id: str) -> bytes:
        try:
            return read_install(self._client, install_id)
        except NotFoundError:
            self._not_there.add(int(install_id))
            raise

    def _customer(self, key: str, events: Sequence[Waiting]) -> Answer:
        """Read a customer; data from outside the list does not overwrite a customer that the mirror knows.

        :raises NotListedError: the list does not return them, and no poll has read it completely since the
            events.
        """
        answer = read_customer_of(self._client, key, self._bodies(events))
        if answer.records:
            return answer
        said = [raw for _, records in answer.said for raw in records]
        if any(self._knows(CUSTOMERS, raw) for raw in said):
            self._require_poll(CUSTOMERS, events)
        return answer

    def _require_poll(self, resource: Resource, events: Sequence[Waiting]) -> None:
        """Return if a poll has read all records of a resource since the events; no direct read shows them.

        :raises NotListedError: no poll has.
        """
        with self._connection.begin():
            polled = read_watermark(self._connection, self._account, resource.name)
        if polled is None or polled < max(event.received_at for event in events):
            raise NotListedError("it is not in Enerflo's list.", where=f"the {resource.name} of the account")

    def _knows(self, resource: Resource, raw: bytes | memoryview) -> bool:
        """Return whether the mirror has the record."""
        id_ = resource.table.c[resource.id_column]
        mine = resource.table.c.account == self._account, id_ == record_id_of(resource, bytes(raw))
        with self._connection.begin():
            return self._connection.scalar(sa.select(id_).where(*mine)) is not None

    def _install(self, raw: bytes, *, of_deal: bool = False) -> Answer:
        """Read the install's notes as well: the list by creation time never shows an edit (design §6)."""
        install_id = INSTALLS.record_id(raw)
        tells = [Need(installs.BY_ID, str(install_id))] if of_deal else []
        found = self._notes_of(install_id)
        if found is None:
            return Answer([(INSTALLS, [raw])], tells=tells, install_id=install_id)
        return Answer(
            [(INSTALLS, [raw]), (NOTES, found)],
            tells=(*tells, Need(notes.NOTES_OF, str(install_id))),
            install_id=install_id,
        )

    def _notes_of(self, install_id: int | str) -> list[bytes] | None:
        """Return an install's notes; None if Enerflo does not answer the list of one install's notes."""
        if self._notes_by_install is False:
            return None
        rows = given(lambda: read_install_notes(self._client, install_id))
        if rows is None:
            if self._notes_by_install is None:
                self._notes_by_install = False
            return None
        self._notes_by_install = True
        return [bytes(row) for row in rows]

    def _notes(self, install_id: str, since: datetime) -> Answer:
        rows = self._notes_of(install_id)
        if rows is None:
            with self._connection.begin():
                polled = read_watermark(self._connection, self._account, NOTES.name)
            # An event may come long after its note's creation; polls have read all notes before the
            # watermark.
            since = min(since, polled or since) - _NOTES_LOOKBACK
            return Answer([(NOTES, self._notes_since(since))], install_id=int(install_id), since=since)
        return Answer([(NOTES, rows)], install_id=int(install_id))

    def notes_created_since(self, since: datetime) -> Answer:
        """Return the notes of all installs that were created since then, by a list that says how long it is.

        :raises RetriableError: the list was not read whole.
        """
        return Answer([(NOTES, self._notes_since(since - _NOTES_LOOKBACK))])

    def _notes_since(self, since: datetime) -> list[bytes]:
        """Return all notes created since then; none if a walk of this run has already read them."""
        if self._notes_walked_from is not None and self._notes_walked_from <= since:
            return []
        walk = NOTE_LIST.walk(self._client, since)
        try:
            rows = [bytes(row) for page in walk for row in page.records]
        except NotFoundError:
            # The missing list says nothing about the install whose notes were requested.
            raise ContractDriftError("there is no list of notes.", where=f"GET {NOTE_LIST.path}") from None
        if not walk.complete:
            raise RetriableError("the list of notes was not read whole.", where=f"GET {NOTE_LIST.path}")
        self._notes_walked_from = since
        return rows

    def _orders(self, need: Need, events: Sequence[Waiting]) -> Answer:
        """Read the install's orders; add from a direct read or the payload each order that their list omits.

        :raises NotListedError: no source has an event's order, and no poll has read all orders since.
        """
        install_id = int(need.key)
        rows = given(lambda: read_install_change_orders(self._client, need.key))
        listed = [bytes(row) for row in rows or ()]
        if rows is None and self._is_gone(install_id):
            # The install's deletion includes its orders, whatever an older payload contains.
            return Answer([], install_id=install_id)
        shown = {record_id_of(self._change_orders, raw) for raw in listed}
        said, bodies = [], self._bodies(events)
        for order_id, payload in change_orders_of(bodies).items():
            if order_id.isdigit() and int(order_id) in shown:
                continue
            answered = given(partial(read_change_order, self._client, order_id))
            if answered is None:
                said.append(payload)
            else:
                listed.append(answered)
        orders = self._change_orders
        if rows is None:
            if not all(change_orders_of([body]) for body in bodies):
                self._require_poll(orders, events)
            return Answer([(orders, listed)], [(orders, said)], install_id=install_id, is_whole=False)
        if any(record_id_of(orders, raw) and not self._knows(orders, raw) for raw in said):
            self._require_poll(orders, events)
        # If Enerflo lists the install's orders, a payload alone does not create an order in the mirror.
        return Answer([(orders, listed)], said_later=[(orders, said)], install_id=install_id)

    def _bodies(self, events: Sequence[Waiting]) -> list[dict[str, Any]]:
        return load_bodies(self._connection, self._account, [event.event_id for event in events])

    def _is_gone(self, install_id: int) -> bool:
        """Return whether the install's direct read answered 404, or the mirror has it as deleted."""
        if install_id in self._not_there:
            return True
        query = sa.select(INSTALLS.table.c.deleted_at).where(
            INSTALLS.table.c.account == self._account, INSTALLS.table.c.install_id == install_id
        )
        with self._connection.begin():
            return self._connection.scalar(query) is not None

    def store(
        self, answer: Answer, observation: Observation, arrived: Mapping[str, datetime]
    ) -> list[tuple[str, Tally]]:
        """Load an answer as :meth:`bring_in` does, and return the tally by resource."""
        batches = self.bring_in(answer, observation, arrived)
        return [(resource.name, batch.tally) for resource, batch in batches]

    def bring_in(
        self,
        answer: Answer,
        observation: Observation,
        arrived: Mapping[str, datetime],
        *,
        one_by_one: bool = False,
    ) -> list[tuple[Resource, Batch]]:
        """Load an answer into the mirror, in the caller's transaction.

        :param arrived: by subject, when the first event that needed this read arrived. Records of other
            subjects in the answer count as reported by no webhook.
        :param one_by_one: use a savepoint per record, so that only a record that the warehouse refuses is
            quarantined.
        """
        self._undated.clear()
        if one_by_one:
            # The rollback also undid the state that the intakes remember.
            self._intakes.clear()
        later = [
            (resource, [raw for raw in records if self._is_later(resource, raw, or_unknown=or_unknown)])
            for some, or_unknown in ((answer.said, True), (answer.said_later, False))
            for resource, records in some
        ]
        batches = []
        for resource, records in (*answer.records, *later):
            seen = _told(observation, resource, arrived)
            for some in [[raw] for raw in records] if one_by_one else [records]:
                take = self._take_or_refuse if one_by_one else self._take
                batches.append((resource, take(resource, some, seen)))
        said = sum(len(records) for _, records in later)
        if said:
            batches[-1][1].tally.because("notice", f"taken from {answer.said_by}", said)
        return batches

    def not_taken(self, events: Sequence[Waiting]) -> list[Waiting]:
        """Return the events whose payloads have, without a time, values of an order that the mirror lacks.

        Such values may be older or newer. Call after :meth:`bring_in`, in the same transaction.
        """
        if not self._undated:
            return []
        by_id = {event.event_id: event for event in events}
        return [
            by_id[event_id]
            for event_id, body in stored_bodies(self._connection, self._account, list(by_id))
            if any(
                order_id in self._undated and _updated_at(order) is None
                for order_id, order in change_orders_of([body]).items()
            )
        ]

    def _take(self, resource: Resource, records: Records, seen: Observation) -> Batch:
        intake = self._intake(resource)
        take = intake.take if resource.versions is None else intake.take_own_answers
        return take(self._connection, records, seen)

    def _take_or_refuse(self, resource: Resource, records: Records, seen: Observation) -> Batch:
        intake, own = self._intake(resource), resource.versions is not None
        (batch,) = intake.take_or_refuse(self._connection, records, seen, own_answer=own)
        return batch

    def _intake(self, resource: Resource) -> Intake:
        return self._intakes.setdefault(resource.name, Intake(resource))

    def _is_later(self, resource: Resource, raw: bytes | memoryview, *, or_unknown: bool) -> bool:
        """Return whether a record from outside the list is newer than the mirror's version.

        Only change orders have their own time of change in the mirror's form. Any other record is stored only
        if the mirror does not know it. Within one second of Enerflo's clock, the later arrival counts as
        newer.

        :param or_unknown: result if the mirror does not have the record.
        """
        table = resource.table
        record_id = record_id_of(resource, bytes(raw))
        known = sa.select(table).where(
            table.c.account == self._account, table.c[resource.id_column] == record_id
        )
        row = self._connection.execute(known).mappings().first()
        if row is None:
            return or_unknown
        if resource is not self._change_orders:
            return False
        said_at = _updated_at(raw)
        if said_at is None and row["raw_hash"] != resource.digest(stable_bytes(raw)):
            self._undated.add(str(record_id))
        return said_at is not None and said_at >= (row["updated_at"] or row["observed_at"])

    def known_record(self, need: Need) -> tuple[Resource, int] | None:
        """Return the mirror's record that a need names, if any, in the caller's transaction."""
        resource, read = READS[need.subject]
        columns = resource.table.c
        named = columns[read.column or resource.id_column]
        is_number = isinstance(named.type, sa.BigInteger)
        if read.owner is not None or (is_number and not need.key.isdigit()):
            return None
        query = sa.select(columns[resource.id_column]).where(
            columns.account == self._account, named == (int(need.key) if is_number else need.key)
        )
        found = self._connection.scalar(query)
        return None if found is None else (resource, found)


def _updated_at(raw: bytes | memoryview) -> datetime | None:
    """Return when a record last changed by its own time; None if that is absent or unreadable."""
    try:
        return parse_time(decode(bytes(raw))[0].get("updated_at"))
    except BadRecordError:
        return None


def _told(observation: Observation, resource: Resource, arrived: Mapping[str, datetime]) -> Observation:
    times = [arrived[read.subject] for read in resource.reads if read.subject in arrived]
    return replace(observation, arrived_at=min(times, default=None))
