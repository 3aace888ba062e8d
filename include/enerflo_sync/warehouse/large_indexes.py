"""Indexes of tables that may be large: they are built while jobs write, before the migration that needs them.

``create index`` keeps every writer out until all rows are read, and a transaction of several migrations
would keep them out until its end. ``create index concurrently`` lets them write, but cannot run in a
transaction. So a migration lists such indexes in ``concurrently``, by name, each as a statement with ``{}``
in the place of ``concurrently`` or ``if not exists``. They are built first; then the migration finds them. It
makes those whose table or column does not exist before it, as in a new warehouse.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from enerflo_sync.warehouse.revision import schema_version

# An arbitrary constant that every version of this program must share.
INDEX_LOCK = 7_203_114_552
PAUSE_SECONDS = 3.0

_ON = re.compile(r" on ([a-z_]+[.][a-z_]+)")
_IS_VALID = sa.text("select i.indisvalid from pg_index i where i.indexrelid = to_regclass(:name)")
_HAS_TABLE = sa.text("select to_regclass(:name) is not null")
_TRY = sa.text("select pg_try_advisory_lock(:key)")
_UNLOCK = sa.text("select pg_advisory_unlock(:key)")

log = logging.getLogger(__name__)


def build_large_indexes(
    engine: sa.Engine, config: Config, tell: Callable[[str], None] = lambda _: None
) -> None:
    """Build the indexes of the missing migrations whose tables exist; an interrupted build starts again.

    Waits for transactions that began before it, however long they take; nobody waits for it.

    :param config: Alembic's, with any connection: only the migrations' files are read.
    :param tell: called with the name of each index before it is built.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not (missing := _missing(connection, config)):
            return
        with _alone(connection):
            for name, statement in missing.items():
                _build(connection, name, statement, tell)


def _missing(connection: sa.Connection, config: Config) -> dict[str, str]:
    """Return the statements of the indexes that are still to be built, by name."""
    version = schema_version(connection)
    found: dict[str, str] = {}
    if version.revision is None or version.newer:
        return found
    for script in reversed(list(ScriptDirectory.from_config(config).walk_revisions())):
        if int(script.revision) > int(version.revision):
            found |= getattr(script.module, "concurrently", {})
    return {
        name: statement
        for name, statement in found.items()
        if connection.scalar(_HAS_TABLE, {"name": table_of(statement)})
        and not connection.scalar(_IS_VALID, {"name": name})
    }


def table_of(statement: str) -> str:
    """Return the table, with its schema, that a statement of ``concurrently`` makes an index of."""
    found = _ON.search(statement)
    if found is None:
        raise ValueError(f"no table with its schema in {statement!r}")
    return found[1]


@contextmanager
def _alone(connection: sa.Connection) -> Iterator[None]:
    """Hold the lock on building indexes.

    It is asked for again and again: a session that waits for a lock in a statement has a snapshot, and the
    builder that holds the lock would wait for that snapshot's end.
    """
    while not connection.scalar(_TRY, {"key": INDEX_LOCK}):
        time.sleep(PAUSE_SECONDS)
    try:
        connection.exec_driver_sql("set lock_timeout = 0")
        connection.exec_driver_sql("set statement_timeout = 0")
        yield
    finally:
        connection.scalar(_UNLOCK, {"key": INDEX_LOCK})
        # Its settings must not return to the pool.
        connection.invalidate()


def _build(connection: sa.Connection, name: str, statement: str, tell: Callable[[str], None]) -> None:
    valid = connection.scalar(_IS_VALID, {"name": name})
    if valid:
        # Another process built it in the meantime.
        return
    if valid is not None:
        # What an interrupted build left.
        connection.exec_driver_sql(f"drop index concurrently {name}")
    log.info("migrate_index index=%s jobs=go on", name)
    tell(name)
    try:
        connection.exec_driver_sql(statement.format("concurrently"))
    except sa.exc.ProgrammingError as error:
        # Its migration, or one before it, adds the column, and nobody fills it until then; or another process
        # ended that migration, which makes the index, since this one looked.
        if not isinstance(error.orig, psycopg.errors.UndefinedColumn | psycopg.errors.DuplicateTable):
            raise
        log.info("migrate_index index=%s left to=its migration", name)
