"""The migrations make exactly the declared tables, once, whoever starts them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

import enerflo_sync.resources.registry  # noqa: F401 - a resource may declare its own table
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.warehouse.engine import warehouse_engine, warehouse_errors
from enerflo_sync.warehouse.migrate import alembic_config, in_turn, migrate
from enerflo_sync.warehouse.revision import LATEST_REVISION, current_revision, require_migrated
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, SYNC_SCHEMA, VERSION_TABLE, metadata


def test_the_migrations_make_exactly_the_declared_tables(empty_warehouse_url: str) -> None:
    engine = warehouse_engine(empty_warehouse_url)
    assert migrate(engine) == (None, LATEST_REVISION)
    with engine.connect() as connection:
        assert current_revision(connection) == LATEST_REVISION
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "compare_type": True,
                "version_table": VERSION_TABLE,
                "version_table_schema": SYNC_SCHEMA,
            },
        )
        assert compare_metadata(context, metadata) == []
        tables = connection.scalar(
            sa.text(
                "select count(*) from information_schema.tables where table_schema in ('enerflo', 'sync')"
                " and table_type = 'BASE TABLE'"
            )
        )
        views = connection.scalars(
            sa.text("select viewname from pg_views where schemaname in ('enerflo', 'sync')")
        ).all()
    assert tables == len(metadata.tables) + 1
    assert views == ["crm_changes_open"]


def test_the_migrations_leave_the_declared_room_in_pages(warehouse: sa.Engine) -> None:
    query = (
        "select relname, coalesce((select option_value::int from pg_options_to_table(reloptions)"
        " where option_name = 'fillfactor'), 100)"
        " from pg_class where relnamespace = 'sync'::regnamespace and relkind = 'r'"
    )
    with warehouse.connect() as connection:
        found = dict(connection.execute(sa.text(query)).tuples().all())
    declared = {
        table.name: table.info["fillfactor"]
        for table in metadata.tables.values()
        if table.schema == SYNC_SCHEMA
    }
    assert declared.items() <= found.items()
    assert 50 in declared.values()


def test_every_table_has_the_declared_key_and_the_account_in_it(warehouse: sa.Engine) -> None:
    look = sa.inspect(warehouse)
    found = {
        f"{schema}.{name}": look.get_pk_constraint(name, schema)["constrained_columns"]
        for schema in (MIRROR_SCHEMA, SYNC_SCHEMA)
        for name in look.get_table_names(schema)
        if name != VERSION_TABLE
    }
    assert found == {str(table): [c.name for c in table.primary_key] for table in metadata.sorted_tables}
    assert [name for name, columns in found.items() if "account" not in columns] == []


def test_differences_that_are_there_already_get_numbers(empty_warehouse_url: str) -> None:
    engine = warehouse_engine(empty_warehouse_url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create schema {SYNC_SCHEMA}"))
        command.upgrade(alembic_config(connection), "0012")
        connection.execute(
            sa.text(
                "insert into sync.differences (account, reconciliation_id, table_name, key, cause)"
                " select 'default', 'one', 'installs', '{}', 'voided' from generate_series(1, 3)"
            )
        )
    migrate(engine)
    with engine.connect() as connection:
        numbers = connection.scalars(sa.text("select difference_id from sync.differences order by 1")).all()
    assert numbers == [1, 2, 3]


REJECTED_BEFORE = """
insert into sync.plans (account, plan_hash, kind, created_at, expires_at, state, change_count, needs_approval,
  mode, config_hash, decided_by, decided_at, decision_reason)
select 'default', hash, kind, now(), now(), state, 1, true, 'both', 'x', who, now(), 'not now'
from (values ('a-person', 'sync', 'rejected', 'Sam Hill'), ('nobody-answered', 'sync', 'rejected', null),
  ('approved-after-all', 'sync', 'applied', 'Sam Hill'), ('of-an-undo', 'undo', 'rejected', 'Sam Hill')
) p (hash, kind, state, who)
"""
CHANGES_BEFORE = """
insert into sync.plan_changes (account, plan_hash, position, table_name, key, op, field, before, after,
  source_value, direction, policy, cause, rule, state)
