"""List, show and dismiss quarantined items, grouped by fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by

from enerflo_sync.clock import Clock
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.masked_payload import masked_payload, readable_payload
from enerflo_sync.inbox.quarantine_items import (
    ITEM_COLUMNS,
    ItemKind,
    ItemState,
    QuarantineItem,
    Selection,
    decide_alone,
    find_item,
    item_of,
    payload_of,
    select_items,
)
from enerflo_sync.mirror.quarantine import decide
from enerflo_sync.warehouse.schema import quarantine, reveals

# Ids per statement: the driver sends at most 65,535 parameters.
_CHUNK = 10_000


class QuarantineGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The items with one fingerprint.

    :param items: number of items; ``count`` is how often they were seen in total.
    :param example: the masked payload of the newest item.
    """

    fingerprint: str
    kind: str
    reason: str
    items: int
    open: int
    count: int
    first_seen_at: datetime
    last_seen_at: datetime
    example_id: str
    example: Any
    next_step: str


class ItemDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All data about one item.

    :param payload: JSON values if it is JSON, otherwise text; masked unless revealed.
    """

    item: QuarantineItem
    payload: Any
    revealed: bool
    next_step: str


@dataclass(frozen=True)
class Filter:
    """Which items to list.

    :param reason: text that the reason must contain.
    :param state: None for all.
    """

    kind: ItemKind | None = None
    reason: str | None = None
    state: ItemState | None = ItemState.OPEN


def _conditions(account: str, wanted: Filter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [quarantine.c.account == account]
    if wanted.kind is not None:
        found.append(quarantine.c.kind == str(wanted.kind))
    if wanted.reason:
        found.append(quarantine.c.reason.contains(wanted.reason, autoescape=True))
    if wanted.state is not None:
        found.append(quarantine.c.state == str(wanted.state))
    return found


def list_items(connection: sa.Connection, account: str, wanted: Filter) -> list[QuarantineItem]:
    """Return the items that match ``wanted``, the last seen first."""
    query = (
        sa.select(*ITEM_COLUMNS)
        .where(*_conditions(account, wanted))
        .order_by(quarantine.c.last_seen_at.desc(), quarantine.c.item_id)
    )
    return [item_of(row) for row in connection.execute(query)]


def list_groups(connection: sa.Connection, account: str, wanted: Filter) -> list[QuarantineGroup]:
    """Return the items that match ``wanted``, grouped by fingerprint, the last seen group first."""
    c = quarantine.c
    newest = aggregate_order_by(c.item_id, c.last_seen_at.desc(), c.item_id)
    query = (
        sa.select(
            c.fingerprint,
            sa.func.min(c.kind).label("kind"),
            sa.func.min(c.reason).label("reason"),
            sa.func.count().label("items"),
            sa.func.count().filter(c.state == "open").label("open"),
            sa.cast(sa.func.sum(c.count), sa.BigInteger).label("count"),
            sa.func.min(c.first_seen_at).label("first_seen_at"),
            sa.func.max(c.last_seen_at).label("last_seen_at"),
            sa.func.array_agg(newest)[1].label("example_id"),
        )
        .where(*_conditions(account, wanted))
        .group_by(c.fingerprint)
        .order_by(sa.func.max(c.last_seen_at).desc(), c.fingerprint)
    )
    return [
        QuarantineGroup(
            **row._mapping,
            example=masked_payload(payload_of(connection, account, row.example_id)),
            next_step=next_step(row.kind, row.reason),
        )
        for row in connection.execute(query).all()
    ]


def show_item(
    connection: sa.Connection, account: str, name: str, *, reveal: bool, by: str, clock: Clock
) -> ItemDetail:
    """Return all data about one item, in the caller's transaction.

    :param reveal: return the payload unmasked, and record in ``sync.reveals`` who asked for it.
    """
    item = find_item(connection, account, name)
    payload = payload_of(connection, account, item.item_id)
    if reveal:
        what = f"quarantine/{item.item_id}"
        values = {"account": account, "at": clock.now(), "who": by, "what": what}
        connection.execute(sa.insert(reveals).values(values))
    return ItemDetail(
        item=item,
        payload=readable_payload(payload) if reveal else masked_payload(payload),
        revealed=reveal,
        next_step=next_step(item.kind, item.reason),
    )


def dismiss_items(
    connection: sa.Connection, account: str, selection: Selection, *, reason: str, by: str, clock: Clock
) -> int:
    """Mark open items as dismissed by a person, in the caller's transaction; return their number.

    A dismissed event stays ``quarantined`` in ``sync.webhook_events``, because it was never applied.

    :raises ConfigurationError: reason or name is missing, or the selection is ambiguous.
    """
    for given, option in ((reason, "--reason"), (by, "--by")):
        if not given.strip():
            raise ConfigurationError(
                "a dismissal needs a reason and a name.", where=option, next_step="Say why, and who decided."
            )
    decide_alone(connection, account)
    ids = [item.item_id for item in select_items(connection, account, selection) if item.state == "open"]
    return sum(
        decide(connection, account, ids[at : at + _CHUNK], "dismissed", by=by, at=clock.now(), reason=reason)
        for at in range(0, len(ids), _CHUNK)
    )


def next_step(kind: str, reason: str) -> str:
    """Return what a person should do about items of this kind and reason."""
    match kind, reason.partition(" ")[0]:
        case "event", "unknown_event":
            return (
                "Nobody knows this event. Name it in webhooks.ignored_events of sync.yaml, or update"
                " enerflo-sync, then replay it; or dismiss it."
            )
        case "event", "not_found" | "not_listed":
            return "Enerflo does not show its record. Check that the key sees it, then replay; or dismiss it."
        case "event", _:
            return (
                "Correct the record in Enerflo, or the sender of the payload, then replay it; or dismiss it."
            )
        case "file", "file_too_large" | "too_large_unpacked" | "event_too_large":
            return "Raise webhooks.max_file_mb or max_event_mb in sync.yaml, then replay it; or dismiss it."
        case "file", _:
            return (
                "Correct the file's writer. Replay a complete file; else have it sent again and dismiss it."
            )
        case "record", _:
            return (
                "Correct it in Enerflo: the next poll ingests it and closes the item, a replay does so now."
            )
        case "change_order", _:
            return (
                "Correct the order in Enerflo, or a limit in change_orders.yaml: the next check lets it go."
                " Or let it through as it is: enerflo-sync quarantine release. Dismissed, it stays held."
            )
        case _:
            return "See the runbook, quarantine."
