"""The version of the warehouse's tables, found without loading the migrations."""

from __future__ import annotations

import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.schema import SYNC_SCHEMA, VERSION_TABLE

# The revision that this code expects. A constant, because every job compares it, and Alembic would load all
# migrations to look it up.
LATEST_REVISION = "0030"


def current_revision(connection: sa.Connection) -> str | None:
    """Return the warehouse's revision; ``None`` if it was never migrated."""
    table = f"{SYNC_SCHEMA}.{VERSION_TABLE}"
    if connection.scalar(sa.text("select to_regclass(:table)"), {"table": table}) is None:
        return None
    revision: str | None = connection.scalar(sa.text(f"select version_num from {table}"))  # noqa: S608
    return revision


def require_migrated(engine: sa.Engine) -> None:
    """Return if the warehouse has this version's tables.

    :raises ConfigurationError: it does not; the text says which command to run.
    """
    with warehouse_errors("a look at the schema version"), engine.connect() as connection:
        found = current_revision(connection)
    if found != LATEST_REVISION:
        raise ConfigurationError(
            f"the warehouse is at schema revision {found or 'none'},"
            f" and this version needs {LATEST_REVISION}.",
            where=f"{SYNC_SCHEMA}.{VERSION_TABLE}",
            next_step="Run enerflo-sync migrate.",
        )
