"""Undo compares and restores whole CRM rows; a person or ``writes`` has parked changes tried again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Add columns that older plans leave empty, and the retries.

    An undo leaves to a person what an older plan made or deleted: its whole row is not known.
    """
    op.add_column("plan_changes", sa.Column("row_digest", sa.Text()), schema="sync")
    op.add_column("plan_changes", sa.Column("deleted_row", postgresql.JSONB()), schema="sync")
    op.add_column("plans", sa.Column("writes_hashes", postgresql.JSONB()), schema="sync")
    op.create_table(
        "retries",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("ledger_id", sa.BigInteger(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "ledger_id"),
        schema="sync",
    )
