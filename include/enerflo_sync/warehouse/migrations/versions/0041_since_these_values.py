"""A difference says since when reconciliations have found it with these two values."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
older_programs = "write"


def upgrade() -> None:
    """Add the column; the next reconciliation fills it."""
    op.add_column("differences", sa.Column("unchanged_since", sa.DateTime(timezone=True)), schema="sync")


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("differences", "unchanged_since", schema="sync")
