"""Copies of CRM tables that are in another database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Make the table that says how old each copy is; the copies' schema is made with the first of them."""
    op.create_table(
        "crm_copies",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("crm_table", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("rows_read", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account", "table_name", name=op.f("crm_copies_pkey")),
        schema="sync",
    )


def downgrade() -> None:
    """Drop the table and the copies."""
    op.drop_table("crm_copies", schema="sync")
    op.execute("drop schema if exists crm_copies cascade")
