"""What ``doctor --grants`` prints for the CRM's own database is all that a user there needs, and no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from enerflo_sandbox import catalogue as c
from enerflo_sync.cli.app import app
from enerflo_sync.copies.grants import as_comment, remote_grants
from enerflo_sync.jobs.apply import run_apply
from tests.copies.conftest import CRM, Elsewhere, MariaDB
from tests.writes.conftest import Desk
from tests.writes.test_changes import ALONE, AT_ONCE, counted

USER = "sync:of us"


def printed(desk: Desk) -> str:
    with desk.engine.connect() as connection:
        return remote_grants(connection, desk.context.crm, desk.context.config, "default", USER)


def granted(desk: Desk, elsewhere: Elsewhere) -> None:
    """Make a user, paste what is printed, and use the CRM as that user from now on."""
    name = f"`{USER}`@`%`" if isinstance(elsewhere, MariaDB) else f'"{USER}"'
    made = f"create user {name} " + ("identified by 'x'" if isinstance(elsewhere, MariaDB) else "")
    with elsewhere.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as theirs:
        for statement in (made, *printed(desk).split(";\n")):
            if statement.strip():
                theirs.exec_driver_sql(statement.replace("%", "%%"))
    url = sa.make_url(elsewhere.url).set(username=USER, password="x")
    if isinstance(elsewhere, MariaDB):
        # The tests' own address names a database of the server's.
        url = url.set(database="crm")
    desk.environ["CRM_URL"] = url.render_as_string(hide_password=False)
    desk.read_configuration()
    desk.context.__dict__.pop("crm", None)


@pytest.fixture
def dropped(elsewhere: Elsewhere) -> Iterator[None]:
    """Drop the user afterwards."""
    yield
    if isinstance(elsewhere, MariaDB):
        elsewhere.sql(f"drop user `{USER}`@`%`")
    else:
        elsewhere.sql(f'drop owned by "{USER}"')
        elsewhere.sql(f'drop user "{USER}"')


@pytest.mark.parametrize("elsewhere", ["mariadb", "postgresql"], indirect=True)
def test_with_these_grants_alone_changes_and_new_rows_are_written(
    away: Desk, elsewhere: Elsewhere, dropped: None
) -> None:
    away.switched_on("crm", CRM, ALONE, AT_ONCE)
    away.carried()
    granted(away, elsewhere)
    install = away.a_site().install_id
    counted(away, install, 40)
    note = away.world.add_note(install, "Customer prefers mornings", author_id=c.USERS[0].user_id)
    away.told("new_install_note")
    plan = away.plan()
    report = run_apply(away.context, plan.plan_hash, approved_by="Pat")
    assert (report.moved, report.parked) == (0, 0), report.reasons
    assert elsewhere.one("notes", enerflo_note_id=note)["body"] == "Customer prefers mornings"
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == 40
    assert away.context.crm is not None
    other = sa.create_engine(away.context.crm.engine.url)
    with other.connect() as theirs, pytest.raises(sa.exc.DBAPIError):
        theirs.execute(sa.text("delete from crm.installs"))
    with other.connect() as theirs, pytest.raises(sa.exc.DBAPIError):
        theirs.execute(sa.text("update crm.leads set email = 'x'"))
    other.dispose()


@pytest.mark.parametrize("elsewhere", ["mariadb"], indirect=True)
def test_in_report_mode_nothing_but_reading_is_granted(away: Desk) -> None:
    away.switched_on("report", CRM)
    assert "insert" not in printed(away)
    assert "update" not in printed(away)
    assert "grant select on `crm`.`installs` to `sync:of us`@`%`;" in printed(away)
    assert as_comment(printed(away)).strip().startswith("/*")
    assert as_comment("") == ""


@pytest.mark.parametrize("elsewhere", ["duckdb", "snowflake"], indirect=True)
def test_other_databases_are_told_in_words(away: Desk) -> None:
    assert all(not line or line.startswith("--") for line in printed(away).splitlines())


@pytest.mark.parametrize("elsewhere", ["mariadb"], indirect=True)
def test_the_command_prints_them_as_a_comment_of_the_warehouses_statements(away: Desk) -> None:
    away.carried()
    environ = {
        **away.environ,
        "WAREHOUSE_URL": away.engine.url.set(drivername="postgresql").render_as_string(hide_password=False),
        "ENERFLO_API_KEY": "key",
        "ENERFLO_SYNC_CONFIG": str(away.folder / "sync.yaml"),
    }
    done = CliRunner().invoke(app, ["doctor", "--grants", USER], env=environ)
    assert done.exit_code == 0, done.output
    sql, _, comment = done.output.partition("/* In the CRM's own database, not here:\n")
    assert "grant select on `crm`.`installs`" in comment
    assert comment.rstrip().endswith("*/")
    assert "`" not in sql
    done = CliRunner().invoke(app, ["doctor", "--grants", USER], env={**environ, "CRM_URL": "nosuch://x/y"})
    assert "-- Not known: " in done.output
