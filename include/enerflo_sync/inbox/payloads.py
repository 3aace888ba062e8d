"""Values from stored payloads that no endpoint returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.resources.event import Body
from enerflo_sync.resources.fingerprint import decode
from enerflo_sync.warehouse.schema import webhook_events


def stored_bodies(
    connection: sa.Connection, account: str, event_ids: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Return stored events with their bodies, oldest first, in the caller's transaction.

    An event whose body was pruned is left out.
    """
    if not event_ids:
        return []
    table = webhook_events.c
    rows = connection.execute(
        sa.select(table.event_id, sa.cast(table.body, sa.Text))
        .where(table.account == account, table.event_id.in_(event_ids), table.body.is_not(None))
        .order_by(table.received_at, table.event_id)
    )
    return [(event_id, msgspec.json.decode(text)) for event_id, text in rows]


def load_bodies(connection: sa.Connection, account: str, event_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the bodies of stored events, oldest first, in a transaction of its own."""
    with connection.begin():
        return [body for _, body in stored_bodies(connection, account, event_ids)]


def search_words(key: str, bodies: Sequence[Body]) -> Iterator[str]:
    """Yield words to search a customer by, the most specific first: uuid, e-mail, phone (REFERENCE §3)."""
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
    """Return words to search the list by, from Enerflo's direct answer about a customer.

    :raises BadRecordError: the answer is not a JSON object.
    """
    record, _ = decode(customer)
    parts = (record.get("first_name"), record.get("last_name"))
    name = " ".join(part for part in parts if isinstance(part, str))
    return list(search_words("0", [{"full_name": name, **record}]))