select 'default', p.plan_hash, c.position, c.table_name, c.key::jsonb, c.op, c.field, c.before::jsonb,
  c.after::jsonb, c.after::jsonb, 'to_enerflo', 'crm', 'edited_in_crm', 'crm_wins',
  case when p.state = 'rejected' then c.state else 'applied' end
from sync.plans p cross join (values
  (1, 'installs', '{"enerflo_install_id": 7}', 'update', 'status', '"In progress"', '"On Hold"', 'refused'),
  (2, 'installs', '{"enerflo_install_id": 8}', 'update', 'status', '"In progress"', '"Voided"', 'moved'),
  (3, 'notes', '{"note_id": "N1"}', 'insert', 'body', null, '"Call Ann"', 'refused'),
  (4, 'notes', '{"note_id": "N1"}', 'insert', 'author', null, '"Bob"', 'refused')
) c (position, table_name, key, op, field, before, after, state)
"""


def test_what_a_person_rejected_before_stands_refused_after_the_migration(empty_warehouse_url: str) -> None:
    engine = warehouse_engine(empty_warehouse_url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create schema {SYNC_SCHEMA}"))
        command.upgrade(alembic_config(connection), "0014")
        connection.exec_driver_sql(REJECTED_BEFORE)
        connection.exec_driver_sql(CHANGES_BEFORE)
    migrate(engine)
    query = (
        "select plan_hash, table_name, key, op, field, before, after, decided_by, reason, ended_at"
        " from sync.refusals order by table_name"
    )
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(sa.text(query))]
    named = ("Sam Hill", "not now", None)
    install, note = {"enerflo_install_id": 7}, {"note_id": "N1"}
    assert found == [
        ("a-person", "installs", install, "update", "status", "In progress", "On Hold", *named),
        ("a-person", "notes", note, "insert", None, None, {"body": "Call Ann", "author": "Bob"}, *named),
    ]


def test_appointments_that_are_there_already_are_read_anew_for_their_versions(
    empty_warehouse_url: str,
) -> None:
    engine = warehouse_engine(empty_warehouse_url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create schema {SYNC_SCHEMA}"))
        command.upgrade(alembic_config(connection), "0022")
        connection.exec_driver_sql(
            "insert into enerflo.appointments (account, appointment_id, observed_at, observed_by, raw_hash)"
            " values ('default', 7, now(), 'poll', 'x')"
        )
    migrate(engine)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("select raw_hash, content_hash from enerflo.appointments").all()
    assert [tuple(row) for row in found] == [(None, None)]


def test_migrating_again_changes_nothing(empty_warehouse_url: str) -> None:
    engine = warehouse_engine(empty_warehouse_url)
    migrate(engine)
    assert migrate(engine) == (LATEST_REVISION, LATEST_REVISION)


def test_two_migrations_that_start_at_once_both_succeed(empty_warehouse_url: str) -> None:
    engines = [warehouse_engine(empty_warehouse_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(migrate, engines))
    assert sorted(before or "" for before, _ in results) == ["", *[LATEST_REVISION] * 3]


def test_a_migration_that_meets_a_job_crosswise_lets_it_go_on_and_tries_again(
    warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job holds what the migration wants next, and wants what the migration holds."""
    monkeypatch.setattr("enerflo_sync.warehouse.migrate.PAUSE_SECONDS", 0.1)
    tried = []
    with warehouse.connect() as job, ThreadPoolExecutor(1) as pool:
        job.exec_driver_sql("set deadlock_timeout = '1min'")
        job.exec_driver_sql("select 1 from sync.runs limit 1")

        def work(connection: sa.Connection) -> str:
            connection.exec_driver_sql("set local deadlock_timeout = '100ms'")
            connection.exec_driver_sql("lock table enerflo.installs")
            if not tried:
                tried.append(pool.submit(job.exec_driver_sql, "select 1 from enerflo.installs limit 1"))
                time.sleep(0.3)
            connection.exec_driver_sql("lock table sync.runs")
            return "done"

        with pytest.raises(RetriableError, match="somebody else holds a lock"):
            in_turn(warehouse, work, tries=2)
        assert len(tried[0].result(timeout=10).all()) == 0
        job.rollback()
        assert in_turn(warehouse, work, tries=2) == "done"


