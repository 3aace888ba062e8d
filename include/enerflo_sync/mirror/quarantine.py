"""Records that cannot be used: kept with their bytes and reason, one item per content and reason."""

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

# Rows in one statement: the driver sends at most 65,535 parameters.
_CHUNK = 1_000


@dataclass(frozen=True)
class Rejected:
    """One input that was not taken, and why.

    :param kind: file, event, record, change_order or push (design §5).
    :param reason: a stable word such as ``missing_id``.
    :param field: dotted path of the field that was wrong, ``""`` for the whole.
    :param key: the record's mirror key, where it is known.
    :param mark: tells the input from others with the same ``payload``, where that is only its beginning.
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
        """Return what items of one trouble have in common: kind, reason and field path."""
        text = "|".join((self.kind, self.reason, self.field))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def item_id(self) -> str:
        """Return the id that the same content with the same reason always gets."""
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
    """Store ``items``; one that is known gets a later ``last_seen_at`` and a higher count.

    A dismissed item stays dismissed: a person has decided about exactly this content.
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
    """Return the ids of the records of one table that stand in quarantine. A short list, or alarming."""
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
    """Mark the open items of records that have since been read without trouble as replayed."""
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
    """Mark the open items of deleted records as replayed: nothing is left that could be corrected.

    What was put aside after the deletion stays open: the record is back, and cannot be read.

    :param table: holds the records, and when they were deleted; ``id_column`` is their key.
    :param names: the tables that such items name.
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
    """Return the items about one record or event, whatever their state: how often seen, and why."""
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
    """Mark items replayed or dismissed by a person, and return how many that were.

    :param reason: why; None leaves what stands there.
    """
    said = {} if reason is None else {"decision_reason": reason}
    cursor = connection.execute(
        sa.update(quarantine)
        .where(quarantine.c.account == account, quarantine.c.item_id.in_(item_ids))
        .values(state=state, decided_by=by, decided_at=at, **said)
    )
    return cursor.rowcount
