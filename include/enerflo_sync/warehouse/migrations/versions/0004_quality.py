"""Checks of change orders: their facts, results and runs, and who let a held one through."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables of the change-order checks."""
    op.drop_constraint("ledger_decision", "ledger", schema="sync", type_="check")
    op.create_check_constraint(
        "ledger_decision",
        "ledger",
        "decision in ('applied', 'moved', 'refused', 'parked', 'held', 'released')",
        schema="sync",
    )
    op.create_table(
        "change_order_facts",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("change_order_id", sa.BigInteger(), nullable=False),
        sa.Column("install_id", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("status_kind", sa.Text(), nullable=True),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("install_here", sa.Boolean(), nullable=True),
        sa.Column("install_voided", sa.Boolean(), nullable=True),
        sa.Column("signed_time_there", sa.Boolean(), nullable=True),
        sa.Column("signed_though_pending", sa.Boolean(), nullable=True),
        sa.Column("signed_ahead_hours", sa.Numeric(), nullable=True),
        sa.Column("install_created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("signed_days_after_install", sa.Numeric(), nullable=True),
        sa.Column("status_before", sa.Text(), nullable=True),
        sa.Column("life_cycle", sa.Text(), nullable=True),
        sa.Column("panel_type_old", sa.Text(), nullable=True),
        sa.Column("panel_type_new", sa.Text(), nullable=True),
        sa.Column("panel_type_before", sa.Text(), nullable=True),
        sa.Column("panel_type_known", sa.Boolean(), nullable=True),
        sa.Column("panel_type_old_agrees", sa.Boolean(), nullable=True),
        sa.Column("panel_count_old", sa.Integer(), nullable=True),
        sa.Column("panel_count_new", sa.Integer(), nullable=True),
        sa.Column("panel_count_before", sa.Integer(), nullable=True),
        sa.Column("panel_count_old_agrees", sa.Boolean(), nullable=True),
        sa.Column("panel_count_by_size", sa.Numeric(), nullable=True),
        sa.Column("panel_count_deviation_percent", sa.Numeric(), nullable=True),
        sa.Column("battery_old", sa.Text(), nullable=True),
        sa.Column("battery_new", sa.Text(), nullable=True),
        sa.Column("battery_before", sa.Text(), nullable=True),
        sa.Column("battery_old_agrees", sa.Boolean(), nullable=True),
        sa.Column("battery_count_new", sa.Integer(), nullable=True),
        sa.Column("adder_count", sa.Integer(), nullable=True),
        sa.Column("adders_unknown", sa.Text(), nullable=True),
        sa.Column("adders_without_cost", sa.Text(), nullable=True),
        sa.Column("adder_lowest_quantity", sa.Numeric(), nullable=True),
        sa.Column("adder_lowest_cost", sa.Numeric(), nullable=True),
        sa.Column("adder_highest_cost", sa.Numeric(), nullable=True),
        sa.Column("total_change", sa.Numeric(), nullable=True),
        sa.Column("adders_change", sa.Numeric(), nullable=True),
        sa.Column("total_gap", sa.Numeric(), nullable=True),
        sa.Column("contradicts", sa.BigInteger(), nullable=True),
        sa.Column("voided_took_effect", sa.Boolean(), nullable=True),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failing", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("item_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("validated", sa.Boolean(), server_default="false", nullable=False),
        sa.PrimaryKeyConstraint("account", "change_order_id"),
        schema="sync",
    )
    op.create_index(
        "change_order_facts_install",
        "change_order_facts",
        ["account", "install_id"],
        unique=False,
        schema="sync",
    )
    op.create_index(
        "change_order_facts_failing",
        "change_order_facts",
        ["account", "change_order_id"],
        unique=False,
        schema="sync",
        postgresql_where="failing <> '{}'",
    )
    op.create_index(
        "change_order_facts_new",
        "change_order_facts",
        ["account", "change_order_id"],
        unique=False,
        schema="sync",
        postgresql_where="not validated",
    )
    op.create_table(
        "quality_results",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("change_order_id", sa.BigInteger(), nullable=False),
        sa.Column("check_id", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("expected", postgresql.JSONB(), nullable=True),
        sa.Column("found", postgresql.JSONB(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "run_id", "change_order_id", "check_id"),
        schema="sync",
    )
    op.create_index(
        "quality_results_order",
        "quality_results",
        ["account", "change_order_id", "checked_at"],
        unique=False,
        schema="sync",
    )
    op.create_table(
        "quality_runs",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("suite_hash", sa.Text(), nullable=False),
        sa.Column("checked", sa.BigInteger(), nullable=False),
        sa.Column("orders", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("checks", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("validated", sa.BigInteger(), nullable=True),
        sa.Column("expectations", postgresql.JSONB(), nullable=True),
        sa.PrimaryKeyConstraint("account", "run_id"),
        schema="sync",
    )
    op.create_index(
        "quality_runs_time", "quality_runs", ["account", "started_at"], unique=False, schema="sync"
    )
