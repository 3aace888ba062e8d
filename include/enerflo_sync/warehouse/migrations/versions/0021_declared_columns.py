"""Columns that sync.yaml adds to tables of the mirror."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Make the table that says from which path of Enerflo's records each declared column is filled."""
    op.create_table(
        "declared_columns",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("column_name", sa.Text, nullable=False),
        sa.Column("path", ARRAY(sa.Text), nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("max_length", sa.Integer, nullable=False),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("account", "table_name", "column_name"),
        schema="sync",
    )
