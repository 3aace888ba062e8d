"""Reconciliations, and observations of the CRM's rows."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from enerflo_sync.warehouse.schema.columns import required, sync_table, time

# One row per reconciliation, with its whole report.
reconciliations = sync_table(
    "reconciliations",
    required("reconciliation_id"),
    time("started_at", nullable=False),
    time("finished_at"),
    # full or incremental; an incremental one requires the configuration of the previous one.
    required("scope"),
    required("config_hash"),
    # Start of the next incremental comparison, by the database's clock.
    time("compared_until", nullable=False),
    Column("differences", BigInteger, nullable=False, server_default="0"),
    Column("unexplained", BigInteger, nullable=False, server_default="0"),
    Column("report", JSONB, nullable=False, server_default="{}"),
    # The verdict with its figures, for pages that list many; null in rows of versions that did not store it.
    Column("summary", JSONB),
    PrimaryKeyConstraint("account", "reconciliation_id"),
    Index("reconciliations_time", "account", "started_at"),
)

# The differences of each reconciliation: one row for a differing field, or for a record that one side
# lacks.
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
    # Since when it was found by each reconciliation; null in rows of versions that did not tell.
    time("since"),
    # The same time by the name that analysts were promised.
    time("first_seen_at"),
    # Since when each reconciliation found it with these two values; null for a record that one side lacks.
    time("unchanged_since"),
    # Which spelling the two values seem to differ by; null where none fits. Older programs wrote a detail
    # after a colon.
    Column("hint", Text),
    # By how much: {"tolerance": 0.005}, {"unit": "minute"}, {"minutes": -420}, {"trim": true}.
    Column("hint_detail", JSONB),
    PrimaryKeyConstraint("account", "reconciliation_id", "table_name", "difference_id"),
)

# Observed CRM rows of tables whose mapping names no column with a time of change. If the table's rows carry
# their transaction id, only rows changed within a month, otherwise all rows.
crm_rows = sync_table(
    "crm_rows",
    required("table_name"),
    # The row's key if that is one whole number by which the row is matched. Otherwise the hash of its key and
    # of the columns by which it is matched, so that a relinked row is another one.
    Column("identity", BigInteger, nullable=False),
    # Hash of all columns that are compared or that affect a decision.
    Column("row_hash", BigInteger, nullable=False),
    # The columns by which the row is matched, as text.
    Column("link", ARRAY(Text), nullable=False),
    # When this content was first seen, and when the row was first missing, by the database's clock.
    time("seen_at", nullable=False),
    time("gone_at"),
    PrimaryKeyConstraint("account", "table_name", "identity"),
    Index("crm_rows_seen", "account", "table_name", "seen_at"),
    Index("crm_rows_gone", "account", "table_name", "gone_at", postgresql_where="gone_at is not null"),
)

# How far each job has observed each CRM table.
crm_looks = sync_table(
    "crm_looks",
    required("table_name"),
    # observation: the last refresh of crm_rows; agree/<mapping>: the last search for pairs of equal values.
    required("looker"),
    time("seen_until", nullable=False),
    # Transaction id: writes of this and later transactions may have been invisible; null: none were.
    Column("from_xid", BigInteger),
    # Rows missing from crm_rows have not changed since; null if crm_rows has all rows.
    time("unchanged_since"),
    # Digest of what the hashes cover; under another digest, a row's age is unknown.
    required("signature"),
    PrimaryKeyConstraint("account", "table_name", "looker"),
)

# Copies of CRM tables that are in another database; their rows stand in the schema crm_copies.
crm_copies = sync_table(
    "crm_copies",
    required("table_name"),
    required("crm_table"),
    # Digest of what the copy's content depends on besides the rows: columns, types, where.
    required("signature"),
    # As of when the copy holds what the CRM said.
    time("read_at", nullable=False),
    Column("rows", BigInteger, nullable=False),
    # Rows that were moved to bring the copy up to date, and how long that took, in seconds.
    Column("rows_read", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    # What that cost: statements in the CRM's database, and bytes of the moved rows as they are stored here.
    # Null in rows of versions that did not count them.
    Column("statements", BigInteger),
    Column("bytes_read", BigInteger),
    # The database in which the table stands, without user and password; null in rows of versions that did not
    # tell.
    Column("place", Text),
    PrimaryKeyConstraint("account", "table_name"),
)
