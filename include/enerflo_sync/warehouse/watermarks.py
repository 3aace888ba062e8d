"""How far each incremental read has come. A watermark moves in the transaction of the data that it covers."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from enerflo_sync.warehouse.schema import watermarks


def read_watermark(connection: sa.Connection, account: str, name: str) -> datetime | None:
    """Return the moment up to which ``name`` was read completely; None if it never was."""
    return connection.scalar(
        sa.select(watermarks.c.value).where(watermarks.c.account == account, watermarks.c.name == name)
    )


def read_watermarks(connection: sa.Connection, account: str, names: Collection[str]) -> dict[str, datetime]:
    """Return the moment up to which each name was read completely, for those that ever were."""
    found = sa.select(watermarks.c.name, watermarks.c.value).where(
        watermarks.c.account == account, watermarks.c.name.in_(names)
    )
    return {row.name: row.value for row in connection.execute(found)}


def move_watermark(
    connection: sa.Connection, account: str, name: str, value: datetime, *, run_id: str, now: datetime
) -> None:
    """Move the watermark forward to ``value``; a watermark never moves back."""
    statement = insert(watermarks).values(
        account=account, name=name, value=value, recorded_at=now, run_id=run_id
    )
    excluded = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["account", "name"],
            set_={"value": excluded.value, "recorded_at": excluded.recorded_at, "run_id": excluded.run_id},
            where=watermarks.c.value < excluded.value,
        )
    )


def forget_watermark(connection: sa.Connection, account: str, name: str) -> None:
    """Delete the watermark of ``name``, so that the next run reads it completely."""
    connection.execute(
        sa.delete(watermarks).where(watermarks.c.account == account, watermarks.c.name == name)
    )
