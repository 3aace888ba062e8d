"""Decisions are found by the hash of their record's key: to order JSON keys took a fifth of an apply."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Replace the ordered indexes of keys, which nothing reads in order."""
    for table in ("ledger", "plan_changes"):
        op.drop_index(f"{table}_record", table, schema="sync")
        op.create_index(
            f"{table}_record", table, ["key"], unique=False, schema="sync", postgresql_using="hash"
        )
