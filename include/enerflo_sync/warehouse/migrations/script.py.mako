"""${message}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
# What programs before this revision may do with the tables: write, read or nothing.
older_programs = "write"


def upgrade() -> None:
    """Bring the tables forward."""
    ${upgrades if upgrades else "pass"}
