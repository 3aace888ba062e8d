"""Copies of CRM tables that are in another database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Make the schema for the copies, and the table that says how old each is."""
    made = sa.text("select exists (select from pg_catalog.pg_namespace where nspname = 'crm_copies')")
    if not op.get_bind().execute(made).scalar_one():
        op.execute("create schema crm_copies")
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
    op.execute("drop schema crm_copies cascade")
