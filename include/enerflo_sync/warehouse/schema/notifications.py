"""What people were told."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Identity,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Text,
)

from enerflo_sync.warehouse.schema.columns import required, sync_table, time

# What people are told: one row for each message on each route.
notifications = sync_table(
    "notifications",
    Column("notification_id", BigInteger, Identity(always=True), nullable=False),
    required("event"),
    required("route"),
    required("subject"),
    required("text"),
    # Where more of it is shown.
    required("page"),
    required("page_id"),
    # How many facts it tells of.
    Column("count", BigInteger, nullable=False),
    required("state"),
    time("created_at", nullable=False),
    time("sent_at"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # Why the last attempt failed; no word of the other side's.
    Column("error", Text),
    PrimaryKeyConstraint("account", "notification_id"),
    CheckConstraint("state in ('pending', 'sent', 'failed')", name="notifications_state"),
    Index("notifications_pending", "account", "notification_id", postgresql_where="state = 'pending'"),
)

# What was told and still holds, so that it is not told again: a row for each fact.
told = sync_table(
    "told",
    required("event"),
    required("key"),
    Column("size", Numeric, nullable=False),
    time("told_at", nullable=False),
    PrimaryKeyConstraint("account", "event", "key"),
)
