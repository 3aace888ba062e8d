"""Backfills, and their parts."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from enerflo_sync.warehouse.schema.columns import required, sync_table, time

# One row for each backfill that was asked for, from its estimate to its end.
backfills = sync_table(
    "backfills",
    required("backfill_id"),
    required("state"),
    # window (by the installs' creation), ids, or everything.
    required("kind"),
    # What it is, for people: 2023-04-01 … 2023-04-30.
    required("words"),
    time("window_from"),
    # Exclusive.
    time("window_to"),
    # Installs by id, and by the uuid of their v2 deal.
    Column("install_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    Column("deal_ids", ARRAY(Text), nullable=False, server_default="{}"),
    Column("resources", ARRAY(Text), nullable=False),
    # Of what was asked for, and of the configuration by which it is read: a resume asks for the same.
    *(required(name) for name in ("request_hash", "mapping_hash")),
    time("created_at", nullable=False),
    time("touched_at", nullable=False),
    # What was changed at Enerflo before this moment is read after it.
    time("started_at"),
    time("finished_at"),
    # Installs a page, and how many the list held when its pages were searched.
    Column("per_page", Integer, nullable=False),
    Column("listed", BigInteger),
    # Requests and refusals of the search, the estimate and the end; those of chunks stand with them.
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("requests", "throttled")),
    # The seconds by which records were found out of order, up to which the walk was widened.
    Column("widened_seconds", Float, nullable=False, server_default="0"),
    Column("estimate", JSONB(none_as_null=True)),
    Column("outcome", JSONB(none_as_null=True)),
    PrimaryKeyConstraint("account", "backfill_id"),
    CheckConstraint("state in ('estimated', 'reading', 'finished', 'superseded')", name="backfills_state"),
    CheckConstraint("kind in ('window', 'ids', 'everything')", name="backfills_kind"),
    Index("backfills_time", "account", "created_at"),
)

# A backfill's work in parts, each resumable by itself.
backfill_chunks = sync_table(
    "backfill_chunks",
    required("backfill_id"),
    required("chunk", Integer),
    # installs, notes or change_orders: pages of their list; records: installs read one by one.
    required("resource"),
    # What it holds: 2023-04-01 … 2023-04-12, pages 120 to 141.
    required("label"),
    required("state"),
    # The row of the list at which it begins, and how many rows it holds; null where that is not known.
    Column("first_row", BigInteger, nullable=False),
    Column("expected_rows", BigInteger),
    # Its installs: from this id down to the one above the other; null for the list's beginning and end.
    Column("high_id", BigInteger),
    Column("low_id", BigInteger),
    # How far it is: the lowest id down to which all was stored, the next row of the list, and how many rows
    # the list had then.
    Column("reached_id", BigInteger),
    Column("reached_total", BigInteger),
    Column("reached_row", BigInteger, nullable=False, server_default="0"),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("pages", "rows")),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("requests", "throttled")),
    # By how many seconds creation times were found out of the list's order; whether ids were.
    Column("disorder_seconds", Float, nullable=False, server_default="0"),
    Column("ids_disordered", Boolean, nullable=False, server_default="false"),
    # Counts and reasons by resource, as a run's.
    Column("tallies", JSONB, nullable=False, server_default="{}"),
    time("started_at"),
    time("finished_at"),
    PrimaryKeyConstraint("account", "backfill_id", "chunk"),
    CheckConstraint("state in ('waiting', 'reading', 'done', 'incomplete')", name="backfill_chunks_state"),
)

# Which installs the pages of an unfinished backfill named; gone when it has ended.
backfill_pages = sync_table(
    "backfill_pages",
    required("backfill_id"),
    required("chunk", Integer),
    required("page", Integer),
    Column("install_ids", ARRAY(BigInteger), nullable=False),
    PrimaryKeyConstraint("account", "backfill_id", "chunk", "page"),
)
