"""What can be taken from stored payloads when no endpoint gives it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.inbox.event import Body, at
from enerflo_sync.resources.fingerprint import decode
from enerflo_sync.warehouse.schema import webhook_events


def stored_bodies(
    connection: sa.Connection, account: str, event_ids: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Return stored events with their bodies, oldest first, in the caller's transaction."""
    if not event_ids:
        return []
    table = webhook_events.c
    rows = connection.execute(
        sa.select(table.event_id, sa.cast(table.body, sa.Text))
        .where(table.account == account, table.event_id.in_(event_ids))
        .order_by(table.received_at, table.event_id)
    )
    return [(event_id, msgspec.json.decode(text)) for event_id, text in rows]


def load_bodies(connection: sa.Connection, account: str, event_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the bodies of stored events, oldest first, in a transaction of its own."""
    with connection.begin():
        return [body for _, body in stored_bodies(connection, account, event_ids)]


def search_words(key: str, bodies: Sequence[Body]) -> Iterator[str]:
    """Yield what a customer may be found by, the most telling first: uuid, e-mail, phone (REFERENCE §3)."""
    if not key.isdigit():
        yield key
        return
    seen = set()
    for body in reversed(bodies):
        for name in ("email", "phone", "mobile", "full_name"):
            words = body.get(name)
            if isinstance(words, str) and len(words.strip()) > 2 and words not in seen:
                seen.add(words)
                yield words.strip()


def words_of(customer: bytes) -> list[str]:
    """Return what the list may find a customer by, from Enerflo's own answer about them.

    :raises BadRecordError: the answer is no JSON object.
    """
    record, _ = decode(customer)
    parts = (record.get("first_name"), record.get("last_name"))
    name = " ".join(part for part in parts if isinstance(part, str))
    return list(search_words("0", [{"full_name": name, **record}]))


def customer_of(body: Body) -> bytes | None:
    """Return a v1 customer payload in the form of the list's rows, None for a v2 one, which has no v1 id."""
    if not isinstance(body.get("webhook_event"), str):
        return None
    address = body.get("address") if isinstance(body.get("address"), dict) else {}
    record = {
        "id": body.get("id"),
        "first_name": body.get("first_name"),
        "last_name": body.get("last_name"),
        "email": body.get("email"),
        "mobile": body.get("mobile") or body.get("phone"),
        "address": at(body, "address.street") if address else body.get("address"),
        "city": at(body, "address.city"),
        "state": at(body, "address.state"),
        "zip": at(body, "address.zip"),
        "external_id": body.get("external_id"),
        "created_at": at(body, "timestamps.created_at"),
        "updated_at": at(body, "timestamps.updated_at"),
        "deleted_at": at(body, "timestamps.deleted_at"),
    }
    return msgspec.json.encode(record)


def change_orders_of(bodies: Sequence[Body]) -> dict[str, bytes]:
    """Return the change orders that payloads list, by id, as the newest payload says.

    Anything but a list, or PHP's object of numbered rows, tells nothing.
    """
    found: dict[str, bytes] = {}
    for body in bodies:
        listed = body.get("change_orders")
        if isinstance(listed, dict):
            listed = list(listed.values())
        for order in listed if isinstance(listed, list) else ():
            if isinstance(order, dict) and isinstance(order.get("id"), int | str):
                found[str(order["id"])] = msgspec.json.encode({"epc_install_id": body.get("id"), **order})
    return found
