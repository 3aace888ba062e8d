"""Seals over the ledger: one row for each stretch of the ledger, chained by digests."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, LargeBinary, PrimaryKeyConstraint
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE

from enerflo_sync.warehouse.schema.columns import required, sync_table, text, time

# Seals over the ledger: digests of its rows, each seal chained to the one before.
ledger_seals = sync_table(
    "ledger_seals",
    # 1, 2, 3 … of the account, without a gap.
    Column("number", BigInteger, nullable=False),
    # sealed: rows as they were written. rewritten, removed: what one of our own commands did to them later.
    required("kind"),
    # In which form a row was spelled for its digest.
    required("form", Integer),
    # Exactly the ledger_ids of the rows.
    required("ids", INT8MULTIRANGE),
    required("row_count", BigInteger),
    # 16 bytes for each row, in the order of the ids; none of rows that were removed.
    required("row_digests", LargeBinary),
    # No row up to this ledger_id was still being written: a further one there was put in by hand.
    required("settled", BigInteger),
    time("sealed_at", nullable=False),
    # The database's session_user.
    required("sealed_by"),
    *text("reason"),
    # sha-256 of the seal before, and of everything above.
    required("digest", LargeBinary),
    PrimaryKeyConstraint("account", "number"),
    CheckConstraint("kind in ('sealed', 'rewritten', 'removed')", name="ledger_seals_kind"),
)
