"""An index of the completions of installs, which each plan looks for among those of the last week."""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"
older_programs = "write"

concurrently = {
    "sync.plan_changes_completed": "create index {} plan_changes_completed on sync.plan_changes"
    " (account, table_name) where rule = 'last_milestone'",
}


def upgrade() -> None:
    """Make the index, unless it was built before."""
    for statement in concurrently.values():
        op.execute(statement.format("if not exists"))


def downgrade() -> None:
    """Drop the index: a plan reads the changes of all plans instead."""
    for name in concurrently:
        op.execute(f"drop index {name}")
