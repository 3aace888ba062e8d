"""Backfills: their lane in the request budget, and what each of them has read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the lane of the request budget, and the tables of backfills."""
    op.add_column("request_budgets", sa.Column("live_at", sa.DateTime(timezone=True)), schema="sync")
    op.add_column("request_budgets", sa.Column("live_waits_until", sa.DateTime(timezone=True)), schema="sync")
    op.add_column(
        "request_slots", sa.Column("lane", sa.Text(), server_default="live", nullable=False), schema="sync"
    )
    op.create_check_constraint(
        "request_slots_lane", "request_slots", "lane in ('live', 'backfill')", schema="sync"
    )
    op.create_table(
        "backfills",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("backfill_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("window_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("window_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("install_ids", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("deal_ids", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("resources", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("mapping_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("per_page", sa.Integer(), nullable=False),
        sa.Column("listed", sa.BigInteger(), nullable=True),
        sa.Column("requests", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("throttled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("widened_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("estimate", postgresql.JSONB(), nullable=True),
        sa.Column("outcome", postgresql.JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("account", "backfill_id"),
        sa.CheckConstraint(
            "state in ('estimated', 'reading', 'finished', 'superseded')", name="backfills_state"
        ),
        sa.CheckConstraint("kind in ('window', 'ids', 'everything')", name="backfills_kind"),
        schema="sync",
    )
    op.create_index("backfills_time", "backfills", ["account", "created_at"], unique=False, schema="sync")
    op.create_table(
        "backfill_chunks",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("backfill_id", sa.Text(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("first_row", sa.BigInteger(), nullable=False),
        sa.Column("expected_rows", sa.BigInteger(), nullable=True),
        sa.Column("high_id", sa.BigInteger(), nullable=True),
        sa.Column("low_id", sa.BigInteger(), nullable=True),
        sa.Column("reached_id", sa.BigInteger(), nullable=True),
        sa.Column("reached_total", sa.BigInteger(), nullable=True),
        sa.Column("reached_row", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("pages", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rows", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("requests", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("throttled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("disorder_seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("ids_disordered", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("tallies", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("account", "backfill_id", "chunk"),
        sa.CheckConstraint(
            "state in ('waiting', 'reading', 'done', 'incomplete')", name="backfill_chunks_state"
        ),
        schema="sync",
    )
    op.create_table(
        "backfill_pages",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("backfill_id", sa.Text(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("install_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.PrimaryKeyConstraint("account", "backfill_id", "chunk", "page"),
        schema="sync",
    )
