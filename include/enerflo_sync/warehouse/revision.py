"""Which version of the tables the warehouse has, told without loading the migrations."""

from __future__ import annotations

import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.schema import SYNC_SCHEMA, VERSION_TABLE

# The revision that this version of the code expects. Said here, since every job asks: to look it up, Alembic
# loads all migrations.
LATEST_REVISION = "0027"


def current_revision(connection: sa.Connection) -> str | None:
    """Return the revision the warehouse is at, ``None`` when nothing was ever migrated."""
    table = f"{SYNC_SCHEMA}.{VERSION_TABLE}"
    if connection.scalar(sa.text("select to_regclass(:table)"), {"table": table}) is None:
        return None
    revision: str | None = connection.scalar(sa.text(f"select version_num from {table}"))  # noqa: S608
    return revision


def require_migrated(engine: sa.Engine) -> None:
    """Return when the warehouse has this version's tables.

    :raises ConfigurationError: it has not; the text says which command to run.
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
