"""Indexes of tables that may be large are built while jobs write, and before the migration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from enerflo_sync.warehouse import large_indexes
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.large_indexes import build_large_indexes, table_of
from enerflo_sync.warehouse.migrate import alembic_config, migrate
from enerflo_sync.warehouse.revision import LATEST_REVISION
from enerflo_sync.warehouse.schema import SYNC_SCHEMA

BUILDING = (
    "select count(*) from pg_stat_activity where datname = current_database()"
    " and starts_with(query, 'create index concurrently') and state = 'active'"
)
VALID = "select count(*) from pg_index where indexrelid = to_regclass('sync.plan_changes_completed') and {}"
# Migrations of before this rule, and the new tables or small ones that they made indexes of.
BEFORE_THE_RULE = 36


def at(engine: sa.Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(f"create schema if not exists {SYNC_SCHEMA}")
        command.upgrade(alembic_config(connection), revision)


@pytest.fixture
def older(empty_warehouse_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    """A warehouse that lacks the index of completions."""
    monkeypatch.setattr(large_indexes, "PAUSE_SECONDS", 0.05)
    engine = warehouse_engine(empty_warehouse_url)
    at(engine, "0034")
    yield engine
    engine.dispose()


def number(engine: sa.Engine, query: str) -> Any:
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).scalar_one()


def until(holds: Callable[[], Any]) -> None:
    for _ in range(200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to that")


def test_jobs_write_while_an_index_is_built(older: sa.Engine) -> None:
    """A job that has written the table and not ended yet keeps the index waiting, and nobody else."""
    write = "delete from sync.plan_changes"
    with ThreadPoolExecutor(1) as pool, older.connect() as job, older.connect() as other:
        job.exec_driver_sql(write)
        told: list[str] = []
        migration = pool.submit(migrate, older, building=told.append)
        until(lambda: number(older, BUILDING))
        assert told == ["sync.plan_changes_completed"]
        other.exec_driver_sql("set lock_timeout = '1s'")
        other.exec_driver_sql(write)
        other.commit()
        assert not migration.done()
        job.rollback()
        assert migration.result(timeout=30) == ("0034", LATEST_REVISION)
    assert number(older, VALID.format("indisvalid")) == 1


def test_an_interrupted_build_starts_again(older: sa.Engine) -> None:
    with ThreadPoolExecutor(1) as pool, older.connect() as job:
        job.exec_driver_sql("delete from sync.plan_changes")
        migration = pool.submit(migrate, older)
        until(lambda: number(older, BUILDING))
        number(older, BUILDING.replace("count(*)", "count(pg_terminate_backend(pid))"))
        assert migration.exception(timeout=30) is not None
    assert number(older, VALID.format("not indisvalid")) == 1
    assert migrate(older) == ("0034", LATEST_REVISION)
    assert number(older, VALID.format("indisvalid")) == 1


def test_two_that_build_at_once_both_succeed(older: sa.Engine) -> None:
    others = [warehouse_engine(older.url.render_as_string(hide_password=False)) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool, older.connect() as job:
        job.exec_driver_sql("delete from sync.plan_changes")
        migrations = [pool.submit(migrate, engine) for engine in others]
        until(lambda: number(older, BUILDING))
        job.rollback()
        found = sorted(str(one.result(timeout=30)[0]) for one in migrations)
    assert found[0] == "0034"
    assert number(older, VALID.format("indisvalid")) == 1
    for engine in others:
        engine.dispose()


def test_an_index_that_a_migration_makes_before_its_build_is_left_as_it_is(older: sa.Engine) -> None:
    """One process has found an index missing; another ends the migration that adds its column and makes it."""

    def migrated_elsewhere(index: str) -> None:
        if index == "sync.plan_changes_unconfirmed":
            with older.begin() as other:
                command.upgrade(alembic_config(other), "head")

    build_large_indexes(older, alembic_config(None), migrated_elsewhere)
    assert migrate(older) == (LATEST_REVISION, LATEST_REVISION)
    assert number(older, VALID.format("indisvalid")) == 1


def test_an_index_whose_column_a_migration_adds_is_left_to_its_migration(older: sa.Engine) -> None:
    with older.begin() as connection:
        connection.exec_driver_sql("alter table sync.plan_changes rename column rule to its_rule")
    build_large_indexes(older, alembic_config(None))
    with older.begin() as connection:
        connection.exec_driver_sql("alter table sync.plan_changes rename column its_rule to rule")
    assert migrate(older) == ("0034", LATEST_REVISION)
    assert number(older, VALID.format("indisvalid")) == 1


@pytest.mark.parametrize("revision", ["0001", "0019", "0027"])
def test_an_old_warehouse_gets_them_too(empty_warehouse_url: str, revision: str) -> None:
    engine = warehouse_engine(empty_warehouse_url)
    at(engine, revision)
    assert migrate(engine) == (revision, LATEST_REVISION)
    assert number(engine, "select count(*) from pg_index where not indisvalid") == 0
    engine.dispose()


def test_a_new_migration_builds_the_indexes_of_older_tables_so(empty_warehouse_url: str) -> None:
    """Nobody knows how large the table of a company is: each such index is in ``concurrently``."""
    engine = warehouse_engine(empty_warehouse_url)
    wrong: dict[str, set[str]] = {}
    with engine.begin() as connection:
        connection.exec_driver_sql(f"create schema {SYNC_SCHEMA}")
        config = alembic_config(connection)
        before: dict[str, str] = {}
        for script in reversed(list(ScriptDirectory.from_config(config).walk_revisions())):
            command.upgrade(config, script.revision)
            after = indexes(connection)
            listed = getattr(script.module, "concurrently", {})
            for name, statement in listed.items():
                assert after[name] == table_of(statement)
            made = {name for name, table in after.items() if name not in before and table in before.values()}
            if made - listed.keys():
                wrong[script.revision] = made - listed.keys()
            before = after
    engine.dispose()
    assert [number for number in wrong if int(number) > BEFORE_THE_RULE] == []
    # The look sees what breaks the rule: migrations of before it had some.
    assert "sync.plans_open" in wrong["0029"]


def indexes(connection: sa.Connection) -> dict[str, str]:
    rows = connection.exec_driver_sql(
        "select indexrelid::regclass::text, indrelid::regclass::text from pg_index"
        " where indrelid::regclass::text ~ '^(enerflo|sync)[.]'"
    )
    return {row[0]: row[1] for row in rows.tuples()}
