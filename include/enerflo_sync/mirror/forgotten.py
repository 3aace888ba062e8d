"""Customers who were forgotten (``sync.forgotten``): their personal data is not stored again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.mirror.erase import erase
from enerflo_sync.resources.resource import Resource, Row
from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.schema import personal_data_of

_FORGOTTEN = """
/* enerflo-sync: customers who were forgotten */
select customer_id, install_ids, uuids from sync.forgotten where account = %s
"""
_INSTALLS = """
/* enerflo-sync: installs of customers who were forgotten */
select install_id, deal_id from enerflo.installs where account = %s and customer_id = any(%s::bigint[])
"""
Contents = Sequence[Sequence[Row] | None]
# An install names its agent, who is another person.
_OTHERS = {("installs", "agent_name")}

_NUMBERS = re.compile(rb"(?<!\d)\d{1,19}(?!\d)")

_encode = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True)
class Forgotten:
    """Who was forgotten of one account, and by what their records are known.

    :param uuids: of customers and deals, in lower case, as v2 events name them.
    """

    customers: frozenset[int] = frozenset()
    installs: frozenset[int] = frozenset()
    uuids: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Return whether anybody was."""
        return bool(self.customers)

    def owns(self, row: Mapping[str, Any]) -> bool:
        """Return whether a mirror row, or the ids of an event, are of somebody who was forgotten.

        A known customer decides alone: an install may have another owner by now.
        """
        customer = row.get("customer_id")
        if customer is not None:
            return customer in self.customers
        return row.get("install_id") in self.installs or row.get("deal_id") in self.uuids

    def is_named_in(self, data: bytes) -> bool:
        """Return whether any number or uuid in a document is one of theirs, perhaps by chance."""
        numbers = {int(number) for number in _NUMBERS.findall(data)}
        if not numbers.isdisjoint(self.customers | self.installs):
            return True
        lower = data.lower()
        return any(uuid.encode() in lower for uuid in self.uuids)


NOBODY = Forgotten()


def forgotten_of(connection: sa.Connection, account: str) -> Forgotten:
    """Return who was forgotten, in the caller's transaction; one short statement where nobody was."""
    driver = driver_connection(connection)
    rows = driver.execute(_FORGOTTEN, (account,)).fetchall()
    if not rows:
        return NOBODY
    customers = frozenset(row[0] for row in rows)
    later = driver.execute(_INSTALLS, (account, list(customers))).fetchall()
    installs = {install for row in rows for install in row[1]} | {install for install, _ in later}
    uuids = {uuid for row in rows for uuid in row[2]} | {deal for _, deal in later if deal}
    return Forgotten(customers, frozenset(installs), frozenset(uuids))


def personal_columns(table: str, declared: Sequence[str] = ()) -> frozenset[str]:
    """Return the columns of a mirror table that hold a customer's personal data.

    :param declared: columns that ``sync.yaml`` adds: what they hold of such a customer is not known here.
    """
    named = {column for column in personal_data_of(table) if (table, column) not in _OTHERS}
    return frozenset(named | set(declared))


def is_of(resource: Resource, contents: Contents, forgotten: Forgotten) -> bool:
    """Return whether a record that was read is of somebody who was forgotten."""
    own = contents[0] or ()
    return any(forgotten.owns(dict(zip(resource.parts[0].columns, row, strict=True))) for row in own)


def without_personal_data(
    resource: Resource, contents: Contents, data: bytes, forgotten: Forgotten
) -> tuple[Contents, bytes]:
    """Return a record's rows and bytes: without personal data if it is of somebody who was forgotten.

    :raises BadRecordError: the record cannot be read without them.
    """
    if not forgotten or not is_of(resource, contents, forgotten):
        return contents, data
    erased = erased_bytes(resource, data)
    return resource.rows_of(erased), erased


def erased_record(resource: Resource, record: Any) -> Any:
    """Return a record without personal data: every value of it on which no other column depends is erased.

    What a column of ``sync.yaml`` is read from stays where a column of the mirror that names nobody is read
    from it too.

    :raises BadRecordError: the record cannot be read.
    """

    def split(one: Any) -> tuple[list[Any], list[Any]]:
        others, personal = [], []
        for part, rows in zip(resource.parts, resource.rows_by_column(one), strict=True):
            named = personal_columns(str(part.table.name))
            hidden = named | set(part.declared)
            others.append([{name: row[name] for name in row if name not in hidden} for row in rows])
            personal.append([{name: row[name] for name in named if name in row} for row in rows])
        return others, personal

    return erase(record, lambda one: split(one)[0], lambda one: split(one)[1])


def erased_bytes(resource: Resource, stable: bytes) -> bytes:
    """Return a record's bytes without personal data (:func:`erased_record`)."""
    return _encode.encode(erased_record(resource, msgspec.json.decode(stable)))
