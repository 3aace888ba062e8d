"""What the install list does not tell: milestones read from the install itself, changed ones first.

It is not known whether the vendor's list rows hold the milestones (REFERENCE §6.1, §8). Where they do,
nothing here costs anything. Where they do not, a poll reads some installs directly: those whose row changed,
then the others in turn, so that each install's milestones are looked at again after installs / limit polls.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from enerflo_sync.warehouse.schema import installs

DUE = datetime(1970, 1, 1, tzinfo=UTC)


def mark_due(connection: sa.Connection, account: str, install_ids: Sequence[int]) -> None:
    """Note that these installs' rows changed and did not tell their milestones."""
    if install_ids:
        _set(connection, account, install_ids, DUE)


def mark_read(connection: sa.Connection, account: str, install_id: int, at: datetime) -> None:
    """Note that an install was read directly."""
    _set(connection, account, [install_id], at)


def next_due(connection: sa.Connection, account: str, limit: int) -> list[int]:
    """Return up to ``limit`` installs whose milestones were looked at longest ago, due ones first."""
    query = (
        sa.select(installs.c.install_id)
        .where(
            installs.c.account == account,
            installs.c.detail_read_at.is_not(None),
            installs.c.deleted_at.is_(None),
        )
        .order_by(installs.c.detail_read_at, installs.c.install_id.desc())
        .limit(limit)
    )
    return list(connection.scalars(query))


def _set(connection: sa.Connection, account: str, install_ids: Sequence[int], at: datetime) -> None:
    connection.execute(
        sa.update(installs)
        .where(installs.c.account == account, installs.c.install_id.in_(install_ids))
        .values(detail_read_at=at)
    )