def test_a_warehouse_that_was_never_migrated_names_the_command(empty_warehouse_url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"revision none.*Run enerflo-sync migrate"):
        require_migrated(warehouse_engine(empty_warehouse_url))


def test_a_server_that_is_down_is_worth_another_try() -> None:
    with pytest.raises(RetriableError, match=r"could not be reached.* \(127\.0\.0\.1, port 9\)") as told:
        migrate(warehouse_engine("postgresql://nobody:of-nobody@127.0.0.1:9/none"))
    assert "of-nobody" not in str(told.value)


def test_nor_is_a_host_that_nobody_knows() -> None:
    with pytest.raises(RetriableError, match=r"could not be reached.* \(no-such-host\.invalid\)"):
        migrate(warehouse_engine("postgresql://nobody@no-such-host.invalid/none"))


def test_a_missing_table_names_the_command(empty_warehouse_url: str) -> None:
    engine = warehouse_engine(empty_warehouse_url)
    with (
        pytest.raises(ConfigurationError, match=r"enerflo.installs.*Run enerflo-sync migrate"),
        warehouse_errors("poll"),
        engine.connect() as connection,
    ):
        connection.execute(sa.text("select 1 from enerflo.installs"))


def test_a_missing_right_says_which(warehouse: sa.Engine) -> None:
    with warehouse.begin() as connection:
        connection.execute(sa.text("drop role if exists reader"))
        connection.execute(sa.text("create role reader"))
    with (
        pytest.raises(ConfigurationError, match=r"permission denied for schema enerflo.*Grant"),
        warehouse_errors("poll"),
        warehouse.connect() as connection,
    ):
        connection.execute(sa.text("set role reader"))
        connection.execute(sa.text("select 1 from enerflo.installs"))


@pytest.mark.parametrize("condition", ["insufficient_privilege", "undefined_column"])
def test_the_words_of_a_function_stay_out(warehouse: sa.Engine, condition: str) -> None:
    """A trigger may name a customer where the server itself names a table."""
    raising = f"do $$ begin raise exception 'not for Ann Lee' using errcode = '{condition}'; end $$"
    with (
        pytest.raises(ConfigurationError, match=r"the function inline_code_block of.*SQLSTATE 42") as caught,
        warehouse_errors("apply"),
        warehouse.connect() as connection,
    ):
        connection.execute(sa.text(raising))
    assert "Ann" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "mysql://u@h/d", "not a url", "postgresql://u@h:port/d"])
def test_an_address_that_is_not_postgresql_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a PostgreSQL URL"):
        warehouse_engine(text)


@pytest.mark.parametrize("end", [":99999/w", "/w?sslmode=requir", "/w?sslmod=require"])
def test_an_option_of_an_address_that_nobody_knows_is_a_set_up_mistake(end: str) -> None:
    engine = warehouse_engine(f"postgresql://user:word@127.0.0.1{end}")
    with (
        pytest.raises(
            ConfigurationError, match="an option or the port of the warehouse address is not known"
        ),
        warehouse_errors("a test"),
        engine.connect(),
    ):
        pass


def test_an_address_with_an_at_in_its_password_is_refused_and_shows_nothing_of_it() -> None:
    with pytest.raises(ConfigurationError, match="more than one @") as caught:
        warehouse_engine("postgresql://user:first@second@db.example/warehouse")
    assert "second" not in str(caught.value)
    assert warehouse_engine("postgresql://user:first%40second@db.example/w").url.password == "first@second"


