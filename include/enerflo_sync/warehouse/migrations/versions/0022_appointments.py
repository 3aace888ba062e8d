"""The mirror's table of appointments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Make ``enerflo.appointments`` with its indexes."""
    op.create_table(
        "appointments",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("appointment_id", sa.BigInteger, nullable=False),
        sa.Column("customer_id", sa.BigInteger),
        sa.Column("status", sa.Text),
        sa.Column("type_id", sa.BigInteger),
        sa.Column("type_name", sa.Text),
        sa.Column("starts_at", sa.DateTime(timezone=True)),
        sa.Column("ends_at", sa.DateTime(timezone=True)),
        sa.Column("length_minutes", sa.Integer),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("observed_by", sa.Text, nullable=False),
        sa.Column("absent_since", sa.DateTime(timezone=True)),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("raw_hash", sa.LargeBinary),
        sa.PrimaryKeyConstraint("account", "appointment_id"),
        schema="enerflo",
    )
    op.create_index("appointments_observed", "appointments", ["account", "observed_at"], schema="enerflo")
    op.create_index(
        "appointments_gone",
        "appointments",
        ["account", "deleted_at"],
        schema="enerflo",
        postgresql_where="deleted_at is not null",
    )
