"""The companies that an account's key was seen to answer for, and when a change order says that it changed.

Another company's key is refused. A later payload of an order that no list has is told from an older one.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0014"


def upgrade() -> None:
    """Add the table, whose first rows the mirror's installs tell at the next read, and the column."""
    op.add_column("change_orders", sa.Column("updated_at", sa.DateTime(timezone=True)), schema="enerflo")
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