def test_a_database_that_does_not_exist_is_a_set_up_mistake(postgres_url: str) -> None:
    url = sa.make_url(postgres_url).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(ConfigurationError, match="does not know the database"):
        migrate(warehouse_engine(url))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("view pg_temp.shown as select distinct 1 as n", 'cannot update view "shown"'),
        ("temporary table shown (n int generated always as (1) stored)", 'column "n" can only be updated'),
    ],
)
def test_what_cannot_be_written_is_a_set_up_mistake(warehouse: sa.Engine, made: str, words: str) -> None:
    with (
        pytest.raises(ConfigurationError, match=f"{words}.*enerflo-sync doctor"),
        warehouse_errors("apply"),
        warehouse.connect() as connection,
    ):
        connection.execute(sa.text(f"create {made}"))
        connection.execute(sa.text("update shown set n = 2"))


PAIRS_BEFORE = """
insert into sync.agreed (account, table_name, key, field, value, agreed_at, agreed_by, is_link)
select 'default', table_name, key::jsonb, field, value::jsonb, timestamptz '2026-01-01' + agreed * interval '1 day',
  'push', is_link
from (values
  ('notes', '{"note_id": "N1"}', 'enerflo_note_id', '71', 1, true),
  ('notes', '{"note_id": "N1"}', 'body', '"Call Ann"', 2, false),
  ('leads', '{"lead_id": "L1"}', 'enerflo_customer_id', '81', 2, true),
  ('leads', '{"lead_id": "L1"}', 'city', '"Boston"', 2, false),
  ('leads', '{"lead_id": "L1"}', 'zip', '"02139"', 1, false),
  ('leads', '{"lead_id": "L2"}', 'city', '"Waco"', 1, false),
  ('leads', '{"lead_id": "L3"}', 'enerflo_customer_id', '"C-9"', 1, true),
  ('milestones', '{"step_id": "S1"}', 'enerflo_install_id', '4', 1, true),
  ('milestones', '{"step_id": "S1"}', 'milestone_id', '5', 1, true),
  ('milestones', '{"step_id": "S1"}', 'title', '"Permit"', 1, false),
  ('installs', '{"enerflo_install_id": 4}', 'status', '"On Hold"', 1, false)
) p (table_name, key, field, value, agreed, is_link)
"""
WATERMARKS_BEFORE = """
insert into sync.watermarks (account, name, value, run_id, recorded_at)
select 'default', name, now(), 'plan', now()
from unnest(array['agreed/notes/x', 'agreed/leads/x', 'agreed/milestones/x', 'agreed/installs/x', 'notes']) name
"""


def test_pairs_get_the_record_that_their_row_names_and_no_other(empty_warehouse_url: str) -> None:
    engine = warehouse_engine(empty_warehouse_url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create schema {SYNC_SCHEMA}"))
        command.upgrade(alembic_config(connection), "0013")
        connection.exec_driver_sql(PAIRS_BEFORE)
        connection.exec_driver_sql(WATERMARKS_BEFORE)
    migrate(engine)
    with engine.begin() as connection:
        known = connection.exec_driver_sql(
            "select table_name, field, enerflo_key from sync.agreed where enerflo_key is not null order by 1, 2"
        ).all()
        marks = set(connection.exec_driver_sql("select name from sync.watermarks").scalars())
    assert [tuple(row) for row in known] == [
        ("leads", "city", {"customer_id": 81}),
        ("leads", "enerflo_customer_id", {"customer_id": 81}),
        ("notes", "body", {"note_id": 71}),
        ("notes", "enerflo_note_id", {"note_id": 71}),
    ]
    # What is unknown is looked at once more; where the CRM's key is the record's id nothing is.
    assert marks == {"agreed/installs/x", "notes"}
