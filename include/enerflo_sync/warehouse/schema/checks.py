"""Checks of change orders, and of the life-cycle of installs."""

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

# The flat relation of change orders with what they are checked against, as they were checked last; null where
# a fact does not apply. Great Expectations validates this table. What each column says: docs/checks.md.
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
    # Of all facts and the suite: equal means "do not check again".
    required("digest", BigInteger),
    # The mirror's own time of the content that was checked: another one was not checked yet.
    time("observed_at", nullable=False),
    # The ids of the checks that it fails, and the quarantine item that holds it, where one does.
    Column("failing", ARRAY(Text), nullable=False, server_default="{}"),
    Column("item_id", Text),
    required("run_id"),
    time("checked_at", nullable=False),
    PrimaryKeyConstraint("account", "change_order_id"),
    Index("change_order_facts_failing", "account", "change_order_id", postgresql_where="failing <> '{}'"),
    Index("change_order_facts_run", "account", "run_id"),
)

# What a check found of one change order in the run that looked at it: failures, and what passes again.
quality_results = sync_table(
    "quality_results",
    required("run_id"),
    required("change_order_id", BigInteger),
    required("check_id"),
    required("severity"),
    Column("passed", Boolean, nullable=False),
    Column("expected", JSONB(none_as_null=True)),
    Column("found", JSONB(none_as_null=True)),
    # For a person: what is wrong with an order that fails it.
    required("reason"),
    time("checked_at", nullable=False),
    PrimaryKeyConstraint("account", "run_id", "change_order_id", "check_id"),
    Index("quality_results_order", "account", "change_order_id", "checked_at"),
)

# One row for each run of the checks that had something to check; the newest says where the next takes up.
quality_runs = sync_table(
    "quality_runs",
    required("run_id"),
    time("started_at", nullable=False),
    time("finished_at", nullable=False),
    required("suite_hash"),
    # Orders checked in this run; live ones in all, and how many of them were held at its end.
    *(Column(name, BigInteger, nullable=False) for name in ("checked", "orders", "held")),
    # By check: how many of all live orders it concerns, and how many of them fail it.
    Column("checks", JSONB, nullable=False, server_default="{}"),
    # The run in which Great Expectations counted the orders that this one judged; null while nobody has.
    Column("validated_by", Text),
    # How many rows it counted in this run, and its own result; null where it was not asked.
    Column("validated", BigInteger),
    Column("expectations", JSONB(none_as_null=True)),
    PrimaryKeyConstraint("account", "run_id"),
    Index("quality_runs_time", "account", "started_at"),
)

# What the life-cycle knows of each install with milestones, so that a run looks only at what moved.
life_cycle_installs = sync_table(
    "life_cycle_installs",
    required("install_id", BigInteger),
    # Of its status and milestones: equal means "do not judge again before next_due_at".
    required("digest", BigInteger),
    # judged, voided, or not_covered: it has no milestone that life_cycle.yaml names.
    required("state"),
    # The steps that are under way, and when the next of them is overdue.
    Column("steps", ARRAY(Text), nullable=False, server_default="{}"),
    time("next_due_at"),
    # Milestones that were ever seen completed, by definition, and when they first were.
    Column("completed_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    Column("completed_ats", ARRAY(DateTime(timezone=True)), nullable=False, server_default="{}"),
    # Milestones that life_cycle.yaml does not name.
    Column("unknown_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    PrimaryKeyConstraint("account", "install_id"),
    CheckConstraint("state in ('judged', 'voided', 'not_covered')", name="life_cycle_installs_state"),
    Index("life_cycle_installs_due", "account", "next_due_at", postgresql_where="next_due_at is not null"),
)

# Impossible and overdue histories of installs, with those that are settled.
life_cycle_findings = sync_table(
    "life_cycle_findings",
    Column("finding_id", BigInteger, Identity(always=True), nullable=False),
    required("install_id", BigInteger),
    # The step's name in life_cycle.yaml, and the milestone that means it there.
    required("step"),
    required("milestone_id", BigInteger),
    required("check_id"),
    required("severity"),
    Column("expected", JSONB(none_as_null=True)),
    Column("found", JSONB(none_as_null=True)),
    required("reason"),
    # When a run found it first, looked at it last, and found it gone.
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

# One row for each run that judged an install: how the account stood after it.
life_cycle_runs = sync_table(
    "life_cycle_runs",
    required("run_id"),
    time("started_at", nullable=False),
    time("finished_at", nullable=False),
    # Of life_cycle.yaml and of what voided and completed mean: another one has every install judged again.
    required("config_hash"),
    # Installs judged in this run, findings that are new, and those that are gone.
    *(Column(name, BigInteger, nullable=False) for name in ("looked_at", "found", "resolved")),
    # Installs with a milestone that life_cycle.yaml names, and those without one.
    *(Column(name, BigInteger, nullable=False) for name in ("installs", "not_covered")),
    # By check: open findings and installs that have one; by step: installs under way in it, and overdue.
    Column("checks", JSONB, nullable=False, server_default="{}"),
    Column("steps", JSONB, nullable=False, server_default="{}"),
    # Milestones that it does not name, those of most installs first: [{title, installs}].
    Column("unknown", JSONB, nullable=False, server_default="[]"),
    PrimaryKeyConstraint("account", "run_id"),
    Index("life_cycle_runs_time", "account", "started_at"),
)
