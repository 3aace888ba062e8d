"""What was deleted by age, who was forgotten, and events without their bodies."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0030"
down_revision = "0029"
# A program before this revision would bring back what was forgotten.
older_programs = "read"


def upgrade() -> None:
    """Make the tables, and let the body of an event be absent."""
    op.alter_column("webhook_events", "body", existing_type=sa.JSON(), nullable=True, schema="sync")
    op.add_column("webhook_events", _time("pruned_at"), schema="sync")
    op.create_table(
        "prunings",
        _text("account"),
        _text("run_id"),
        _text("kind"),
        _time("pruned_at", nullable=False),
        _text("bound"),
        _time("before", nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        _time("oldest"),
        _time("newest"),
        sa.PrimaryKeyConstraint("account", "run_id", "kind", name=op.f("prunings_pkey")),
        schema="sync",
    )
    op.create_table(
        "pruned_versions",
        _text("account"),
        _text("table_name"),
        sa.Column("record_id", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", postgresql.ARRAY(sa.DateTime(timezone=True)), nullable=False),
        _time("pruned_at", nullable=False),
        _text("bound"),
        sa.PrimaryKeyConstraint("account", "table_name", "record_id", name=op.f("pruned_versions_pkey")),
        schema="sync",
    )
    op.create_table(
        "forgotten",
        _text("account"),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        _time("forgotten_at", nullable=False),
        _text("forgotten_by"),
        _text("run_id"),
        sa.Column("install_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False, server_default="{}"),
        sa.Column("uuids", postgresql.ARRAY(sa.Text()), nullable=False, server_default="{}"),
        sa.Column("counts", postgresql.JSONB(), nullable=False, server_default="{}"),
        sa.PrimaryKeyConstraint("account", "customer_id", name=op.f("forgotten_pkey")),
        schema="sync",
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def downgrade() -> None:
    """Drop the tables; an event whose body was deleted gets an empty one."""
    for name in ("forgotten", "pruned_versions", "prunings"):
        op.drop_table(name, schema="sync")
    op.drop_column("webhook_events", "pruned_at", schema="sync")
    op.execute("update sync.webhook_events set body = '{}' where body is null")
    op.alter_column("webhook_events", "body", existing_type=sa.JSON(), nullable=False, schema="sync")
