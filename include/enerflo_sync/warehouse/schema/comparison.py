"""Reconciliations, and what is known of the CRM's rows."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from enerflo_sync.warehouse.schema.columns import required, sync_table, time

reconciliations = sync_table(
    "reconciliations",
    required("reconciliation_id"),
    time("started_at", nullable=False),
    time("finished_at"),
    # full or incremental; an incremental one stands on the same configuration as the one before.
    required("scope"),
    required("config_hash"),
    # Where the next incremental comparison takes up, by the database's clock.
    time("compared_until", nullable=False),
    Column("differences", BigInteger, nullable=False, server_default="0"),
    Column("unexplained", BigInteger, nullable=False, server_default="0"),
    Column("report", JSONB, nullable=False, server_default="{}"),
    PrimaryKeyConstraint("account", "reconciliation_id"),
    Index("reconciliations_time", "account", "started_at"),
)

differences = sync_table(
    "differences",
    required("reconciliation_id"),
    required("table_name"),
    required("key", JSONB),
    Column("field", Text),
    Column("enerflo_value", JSONB),
    Column("crm_value", JSONB),
    required("cause"),
    Column("difference_id", BigInteger, Identity(always=True), nullable=False),
    PrimaryKeyConstraint("account", "reconciliation_id", "table_name", "difference_id"),
)

# What was last seen of the CRM's rows, where the mapping names no column to go by: of tables whose rows tell
# their transaction only the rows that moved within a month, of others all.
crm_rows = sync_table(
    "crm_rows",
    required("table_name"),
    # The row's key where that is one whole number by which it is matched. Else the hash of its key and of the
    # columns by which it is matched: a relinked row is another one.
    Column("identity", BigInteger, nullable=False),
    # Hash of everything that is compared or decides.
    Column("row_hash", BigInteger, nullable=False),
    # The columns by which the row is matched, as text.
    Column("link", ARRAY(Text), nullable=False),
    # When this content was first seen, and when the row was first missed, by the database's clock.
    time("seen_at", nullable=False),
    time("gone_at"),
    PrimaryKeyConstraint("account", "table_name", "identity"),
    Index("crm_rows_seen", "account", "table_name", "seen_at"),
    Index("crm_rows_gone", "account", "table_name", "gone_at", postgresql_where="gone_at is not null"),
)

# How far each job has seen each CRM table.
crm_looks = sync_table(
    "crm_looks",
    required("table_name"),
    # observation: the last refresh of crm_rows; agree/<mapping>: the last look for pairs of equal values.
    required("looker"),
    time("seen_until", nullable=False),
    # Transaction id: what this and later transactions wrote may have been out of sight; null: nothing was.
    Column("from_xid", BigInteger),
    # Rows that are not in crm_rows have not changed since; null where crm_rows has all of them.
    time("unchanged_since"),
    # Digest of what the hashes cover: another one says nothing of a row's age.
    required("signature"),
    PrimaryKeyConstraint("account", "table_name", "looker"),
)
