"""Seals over the ledger, which show what was changed by hand; the database's user beside a name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE

revision = "0031"
down_revision = "0030"
# What programs before this revision may do with the tables: write, read or nothing.
older_programs = "write"


def upgrade() -> None:
    """Make ``sync.ledger_seals``, and the columns of plans and ledger."""
    op.create_table(
        "ledger_seals",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("form", sa.Integer(), nullable=False),
        sa.Column("ids", INT8MULTIRANGE(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("row_digests", sa.LargeBinary(), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sealed_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account", "number"),
        sa.CheckConstraint("kind in ('sealed', 'rewritten', 'removed')", name="ledger_seals_kind"),
        schema="sync",
    )
    # Digests do not compress, and trying costs time.
    op.execute("alter table sync.ledger_seals alter column row_digests set storage external")
    op.add_column("plans", sa.Column("decided_as", sa.Text()), schema="sync")
    # The default comes after the column: nobody knows who recorded the rows that are there.
    op.add_column("ledger", sa.Column("recorded_as", sa.Text()), schema="sync")
    op.alter_column("ledger", "recorded_as", server_default=sa.text("session_user"), schema="sync")


def downgrade() -> None:
    """Drop them."""
    op.drop_column("ledger", "recorded_as", schema="sync")
    op.drop_column("plans", "decided_as", schema="sync")
    op.drop_table("ledger_seals", schema="sync")
