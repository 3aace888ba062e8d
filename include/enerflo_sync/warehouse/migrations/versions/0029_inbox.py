"""Indexes by which the inbox counts what waits for a person without reading what does not."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Make the indexes."""
    op.create_index(
        "plans_open", "plans", ["account"], schema="sync", postgresql_where=sa.text("state = 'open'")
    )
    op.create_index(
        "quarantine_groups",
        "quarantine",
        ["account", "fingerprint", "first_seen_at"],
        schema="sync",
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "refusals_plan",
        "refusals",
        ["account", "plan_hash", "decided_at"],
        schema="sync",
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_index(
        "crm_changes_late",
        "crm_changes",
        ["account", "table_name", sa.text("(coalesce(acknowledged_at, made_at))")],
        schema="sync",
        postgresql_where=sa.text("ended_at is null and state = 'open'"),
    )


def downgrade() -> None:
    """Drop the indexes."""
    op.drop_index("crm_changes_late", "crm_changes", schema="sync")
    op.drop_index("refusals_plan", "refusals", schema="sync")
    op.drop_index("quarantine_groups", "quarantine", schema="sync")
    op.drop_index("plans_open", "plans", schema="sync")
