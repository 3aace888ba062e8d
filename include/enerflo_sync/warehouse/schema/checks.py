"""Checks of change orders, and of the life cycle of installs."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from enerflo_sync.warehouse.schema.columns import required, sync_table, text, time

# Change orders with all values that they are checked against, as of their last check; null if a fact does not
# apply. Great Expectations validates this table. docs/checks.md describes each column.
change_order_facts = sync_table(
    "change_order_facts",
    required("change_order_id", BigInteger),
    Column("install_id", BigInteger),
    *text("status", "status_kind"),
    time("signed_at"),
    Column("install_here", Boolean),
    Column("install_voided", Boolean),
    Column("signed_time_there", Boolean),
    Column("signed_though_pending", Boolean),
    Column("signed_ahead_hours", Numeric),
    time("install_created_at"),
    Column("signed_days_after_install", Numeric),
    *text("status_before", "life_cycle", "panel_type_old", "panel_type_new", "panel_type_before"),
    Column("panel_type_known", Boolean),
    Column("panel_type_old_agrees", Boolean),
    *(Column(f"panel_count_{when}", Integer) for when in ("old", "new", "before")),
    Column("panel_count_old_agrees", Boolean),
    Column("panel_count_by_size", Numeric),
    Column("panel_count_deviation_percent", Numeric),
    *text("battery_old", "battery_new", "battery_before"),
    Column("battery_old_agrees", Boolean),
    Column("battery_count_new", Integer),
    Column("adder_count", Integer),
    *text("adders_unknown", "adders_without_cost"),
    *(Column(f"adder_{what}", Numeric) for what in ("lowest_quantity", "lowest_cost", "highest_cost")),
    *(Column(name, Numeric) for name in ("total_change", "adders_change", "total_gap")),
    Column("components_unknown", Text),
    Column("contradicts", BigInteger),
    Column("voided_took_effect", Boolean),
    # Hash of all facts and the suite: equal means "do not check again".
    required("digest", BigInteger),
    # The mirror's time of the checked content; content with another time is unchecked.
    time("observed_at", nullable=False),
    # The ids of the checks that it fails, and the quarantine item that holds it, if any.
    Column("failing", ARRAY(Text), nullable=False, server_default="{}"),
    Column("item_id", Text),
    required("run_id"),
    time("checked_at", nullable=False),
    PrimaryKeyConstraint("account", "change_order_id"),
    Index("change_order_facts_failing", "account", "change_order_id", postgresql_where="failing <> '{}'"),
    Index("change_order_facts_run", "account", "run_id"),
)

# Results of a change order's checks in one run: failures, and checks that pass again.
quality_results = sync_table(
    "quality_results",
    required("run_id"),
    required("change_order_id", BigInteger),
    required("check_id"),
    required("severity"),
    Column("passed", Boolean, nullable=False),
    Column("expected", JSONB(none_as_null=True)),
    Column("found", JSONB(none_as_null=True)),
    # For a person: what is wrong with an order that fails the check.
    required("reason"),
    time("checked_at", nullable=False),
    PrimaryKeyConstraint("account", "run_id", "change_order_id", "check_id"),
    Index("quality_results_order", "account", "change_order_id", "checked_at"),
)

# One row per run that had orders to check; the next run starts from the newest row.
quality_runs = sync_table(
    "quality_runs",
    required("run_id"),
    time("started_at", nullable=False),
    time("finished_at", nullable=False),
    required("suite_hash"),
    # Orders checked in this run; all live orders, and how many of them were held at its end.
    *(Column(name, BigInteger, nullable=False) for name in ("checked", "orders", "held")),
    # By check: the number of live orders to which it applies, and of those that fail it.
    Column("checks", JSONB, nullable=False, server_default="{}"),
    # The run in which Great Expectations counted the orders that this run judged; null until then.
    Column("validated_by", Text),
    # Rows that Great Expectations counted in this run, and its result; null if it did not run.
    Column("validated", BigInteger),
    Column("expectations", JSONB(none_as_null=True)),
    PrimaryKeyConstraint("account", "run_id"),
    Index("quality_runs_time", "account", "started_at"),
)

# The life cycle's state of each install with milestones, so that a run judges only those that changed.
life_cycle_installs = sync_table(
    "life_cycle_installs",
    required("install_id", BigInteger),
    # Hash of its status and milestones: equal means "do not judge again before next_due_at".
    required("digest", BigInteger),
    # judged, voided, or not_covered: life_cycle.yaml names none of its milestones.
    required("state"),
    # The steps in progress, and when the next of them becomes overdue.
    Column("steps", ARRAY(Text), nullable=False, server_default="{}"),
    time("next_due_at"),
    # Milestones ever seen completed, by definition, and the time of their first completion.
    Column("completed_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    Column("completed_ats", ARRAY(DateTime(timezone=True)), nullable=False, server_default="{}"),
    # Milestones that life_cycle.yaml does not name.
    Column("unknown_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    PrimaryKeyConstraint("account", "install_id"),
    CheckConstraint("state in ('judged', 'voided', 'not_covered')", name="life_cycle_installs_state"),
    Index("life_cycle_installs_due", "account", "next_due_at", postgresql_where="next_due_at is not null"),
)

# Impossible and overdue histories of installs, resolved ones included.
life_cycle_findings = sync_table(
    "life_cycle_findings",
    Column("finding_id", BigInteger, Identity(always=True), nullable=False),
    required("install_id", BigInteger),
    # The step's name in life_cycle.yaml, and the milestone that stands for it.
    required("step"),
    required("milestone_id", BigInteger),
    required("check_id"),
    required("severity"),
    Column("expected", JSONB(none_as_null=True)),
    Column("found", JSONB(none_as_null=True)),
    required("reason"),
    # When a run first found it, last checked it, and found it resolved.
    time("since", nullable=False),
    time("checked_at", nullable=False),
    time("resolved_at"),
    # The run that found it.
    required("run_id"),
    PrimaryKeyConstraint("account", "finding_id"),
    Index(
        "life_cycle_findings_open",
        *("account", "install_id", "step", "check_id"),
        unique=True,
        postgresql_where="resolved_at is null",
    ),
    Index("life_cycle_findings_newest", "account", "finding_id", postgresql_where="resolved_at is null"),
    Index(
        "life_cycle_findings_resolved",
        *("account", "resolved_at", "finding_id"),
        postgresql_where="resolved_at is not null",
    ),
)

# One row per run that judged an install: the account's state after it.
life_cycle_runs = sync_table(
    "life_cycle_runs",
    required("run_id"),
    time("started_at", nullable=False),
    time("finished_at", nullable=False),
    # Hash of life_cycle.yaml and the meaning of voided and completed; a change causes every install to be
    # judged.
    required("config_hash"),
    # Installs judged in this run, new findings, and resolved ones.
    *(Column(name, BigInteger, nullable=False) for name in ("looked_at", "found", "resolved")),
    # Installs with a milestone that life_cycle.yaml names, and those without one.
    *(Column(name, BigInteger, nullable=False) for name in ("installs", "not_covered")),
    # By check: open findings and their installs; by step: installs with it in progress, and overdue.
    Column("checks", JSONB, nullable=False, server_default="{}"),
    Column("steps", JSONB, nullable=False, server_default="{}"),
    # Milestones that life_cycle.yaml does not name, the most frequent first: [{title, installs}].
    Column("unknown", JSONB, nullable=False, server_default="[]"),
    PrimaryKeyConstraint("account", "run_id"),
    Index("life_cycle_runs_time", "account", "started_at"),
)
