"""A role with nothing but what ``doctor --grants`` prints runs the jobs of the account's modes."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa

from enerflo_sync.crm.live.grants import grants_sql
from enerflo_sync.crm.names import pasted
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.reconcile.reconciliation import reconcile
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.migrate import migrate
from tests.writes.conftest import Desk

ROLE = 'syn"c % Röle'
TABLES = ("installs", "milestones", "notes", "leads", "change_orders")


@pytest.fixture
def role(desk: Desk) -> Iterator[str]:
    yield ROLE
    desk.sql(f"drop owned by {pasted(ROLE)}")
    desk.sql(f"drop role {pasted(ROLE)}")


def paste(desk: Desk, role: str) -> str:
    """Run what is printed as a person does who pastes it, by a client without parameters; return it."""
    with desk.engine.connect() as connection:
        text = grants_sql(connection, desk.context.config, "default", role)
    url = desk.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as pasted_into:
        pasted_into.execute(text.encode())
    return text


def as_role(desk: Desk, role: str) -> AccountContext:
    """Return the account's context as the role itself opens it."""
    url = desk.engine.url.set(username=role).render_as_string(hide_password=False)
    settings = Credentials.of(desk.context.settings)
    context = AccountContext(
        "default",
        desk.context.config,
        desk.context.config_path,
        Credentials(settings.base_url, settings.api_key, lambda: url),
    )
    with context.engine.connect() as connection:
        assert connection.scalar(sa.text("select current_user")) == role
    return context


def differ(desk: Desk) -> None:
    """Let both sides differ in a value, a row that the CRM lacks, and one that Enerflo deleted."""
    first, second, third = (
        row["id"] for row in desk.sql("select enerflo_install_id as id from crm.installs order by 1 limit 3")
    )
    desk.sql("update crm.installs set panel_count = panel_count + 1 where enerflo_install_id = :id", id=first)
    desk.sql("delete from crm.installs where enerflo_install_id = :id", id=second)
    desk.sql("update enerflo.installs set deleted_at = now() where install_id = :id", id=third)
    desk.sql("delete from crm.notes where note_id in (select note_id from crm.notes limit 2)")


def may(desk: Desk, role: str, table: str, right: str) -> bool:
    if right == "delete":
        return bool(desk.one("select has_table_privilege(:role, :table, 'delete')", role=role, table=table))
    query = f"select has_any_column_privilege(:role, :table, '{right}')"
    return bool(desk.one(query, role=role, table=table))


def test_in_report_mode_it_reads_the_crm_and_writes_nothing_there(desk: Desk, role: str) -> None:
    differ(desk)
    paste(desk, role)
    context = as_role(desk, role)
    report = reconcile(context.engine, context.config, "default")
    assert report.differences > 0
    assert run_plan(context)[0].plan_hash
    for table in TABLES:
        assert may(desk, role, f"crm.{table}", "select")
        assert not any(may(desk, role, f"crm.{table}", right) for right in ("insert", "update", "delete"))


def test_in_crm_mode_it_plans_and_applies(desk: Desk, role: str) -> None:
    desk.switched_on(
        "crm", ("  installs:\n    crm_table", "  installs:\n    delete_in: [crm]\n    crm_table")
    )
    differ(desk)
    paste(desk, role)
    paste(desk, role)
    context = as_role(desk, role)
    plan = run_plan(context)[0]
    report = run_apply(context, plan.plan_hash, approved_by="Ann")
    operations = {change.op for change in desk.changes(plan)}
    assert operations == {"insert", "update", "delete"}
    assert report.applied > 5
    assert report.parked == 0, report.reasons
    assert may(desk, role, "crm.installs", "delete")
    assert not may(desk, role, "crm.notes", "delete")
    # What the mapping never writes is not granted: leads are the CRM's own.
    assert not desk.one("select has_column_privilege(:role, 'crm.leads', 'email', 'update')", role=role)


def test_without_one_of_the_grants_the_same_plan_does_not_go_through(desk: Desk, role: str) -> None:
    desk.switched_on("crm")
    differ(desk)
    paste(desk, role)
    desk.sql(f"revoke update on crm.installs from {pasted(role)}")
    context = as_role(desk, role)
    plan = run_plan(context)[0]
    with pytest.raises(Exception, match="permission denied for table installs"):
        run_apply(context, plan.plan_hash, approved_by="Ann")


def test_tables_of_a_later_migration_are_granted_too(desk: Desk, role: str) -> None:
    paste(desk, role)
    desk.sql("create table sync.later (id bigint primary key)")
    assert may(desk, role, "sync.later", "insert")


