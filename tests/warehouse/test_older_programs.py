"""A program on the tables of another version: it says so, and goes on where the migrations permit it."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse import migrate as migrating
from enerflo_sync.warehouse import revision as revisions
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.migrate import FIRST_TO_ASK, alembic_config, migrate, oldest_programs
from enerflo_sync.warehouse.revision import LATEST_REVISION, may_use, require_migrated, schema_version
from enerflo_sync.warehouse.schema import SYNC_SCHEMA, VERSION_TABLE

TABLE = f"{SYNC_SCHEMA}.{VERSION_TABLE}"


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "_told", set())


def moved(engine: sa.Engine, revision: str, comment: str | None) -> None:
    """The warehouse as a program of another version leaves it."""
    said = "null" if comment is None else f"'{comment}'"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"update {TABLE} set version_num = '{revision}'")
        connection.exec_driver_sql(f"comment on table {TABLE} is {said}")


def refusal(engine: sa.Engine, *, reads_only: bool) -> str:
    try:
        require_migrated(engine, reads_only=reads_only)
    except ConfigurationError as error:
        return str(error)
    return ""


def test_a_migration_says_which_programs_may_go_on(warehouse: sa.Engine) -> None:
    with warehouse.connect() as connection:
        version = schema_version(connection)
        read_from, write_from = oldest_programs(alembic_config(connection))
    assert (version.read_from, version.write_from) == (read_from, write_from)
    assert FIRST_TO_ASK <= read_from <= write_from <= LATEST_REVISION


@pytest.mark.parametrize(
    ("comment", "reads", "writes"),
    [
        (may_use(LATEST_REVISION, LATEST_REVISION), True, True),
        (may_use("0001", "0001"), True, True),
        (may_use(LATEST_REVISION, "9001"), True, False),
        (may_use("9001", "9001"), False, False),
        (None, False, False),
        ("somebody wrote this", False, False),
        ("[1]", False, False),
    ],
)
def test_an_older_program_goes_on_where_it_may(
    warehouse: sa.Engine, caplog: pytest.LogCaptureFixture, comment: str | None, reads: bool, writes: bool
) -> None:
    moved(warehouse, "9002", comment)
    with caplog.at_level(logging.WARNING):
        for reads_only, may in ((True, reads), (False, writes)):
            found = refusal(warehouse, reads_only=reads_only)
            assert (found == "") is may, found
            if not may:
                assert "at schema revision 9002, made by a newer version" in found
                assert f"this version knows {LATEST_REVISION}" in found
                assert "Use the newer program here" in found
                assert "migrate" not in found
    told = [line for line in caplog.messages if line.startswith("older_program")]
    assert len(told) == (1 if reads or writes else 0)


def test_a_revision_of_another_numbering_is_not_taken_for_an_older_one(warehouse: sa.Engine) -> None:
    moved(warehouse, "ab12", None)
    assert "made by a newer version" in refusal(warehouse, reads_only=True)


def test_a_newer_program_says_from_where_to_where_migrate_goes(warehouse: sa.Engine) -> None:
    moved(warehouse, "0028", None)
    assert f"Run enerflo-sync migrate. It goes from 0028 to {LATEST_REVISION}." in refusal(
        warehouse, reads_only=True
    )


def test_migrate_of_an_older_program_leaves_newer_tables_as_they_are(warehouse: sa.Engine) -> None:
    moved(warehouse, "9002", may_use("0001", "0001"))
    assert migrate(warehouse) == ("9002", "9002")
    moved(warehouse, "9002", may_use("0001", "9002"))
    with pytest.raises(ConfigurationError, match=r"may only read its tables.*Use the newer program"):
        migrate(warehouse)
    with warehouse.connect() as connection:
        assert schema_version(connection) == revisions.SchemaVersion("9002", "0001", "9002")


def test_a_lost_comment_is_written_again(warehouse: sa.Engine) -> None:
    moved(warehouse, LATEST_REVISION, None)
    assert migrate(warehouse) == (LATEST_REVISION, LATEST_REVISION)
    with warehouse.connect() as connection:
        assert schema_version(connection).write_from is not None


# -- what a migration says is true -------------------------------------------------------------------------

# Migrations of before FIRST_TO_ASK that an older program would have failed on.
BREAKING_BEFORE = {"0008", "0010", "0013"}

_COLUMNS = """
select table_schema || '.' || table_name as "table", column_name, data_type,
  is_nullable = 'NO' and column_default is null and is_identity = 'NO' and is_generated = 'NEVER' as needed
