"""What people are told: messages, and what was told already."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables of the messages."""
    op.create_table(
        "notifications",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("notification_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("event", "route", "subject", "text", "page", "page_id")
        ),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account", "notification_id"),
        sa.CheckConstraint("state in ('pending', 'sent', 'failed')", name="notifications_state"),
        schema="sync",
    )
    op.create_index(
        "notifications_pending",
        "notifications",
        ["account", "notification_id"],
        schema="sync",
        postgresql_where="state = 'pending'",
    )
    op.create_table(
        "told",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("size", sa.Numeric(), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "event", "key"),
        schema="sync",
    )