def test_an_empty_database_is_migrated_by_the_role_alone(
    desk: Desk, role: str, empty_warehouse_url: str
) -> None:
    """An administrator makes the schemas; the role may create no schema of its own."""
    admin = warehouse_engine(empty_warehouse_url)
    with admin.connect() as connection:
        text = grants_sql(connection, desk.context.config, "default", role)
        assert "create schema" in text
    with psycopg.connect(empty_warehouse_url.replace("+psycopg", ""), autocommit=True) as pasted_into:
        pasted_into.execute(text.encode())
        pasted_into.execute("revoke create on schema public from public")
    url = admin.url.set(username=role)
    engine = warehouse_engine(url.render_as_string(hide_password=False))
    with engine.connect() as connection:
        assert not connection.scalar(
            sa.text("select has_database_privilege(current_user, current_database(), 'create')")
        )
    assert migrate(engine)[0] is None
    with admin.begin() as connection:
        assert "grant select, insert" not in grants_sql(connection, desk.context.config, "default", role)
        connection.execute(sa.text(f"drop owned by {pasted(role)} cascade"))
    engine.dispose()
    admin.dispose()


def test_a_copy_is_only_read_and_its_changes_are_handed_over(desk: Desk, role: str) -> None:
    desk.sql("create table crm.outbox (like sync.crm_changes)")
    desk.switched_on(
        "crm",
        (
            "    crm_table: crm.installs\n",
            "    crm_table: crm.installs\n    write_to: {changes: crm.outbox}\n",
        ),
    )
    differ(desk)
    text = paste(desk, role)
    assert 'grant select, insert, update on "crm"."outbox"' in text
    assert not any(may(desk, role, "crm.installs", right) for right in ("insert", "update", "delete"))
    context = as_role(desk, role)
    plan = run_plan(context)[0]
    report = run_apply(context, plan.plan_hash, approved_by="Ann")
    assert report.handed_over > 1
    assert report.parked == 0, report.reasons
    handed = desk.one("select count(*) from sync.crm_changes")
    assert desk.one("select count(*) from crm.outbox") == handed == report.handed_over


def test_a_row_that_a_policy_of_the_table_does_not_let_it_write_is_parked_and_the_others_go_on(
    desk: Desk, role: str
) -> None:
    desk.switched_on("crm")
    differ(desk)
    paste(desk, role)
    first, second = (
        row["id"] for row in desk.sql("select install_id as id from enerflo.installs order by 1 limit 2")
    )
    desk.sql("create policy seen on crm.installs for select using (true)")
    desk.sql(
        "create policy written on crm.installs for all using (true)"
        f" with check (enerflo_install_id not in ({first}, {second}))"
    )
    desk.sql("alter table crm.installs enable row level security")
    context = as_role(desk, role)
    plan = run_plan(context)[0]
    report = run_apply(context, plan.plan_hash, approved_by="Ann")
    assert report.applied > 5
    parked = desk.changes(plan, state="parked")
    assert {one.key["enerflo_install_id"] for one in parked} == {first, second}
    assert {one.reason for one in parked} == {"the CRM's table refuses it: a policy of row-level security"}


def test_types_of_another_schema_are_granted_too(desk: Desk, role: str) -> None:
    for statement in (
        "create schema types",
        "create type types.state as enum ('In progress', 'Completed', 'On Hold', 'Cancelled', 'Voided',"
        " 'Pending KCA')",
        "create domain types.kw as numeric",
        "revoke usage on type types.state, types.kw from public",
        "alter table crm.installs alter status type types.state using status::types.state,"
        " alter system_size_kw type types.kw",
    ):
        desk.sql(statement)
    applied(desk, role)


@pytest.mark.parametrize("renamed", [False, True])
def test_tables_behind_a_view_that_reads_with_the_rights_of_its_user_are_granted_too(
    desk: Desk, role: str, renamed: bool
) -> None:
    if desk.one("select current_setting('server_version_num')::int") < 150000:
        pytest.skip("PostgreSQL has security_invoker from 15 on")
    if renamed:
        desk.sql("alter table crm.installs rename panel_count to modules")
    shown = "deal_id, customer_name, status, system_size_kw, panel_type, battery_configuration, updated_at"
    for statement in (
        "create schema inner_crm",
        "alter table crm.installs set schema inner_crm",
        "create view inner_crm.between with (security_invoker = on) as select * from inner_crm.installs",
        f"create view crm.installs with (security_invoker) as select enerflo_install_id, {shown},"
        f" contract_amount, {'modules as ' if renamed else ''}panel_count from inner_crm.between",
    ):
        desk.sql(statement)
    applied(desk, role)
    assert not may(desk, role, "inner_crm.installs", "delete")


def applied(desk: Desk, role: str) -> None:
    """Assert that the role writes installs of a plan, and makes one, with what is printed for it."""
    desk.switched_on("crm")
    differ(desk)
    paste(desk, role)
    context = as_role(desk, role)
    plan = run_plan(context)[0]
    report = run_apply(context, plan.plan_hash, approved_by="Ann")
    assert report.parked == 0, report.reasons
    assert {one.op for one in desk.changes(plan, table_name="installs", state="applied")} == {
        "insert",
        "update",
    }
