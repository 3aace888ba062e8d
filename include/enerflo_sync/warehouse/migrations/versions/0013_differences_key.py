"""Differences get a key, as every table has: without one they cannot be replicated, nor one be named."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add numbers, and a key that begins as the index did whose place it takes."""
    op.add_column(
        "differences",
        sa.Column("difference_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        schema="sync",
    )
    op.drop_index("differences_run", "differences", schema="sync")
    op.create_primary_key(
        "differences_pkey",
        "differences",
        ["account", "reconciliation_id", "table_name", "difference_id"],
        schema="sync",
    )
