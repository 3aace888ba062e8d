"""`enerflo-sync doctor` shows how both sides match, and prints grants."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa

from tests.cli.conftest import Run


def demo(run: Run, warehouse_url: str, *statements: str) -> None:
    """Make the demo's tables, poll, and then let the CRM's side be untidy."""
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "0")
    run("poll")
    with psycopg.connect(warehouse_url.replace("+psycopg", "")) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_where_all_is_well_it_is_a_screenful(run: Run, warehouse_url: str) -> None:
    demo(run, warehouse_url)
    result = run("doctor")
    assert result.code == 0, result.out
    assert len(result.out.splitlines()) <= 15
    assert "match.notes: 116 CRM rows match, 0 only in Enerflo, 0 only in the CRM" in result.out


def test_before_the_first_poll_nothing_is_said_of_a_match(run: Run) -> None:
    run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "0")
    result = run("doctor")
    assert result.code == 0
    assert "the mirror holds no installs yet: poll first" in result.out
    assert "only in the CRM" not in result.out


def test_figures_and_proposals_are_there_for_programs(run: Run, warehouse_url: str) -> None:
    demo(
        run,
        warehouse_url,
        "alter table crm.notes alter enerflo_note_id type text",
        "update crm.notes set enerflo_note_id = '00' || enerflo_note_id where enerflo_note_id::bigint % 2 = 0",
        "update crm.installs set panel_type = replace(panel_type, ' ', '-')",
    )
    result = run("doctor", "--json")
    assert result.code == 1
    checks = {check["name"]: check for check in result.json["checks"]}
    match = checks["match.notes"]["match"]
    assert match["only_crm"] == match["only_enerflo"] > 0
    (key,) = [one for one in checks["match.notes"]["findings"] if one["what"] == "tables.notes.join"]
    assert f"{match['only_crm']} more would match with type: integer" in key["next_step"]
    (panel,) = checks["match.installs"]["findings"]
    assert "punctuation" in panel["found"]


def test_grants_are_printed_and_nothing_else(run: Run, warehouse_url: str) -> None:
    demo(run, warehouse_url)
    result = run("doctor", "--grants", "Sync Role")
    assert (result.code, result.err) == (0, "")
    assert 'create role "Sync Role" login;' in result.out
    assert 'grant select on "crm"."installs" to "Sync Role";' in result.out
    assert all(
        line.startswith("--") or line.partition("  --")[0].endswith(";")
        for line in result.out.split("\n")
        if line
    )
    assert run("doctor", "--grants", "Sync Role", "--json").json["sql"] == result.out


def test_a_role_that_may_not_use_our_own_tables_is_told_what_to_run(
    run: Run, warehouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo(run, warehouse_url)
    grants = run("doctor", "--grants", "clerk").out
    with psycopg.connect(warehouse_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("drop role if exists clerk")
        connection.execute(grants.encode())
        connection.execute("revoke insert on sync.runs from clerk")
        url = sa.make_url(warehouse_url).set(username="clerk").render_as_string(hide_password=False)
        monkeypatch.setenv("WAREHOUSE_URL", url)
        result = run("doctor")
        assert result.code == 1
        assert "a role that may not read and write sync.runs" in result.out
        assert "run what this prints: enerflo-sync doctor --grants clerk" in result.out
        # As it was pasted, it is all that the doctor asks for.
        connection.execute(grants.partition("login;")[2].partition("\n")[2].encode())
        assert run("doctor").code == 0
        connection.execute("drop owned by clerk")
