"""Every session waits for locks and runs statements as long as its job may, and no longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import RetriableError
from enerflo_sync.warehouse import migrate as migrating
from enerflo_sync.warehouse import timeouts
from enerflo_sync.warehouse.engine import warehouse_engine, warehouse_errors
from enerflo_sync.warehouse.migrate import migrate
from enerflo_sync.warehouse.timeouts import BY_JOB, DEFAULT, Timeouts

_SETTINGS = "select current_setting('lock_timeout'), current_setting('statement_timeout')"


def settings_of(engine: sa.Engine, job: str | None) -> tuple[str, ...]:
    if job is None:
        with engine.connect() as connection:
            return tuple(connection.execute(sa.text(_SETTINGS)).one())
    with warehouse_errors(job), engine.connect() as connection:
        return tuple(connection.execute(sa.text(_SETTINGS)).one())


def spelled(bounds: Timeouts) -> tuple[int, int]:
    return bounds.lock, bounds.statement


def seconds(text: str) -> int:
    unit = text.lstrip("0123456789")
    return int(text.removesuffix(unit)) * {"s": 1, "min": 60, "h": 3600}[unit]


@pytest.mark.parametrize("job", [None, *BY_JOB])
def test_a_session_has_the_bounds_of_its_job_also_when_it_is_used_again(
    warehouse: sa.Engine, job: str | None
) -> None:
    for one in (job, "apply", job):
        lock, statement = settings_of(warehouse, one)
        assert (seconds(lock), seconds(statement)) == spelled(BY_JOB.get(one or "", DEFAULT))


def test_they_survive_a_rollback(warehouse: sa.Engine) -> None:
    with warehouse_errors("apply"), warehouse.connect() as connection:
        connection.rollback()
        assert connection.scalar(sa.text("show lock_timeout")) == "5s"


def test_every_job_has_bounds_and_they_fit(warehouse: sa.Engine) -> None:
    assert all(0 < one.lock < one.statement for one in (DEFAULT, *BY_JOB.values()))
    assert BY_JOB["migrate"].lock <= 2
    assert BY_JOB["apply"].lock <= 5
    assert BY_JOB["reconcile"].statement >= 3_600


def test_options_of_the_url_stand(warehouse_url: str) -> None:
    url = sa.make_url(warehouse_url).update_query_dict({"options": "-c lock_timeout=7s"})
    engine = warehouse_engine(url.render_as_string(hide_password=False))
    try:
        assert settings_of(engine, "apply") == ("7s", "0")
        with engine.connect() as connection:
            assert connection.scalar(sa.text("show timezone")) == "UTC"
    finally:
        engine.dispose()


@contextmanager
def holding(engine: sa.Engine, statement: str) -> Iterator[None]:
    """A second session that holds a lock until the end."""
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
        yield
        connection.rollback()


def test_who_waits_too_long_for_a_lock_undoes_everything_and_says_so(
    warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "BY_JOB", {"apply": Timeouts(1, 60)})
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create table a (n int); create table b (n int); insert into a values (1)")
    with holding(warehouse, "lock table b in access exclusive mode"):
        with (
            pytest.raises(RetriableError, match=r"holds a lock .*55P03"),
            warehouse_errors("apply"),
            warehouse.begin() as connection,
        ):
            connection.exec_driver_sql("update a set n = 2")
            connection.exec_driver_sql("update b set n = 2")
        with warehouse.connect() as connection:
            assert connection.scalar(sa.text("select n from a for update nowait")) == 1


def test_a_statement_that_runs_too_long_is_ended_and_that_is_said(
    warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "BY_JOB", {"poll": Timeouts(1, 1)})
    with (
        pytest.raises(RetriableError, match="57014"),
        warehouse_errors("poll"),
        warehouse.connect() as connection,
    ):
        connection.exec_driver_sql("select pg_sleep(30)")


def test_readers_wait_behind_no_migration(empty_warehouse_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long reader holds a table that the next migration alters: other readers go on beside it."""
    engine = warehouse_engine(empty_warehouse_url)
    monkeypatch.setattr(migrating, "PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(timeouts, "BY_JOB", {"migrate": Timeouts(1, 60)})
    migrate(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("create table busy (n int)")

    real = migrating.command.upgrade

    def upgrade(config: object, revision: str) -> None:
        config.attributes["connection"].exec_driver_sql("alter table busy add column m int")  # type: ignore[attr-defined]
        real(config, revision)

    monkeypatch.setattr(migrating.command, "upgrade", upgrade)
    longest, done = 0.0, threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with holding(engine, "select * from busy"):
            migration = pool.submit(migrate, engine)
            until = time.monotonic() + 4
            while time.monotonic() < until:
                began = time.monotonic()
                with engine.connect() as reader:
                    reader.exec_driver_sql("select * from busy")
                longest = max(longest, time.monotonic() - began)
                time.sleep(0.05)
            assert not migration.done()
        migration.result(timeout=30)
    done.set()
    assert longest < 1.6
    with engine.connect() as connection:
        connection.exec_driver_sql("select m from busy")
    engine.dispose()


def test_a_migration_that_never_gets_its_table_says_so(
    warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(timeouts, "BY_JOB", {"migrate": Timeouts(1, 60)})

    def upgrade(config: object, _: str) -> None:
        config.attributes["connection"].exec_driver_sql("alter table sync.runs add column m int")  # type: ignore[attr-defined]

    monkeypatch.setattr(migrating.command, "upgrade", upgrade)
    with holding(warehouse, "select * from sync.runs"), pytest.raises(RetriableError, match="55P03"):
        migrate(warehouse, tries=2)
