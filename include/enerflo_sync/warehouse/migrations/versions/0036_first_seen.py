"""A difference says when it was first seen, and how its two spellings differ, in columns of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0036"
down_revision = "0035"
older_programs = "write"


def upgrade() -> None:
    """Add the columns; the next reconciliation fills them."""
    op.add_column("differences", sa.Column("first_seen_at", sa.DateTime(timezone=True)), schema="sync")
    op.add_column("differences", sa.Column("hint_detail", JSONB), schema="sync")


def downgrade() -> None:
    """Drop the columns; the time is in ``since``, too."""
    op.drop_column("differences", "hint_detail", schema="sync")
    op.drop_column("differences", "first_seen_at", schema="sync")
