"""What Enerflo made of an accepted write, and which record its answer named."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the columns, and an index of the few requests whose end has to be looked for."""
    op.add_column("ledger", sa.Column("kept_value", JSONB(none_as_null=True)), schema="sync")
    op.add_column("plan_changes", sa.Column("accepted_at", sa.DateTime(timezone=True)), schema="sync")
    op.add_column("plan_changes", sa.Column("accepted_id", sa.BigInteger()), schema="sync")
    op.create_index(
        "plan_changes_sent",
        "plan_changes",
        ["account", "table_name"],
        schema="sync",
        postgresql_where=sa.text("sent_at is not null and state <> 'applied'"),
    )
