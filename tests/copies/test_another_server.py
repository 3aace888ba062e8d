"""The address of a CRM's database is another one by now: what was agreed with the first is no base for the second."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.copies.database import place_of
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.report import PlanState
from tests.copies.conftest import CRM, DuckDB, Elsewhere
from tests.writes.conftest import Desk
from tests.writes.test_changes import ALONE, AT_ONCE, counted

STATUS = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: "
REVIEW = (STATUS + "newest", STATUS + "review")
ONE = "(select min(enerflo_install_id) from crm.installs where status = 'In progress')"
EDIT = f"update crm.installs set status = 'On Hold' where enerflo_install_id = {ONE}"


@pytest.fixture
def production(away: Desk, elsewhere: Elsewhere, tmp_path: Path) -> Path:
    """A second database: as the first, but that one install has another status there."""
    if not isinstance(elsewhere, DuckDB):
        pytest.skip("a world of DuckDB: one file is copied to make a second database")
    away.switched_on("both", CRM, ALONE, AT_ONCE, REVIEW)
    away.carried()
    assert away.plan().change_count == 0
    first = Path(str(sa.make_url(elsewhere.url).database))
    second = tmp_path / "production.duckdb"
    elsewhere.sql("checkpoint")
    elsewhere.engine.dispose()
    shutil.copy(first, second)
    there(second, EDIT)
    return second


def there(database: Path, statement: str) -> Any:
    """Execute a statement in a file of DuckDB; return the first value, if there is one."""
    engine = sa.create_engine(f"duckdb:///{database}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        found = connection.exec_driver_sql(statement).scalar()
    engine.dispose()
    return found


def test_what_another_database_says_is_no_edit_of_the_crm(away: Desk, production: Path) -> None:
    away.environ["CRM_URL"] = f"duckdb:///{production}"
    away.switched_on("both", CRM, ALONE, AT_ONCE, REVIEW)
    away.context.__dict__.pop("crm", None)
    plan = away.plan()
    assert away.changes(plan) == []
    asked = [one.reason for one in away.undecided(plan) if one.field == "status"]
    assert asked == ["the two sides never agreed on it"]


def test_in_the_same_database_it_is_one(away: Desk, production: Path, elsewhere: Elsewhere) -> None:
    elsewhere.sql(EDIT)
    plan = away.plan()
    assert [change.rule for change in away.changes(plan)] == ["only_side_moved"]
    run_apply(away.context, plan.plan_hash, approved_by="Pat")


@pytest.mark.parametrize("undone", [False, True])
def test_a_plan_of_one_database_is_not_applied_to_another_one(
    away: Desk, production: Path, elsewhere: Elsewhere, undone: bool
) -> None:
    """The rows there say what the plan expects."""
    install = away.a_site().install_id
    now = away.one("select panel_count from enerflo.installs where install_id = :i", i=install)
    counted(away, install, 41)
    plan = away.plan()
    if undone:
        assert run_apply(away.context, plan.plan_hash, approved_by="Pat").applied == 1
        plan = run_undo(away.context, plan.plan_hash)
        there(production, f"update crm.installs set panel_count = 41 where enerflo_install_id = {install}")
    assert plan.change_count == 1
    away.environ["CRM_URL"] = f"duckdb:///{production}"
    away.switched_on("both", CRM, ALONE, AT_ONCE, REVIEW)
    away.context.__dict__.pop("crm", None)
    with pytest.raises(ConfigurationError, match="the CRM of installs is another database than when it was"):
        run_apply(away.context, plan.plan_hash, approved_by="Pat")
    said = f"select panel_count from crm.installs where enerflo_install_id = {install}"
    assert there(production, said) == (41 if undone else now)
    # A plan that is made of that database is applied there.
    assert run_apply(away.context, away.plan().plan_hash, approved_by="Pat").applied == (not undone)
    assert there(production, said) == 41


def test_an_approval_of_one_database_is_none_of_the_same_plan_of_another_one(
    away: Desk, production: Path
) -> None:
    """A new row, on which no side agreed before, makes the same plan there."""
    note = away.world.add_note(away.a_site().install_id, "The roof is new.")
    run_poll(away.context)
    run_approve(away.context, away.plan().plan_hash, by="Pat")
    away.environ["CRM_URL"] = f"duckdb:///{production}"
    away.switched_on("both", CRM, ALONE, AT_ONCE, REVIEW)
    away.context.__dict__.pop("crm", None)
    plan = away.plan()
    assert {change.key["note_id"] for change in away.changes(plan)} == {f"enerflo-{note}"}
    assert (plan.state, plan.decided_by) == (PlanState.OPEN, None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "postgresql+psycopg://ann:secret@Crm.Example/sales",
            "postgresql+psycopg2://bob@crm.example:5432/sales",
        ),
        ("mariadb+pymysql://ann@crm.example/", "mysql+mysqldb://bob@crm.example:3306/sales?charset=utf8mb4"),
        ("duckdb:///company.duckdb", f"duckdb:///{Path.cwd()}/company.duckdb"),
        ("postgresql:///sales?host=/run/crm", "postgresql:///sales?host=/run/crm&connect_timeout=5"),
    ],
)
def test_one_database_is_known_in_both_of_its_addresses(one: str, other: str) -> None:
    """On the command line it is a URL of one driver, in Airflow a connection of another."""
    assert place_of(sa.make_url(one)) == place_of(sa.make_url(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://crm.example/sales", "postgresql://crm.example/staging"),
        ("postgresql://crm.example/sales", "postgresql://crm.example:5433/sales"),
        ("postgresql:///sales?host=/run/crm", "postgresql:///sales?host=/run/staging"),
        ("mysql+pymysql://crm.example/", "mysql+pymysql://staging.example/"),
        ("duckdb:///company.duckdb", "duckdb:///staging.duckdb"),
        ("snowflake://ann@account/crm", "snowflake://ann@account/staging"),
    ],
)
def test_another_one_is_told_by_its_address(one: str, other: str) -> None:
    assert place_of(sa.make_url(one)) != place_of(sa.make_url(other))
