"""A copy says what its last refresh cost: statements in the CRM's database, and bytes of what came."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
older_programs = "write"


def upgrade() -> None:
    """Add the columns; the next refresh of a copy fills them."""
    op.add_column("crm_copies", sa.Column("statements", sa.BigInteger()), schema="sync")
    op.add_column("crm_copies", sa.Column("bytes_read", sa.BigInteger()), schema="sync")


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("crm_copies", "bytes_read", schema="sync")
    op.drop_column("crm_copies", "statements", schema="sync")
