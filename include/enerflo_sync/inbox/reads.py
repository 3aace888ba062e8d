"""The reads that events ask for, and the storing of their answers, by kind of record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import psycopg
import sqlalchemy as sa

from enerflo_sync.enerflo.change_orders import read_change_order, read_install_change_orders
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.installs import find_install, read_install
from enerflo_sync.enerflo.notes import read_install_notes, walk_notes
from enerflo_sync.errors import ContractDriftError, NotFoundError, RetriableError
from enerflo_sync.inbox.answers import Answer, Records, given, record_id_of, same_record
from enerflo_sync.inbox.customer_read import read_customer_of
from enerflo_sync.inbox.event import Need, Subject
from enerflo_sync.inbox.payloads import change_orders_of, load_bodies
from enerflo_sync.inbox.pending import Waiting
from enerflo_sync.mirror.batch import Batch, Observation
from enerflo_sync.mirror.change_orders import ComponentKeys, change_orders_resource
from enerflo_sync.mirror.customers import CUSTOMERS
from enerflo_sync.mirror.installs import INSTALLS
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.notes import NOTES
from enerflo_sync.mirror.resource import Resource
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.warehouse.refused import refuses_a_row
from enerflo_sync.warehouse.schema import installs

__all__ = ["Answer", "Reads"]

# A note may be listed a little later than the event about it, or be dated by another clock.
_NOTES_LOOKBACK = timedelta(minutes=15)
# Which reads' events are about the records of a resource.
_ABOUT = {
    "installs": (Subject.INSTALL, Subject.DEAL),
    "customers": (Subject.CUSTOMER,),
    "notes": (Subject.NOTES,),
    "change_orders": (Subject.CHANGE_ORDERS,),
}


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
        :raises BadRecordError: the answer is not the record that was asked for.
        """
        match need.subject:
            case Subject.INSTALL:
                return self._install(same_record(INSTALLS, read_install(self._client, need.key), need.key))
            case Subject.DEAL:
                return self._install(find_install(self._client, need.key), of_deal=True)
            case Subject.CUSTOMER:
                return read_customer_of(self._client, need.key, self._bodies(events))
            case Subject.NOTES:
                return self._notes(need.key, min(event.received_at for event in events))
            case Subject.CHANGE_ORDERS:
                return self._orders(need, events)

    def _install(self, raw: bytes, *, of_deal: bool = False) -> Answer:
        """Read the install's notes, too: their list by time of creation never shows an edit (design §6)."""
        install_id = INSTALLS.record_id(raw)
        tells = [Need(Subject.INSTALL, str(install_id))] if of_deal else []
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
            rows = self._notes_since(since - _NOTES_LOOKBACK)
        return Answer([(NOTES, rows)], install_id=int(install_id))

    def _notes_since(self, since: datetime) -> list[bytes]:
        """Return all notes made since; none where a walk of this run has brought them already."""
        if self._notes_walked_from is not None and self._notes_walked_from <= since:
            return []
        walk = walk_notes(self._client, created_after=since)
        try:
            rows = [bytes(row) for page in walk for row in page.records]
        except NotFoundError:
            # That says nothing about the install whose notes were asked for.
            raise ContractDriftError(
                "there is no list of notes.", where="GET /api/v3/installs/notes"
            ) from None
        if not walk.complete:
            raise RetriableError("the list of notes was not read whole.", where="GET /api/v3/installs/notes")
        self._notes_walked_from = since
        return rows

    def _orders(self, need: Need, events: Sequence[Waiting]) -> Answer:
        """Read the install's orders; each by itself, or from the payload, where there is no list of them."""
        install_id = int(need.key)
        rows = given(lambda: read_install_change_orders(self._client, need.key))
        if rows is not None:
            return Answer([(self._change_orders, [bytes(row) for row in rows])], install_id=install_id)
        if self._is_gone(install_id):
            # Its orders went with it, whatever a payload from before says.
            return Answer([], install_id=install_id)
        read, said = [], []
        for order_id, payload in change_orders_of(self._bodies(events)).items():
            answered = given(partial(read_change_order, self._client, order_id))
            if answered is None:
                said.append(payload)
            else:
                read.append(answered)
        return Answer([(self._change_orders, read)], [(self._change_orders, said)], install_id=install_id)

    def _bodies(self, events: Sequence[Waiting]) -> list[dict[str, Any]]:
        return load_bodies(self._connection, self._account, [event.event_id for event in events])

    def _is_gone(self, install_id: int) -> bool:
        """Return whether the install is deleted in the mirror, where its own read of this run came first."""
        query = sa.select(installs.c.deleted_at).where(
            installs.c.account == self._account, installs.c.install_id == install_id
        )
        with self._connection.begin():
            return self._connection.scalar(query) is not None

    def store(
        self, answer: Answer, observation: Observation, arrived: Mapping[Subject, datetime]
    ) -> list[tuple[str, Tally]]:
        """Bring an answer into the mirror as :meth:`bring_in`, and return what became of it by resource."""
        batches = self.bring_in(answer, observation, arrived)
        return [(resource.name, batch.tally) for resource, batch in batches]

    def bring_in(
        self,
        answer: Answer,
        observation: Observation,
        arrived: Mapping[Subject, datetime],
        *,
        one_by_one: bool = False,
    ) -> list[tuple[Resource, Batch]]:
        """Bring an answer into the mirror, in the caller's transaction.

        :param arrived: when the first event arrived that asked for a read of that subject: what comes along
            with another record's event was told by none.
        :param one_by_one: each record within a savepoint: one that the warehouse refuses is put aside alone.
        """
        if one_by_one:
            # What they remember of the warehouse was rolled back.
            self._intakes.clear()
        unknown = [
            (resource, [raw for raw in records if not self._knows(resource, raw)])
            for resource, records in answer.said
        ]
        batches = []
        for resource, records in (*answer.records, *unknown):
            seen = _told(observation, resource, arrived)
            for some in [[raw] for raw in records] if one_by_one else [records]:
                take = self._take_or_refuse if one_by_one else self._take
                batches.append((resource, take(resource, some, seen)))
        said = sum(len(records) for _, records in unknown)
        if said:
            batches[-1][1].tally.because("notice", f"taken from {answer.said_by}", said)
        return batches

    def _take(self, resource: Resource, records: Records, seen: Observation) -> Batch:
        intake = self._intake(resource)
        if resource is INSTALLS and len(records) == 1:
            return intake.take_own_answer(self._connection, records[0], seen)
        return intake.take(self._connection, records, seen)

    def _take_or_refuse(self, resource: Resource, records: Records, seen: Observation) -> Batch:
        try:
            with self._connection.begin_nested():
                return self._take(resource, records, seen)
        except psycopg.Error as error:
            if not refuses_a_row(error):
                raise
            return self._intake(resource).refuse(self._connection, records[0], seen)

    def _intake(self, resource: Resource) -> Intake:
        return self._intakes.setdefault(resource.name, Intake(resource))

    def _knows(self, resource: Resource, raw: bytes | memoryview) -> bool:
        table = resource.table
        column = table.c[resource.id_column]
        query = sa.select(column).where(
            table.c.account == self._account, column == record_id_of(resource, bytes(raw))
        )
        return self._connection.scalar(query) is not None

    def known_record(self, need: Need) -> tuple[Resource, int] | None:
        """Return the record of the mirror that a need names, if any, in the caller's transaction."""
        resource: Resource = CUSTOMERS if need.subject is Subject.CUSTOMER else INSTALLS
        if need.subject is Subject.CUSTOMER and not need.key.isdigit():
            return None
        table = resource.table
        column = table.c[resource.id_column]
        where = table.c.deal_id == need.key if need.subject is Subject.DEAL else column == int(need.key)
        found = self._connection.scalar(sa.select(column).where(table.c.account == self._account, where))
        return None if found is None else (resource, found)


def _told(observation: Observation, resource: Resource, arrived: Mapping[Subject, datetime]) -> Observation:
    times = [arrived[subject] for subject in _ABOUT[resource.name] if subject in arrived]
    return replace(observation, arrived_at=min(times, default=None))
