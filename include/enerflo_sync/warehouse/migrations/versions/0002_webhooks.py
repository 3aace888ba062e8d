"""Webhook events, the files they came in, submissions, and what two witnesses saw."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of the inbox."""
    op.create_table(
        "submissions",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("deal_id", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("install_id", sa.BigInteger(), nullable=True),
        sa.Column("panel_type", sa.Text(), nullable=True),
        sa.Column("panel_count", sa.Integer(), nullable=True),
        sa.Column("battery_configuration", sa.Text(), nullable=True),
        sa.Column("system_size_watts", sa.Numeric(), nullable=True),
        sa.Column("gross_cost", sa.Numeric(), nullable=True),
        sa.Column("net_cost", sa.Numeric(), nullable=True),
        sa.Column("street", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("postal_code", sa.Text(), nullable=True),
        sa.Column("adders", postgresql.JSONB(), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("observed_by", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("sources", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("account", "deal_id", "content_hash"),
        schema="enerflo",
    )
    op.create_table(
        "webhook_events",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("install_id", sa.BigInteger(), nullable=True),
        sa.Column("deal_id", sa.Text(), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source_uri", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("copies", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("record", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("account", "event_id"),
        sa.CheckConstraint(
            "state in ('received', 'applied', 'ignored', 'quarantined')", name="webhook_events_state"
        ),
        schema="sync",
    )
    op.create_index(
        "webhook_events_waiting",
        "webhook_events",
        ["account", "received_at"],
        unique=False,
        schema="sync",
        postgresql_where="state = 'received'",
    )
    op.create_index(
        "webhook_events_day",
        "webhook_events",
        ["account", "received_at", "event"],
        unique=False,
        schema="sync",
    )
    op.create_table(
        "reveals",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "at", "who", "what"),
        schema="sync",
    )
    op.create_table(
        "webhook_moves",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("move_id", sa.Text(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("files", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("account", "move_id"),
        schema="sync",
    )
    op.create_table(
        "witnesses",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("poll_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("webhook_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("account", "record", "content_hash"),
        schema="sync",
    )
    for name in ("poll", "webhook"):
        op.create_index(
            f"witnesses_{name}", "witnesses", ["account", f"{name}_seen_at"], unique=False, schema="sync"
        )
    for column in (
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
    ):
        op.add_column("quarantine", column, schema="sync")
    # A payload of 2 KB would be compressed with pglz, at more than what everything else about it costs.
    op.execute(
        """
        do $$
        begin
            alter table sync.webhook_events alter column body set compression lz4;
        exception when feature_not_supported then
            alter table sync.webhook_events alter column body set storage external;
            alter table sync.webhook_events set (toast_tuple_target = 8160);
        end $$
        """
    )
