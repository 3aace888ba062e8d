"""Backfills and their chunks."""

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

# One row per requested backfill, from its estimate to its end.
backfills = sync_table(
    "backfills",
    required("backfill_id"),
    required("state"),
    # window (by the installs' creation time), ids, or everything.
    required("kind"),
    # The request in words: 2023-04-01 … 2023-04-30.
    required("words"),
    time("window_from"),
    # Exclusive.
    time("window_to"),
    # Installs by id, and by the uuid of their v2 deal.
    Column("install_ids", ARRAY(BigInteger), nullable=False, server_default="{}"),
    Column("deal_ids", ARRAY(Text), nullable=False, server_default="{}"),
    Column("resources", ARRAY(Text), nullable=False),
    # Hashes of the request and of the configuration that reads it; a resume requires the same.
    *(required(name) for name in ("request_hash", "mapping_hash")),
    time("created_at", nullable=False),
    time("touched_at", nullable=False),
    # Changes at Enerflo before this moment are covered by the backfill.
    time("started_at"),
    time("finished_at"),
    # Installs per page, and the list's length when its pages were searched.
    Column("per_page", Integer, nullable=False),
    Column("listed", BigInteger),
    # Requests and refusals of the search, the estimate and the end; those of chunks are with the chunks.
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("requests", "throttled")),
    # How far, in seconds, the window was widened because records were out of order.
    Column("widened_seconds", Float, nullable=False, server_default="0"),
    Column("estimate", JSONB(none_as_null=True)),
    Column("outcome", JSONB(none_as_null=True)),
    PrimaryKeyConstraint("account", "backfill_id"),
    CheckConstraint("state in ('estimated', 'reading', 'finished', 'superseded')", name="backfills_state"),
    CheckConstraint("kind in ('window', 'ids', 'everything')", name="backfills_kind"),
    Index("backfills_time", "account", "created_at"),
)

# A backfill's work in chunks, each resumable on its own.
backfill_chunks = sync_table(
    "backfill_chunks",
    required("backfill_id"),
    required("chunk", Integer),
    # installs, notes or change_orders: pages of their list; records: installs read one by one.
    required("resource"),
    # Its content in words: 2023-04-01 … 2023-04-12, pages 120 to 141.
    required("label"),
    required("state"),
    # Its first row in the list, and its number of rows; null if unknown.
    Column("first_row", BigInteger, nullable=False),
    Column("expected_rows", BigInteger),
    # Its installs: from high_id down to above low_id; null for the list's beginning and end.
    Column("high_id", BigInteger),
    Column("low_id", BigInteger),
    # Its progress: all installs down to this id are stored; then the list's next row, and the list's length
    # at that time.
    Column("reached_id", BigInteger),
    Column("reached_total", BigInteger),
    Column("reached_row", BigInteger, nullable=False, server_default="0"),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("pages", "rows")),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("requests", "throttled")),
    # How far creation times were out of the list's order, in seconds; whether ids were.
    Column("disorder_seconds", Float, nullable=False, server_default="0"),
    Column("ids_disordered", Boolean, nullable=False, server_default="false"),
    # Counts and reasons by resource, like those of a run.
    Column("tallies", JSONB, nullable=False, server_default="{}"),
    time("started_at"),
    time("finished_at"),
    PrimaryKeyConstraint("account", "backfill_id", "chunk"),
    CheckConstraint("state in ('waiting', 'reading', 'done', 'incomplete')", name="backfill_chunks_state"),
)

# The installs listed on the pages of an unfinished backfill; deleted at its end.
backfill_pages = sync_table(
    "backfill_pages",
    required("backfill_id"),
    required("chunk", Integer),
    required("page", Integer),
    Column("install_ids", ARRAY(BigInteger), nullable=False),
    PrimaryKeyConstraint("account", "backfill_id", "chunk", "page"),
)
