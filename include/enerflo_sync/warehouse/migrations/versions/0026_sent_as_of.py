"""Changes that we carry to the CRM by requests remember that a request went out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Add the column; nothing of it is known of changes that a tool carries."""
    column = sa.Column("sent_as_of", sa.DateTime(timezone=True))
    op.add_column("crm_changes", column, schema="sync")


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("crm_changes", "sent_as_of", schema="sync")
