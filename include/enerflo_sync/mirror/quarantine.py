"""The quarantine: unusable records with their bytes and reason, one item per content and reason."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.schema import quarantine

# Rows per statement: the driver sends at most 65,535 parameters.
_CHUNK = 1_000


@dataclass(frozen=True)
class Rejected:
    """One rejected input and its reason.

    :param kind: file, event, record, change_order or push (design §5).
    :param reason: a stable word such as ``missing_id``.
    :param field: dotted path of the faulty field, ``""`` for the whole input.
    :param key: the record's mirror key, if known.
    :param mark: distinguishes inputs whose ``payload`` is equal because it was truncated or erased.
    """

    kind: str
    reason: str
    field: str
    payload: bytes
    evidence_uri: str
    table_name: str | None = None
    key: Mapping[str, Any] | None = None
    mark: str = ""

    @property
    def fingerprint(self) -> str:
        """Return what equal faults share: kind, reason and field path."""
        text = "|".join((self.kind, self.reason, self.field))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def item_id(self) -> str:
        """Return an id that depends only on content and reason."""
        digest = hashlib.sha256(self.payload)
        digest.update(
            "|".join((self.fingerprint, self.table_name or "", *filter(None, (self.mark,)))).encode()
        )
        return digest.hexdigest()[:24]

    @property
    def described(self) -> str:
        """Return the reason with its field, as people read it: ``not_a_time at created_at``."""
        return f"{self.reason} at {self.field}" if self.field else self.reason


def add_to_quarantine(
    connection: sa.Connection, account: str, items: Iterable[Rejected], seen_at: datetime
) -> None:
    """Store ``items``; a known item gets a later ``last_seen_at`` and a higher count.

    A dismissed item stays dismissed, because a person decided about exactly this content.
    """
    values: dict[str, dict[str, Any]] = {}
    for item in items:
        row = values.setdefault(
            item.item_id,
            {
                "account": account,
                "item_id": item.item_id,
                "kind": item.kind,
                "reason": item.described,
                "fingerprint": item.fingerprint,
                "evidence_uri": item.evidence_uri,
                "first_seen_at": seen_at,
                "last_seen_at": seen_at,
                "count": 0,
                "state": "open",
                "table_name": item.table_name,
                "key": item.key,
                "payload": item.payload,
            },
        )
        row["count"] += 1
    rows = list(values.values())
    for at in range(0, len(rows), _CHUNK):
        _upsert(connection, rows[at : at + _CHUNK])


def _upsert(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    statement = insert(quarantine)
    c = quarantine.c
    returned = c.state == "replayed"
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["account", "item_id"],
            set_={
                "last_seen_at": sa.func.greatest(c.last_seen_at, statement.excluded.last_seen_at),
                "count": c.count + statement.excluded.count,
                "state": sa.case((returned, "open"), else_=c.state),
                **{
                    name: sa.case((returned, None), else_=c[name])
                    for name in ("decided_by", "decided_at", "decision_reason")
                },
            },
        ),
        rows,
    )


def open_keys(connection: sa.Connection, account: str, table_name: str) -> set[int]:
    """Return the ids of one table's quarantined records: a short list, unless something is badly wrong."""
    rows = connection.execute(
        sa.select(quarantine.c.key).where(
            quarantine.c.account == account,
            quarantine.c.table_name == table_name,
            quarantine.c.state == "open",
            quarantine.c.kind == "record",
            quarantine.c.key.is_not(None),
        )
    )
    return {value for (key,) in rows for value in key.values()}


def close_items(
    connection: sa.Connection,
    account: str,
    table_name: str,
    keys: Sequence[Mapping[str, Any]],
    kind: str = "record",
) -> None:
    """Mark as replayed the open items of records that were read successfully since."""
    if keys:
        connection.execute(
            sa.update(quarantine)
            .where(
                quarantine.c.account == account,
                quarantine.c.table_name == table_name,
                quarantine.c.state == "open",
                quarantine.c.kind == kind,
                quarantine.c.key.in_(keys),
            )
            .values(state="replayed")
        )


def close_items_of_deleted(
    connection: sa.Connection, account: str, table: sa.Table, id_column: str, names: Sequence[str]
) -> None:
    """Mark the open items of deleted records as replayed: there is no record left to correct.

    An item quarantined after the deletion stays open: the record exists again and cannot be read.

    :param table: the records' table with ``deleted_at``; ``id_column`` is its key.
    :param names: the table names in such items.
    """
    driver_connection(connection).execute(
        f"""
        /* enerflo-sync: close items of deleted {table.name} */
        update sync.quarantine q set state = 'replayed'
        from {table.fullname} t
        where q.account = %(account)s and q.table_name = any(%(names)s) and q.state = 'open'
          and q.kind = 'record' and t.account = q.account and t.deleted_at >= q.last_seen_at
          and t.{id_column} = (q.key ->> '{id_column}')::bigint
          and q.key = jsonb_build_object('{id_column}', t.{id_column})
        """,  # noqa: S608 - names of the declared schema
        {"account": account, "names": list(names)},
    )


def standing(connection: sa.Connection, account: str, key: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    """Return all items about one record or event, in any state: how often seen, and why."""
    rows = connection.execute(
        sa.select(quarantine.c.item_id, quarantine.c.count, quarantine.c.reason).where(
            quarantine.c.account == account, quarantine.c.key == dict(key)
        )
    )
    return {row.item_id: (row[1], row.reason) for row in rows}


def decide(
    connection: sa.Connection,
    account: str,
    item_ids: Sequence[str],
    state: str,
    *,
    by: str,
    at: datetime,
    reason: str | None = None,
) -> int:
    """Mark items as replayed or dismissed by a person, and return their number.

    :param reason: why; None keeps the stored reason.
    """
    said = {} if reason is None else {"decision_reason": reason}
    cursor = connection.execute(
        sa.update(quarantine)
        .where(quarantine.c.account == account, quarantine.c.item_id.in_(item_ids))
        .values(state=state, decided_by=by, decided_at=at, **said)
    )
    return cursor.rowcount
