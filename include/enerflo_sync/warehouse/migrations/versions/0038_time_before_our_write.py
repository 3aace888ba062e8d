"""Our writes of CRM rows store the time that each row had before, which shows an older row that came back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
older_programs = "write"


def upgrade() -> None:
    """Add the column; the next write of a row fills it."""
    op.add_column("own_writes", sa.Column("over_at", sa.DateTime(timezone=True)), schema="sync")


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("own_writes", "over_at", schema="sync")