from information_schema.columns c
where table_schema in ('enerflo', 'sync')
"""
_RULES = """
select c.oid::regclass::text, r.name, r.rule from pg_class c
join (
  select conrelid, conname::text, pg_get_constraintdef(oid) from pg_constraint where contype = 'c'
  union all
  select indrelid, indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index where indisunique
) r (of, name, rule) on r.of = c.oid
where c.relnamespace in (select oid from pg_namespace where nspname in ('enerflo', 'sync'))
"""
Rules = dict[tuple[str, str], str]


def shape(connection: sa.Connection) -> tuple[dict[tuple[str, str], tuple[str, bool]], Rules]:
    columns = {(row[0], row[1]): (row[2], row[3]) for row in connection.exec_driver_sql(_COLUMNS).tuples()}
    rules = {(row[0], row[1]): row[2] for row in connection.exec_driver_sql(_RULES).tuples()}
    return columns, rules


def breaks(before: Any, after: Any) -> list[str]:
    """What a program that knows the shape before would fail on in the shape after."""
    (columns, rules), (new_columns, new_rules) = before, after
    tables = {table for table, _ in columns}
    found = [f"{'.'.join(name)} is gone" for name in columns if name not in new_columns]
    for name, (kind, needed) in new_columns.items():
        if name in columns and columns[name][0] != kind:
            found.append(f"{'.'.join(name)} has another type")
        if name[0] in tables and needed and not columns.get(name, ("", False))[1]:
            found.append(f"{'.'.join(name)} has to be given")
    for (table, rule), text in new_rules.items():
        if table in tables:
            before_it = _words(rules[table, rule]) if (table, rule) in rules else None
            if before_it is None or not before_it <= _words(text):
                found.append(f"{table}: {rule} is stricter")
    return found


def _words(rule: str) -> set[str]:
    """The words that a rule allows; the rule itself where it lists none."""
    return set(re.findall(r"'[^']*'", rule)) or {rule}


@pytest.fixture
def steps(empty_warehouse_url: str) -> dict[str, tuple[str, list[str]]]:
    """By revision: what its migration says of older programs, and what they would fail on."""
    engine = warehouse_engine(empty_warehouse_url)
    found: dict[str, tuple[str, list[str]]] = {}
    with engine.begin() as connection:
        connection.exec_driver_sql(f"create schema {SYNC_SCHEMA}")
        config = alembic_config(connection)
        before: Any = ({}, {})
        for script in reversed(list(ScriptDirectory.from_config(config).walk_revisions())):
            command.upgrade(config, script.revision)
            after = shape(connection)
            found[script.revision] = (
                getattr(script.module, "older_programs", "write"),
                breaks(before, after),
            )
            before = after
    engine.dispose()
    return found


def test_a_migration_that_older_programs_fail_on_says_so(steps: dict[str, tuple[str, list[str]]]) -> None:
    """An older program works beside each new revision, or its migration says what the program may do."""
    wrong = {
        number: found
        for number, (said, found) in steps.items()
        if int(number) > int(FIRST_TO_ASK) and said == "write" and found
    }
    assert wrong == {}
    # The look at the catalogue sees what breaks: migrations of before the rule had some.
    assert {
        number for number, (_, found) in steps.items() if int(number) <= int(FIRST_TO_ASK) and found
    } == BREAKING_BEFORE


@pytest.mark.parametrize(
    ("said", "floors"),
    [
        (["write", "write", "write"], ("0000", "0000")),
        (["write", "read", "write"], ("0000", "0002")),
        (["nothing", "write", "write"], ("0001", "0001")),
        (["nothing", "read", "write"], ("0001", "0002")),
        (["read", "nothing", "write"], ("0002", "0002")),
    ],
)
def test_the_strictest_of_the_newer_migrations_decides(
    monkeypatch: pytest.MonkeyPatch, said: list[str], floors: tuple[str, str]
) -> None:
    class Script:
        def __init__(self, number: int, may: str) -> None:
            self.revision = f"{number:04}"
            self.module = type("module", (), {"older_programs": may})

    class Directory:
        @classmethod
        def from_config(cls, _: object) -> Directory:
            return cls()

        def walk_revisions(self) -> list[Script]:
            return [Script(number, may) for number, may in reversed(list(enumerate(said, 1)))]

    monkeypatch.setattr(migrating, "ScriptDirectory", Directory)
    monkeypatch.setattr(migrating, "FIRST_TO_ASK", "0000")
    assert oldest_programs(alembic_config(None)) == floors  # type: ignore[arg-type]


def test_the_comment_is_json_that_a_person_can_read() -> None:
    assert json.loads(may_use("0030", "0031")) == {"read_from": "0030", "write_from": "0031"}
