"""The life-cycle of installs: what is known of each, what was found, and its runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

_BIGINTS = postgresql.ARRAY(sa.BigInteger())


def upgrade() -> None:
    """Make the tables of the life-cycle."""
    op.create_table(
        "life_cycle_installs",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("install_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("steps", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_ids", _BIGINTS, server_default="{}", nullable=False),
        sa.Column(
            "completed_ats",
            postgresql.ARRAY(sa.DateTime(timezone=True)),
            server_default="{}",
            nullable=False,
        ),
        sa.Column("unknown_ids", _BIGINTS, server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("account", "install_id"),
        sa.CheckConstraint("state in ('judged', 'voided', 'not_covered')", name="life_cycle_installs_state"),
        schema="sync",
    )
    op.create_index(
        "life_cycle_installs_due",
        "life_cycle_installs",
        ["account", "next_due_at"],
        unique=False,
        schema="sync",
        postgresql_where="next_due_at is not null",
    )
    op.create_table(
        "life_cycle_findings",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("finding_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("install_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("milestone_id", sa.BigInteger(), nullable=False),
        sa.Column("check_id", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("expected", postgresql.JSONB(), nullable=True),
        sa.Column("found", postgresql.JSONB(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "finding_id"),
        schema="sync",
    )
    op.create_index(
        "life_cycle_findings_open",
        "life_cycle_findings",
        ["account", "install_id", "step", "check_id"],
        unique=True,
        schema="sync",
        postgresql_where="resolved_at is null",
    )
    op.create_index(
        "life_cycle_findings_newest",
        "life_cycle_findings",
        ["account", "finding_id"],
        unique=False,
        schema="sync",
        postgresql_where="resolved_at is null",
    )
    op.create_index(
        "life_cycle_findings_resolved",
        "life_cycle_findings",
        ["account", "resolved_at", "finding_id"],
        unique=False,
        schema="sync",
        postgresql_where="resolved_at is not null",
    )
    op.create_table(
        "life_cycle_runs",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("looked_at", sa.BigInteger(), nullable=False),
        sa.Column("found", sa.BigInteger(), nullable=False),
        sa.Column("resolved", sa.BigInteger(), nullable=False),
        sa.Column("installs", sa.BigInteger(), nullable=False),
        sa.Column("not_covered", sa.BigInteger(), nullable=False),
        sa.Column("checks", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("steps", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("unknown", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.PrimaryKeyConstraint("account", "run_id"),
        schema="sync",
    )
    op.create_index(
        "life_cycle_runs_time",
        "life_cycle_runs",
        ["account", "started_at"],
        unique=False,
        schema="sync",
    )
