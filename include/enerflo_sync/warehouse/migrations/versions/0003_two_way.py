"""Both ways: agreed values, plans with their changes, and the ledger of every decision."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables of plan, apply and explain."""
    op.create_table(
        "agreed",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("key", postgresql.JSONB(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=True),
        sa.Column("crm_value", postgresql.JSONB(), nullable=True),
        sa.Column("agreed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("agreed_by", sa.Text(), nullable=False),
        sa.Column("is_link", sa.Boolean(), server_default="false", nullable=False),
        sa.PrimaryKeyConstraint("account", "table_name", "key", "field"),
        schema="sync",
    )
    op.create_index(
        "agreed_link",
        "agreed",
        ["account", "table_name", "value"],
        unique=False,
        schema="sync",
        postgresql_where="is_link",
    )
    op.create_table(
        "ledger",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("ledger_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("key", postgresql.JSONB(), nullable=False),
        sa.Column("op", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("old_value", postgresql.JSONB(), nullable=True),
        sa.Column("new_value", postgresql.JSONB(), nullable=True),
        sa.Column("losing_value", postgresql.JSONB(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("plan_hash", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "decision in ('applied', 'moved', 'refused', 'parked', 'held')", name="ledger_decision"
        ),
        sa.PrimaryKeyConstraint("account", "ledger_id"),
        schema="sync",
    )
    op.create_index("ledger_plan", "ledger", ["account", "plan_hash"], unique=False, schema="sync")
    op.create_index("ledger_record", "ledger", ["account", "table_name", "key"], unique=False, schema="sync")
    op.create_index("ledger_time", "ledger", ["account", "recorded_at"], unique=False, schema="sync")
    op.create_table(
        "plan_changes",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("plan_hash", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("key", postgresql.JSONB(), nullable=False),
        sa.Column("enerflo_key", postgresql.JSONB(), nullable=True),
        sa.Column("op", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
        sa.Column("source_value", postgresql.JSONB(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("agreed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("direction in ('to_crm', 'to_enerflo')", name="plan_changes_direction"),
        sa.CheckConstraint("op in ('insert', 'update', 'delete')", name="plan_changes_op"),
        sa.CheckConstraint(
            "state in ('planned', 'sent', 'applied', 'moved', 'parked', 'refused')", name="plan_changes_state"
        ),
        sa.PrimaryKeyConstraint("account", "plan_hash", "position"),
        schema="sync",
    )
    op.create_index(
        "plan_changes_record", "plan_changes", ["account", "table_name", "key"], unique=False, schema="sync"
    )
    op.create_table(
        "plan_undecided",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("plan_hash", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("key", postgresql.JSONB(), nullable=False),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("enerflo_value", postgresql.JSONB(), nullable=True),
        sa.Column("crm_value", postgresql.JSONB(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "plan_hash", "position"),
        schema="sync",
    )
    op.create_table(
        "plans",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("plan_hash", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("change_count", sa.BigInteger(), nullable=False),
        sa.Column("needs_approval", sa.Boolean(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("stands_on", sa.Text(), nullable=True),
        sa.Column("summary", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state in ('open', 'approved', 'rejected', 'applied', 'expired')", name="plans_state"
        ),
        sa.PrimaryKeyConstraint("account", "plan_hash"),
        schema="sync",
    )
    op.create_index("plans_time", "plans", ["account", "created_at"], unique=False, schema="sync")
    op.add_column("change_orders", sa.Column("adders", postgresql.JSONB(), nullable=True), schema="enerflo")
    op.execute(
        """
        update enerflo.change_orders o set adders = coalesce((
            select jsonb_agg(
                jsonb_build_object('name', a.name, 'cost', a.cost, 'quantity', a.quantity)
                order by a.adder_id)
            from enerflo.change_order_adders a
            where a.account = o.account and a.change_order_id = o.change_order_id and a.side = 'new'
              and a.deleted_at is null), '[]')
        """
    )
