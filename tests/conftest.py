"""One PostgreSQL for the whole test run; each test that asks for a warehouse gets a database of its own.

``ENERFLO_TEST_POSTGRES=postgresql+psycopg://…`` runs the tests on a server of yours, of any version from 14 on; its
role must be a superuser. The database ``migrated`` is left there. What is temporary lies in memory where that has
room: a database is made in 0.03 s there, in 0.3 s on a disk.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings
from psycopg import _queries

from enerflo_sync.warehouse.embedded import embedded_postgres
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.migrate import migrate
from tests.memory import keep_temporary_files_in_memory

keep_temporary_files_in_memory()
# The same examples in every run: a red CI is a defect of the change.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

# The driver remembers how it reads the last 128 short statements; a plan sends 400, many of them long.
if hasattr(_queries, "_query2pg_nocache") and hasattr(_queries, "MAX_CACHED_STATEMENT_LENGTH"):
    _queries._query2pg = lru_cache(maxsize=1024)(_queries._query2pg_nocache)
    _queries.MAX_CACHED_STATEMENT_LENGTH = 1 << 18

_numbers = itertools.count(1)
# The server keeps what it has freed: the kernel clears each page that it gives out anew, in every statement.
_KEEPS_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_TOP_PAD_": str(1 << 20),
}
# The databases that this run keeps to copy them.
_kept: list[str] = []
# Files that take minutes come first, so that no worker begins one when the others are done.
_LONGEST = (
    "browser",
    "workers",
    "simulation",
    "dags",
    "soak",
    "benchmarks",
    "warehouse",
    "backfill",
    "writes",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders whose files take longest; each file stays as it is."""

    def turn(item: pytest.Item) -> int:
        folder = item.path.parent.name
        return _LONGEST.index(folder) if folder in _LONGEST else len(_LONGEST)

    items.sort(key=turn)


def pytest_collection_finish() -> None:
    """Leave the modules and tests of a run to no further garbage collection: each one looks at them all."""
    gc.freeze()


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """Hear every logger, also those that an earlier test of this process has switched off.

    Airflow's set-up of its logging, and alembic's, switches off the loggers that exist by then.
    """
    logging.disable(logging.NOTSET)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            monkeypatch.setattr(logger, "disabled", False)
            monkeypatch.setattr(logger, "propagate", True)
    return caplog


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of the run's PostgreSQL server, with a migrated database to copy from."""
    if own := os.environ.get("ENERFLO_TEST_POSTGRES"):
        # A mutation run makes that database once for all its processes.
        if not os.environ.get("ENERFLO_TEST_MIGRATED"):
            _make_migrated(own)
        yield own
        while _kept:
            drop_database(own, _kept.pop())
        return
    with embedded_for_tests() as url:
        yield url


@contextmanager
def embedded_for_tests() -> Iterator[str]:
    """Yield the address of an embedded server with a migrated database, as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="enerflo-pg-") as folder:
        # Where root runs the tests, PostgreSQL runs as somebody else, who has to get through.
        Path(folder).chmod(0o755)
        with ExitStack() as running:
            with pytest.MonkeyPatch.context() as environ:
                for name, value in _KEEPS_MEMORY.items():
                    environ.setenv(name, value)
                url = running.enter_context(embedded_postgres(Path(folder) / "data"))
            # These databases live for minutes: nothing of them has to survive a power cut, or to be vacuumed.
            settings = ("fsync", "full_page_writes", "synchronous_commit", "autovacuum")
            _run(url, *(f"alter system set {name} = off" for name in settings), "select pg_reload_conf()")
            _make_migrated(url)
            yield url
            _admin(url).dispose()


@cache
def _admin(url: str) -> sa.Engine:
    """Return what makes and drops databases; its connection stays open: another one costs more than a drop."""
    return sa.create_engine(url, isolation_level="AUTOCOMMIT", pool_size=1, pool_pre_ping=True)


def _run(url: str, *statements: str) -> None:
    with _admin(url).connect() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


def _make_migrated(url: str) -> None:
    _run(url, "drop database if exists migrated", "create database migrated")
    engine = warehouse_engine(database_url(url, "migrated"))
    migrate(engine)
    engine.dispose()


@cache
def _copied_as(url: str) -> str:
    """Copy databases as files, as servers before 15 always do: to log every page takes three times as long."""
    with _admin(url).connect() as connection:
        version = connection.scalar(sa.text("select current_setting('server_version_num')::int"))
    return " strategy file_copy" if version >= 150000 else ""


def copy_database(url: str, name: str, template: str) -> str:
    """Return the address of a database that is made now as a copy of another."""
    _run(url, f"create database {name} template {template}{_copied_as(url)}")
    return database_url(url, name)


def keep_database(url: str, template: str) -> str:
    """Return the name of a copy of a database that stays until the run ends, to be copied in turn."""
    name = f"kept_{os.getpid()}_{next(_numbers)}"
    copy_database(url, name, template)
    _kept.append(name)
    return name


def database_url(url: str, name: str) -> str:
    """Return the address of a server's database."""
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def fresh_database(url: str, template: str) -> Iterator[str]:
    """Yield the address of a copy of a database, and drop it: some thousand of them would fill the disk."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    yield copy_database(url, name, template)
    drop_database(url, name)


def drop_database(url: str, name: str) -> None:
    """Drop a database, whoever is connected to it."""
    _run(url, f"drop database {name} with (force)")


@pytest.fixture
def empty_warehouse_url(postgres_url: str) -> Iterator[str]:
    """The address of a database in which nothing was made yet."""
    with fresh_database(postgres_url, "template0") as address:
        yield address


@pytest.fixture
def warehouse_url(postgres_url: str) -> Iterator[str]:
    """The address of a database with this version's tables, all of them empty."""
    with fresh_database(postgres_url, "migrated") as address:
        yield address


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[sa.Engine]:
    """An engine on a database with this version's tables, all of them empty."""
    engine = warehouse_engine(warehouse_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of a storage of buckets on this machine, which takes any credentials."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
