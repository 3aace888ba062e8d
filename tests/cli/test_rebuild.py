"""``enerflo-sync rebuild`` as a person meets it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sync.warehouse.engine import warehouse_engine
from tests.cli.conftest import Run


def sql(url: str, statement: str) -> list[sa.Row[tuple[object, ...]]]:
    engine = warehouse_engine(url)
    with engine.begin() as connection:
        result = connection.execute(sa.text(statement))
        found = list(result) if result.returns_rows else []
    engine.dispose()
    return found


@pytest.fixture
def damaged(run: Run, warehouse_url: str) -> Run:
    """Two installs of 59 with another agent, one without its row."""
    run("poll")
    few = "select install_id from enerflo.installs order by 1 limit 2"
    sql(warehouse_url, f"update enerflo.installs set agent_name = 'Jane Roe' where install_id in ({few})")
    sql(
        warehouse_url,
        "delete from enerflo.installs where install_id = (select max(install_id) from enerflo.installs)",
    )
    return run


def test_a_sound_mirror_is_said_to_be_one(run: Run) -> None:
    run("poll")
    result = run("rebuild")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[0].endswith("rows derived again, 0 differ from what is stored.")
    assert "--apply" not in result.out
    assert "customers: " in result.out


def test_the_difference_is_shown_then_written(damaged: Run, warehouse_url: str) -> None:
    shown = damaged("rebuild")
    assert shown.code == 1
    assert ", 3 differ from what is stored." in shown.out
    assert "installs                     59  new 1, changed 2, gone 0" in shown.out
    assert "agent_name 2" in shown.out
    assert "J… R… -> " in shown.out
    assert "Jane" not in shown.out + shown.err
    assert shown.out.rstrip().endswith("Nothing was written: add --apply to write it.")
    written = damaged("rebuild", "--apply")
    assert written.code == 0
    assert written.out.splitlines()[0].startswith("rebuild-")
    assert written.out.splitlines()[0].endswith(" ok")
    assert ", 3 written." in written.out
    assert sql(
        warehouse_url,
        "select count(*), count(*) filter (where agent_name = 'Jane Roe') from enerflo.installs",
    ) == [(59, 0)]
    assert damaged("rebuild").code == 0
    assert ", 0 written." in damaged("rebuild", "--apply").out


def test_the_same_as_json(damaged: Run) -> None:
    document = damaged("rebuild", "--json", "--table", "installs").json
    assert (document["written"], document["differing"], document["run_id"]) == (False, 3, None)
    (table,) = document["tables"]
    assert (table["table_name"], table["new"], table["changed"], table["gone"]) == ("installs", 1, 2, 0)
    assert [field["field"] for field in table["fields"]] == ["agent_name"]
    assert damaged("rebuild", "--json", "--apply").json["state"] == "ok"


def test_only_what_fits(damaged: Run, warehouse_url: str) -> None:
    (one,) = sql(warehouse_url, "select min(install_id) from enerflo.installs")[0]
    result = damaged("rebuild", "--where", f"install_id = {one}", "--apply")
    assert ", 1 written." in result.out
    assert sql(warehouse_url, "select count(*) from enerflo.installs where agent_name = 'Jane Roe'") == [(1,)]


def test_what_is_no_condition_is_refused_in_one_sentence(damaged: Run, warehouse_url: str) -> None:
    result = damaged("rebuild", "--where", "install_id = 1; delete from enerflo.installs", "--apply")
    assert result.code == 2
    assert "--where: this is not a condition on installs: there is ';" in result.err
    assert "Traceback" not in result.err
    assert sql(warehouse_url, "select count(*) from enerflo.installs") == [(58,)]


def test_a_table_that_cannot_be_derived_is_refused(run: Run) -> None:
    result = run("rebuild", "--table", "notes")
    assert result.code == 2
    assert "submissions" in result.err


def test_what_cannot_be_read_waits_for_a_person(run: Run, warehouse_url: str) -> None:
    run("poll")
    sql(
        warehouse_url,
        """update enerflo.install_versions set raw = raw || '{"system_size": "huge"}'
           where install_id = (select min(install_id) from enerflo.install_versions)""",
    )
    for words in (("rebuild",), ("rebuild", "--apply")):
        result = run(*words)
        assert result.code == 1
        assert (
            "Cannot be read, installs: expected_number at system_size (1), such as install_id" in result.out
        )
    assert run("quarantine", "list").code == 1
