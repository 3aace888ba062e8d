"""Runs of jobs, their watermarks, and the request budgets that they share."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.warehouse.schema.columns import required, sync_table, time

# Until when each list was read completely; also how far other incremental jobs have come.
watermarks = sync_table(
    "watermarks",
    required("name"),
    time("value", nullable=False),
    time("recorded_at", nullable=False),
    required("run_id"),
    PrimaryKeyConstraint("account", "name"),
)

# One row per run of a job, with its counts and reasons.
runs = sync_table(
    "runs",
    required("run_id"),
    required("job"),
    time("started_at", nullable=False),
    time("finished_at"),
    # A run starts as failed and becomes ok or partial at its end, so a killed run needs no clean-up.
    required("state"),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("read", "applied")),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("unchanged", "quarantined")),
    Column("skipped", BigInteger, nullable=False, server_default="0"),
    Column("requests", BigInteger, nullable=False, server_default="0"),
    Column("reasons", JSONB, nullable=False, server_default="{}"),
    Column("resources", JSONB, nullable=False, server_default="{}"),
    # How far the worker's clock was ahead of the database's; null if not compared.
    Column("clock_ahead_seconds", Float),
    PrimaryKeyConstraint("account", "run_id"),
    CheckConstraint("state in ('ok', 'partial', 'failed')", name="runs_state"),
    CheckConstraint(
        "state = 'failed' or read = applied + unchanged + quarantined + skipped", name="runs_identity"
    ),
    Index("runs_job", "account", "job", "started_at"),
)

# The requests to Enerflo, counted by hour and endpoint.
api_calls = sync_table(
    "api_calls",
    required("endpoint"),
    time("hour", nullable=False),
    *(
        Column(name, BigInteger, nullable=False, server_default="0")
        for name in ("calls", "throttled", "failed", "bytes")
    ),
    Column("seconds", Float, nullable=False, server_default="0"),
    PrimaryKeyConstraint("account", "endpoint", "hour"),
)

# The request budget of each API key, which all processes share.
request_budgets = sync_table(
    "request_budgets",
    required("key_fingerprint"),
    required("limit_per_window", Integer),
    Column("remaining", Integer),
    time("reset_at"),
    time("blocked_until"),
    time("updated_at"),
    # When live work last sent or waited for a request, and until when at least one waits.
    time("live_at"),
    time("live_waits_until"),
    PrimaryKeyConstraint("account", "key_fingerprint"),
)

# When each slot of a key's budget was last used.
request_slots = sync_table(
    "request_slots",
    required("key_fingerprint"),
    required("slot", Integer),
    time("used_at", nullable=False),
    # Lane of its last use: live work, or a backfill.
    Column("lane", Text, nullable=False, server_default="live"),
    PrimaryKeyConstraint("account", "key_fingerprint", "slot"),
    CheckConstraint("lane in ('live', 'backfill')", name="request_slots_lane"),
)
