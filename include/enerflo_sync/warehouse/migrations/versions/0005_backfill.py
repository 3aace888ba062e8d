"""Backfills: their lane in the request budget, and what each of them has read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the lane of the request budget."""
    op.add_column("request_budgets", sa.Column("live_at", sa.DateTime(timezone=True)), schema="sync")
    op.add_column("request_budgets", sa.Column("live_waits_until", sa.DateTime(timezone=True)), schema="sync")
    op.add_column(
        "request_slots", sa.Column("lane", sa.Text(), server_default="live", nullable=False), schema="sync"
    )
    op.create_check_constraint(
        "request_slots_lane", "request_slots", "lane in ('live', 'backfill')", schema="sync"
    )
