"""Every content of an appointment is kept, so that its row can be derived again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Make ``enerflo.appointment_versions``, and let the next poll read each appointment for its version."""
    op.add_column("appointments", sa.Column("content_hash", sa.Text), schema="enerflo")
    op.create_table(
        "appointment_versions",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("appointment_id", sa.BigInteger, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("raw", postgresql.JSONB, nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("observed_by", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("account", "appointment_id", "content_hash"),
        schema="enerflo",
    )
    # As with the versions of installs (docs/decisions/0003-raw-compression.md).
    op.execute(
        """
        do $$
        begin
            alter table enerflo.appointment_versions alter column raw set compression lz4;
        exception when feature_not_supported then
            alter table enerflo.appointment_versions alter column raw set storage external;
            alter table enerflo.appointment_versions set (toast_tuple_target = 8160);
        end $$
        """
    )
    # A row whose bytes are not known is read anew by the next poll; the same bytes would be left alone.
    op.execute("update enerflo.appointments set raw_hash = null")
