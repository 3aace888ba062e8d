"""Bring the warehouse to this version's tables: idempotent, and safe when two start at once."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse.engine import check_server, warehouse_errors
from enerflo_sync.warehouse.schema import SYNC_SCHEMA, VERSION_TABLE

# The revision that this version of the code expects. Said here, since every job asks: to look it up, Alembic
# loads all migrations.
LATEST_REVISION = "0020"
# Any constant serves, as long as every version of this program takes the same one.
MIGRATION_LOCK = 7_203_114_551
# Five minutes with the waits between them.
TRIES = 60
PAUSE_SECONDS = 3.0
_LOCK_TIMEOUT = sa.text("select set_config('lock_timeout', :wait, true)")

log = logging.getLogger(__name__)


def alembic_config(connection: sa.Connection) -> Config:
    """Return what Alembic needs to run these migrations in a transaction of the caller's."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def current_revision(connection: sa.Connection) -> str | None:
    """Return the revision the warehouse is at, ``None`` when nothing was ever migrated."""
    table = f"{SYNC_SCHEMA}.{VERSION_TABLE}"
    if connection.scalar(sa.text("select to_regclass(:table)"), {"table": table}) is None:
        return None
    revision: str | None = connection.scalar(sa.text(f"select version_num from {table}"))  # noqa: S608
    return revision


def migrate(engine: sa.Engine, *, tries: int = TRIES) -> tuple[str | None, str]:
    """Run what is missing, in one transaction, and return the revisions before and after.

    Waits two seconds at most for a table that somebody uses, since whoever wants to read the table meanwhile
    waits behind the migration. Then all is undone and, after a pause, tried again.

    :param tries: how often in all.
    :raises ConfigurationError: server too old, or no right to create schemas.
    :raises RetriableError: the server could not be reached, or a table was in use at each try.
    """
    with warehouse_errors("migrate"):
        for tried in range(1, tries + 1):
            try:
                return _migrate(engine)
            except sa.exc.OperationalError as error:
                if tried == tries or not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    raise
            log.info("migrate_again tried=%d why=a table is in use", tried)
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("a try returns or raises")


def _migrate(engine: sa.Engine) -> tuple[str | None, str]:
    with engine.begin() as connection:
        check_server(connection)
        # Of two that start at once the second waits for the first, and holds nothing meanwhile.
        usual = connection.scalar(sa.text("select current_setting('lock_timeout')"))
        connection.execute(_LOCK_TIMEOUT, {"wait": "0"})
        connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(_LOCK_TIMEOUT, {"wait": usual})
        connection.execute(sa.text(f"create schema if not exists {SYNC_SCHEMA}"))
        before = current_revision(connection)
        command.upgrade(alembic_config(connection), "head")
    return before, LATEST_REVISION


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
