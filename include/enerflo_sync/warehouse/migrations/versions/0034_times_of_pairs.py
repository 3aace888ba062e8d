"""The times at which both sides had the values of an agreed pair, by their own clocks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
# It leaves the columns as they are.
older_programs = "write"

_COLUMNS = ("enerflo_time", "crm_time")


def upgrade() -> None:
    """Add the columns; the next plan fills them where a field takes the later value."""
    for name in _COLUMNS:
        op.add_column("agreed", sa.Column(name, sa.DateTime(timezone=True)), schema="sync")


def downgrade() -> None:
    """Drop the columns: an edit that does not move its side's time is judged by that time again."""
    for name in _COLUMNS:
        op.drop_column("agreed", name, schema="sync")
