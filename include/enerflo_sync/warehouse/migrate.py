"""Bring the warehouse to this version's tables: idempotent, and safe when two start at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from enerflo_sync.warehouse.engine import check_server, warehouse_errors
from enerflo_sync.warehouse.revision import LATEST_REVISION, current_revision
from enerflo_sync.warehouse.schema import SYNC_SCHEMA

# Any constant serves, as long as every version of this program takes the same one.
MIGRATION_LOCK = 7_203_114_551
# Five minutes with the waits between them.
TRIES = 60
PAUSE_SECONDS = 3.0
_LOCK_TIMEOUT = sa.text("select set_config('lock_timeout', :wait, true)")

T = TypeVar("T")

log = logging.getLogger(__name__)


def alembic_config(connection: sa.Connection) -> Config:
    """Return what Alembic needs to run these migrations in a transaction of the caller's."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def migrate(engine: sa.Engine, *, tries: int = TRIES) -> tuple[str | None, str]:
    """Run what is missing, in one transaction, and return the revisions before and after.

    Waits two seconds at most for a table that somebody uses, since whoever wants to read the table meanwhile
    waits behind the migration. Then all is undone and, after a pause, tried again.

    :param tries: how often in all.
    :raises ConfigurationError: server too old, or no right to create schemas.
    :raises RetriableError: the server could not be reached, or a table was in use at each try.
    """
    return in_turn(engine, _migrate, tries=tries)


def in_turn(engine: sa.Engine, work: Callable[[sa.Connection], T], *, tries: int = TRIES) -> T:
    """Return what ``work`` does to the tables in one transaction, of which only one goes on at a time.

    As :func:`migrate`: it waits briefly for a table that somebody uses, and is tried again then.
    """
    with warehouse_errors("migrate"):
        for tried in range(1, tries + 1):
            try:
                with engine.begin() as connection:
                    check_server(connection)
                    # Of two that start at once the second waits for the first, and holds nothing meanwhile.
                    usual = connection.scalar(sa.text("select current_setting('lock_timeout')"))
                    connection.execute(_LOCK_TIMEOUT, {"wait": "0"})
                    connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                    connection.execute(_LOCK_TIMEOUT, {"wait": usual})
                    return work(connection)
            except sa.exc.OperationalError as error:
                if tried == tries or not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    raise
            log.info("migrate_again tried=%d why=a table is in use", tried)
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("a try returns or raises")


def _migrate(connection: sa.Connection) -> tuple[str | None, str]:
    # Not `if not exists`: the server asks for the right to create schemas also where the schema exists.
    if not connection.scalar(sa.text("select to_regnamespace(:name) is not null"), {"name": SYNC_SCHEMA}):
        connection.execute(sa.text(f"create schema {SYNC_SCHEMA}"))
    before = current_revision(connection)
    command.upgrade(alembic_config(connection), "head")
    return before, LATEST_REVISION
