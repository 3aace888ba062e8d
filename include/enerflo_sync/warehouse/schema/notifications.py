"""Messages to people."""

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

# One row per message and route.
notifications = sync_table(
    "notifications",
    Column("notification_id", BigInteger, Identity(always=True), nullable=False),
    required("event"),
    required("route"),
    required("subject"),
    required("text"),
    # The page with more about it.
    required("page"),
    required("page_id"),
    # Number of facts in it.
    Column("count", BigInteger, nullable=False),
    required("state"),
    time("created_at", nullable=False),
    time("sent_at"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # Why the last attempt failed, without the other side's text.
    Column("error", Text),
    PrimaryKeyConstraint("account", "notification_id"),
    CheckConstraint("state in ('pending', 'sent', 'failed')", name="notifications_state"),
    Index("notifications_pending", "account", "notification_id", postgresql_where="state = 'pending'"),
)

# Facts that were reported and still hold, so that they are not reported again.
told = sync_table(
    "told",
    required("event"),
    required("key"),
    Column("size", Numeric, nullable=False),
    time("told_at", nullable=False),
    PrimaryKeyConstraint("account", "event", "key"),
)
