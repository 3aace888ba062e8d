"""Room for updates: what a decision changes stands in no index, and its row stays where it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Index what stays the same, and leave room in the pages of rows that are updated."""
    op.drop_index("agreed_link", "agreed", schema="sync")
    op.execute("alter table sync.agreed set (fillfactor = 90)")
    # Writes the table anew, and so with the room.
    op.add_column(
        "agreed",
        sa.Column(
            "link", postgresql.JSONB(), sa.Computed("case when is_link then value end", persisted=True)
        ),
        schema="sync",
    )
    op.create_index(
        "agreed_link",
        "agreed",
        ["account", "table_name", "link"],
        unique=False,
        schema="sync",
        postgresql_where="link is not null",
    )
    op.execute("alter table sync.plan_changes set (fillfactor = 50)")
    op.drop_index("ledger_plan", "ledger", schema="sync")
    op.drop_index("ledger_time", "ledger", schema="sync")
    op.create_index(
        "ledger_time", "ledger", ["recorded_at"], unique=False, schema="sync", postgresql_using="brin"
    )
    op.create_index(
        "ledger_parked",
        "ledger",
        ["account", "recorded_at"],
        unique=False,
        schema="sync",
        postgresql_where="decision = 'parked'",
    )
