"""The companies that an account's key was seen to answer for: another company's key is refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0013"


def upgrade() -> None:
    """Add the table; what a mirror holds already tells the first rows, at the next read."""
    op.create_table(
        "companies_seen",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("company_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "first_seen_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")
        ),
        sa.PrimaryKeyConstraint("account", "company_id"),
        schema="sync",
    )
