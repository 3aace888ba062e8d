"""Changed rows of the CRM are found by the transaction that wrote them, where rows have one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add a column that older looks leave empty: the next look forgets the hashes that are not needed now."""
    op.add_column("crm_looks", sa.Column("unchanged_since", sa.DateTime(timezone=True)), schema="sync")
