"""CRM rows are kept as hashes, so that a change is found whatever time its row tells."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Make the tables, empty: the next run sees every row for the first time and compares in full."""
    op.add_column("runs", sa.Column("clock_ahead_seconds", sa.Float()), schema="sync")
    op.create_table(
        "crm_rows",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("identity", sa.BigInteger(), nullable=False),
        sa.Column("row_hash", sa.BigInteger(), nullable=False),
        sa.Column("link", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("gone_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("account", "table_name", "identity"),
        schema="sync",
    )
    op.create_index("crm_rows_seen", "crm_rows", ["account", "table_name", "seen_at"], schema="sync")
    op.create_index(
        "crm_rows_gone",
        "crm_rows",
        ["account", "table_name", "gone_at"],
        schema="sync",
        postgresql_where=sa.text("gone_at is not null"),
    )
    op.create_table(
        "crm_looks",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("looker", sa.Text(), nullable=False),
        sa.Column("seen_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("from_xid", sa.BigInteger()),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "table_name", "looker"),
        schema="sync",
    )
