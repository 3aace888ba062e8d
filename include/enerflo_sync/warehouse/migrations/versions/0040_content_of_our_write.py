"""Our writes to Enerflo store a digest of the record, which shows whether somebody changed it since."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
older_programs = "write"


def upgrade() -> None:
    """Add the column; the next write of a record fills it."""
    op.add_column("own_writes", sa.Column("left_digest", sa.Text()), schema="sync")


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("own_writes", "left_digest", schema="sync")
