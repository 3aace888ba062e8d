"""Reads stored events by their record, in chunks; the list of events is fixed for the whole rebuild."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.rebuild.condition import Condition
from enerflo_sync.rebuild.source import Chunk, Portion
from enerflo_sync.warehouse.bulk import driver_connection

# How many records' events are in memory at once; a payload may have 100 KB.
CHUNK = 100

# The records are numbered once, because sorting all events of an account for each chunk would take longer
# than the rebuild itself.
_LIST = """
/* enerflo-sync rebuild: events by record */
create temporary table {name} as
select dense_rank() over (order by e.record) as record_number, e.event_id
from sync.webhook_events e
where e.account = %(account)s and e.state = 'applied' and e.event = any(%(events)s::text[])
  and e.record is not null and e.body is not null {condition};
create index on {name} (record_number);
analyze {name}
"""

_BODIES = """
/* enerflo-sync rebuild: events of some records */
select e.event_id, e.event, e.record, e.install_id, e.received_at, e.source_uri, e.body::text
from {name} n join sync.webhook_events e on e.account = %(account)s and e.event_id = n.event_id
where n.record_number = any(%(numbers)s::bigint[])
order by n.record_number, e.received_at, e.event_id
"""

OF_INSTALL = """and e.install_id in (
    select i.install_id from enerflo.installs i where i.account = %(account)s and {condition})"""


def of_record(subject: str, column: str) -> str:
    """Return the condition that an event's record is named in a column of the selected installs."""
    return (
        f"and e.record in (select '{subject}/' || i.{column} from enerflo.installs i"  # noqa: S608 - ours
        " where i.account = %(account)s and {condition})"
    )


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One applied event with its body."""

    event_id: str
    event: str
    record: str
    install_id: int | None
    received_at: datetime
    source_uri: str
    body: dict[str, Any]


class StoredEvents:
    """The applied events with some names, by record.

    :param name: distinguishes the temporary table of this list from others in the session.
    :param condition: the installs that the events must be about.
    :param of: the SQL that applies the condition to an event.
    """

    def __init__(
        self,
        connection: sa.Connection,
        account: str,
        name: str,
        events: Iterable[str],
        condition: Condition | None,
        of: str = OF_INSTALL,
    ) -> None:
        self._connection = connection
        self._account = account
        self._name = f"rebuild_{name}"
        self._events = sorted(events)
        self._condition = of.format(condition=condition.sql) if condition else ""
        self._records = 0

    def begin(self) -> int:
        """List the events in the caller's transaction, and return the number of their records."""
        driver = driver_connection(self._connection)
        values = {"account": self._account, "events": self._events}
        driver.execute(f"drop table if exists {self._name}")
        for statement in _LIST.format(name=self._name, condition=self._condition).split(";"):
            driver.execute(statement, values if "%(account)s" in statement else None)
        row = driver.execute(
            f"select coalesce(max(record_number), 0) from {self._name}"  # noqa: S608 - a name of ours
        ).fetchone()
        self._records = int(row[0]) if row else 0
        return self._records

    def portions(self) -> Iterator[Portion]:
        """Yield the numbers of the records."""
        for first in range(1, self._records + 1, CHUNK):
            yield Portion(range(first, min(first + CHUNK, self._records + 1)))

    def read(self, numbers: Sequence[int], chunk: Chunk) -> dict[str, list[StoredEvent]]:
        """Return the events of some records, oldest first, in the caller's transaction.

        :param chunk: notes each event whose body cannot be read; such an event is left out.
        """
        found: dict[str, list[StoredEvent]] = {}
        values = {"account": self._account, "numbers": list(numbers)}
        rows = driver_connection(self._connection).execute(_BODIES.format(name=self._name), values)
        for event_id, event, record, install_id, received_at, source_uri, text in rows.fetchall():
            try:
                body = _object(text)
            except Exception as error:
                chunk.cannot_read(event_id, bad_record(error))
                continue
            stored = StoredEvent(event_id, event, record, install_id, received_at, source_uri, body)
            found.setdefault(record, []).append(stored)
        return found


def _object(text: str) -> dict[str, Any]:
    body = msgspec.json.decode(text)
    if not isinstance(body, dict):
        raise BadRecordError("not_an_object")
    return body
