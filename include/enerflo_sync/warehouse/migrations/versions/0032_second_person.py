"""The first of two approvals of a plan."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0032"
down_revision = "0031"
# A program before this revision refuses a sync.yaml with the option: none applies what one person approved.
older_programs = "write"


def upgrade() -> None:
    """Add the column."""
    op.add_column("plans", sa.Column("first_approval", JSONB()), schema="sync")


def downgrade() -> None:
    """Drop the column: a first approval is lost, and its plan waits for two."""
    op.drop_column("plans", "first_approval", schema="sync")
