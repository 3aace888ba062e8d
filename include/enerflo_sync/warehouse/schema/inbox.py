"""Webhook events, and the files that they came in."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.warehouse.schema.columns import required, sync_table, time

webhook_events = sync_table(
    "webhook_events",
    # The first half of content_hash: the same content is the same event, whoever delivered it how often.
    required("event_id"),
    required("event"),
    Column("install_id", BigInteger),
    # The v2 deal's uuid; what v1 calls deal_id is the survey's number.
    Column("deal_id", Text),
    required("content_hash"),
    time("received_at", nullable=False),
    required("source_uri"),
    required("state"),
    time("applied_at"),
    # When the read began whose answer serves the event: what is told after that is not in it.
    time("read_at"),
    Column("copies", BigInteger, nullable=False, server_default="1"),
    # Which record of the mirror it concerns: installs/123, deals/<uuid>, customers/45, customers/<uuid>.
    Column("record", Text),
    # Why it is ignored or quarantined, or what the last attempt to read the record met.
    Column("reason", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    time("next_attempt_at"),
    # The event as it came, canonical JSON; json and not jsonb, which costs three times as much to store.
    required("body", JSON),
    PrimaryKeyConstraint("account", "event_id"),
    CheckConstraint(
        "state in ('received', 'applied', 'ignored', 'quarantined')", name="webhook_events_state"
    ),
    Index("webhook_events_waiting", "account", "received_at", postgresql_where="state = 'received'"),
    Index("webhook_events_day", "account", "received_at", "event"),
)

# Files whose events are committed and which are still to be moved: empty but for crashes and refused moves.
webhook_moves = sync_table(
    "webhook_moves",
    required("move_id"),
    time("taken_at", nullable=False),
    # By the file's address in the drop: the digest of what was read, and its address in the archive.
    required("files", JSONB),
    PrimaryKeyConstraint("account", "move_id"),
)
