"""In which database the table stands that a copy is of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
# It leaves the column as it is.
older_programs = "write"


def upgrade() -> None:
    """Add the column."""
    op.add_column("crm_copies", sa.Column("place", sa.Text()), schema="sync")


def downgrade() -> None:
    """Drop the column: another database behind the same names is not noticed any more."""
    op.drop_column("crm_copies", "place", schema="sync")
