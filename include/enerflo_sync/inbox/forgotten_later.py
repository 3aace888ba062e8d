"""Events that turn out to be about a forgotten customer only when Enerflo's answer names the customer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from enerflo_sync.inbox.answers import Answer, record_id_of
from enerflo_sync.inbox.forgotten_events import erased_body
from enerflo_sync.inbox.json_text import canonical_json
from enerflo_sync.mirror.forgotten import Forgotten, forgotten_of
from enerflo_sync.resources.customers import CUSTOMER, CUSTOMERS
from enerflo_sync.resources.event import Need

_LEARN = sa.text("""
/* enerflo-sync inbox: by which uuid events name somebody who was forgotten */
update sync.forgotten set uuids = uuids || cast(:key as text)
where account = :account and customer_id = any(:customers) and not :key = any(uuids)
""")
_EVENTS = sa.text("""
/* enerflo-sync inbox: events that name somebody who was forgotten by a uuid */
select event_id, source_uri, body::text as body from sync.webhook_events
where account = :account and record = :record and body is not null
""")
_SET_BODY = sa.text("""
/* enerflo-sync inbox: an event without personal data */
update sync.webhook_events set body = cast(:body as json) where account = :account and event_id = :event_id
""")
_ITEMS = sa.text("""
/* enerflo-sync inbox: items of such events */
update sync.quarantine set payload = null
where account = :account and table_name = 'webhook_events' and key ->> 'event_id' = any(:events)
""")


@dataclass(frozen=True)
class Learned:
    """A forgotten customer whose uuid was not known before.

    :param files: the files from which the customer's events were read.
    """

    forgotten: Forgotten
    files: frozenset[str]


def learn(connection: sa.Connection, account: str, need: Need, answer: Answer) -> Learned | None:
    """Erase the events of a customer's uuid if the answer is a forgotten customer, and store the uuid.

    A customer whom only polls knew has no stored uuid until a v2 event is hydrated. Later events are
    recognised by it. Runs in the caller's transaction; returns None if nothing new was learned.
    """
    if need.subject != CUSTOMER or need.key.isdigit():
        return None
    forgotten = forgotten_of(connection, account)
    if not forgotten or need.key in forgotten.uuids:
        return None
    customers = sorted(forgotten.customers & set(_customers(answer)))
    named = {"account": account, "key": need.key, "customers": customers}
    if not customers or not connection.execute(_LEARN, named).rowcount:
        return None
    rows = connection.execute(_EVENTS, {"account": account, "record": str(need)}).mappings().all()
    for row in rows:
        body = canonical_json(erased_body(msgspec.json.decode(row["body"]))).decode()
        connection.execute(_SET_BODY, {"account": account, "event_id": row["event_id"], "body": body})
    connection.execute(_ITEMS, {"account": account, "events": [row["event_id"] for row in rows]})
    return Learned(forgotten_of(connection, account), frozenset(_file(row["source_uri"]) for row in rows))


def _customers(answer: Answer) -> Iterator[int]:
    for resource, records in (*answer.records, *answer.said, *answer.said_later):
        for raw in records if resource is CUSTOMERS else ():
            if (found := record_id_of(resource, bytes(raw))) is not None:
                yield found


def _file(uri: str) -> str:
    """Return the file in an event's address, which names a part of a file by its position: ``file#3``."""
    file, _, position = uri.rpartition("#")
    return file if position.isdigit() and file else uri
