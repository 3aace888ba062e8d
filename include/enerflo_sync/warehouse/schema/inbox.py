"""Webhook events, and their files."""

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

# Each webhook event once, with its body, its state and the number of its copies.
webhook_events = sync_table(
    "webhook_events",
    # The first half of content_hash: equal content is the same event, however often and by whomever
    # delivered.
    required("event_id"),
    required("event"),
    Column("install_id", BigInteger),
    # The v2 deal's uuid; v1 uses the name deal_id for the survey's number.
    Column("deal_id", Text),
    required("content_hash"),
    time("received_at", nullable=False),
    required("source_uri"),
    required("state"),
    time("applied_at"),
    # When the read that serves the event began; later changes are not in its answer.
    time("read_at"),
    Column("copies", BigInteger, nullable=False, server_default="1"),
    # The mirror's record that it concerns: installs/123, deals/<uuid>, customers/45, customers/<uuid>.
    Column("record", Text),
    # Why it is ignored or quarantined, or the result of the last attempt to read the record.
    Column("reason", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    time("next_attempt_at"),
    # The original event as canonical JSON; json and not jsonb, which costs three times as much to store.
    # Null once enerflo-sync prune has deleted it.
    Column("body", JSON(none_as_null=True)),
    time("pruned_at"),
    PrimaryKeyConstraint("account", "event_id"),
    CheckConstraint(
        "state in ('received', 'applied', 'ignored', 'quarantined')", name="webhook_events_state"
    ),
    Index("webhook_events_waiting", "account", "received_at", postgresql_where="state = 'received'"),
    Index("webhook_events_day", "account", "received_at", "event"),
    # Each event stands in one of them: that of its install, or of the record that it names.
    Index(
        "webhook_events_install",
        *("account", "install_id", "received_at"),
        postgresql_where="install_id is not null",
    ),
    Index(
        "webhook_events_record", *("account", "record", "received_at"), postgresql_where="install_id is null"
    ),
)

# Files to move whose events are committed: empty except after crashes and failed moves.
webhook_moves = sync_table(
    "webhook_moves",
    required("move_id"),
    time("taken_at", nullable=False),
    # By the file's address in the drop: the digest of its content, and its address in the archive.
    required("files", JSONB),
    PrimaryKeyConstraint("account", "move_id"),
)
