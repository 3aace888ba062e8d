"""The mirror, run records, quarantine, reconciliations, and the shared request budget."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the schemas and tables of the first release."""
    # `create schema if not exists` needs the right to create schemas also where an administrator made it.
    op.execute("do $$ begin if to_regnamespace('enerflo') is null then create schema enerflo; end if; end $$")

    op.create_table(
        "change_order_adders",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("change_order_id", sa.BigInteger(), nullable=False),
        sa.Column("adder_id", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("cost", sa.Numeric(), nullable=True),
        sa.Column("quantity", sa.Numeric(), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("observed_by", sa.Text(), nullable=False),
        sa.Column("absent_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("raw_hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "change_order_id", "adder_id", "side"),
        schema="enerflo",
    )
    op.create_index(
        "change_order_adders_gone",
        "change_order_adders",
        ["account", "deleted_at"],
        unique=False,
        schema="enerflo",
        postgresql_where="deleted_at is not null",
    )
    op.create_index(
        "change_order_adders_observed",
        "change_order_adders",
        ["account", "observed_at"],
        unique=False,
        schema="enerflo",
    )
    op.create_table(
        "change_orders",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("change_order_id", sa.BigInteger(), nullable=False),
        sa.Column("install_id", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("panel_type_old", sa.Text(), nullable=True),
        sa.Column("panel_type_new", sa.Text(), nullable=True),
        sa.Column("panel_count_old", sa.Integer(), nullable=True),
        sa.Column("panel_count_new", sa.Integer(), nullable=True),
        sa.Column("battery_old", sa.Text(), nullable=True),
        sa.Column("battery_new", sa.Text(), nullable=True),
        sa.Column("total_change", sa.Numeric(), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("observed_by", sa.Text(), nullable=False),
        sa.Column("absent_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("raw_hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "change_order_id"),
        schema="enerflo",
    )
    op.create_index(
        "change_orders_gone",
        "change_orders",
        ["account", "deleted_at"],
        unique=False,
        schema="enerflo",
        postgresql_where="deleted_at is not null",
    )
    op.create_index(
        "change_orders_install", "change_orders", ["account", "install_id"], unique=False, schema="enerflo"
    )
    op.create_index(
        "change_orders_observed", "change_orders", ["account", "observed_at"], unique=False, schema="enerflo"
    )
    op.create_table(
        "customers",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=True),
        sa.Column("last_name", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("mobile", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("zip", sa.Text(), nullable=True),
        sa.Column("integration_record_id", sa.Text(), nullable=True),
        sa.Column("status_name", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("observed_by", sa.Text(), nullable=False),
        sa.Column("absent_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("raw_hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "customer_id"),
        schema="enerflo",
    )
    op.create_index(
        "customers_gone",
        "customers",
        ["account", "deleted_at"],
        unique=False,
        schema="enerflo",
        postgresql_where="deleted_at is not null",
    )
    op.create_index(
        "customers_observed", "customers", ["account", "observed_at"], unique=False, schema="enerflo"
    )
    op.create_table(
        "install_statuses",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("status_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("observed_by", sa.Text(), nullable=False),
        sa.Column("absent_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("raw_hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "status_id"),
        schema="enerflo",
    )
    op.create_index(
        "install_statuses_gone",
        "install_statuses",
        ["account", "deleted_at"],
        unique=False,
        schema="enerflo",
        postgresql_where="deleted_at is not null",
    )
    op.create_index(
        "install_statuses_observed",
        "install_statuses",
        ["account", "observed_at"],
        unique=False,
        schema="enerflo",
    )
    op.create_table(
        "install_versions",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("install_id", sa.BigInteger(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("raw", postgresql.JSONB(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("observed_by", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "install_id", "content_hash"),
        schema="enerflo",
    )
    op.create_table(
        "installs",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("install_id", sa.BigInteger(), nullable=False),
        sa.Column("deal_id", sa.Text(), nullable=True),
        sa.Column("survey_id", sa.Text(), nullable=True),
        sa.Column("customer_name", sa.Text(), nullable=True),
        sa.Column("customer_id", sa.BigInteger(), nullable=True),
        sa.Column("company_id", sa.BigInteger(), nullable=True),
        sa.Column("status_id", sa.BigInteger(), nullable=True),
        sa.Column("status_name", sa.Text(), nullable=True),
        sa.Column("current_milestone", sa.Text(), nullable=True),
        sa.Column("office_name", sa.Text(), nullable=True),
        sa.Column("agent_name", sa.Text(), nullable=True),
        sa.Column("system_size_kw", sa.Numeric(), nullable=True),
        sa.Column("panel_type", sa.Text(), nullable=True),
        sa.Column("panel_count", sa.Integer(), nullable=True),
        sa.Column("battery_configuration", sa.Text(), nullable=True),
        sa.Column("contract_amount", sa.Numeric(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("content_hash", sa.Text(), nullable=True),
        sa.Column("detail_read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("observed_by", sa.Text(), nullable=False),
        sa.Column("absent_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("raw_hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "install_id"),
        schema="enerflo",
    )
    op.create_index(
        "installs_detail",
        "installs",
        ["account", "detail_read_at"],
        unique=False,
        schema="enerflo",
        postgresql_where=sa.text("detail_read_at IS NOT NULL"),
    )
    op.create_index(
        "installs_gone",
        "installs",
        ["account", "deleted_at"],
        unique=False,
        schema="enerflo",
        postgresql_where="deleted_at is not null",
    )
    op.create_index(
        "installs_observed", "installs", ["account", "observed_at"], unique=False, schema="enerflo"
    )
    op.create_table(
        "milestones",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("install_id", sa.BigInteger(), nullable=False),
        sa.Column("milestone_id", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("observed_by", sa.Text(), nullable=False),
        sa.Column("absent_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("raw_hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "install_id", "milestone_id"),
        schema="enerflo",
    )
    op.create_index(
        "milestones_gone",
        "milestones",
        ["account", "deleted_at"],
        unique=False,
        schema="enerflo",
        postgresql_where="deleted_at is not null",
    )
    op.create_index(
        "milestones_observed", "milestones", ["account", "observed_at"], unique=False, schema="enerflo"
    )
    op.create_table(
        "notes",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("note_id", sa.BigInteger(), nullable=False),
        sa.Column("install_id", sa.BigInteger(), nullable=True),
        sa.Column("author_id", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("observed_by", sa.Text(), nullable=False),
        sa.Column("absent_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("raw_hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "note_id"),
        schema="enerflo",
    )
    op.create_index(
        "notes_gone",
        "notes",
        ["account", "deleted_at"],
        unique=False,
        schema="enerflo",
        postgresql_where="deleted_at is not null",
    )
    op.create_index("notes_install", "notes", ["account", "install_id"], unique=False, schema="enerflo")
    op.create_index("notes_observed", "notes", ["account", "observed_at"], unique=False, schema="enerflo")
    op.create_table(
        "api_calls",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("calls", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("throttled", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("seconds", sa.Float(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("account", "endpoint", "hour"),
        schema="sync",
    )
    op.create_table(
        "differences",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("reconciliation_id", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("key", postgresql.JSONB(), nullable=False),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("enerflo_value", postgresql.JSONB(), nullable=True),
        sa.Column("crm_value", postgresql.JSONB(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=False),
        schema="sync",
    )
    op.create_index(
        "differences_run",
        "differences",
        ["account", "reconciliation_id", "table_name"],
        unique=False,
        schema="sync",
    )
    op.create_table(
        "quarantine",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("evidence_uri", sa.Text(), nullable=True),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=True),
        sa.Column("key", postgresql.JSONB(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("state in ('open', 'replayed', 'dismissed')", name="quarantine_state"),
        sa.PrimaryKeyConstraint("account", "item_id"),
        schema="sync",
    )
    op.create_index(
        "quarantine_open",
        "quarantine",
        ["account", "table_name"],
        unique=False,
        schema="sync",
        postgresql_where="state = 'open'",
    )
    op.create_table(
        "reconciliations",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("reconciliation_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("compared_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("differences", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unexplained", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("report", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("account", "reconciliation_id"),
        schema="sync",
    )
    op.create_index(
        "reconciliations_time", "reconciliations", ["account", "started_at"], unique=False, schema="sync"
    )
    op.create_table(
        "request_budgets",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("key_fingerprint", sa.Text(), nullable=False),
        sa.Column("limit_per_window", sa.Integer(), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=True),
        sa.Column("reset_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("account", "key_fingerprint"),
        schema="sync",
    )
    op.create_table(
        "request_slots",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("key_fingerprint", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "key_fingerprint", "slot"),
        schema="sync",
    )
    op.create_table(
        "runs",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("read", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("applied", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unchanged", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("quarantined", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("skipped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("requests", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reasons", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("resources", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.CheckConstraint(
            "state = 'failed' or read = applied + unchanged + quarantined + skipped", name="runs_identity"
        ),
        sa.CheckConstraint("state in ('ok', 'partial', 'failed')", name="runs_state"),
        sa.PrimaryKeyConstraint("account", "run_id"),
        schema="sync",
    )
    op.create_index("runs_job", "runs", ["account", "job", "started_at"], unique=False, schema="sync")
    op.create_table(
        "watermarks",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "name"),
        schema="sync",
    )
    # pglz takes half of a first load's time on 5 KB payloads. Where the server has lz4 it is used;
    # where it has not, payloads are stored as they are (docs/decisions/0003-raw-compression.md).
    op.execute(
        """
        do $$
        begin
            alter table enerflo.install_versions alter column raw set compression lz4;
        exception when feature_not_supported then
            alter table enerflo.install_versions alter column raw set storage external;
            -- Up to a page a version stays in its row: one tuple to write instead of several toast chunks.
            alter table enerflo.install_versions set (toast_tuple_target = 8160);
        end $$
        """
    )
