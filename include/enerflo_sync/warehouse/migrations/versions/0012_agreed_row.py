"""A planned change knows where the agreed pair stood: to look for it by its key took a fifth of an apply."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the place; plans that wait have none, and find their pairs by key."""
    op.add_column("plan_changes", sa.Column("agreed_row", sa.Text()), schema="sync")
