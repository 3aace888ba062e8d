"""Migrate the warehouse to this version's tables: idempotent, and safe when two processes start at once."""

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
from alembic.script import ScriptDirectory

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse.engine import check_server, warehouse_errors
from enerflo_sync.warehouse.large_indexes import build_large_indexes
from enerflo_sync.warehouse.revision import (
    LATEST_REVISION,
    may_use,
    older_program,
    schema_version,
)
from enerflo_sync.warehouse.schema import SYNC_SCHEMA, VERSION_TABLE

# An arbitrary constant that every version of this program must share.
MIGRATION_LOCK = 7_203_114_551
# About five minutes, including the pauses.
TRIES = 60
PAUSE_SECONDS = 3.0
# Programs before this revision do not ask whether they may go on.
FIRST_TO_ASK = "0029"
_LOCK_TIMEOUT = sa.text("select set_config('lock_timeout', :wait, true)")

# A job that holds one table and wants another may meet the migration crosswise; the server ends one of them.
_IN_USE = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)

T = TypeVar("T")

log = logging.getLogger(__name__)


def alembic_config(connection: sa.Connection | None) -> Config:
    """Return Alembic's configuration for running the migrations in the caller's transaction.

    :param connection: None: the migrations' files are read, and none of them runs.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def migrate(
    engine: sa.Engine, *, tries: int = TRIES, building: Callable[[str], None] = lambda _: None
) -> tuple[str | None, str]:
    """Run the missing migrations in one transaction, and return the revisions before and after.

    Indexes of large tables are built before it, while jobs write.

    Waits at most two seconds for a table in use, because later readers of the table queue behind the waiting
    migration. Then rolls everything back and retries after a pause. Tables that a newer program migrated stay
    as they are, so that an older program may be started again after an upgrade.

    :param tries: total number of tries.
    :param building: called with the name of each index of a large table before it is built.
    :raises ConfigurationError: server too old, or no right to create schemas; or a newer program migrated the
        tables, and this program may not write them.
    :raises RetriableError: the server is unreachable, or a table was in use at each try.
    """
    with warehouse_errors("migrate"):
        build_large_indexes(engine, alembic_config(None), building)
    return in_turn(engine, _migrate, tries=tries)


def in_turn(engine: sa.Engine, work: Callable[[sa.Connection], T], *, tries: int = TRIES) -> T:
    """Run ``work`` on the tables in one transaction, under a lock that admits one such transaction at a time.

    Like :func:`migrate`, waits briefly for a table in use, and then retries.
    """
    with warehouse_errors("migrate"):
        for tried in range(1, tries + 1):
            try:
                with engine.begin() as connection:
                    check_server(connection)
                    # If two start at once, the second waits here for the first, without holding other locks.
                    usual = connection.scalar(sa.text("select current_setting('lock_timeout')"))
                    connection.execute(_LOCK_TIMEOUT, {"wait": "0"})
                    connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
                    connection.execute(_LOCK_TIMEOUT, {"wait": usual})
                    return work(connection)
            except sa.exc.OperationalError as error:
                if tried == tries or not isinstance(error.orig, _IN_USE):
                    raise
            log.info("migrate_again tried=%d why=a table is in use", tried)
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("a try returns or raises")


def _migrate(connection: sa.Connection) -> tuple[str | None, str]:
    # Not `if not exists`: the server asks for the right to create schemas also where the schema exists.
    if not connection.scalar(sa.text("select to_regnamespace(:name) is not null"), {"name": SYNC_SCHEMA}):
        connection.execute(sa.text(f"create schema {SYNC_SCHEMA}"))
    before = schema_version(connection)
    if before.newer and before.revision:
        if before.may_write:
            return before.revision, before.revision
        raise ConfigurationError(
            older_program(before),
            where=f"{SYNC_SCHEMA}.{VERSION_TABLE}",
            next_step="Nothing was changed. Use the newer program here: docs/upgrading.md.",
        )
    config = alembic_config(connection)
    command.upgrade(config, "head")
    read_from, write_from = oldest_programs(config)
    if (before.read_from, before.write_from) != (read_from, write_from):
        said = sa.literal(may_use(read_from, write_from)).compile(
            dialect=connection.dialect, compile_kwargs={"literal_binds": True}
        )
        connection.exec_driver_sql(f"comment on table {SYNC_SCHEMA}.{VERSION_TABLE} is {said}")
    return before.revision, LATEST_REVISION


def oldest_programs(config: Config) -> tuple[str, str]:
    """Return the revisions of the oldest programs that may read, and write, the newest tables.

    A migration says in ``older_programs`` what programs before it may do with its tables: ``write`` (also
    where it says nothing: it only adds what they need not know), ``read``, or ``nothing``.
    """
    read_from = write_from = FIRST_TO_ASK
    for script in reversed(list(ScriptDirectory.from_config(config).walk_revisions())):
        may = getattr(script.module, "older_programs", "write")
        if may not in ("write", "read", "nothing"):
            raise ValueError(f"migration {script.revision}: older_programs is {may!r}")
        if int(script.revision) > int(FIRST_TO_ASK):
            write_from = write_from if may == "write" else script.revision
            read_from = script.revision if may == "nothing" else read_from
    return read_from, write_from
