"""An index of the completions of installs, which each plan looks for among those of the last week."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
older_programs = "write"

_NAME = "plan_changes_completed"


def upgrade() -> None:
    """Make the index."""
    op.create_index(
        _NAME,
        "plan_changes",
        ["account", "table_name"],
        schema="sync",
        postgresql_where=sa.text("rule = 'last_milestone'"),
    )


def downgrade() -> None:
    """Drop the index: a plan reads the changes of all plans instead."""
    op.drop_index(_NAME, table_name="plan_changes", schema="sync")
