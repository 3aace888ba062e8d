"""What a change order changes beside the components that are read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns that keep and name it."""
    op.add_column(
        "change_orders", sa.Column("unknown_components", postgresql.JSONB(), nullable=True), schema="enerflo"
    )
    op.add_column(
        "change_order_facts", sa.Column("components_unknown", sa.Text(), nullable=True), schema="sync"
    )
