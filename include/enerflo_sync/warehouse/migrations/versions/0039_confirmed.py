"""Requests to Enerflo are found by an index that the outcomes of changes to the CRM do not touch."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
older_programs = "write"

# An index whose condition names ``state`` gets new entries in all indexes written with each outcome.
concurrently = {
    "sync.plan_changes_unconfirmed": "create index {} plan_changes_unconfirmed on sync.plan_changes"
    " (account, table_name) where sent_at is not null and confirmed is null",
}


def upgrade() -> None:
    """Add the column, and the new index in place of the old one, without which older programs are slower."""
    op.add_column("plan_changes", sa.Column("confirmed", sa.Boolean()), schema="sync")
    # Few: a request each, of the plans that are kept.
    op.execute(
        "update sync.plan_changes set confirmed = true where sent_at is not null and state = 'applied'"
    )
    for statement in concurrently.values():
        op.execute(statement.format("if not exists"))
    op.drop_index("plan_changes_sent", "plan_changes", schema="sync")


def downgrade() -> None:
    """Make the old index again."""
    op.create_index(
        "plan_changes_sent",
        "plan_changes",
        ["account", "table_name"],
        schema="sync",
        postgresql_where=sa.text("sent_at is not null and state <> 'applied'"),
    )
    for name in concurrently:
        op.execute(f"drop index {name}")
    op.drop_column("plan_changes", "confirmed", schema="sync")
