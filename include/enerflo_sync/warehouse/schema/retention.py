"""What was deleted by age, and who was forgotten."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, PrimaryKeyConstraint, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from enerflo_sync.warehouse.schema.columns import required, sync_table, time

# One row per run of enerflo-sync prune and kind of data of which something was deleted.
prunings = sync_table(
    "prunings",
    required("run_id"),
    # differences, reports, plans, versions, webhook_bodies, archive, runs or looks.
    required("kind"),
    # When the run began; what it deleted was older than `before`.
    time("pruned_at", nullable=False),
    # The option of sync.yaml and its value: retention.plans_days: 365.
    required("bound"),
    time("before", nullable=False),
    # What was deleted: rows or files, about how many bytes, and the oldest and the newest of them.
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    time("oldest"),
    time("newest"),
    PrimaryKeyConstraint("account", "run_id", "kind"),
)

# Of each record whose raw versions were thinned: when the deleted ones had first been seen.
pruned_versions = sync_table(
    "pruned_versions",
    # The mirror table of the record.
    required("table_name"),
    required("record_id", BigInteger),
    Column("seen_at", ARRAY(DateTime(timezone=True)), nullable=False),
    # The last run that deleted some, and its bound.
    time("pruned_at", nullable=False),
    required("bound"),
    PrimaryKeyConstraint("account", "table_name", "record_id"),
)

# Receipts of enerflo-sync forget. While a row stands, personal data of the customer is not stored again.
forgotten = sync_table(
    "forgotten",
    required("customer_id", BigInteger),
    time("forgotten_at", nullable=False),
    required("forgotten_by"),
    required("run_id"),
    # By what records and events of the customer are known: installs at that time, and the uuids by which v2
    # events name the customer and its deals. Later installs are found by their customer.
    Column("install_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    Column("uuids", ARRAY(Text), nullable=False, server_default="{}"),
    # By place, in how many rows or files values were erased.
    Column("counts", JSONB, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("account", "customer_id"),
)
