"""A difference tells since when it has been found and what it seems to be, a reconciliation its verdict."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Add the columns; the next reconciliation fills them."""
    op.add_column("differences", sa.Column("since", sa.DateTime(timezone=True)), schema="sync")
    op.add_column("differences", sa.Column("hint", sa.Text()), schema="sync")
    op.add_column("reconciliations", sa.Column("summary", JSONB), schema="sync")


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("reconciliations", "summary", schema="sync")
    op.drop_column("differences", "hint", schema="sync")
    op.drop_column("differences", "since", schema="sync")
