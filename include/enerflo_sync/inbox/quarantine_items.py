"""Quarantined items, and the selection of items by a person."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse.schema import quarantine, webhook_events

_SEE = "See enerflo-sync quarantine list --state all."
_SEE_ITEMS = "See enerflo-sync quarantine list --items --state all."


class ItemKind(StrEnum):
    """The kind of a quarantined input (design §5)."""

    FILE = "file"
    EVENT = "event"
    RECORD = "record"
    CHANGE_ORDER = "change_order"
    PUSH = "push"


class ItemState(StrEnum):
    """The state of an item; ``replayed`` also if a later poll or event resolved it."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISMISSED = "dismissed"


class QuarantineItem(msgspec.Struct, frozen=True, kw_only=True):
    """One content quarantined for one reason, without the payload."""

    item_id: str
    kind: str
    reason: str
    fingerprint: str
    evidence_uri: str | None
    first_seen_at: datetime
    last_seen_at: datetime
    count: int
    state: str
    table_name: str | None
    key: Mapping[str, Any] | None
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str | None


@dataclass(frozen=True)
class Selection:
    """Which items to act on; exactly one of the four is given.

    :param items: ids, or unambiguous prefixes of ids.
    :param fingerprint: a fingerprint or its prefix: its open items.
    :param event: an event's name: the open items of such events.
    :param everything: all open items.
    :param seen: :func:`seen_items` of the items that a person saw under the fingerprint; newer ones are
        excluded.
    """

    items: Sequence[str] = ()
    fingerprint: str | None = None
    event: str | None = None
    everything: bool = False
    seen: str | None = None


ITEM_COLUMNS = [quarantine.c[name] for name in QuarantineItem.__struct_fields__]


def item_of(row: sa.Row[Any]) -> QuarantineItem:
    """Return the item in a row of :data:`ITEM_COLUMNS`."""
    return QuarantineItem(**row._mapping)


def payload_of(connection: sa.Connection, account: str, item_id: str) -> bytes:
    """Return the quarantined bytes; for a part of a file, at most its first 64 KB."""
    found = connection.scalar(
        sa.select(quarantine.c.payload).where(
            quarantine.c.account == account, quarantine.c.item_id == item_id
        )
    )
    return bytes(found or b"")


def find_item(connection: sa.Connection, account: str, name: str) -> QuarantineItem:
    """Return the item with this id, or the only item whose id has this prefix.

    :raises ConfigurationError: no item matches, or several do.
    """
    query = (
        sa.select(*ITEM_COLUMNS)
        .where(
            quarantine.c.account == account,
            quarantine.c.item_id.startswith(name.strip().lower(), autoescape=True),
        )
        .order_by(quarantine.c.item_id)
        .limit(2)
    )
    rows = connection.execute(query).all() if name.strip() else []
    if not rows:
        raise _not_clear(account, f"no item has the id {name[:40]!r}.", _SEE_ITEMS)
    if len(rows) > 1:
        raise _not_clear(account, f"several items begin with {name[:40]!r}.", "Write more of the id.")
    return item_of(rows[0])


def _not_clear(account: str, what: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(what, where=f"account {account}, quarantine", next_step=next_step)


_ALONE = sa.text("""
/* enerflo-sync quarantine: one person after the other decides */
select pg_advisory_xact_lock(hashtextextended('enerflo-sync quarantine ' || :account, 0))
""")


def decide_alone(connection: sa.Connection, account: str) -> None:
    """Wait until another person's decision on the account's items is committed, so that this one sees it."""
    connection.execute(_ALONE, {"account": account})


def select_items(connection: sa.Connection, account: str, selection: Selection) -> list[QuarantineItem]:
    """Return the selected items, the oldest first; ids select any state, other selections open items.

    :raises ConfigurationError: none or several of the four are given, an id is unknown or ambiguous, or no
        open item matches.
    """
    given = {
        "ids": selection.items,
        "a fingerprint": selection.fingerprint,
        "an event": selection.event,
        "all": selection.everything,
    }
    named = [name for name, value in given.items() if value]
    if len(named) != 1:
        raise ConfigurationError(
            f"{' and '.join(named)} exclude each other." if named else "no item was named.",
            where=f"account {account}, quarantine",
            next_step="Give ids, or a fingerprint, or an event's name (replay only), or --all.",
        )
    if selection.items:
        found = {item.item_id: item for item in (find_item(connection, account, i) for i in selection.items)}
        return list(found.values())
    c = quarantine.c
    query = sa.select(*ITEM_COLUMNS).where(c.account == account, c.state == "open")
    if selection.fingerprint:
        query = query.where(c.fingerprint == _whole_fingerprint(connection, account, selection.fingerprint))
    if selection.event:
        events = webhook_events.c
        named_so = sa.select(events.event_id).where(
            events.account == account, events.event == selection.event
        )
        query = query.where(
            c.kind == "event", c.table_name == webhook_events.name, c.key["event_id"].astext.in_(named_so)
        )
    items = [item_of(row) for row in connection.execute(query.order_by(c.first_seen_at, c.item_id))]
    if not items:
        raise _not_clear(account, "no open item fits.", _SEE)
    if selection.seen is not None and selection.seen != seen_items(item.item_id for item in items):
        raise _not_clear(
            account,
            f"it is not what you saw: {len(items):,} of it are open now, others than before.",
            "Look at it again, then decide.",
        )
    return items


def seen_items(ids: Iterable[str]) -> str:
    """Return the text that stands for a set of items, the same as :data:`SEEN_ITEMS` gives for rows."""
    return hashlib.md5(",".join(sorted(ids)).encode(), usedforsecurity=False).hexdigest()


SEEN_ITEMS = """md5(string_agg(item_id, ',' order by item_id collate "C"))"""


def _whole_fingerprint(connection: sa.Connection, account: str, name: str) -> str:
    c = quarantine.c
    query = (
        sa.select(c.fingerprint)
        .where(c.account == account, c.fingerprint.startswith(name.strip().lower(), autoescape=True))
        .distinct()
        .limit(2)
    )
    found = list(connection.scalars(query))
    if len(found) > 1:
        raise _not_clear(account, f"several fingerprints begin with {name[:40]!r}.", "Write more of it.")
    if not found:
        raise _not_clear(account, f"no item has the fingerprint {name[:40]!r}.", _SEE)
    return str(found[0])
