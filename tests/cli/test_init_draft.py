"""``enerflo-sync init`` beside a warehouse: the drafted file, what is said of it, and warehouses that are down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enerflo_sync.crm.load import load_config
from enerflo_sync.shipped import CONFIG_VARIABLE, shipped
from tests.cli.conftest import Run
from tests.writes.conftest import Desk, desk, polled_warehouse

__all__ = ["desk", "polled_warehouse"]

NOBODY = "postgresql://nobody:secret@127.0.0.1:1/none"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, init_command: Run, tmp_path: Path) -> Run:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    monkeypatch.delenv("WAREHOUSE_URL", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return init_command


def address(desk: Desk) -> str:
    return desk.engine.url.render_as_string(hide_password=False)


def test_the_warehouse_of_the_option_is_drafted_and_its_address_is_not_written(desk: Desk, run: Run) -> None:
    code, output = run("--warehouse-url", address(desk))
    assert code == 0, output
    assert "with tables drafted from the warehouse: check each line." in output
    assert "installs: crm.installs: installs, 40 rows" in output
    text = Path("sync.yaml").read_text()
    assert "warehouse_url: ${WAREHOUSE_URL}" in text
    assert address(desk) not in text
    assert str(desk.engine.url.database) not in text
    config = load_config(Path("sync.yaml"), {})
    assert config.accounts["default"].mode == "report"
    assert list(config.tables) == ["installs", "milestones", "notes", "leads", "change_orders"]
    assert Path("sync.schema.json").is_file()


def test_without_the_option_the_environments_warehouse_counts_and_json_has_every_table(
    desk: Desk, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", address(desk))
    code, output = run("--json")
    assert code == 0
    told = json.loads(output)
    assert told["written"] == ["sync.yaml", "sync.schema.json", "account.schema.json"]
    assert told["is_found"] is True
    assert told["remarks"] == []
    (installs,) = [one for one in told["tables"] if one["of"] == "installs"]
    assert installs["options"]["key"] == {"enerflo_install_id": "install_id"}
    assert installs["refused"] is None


def test_a_warehouse_of_the_option_that_is_down_is_an_error_before_anything_is_written(run: Run) -> None:
    code, output = run("--warehouse-url", NOBODY)
    assert code == 2
    assert "secret" not in output
    assert list(Path().iterdir()) == []


def test_a_warehouse_of_the_environment_that_is_down_leaves_the_shipped_file_and_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", NOBODY)
    code, output = run()
    assert code == 0
    assert "No table was drafted: " in output
    assert "secret" not in output
    assert Path("sync.yaml").read_text() == shipped("sync.yaml").read_text()


def test_an_address_that_is_none_says_how_to_write_it(run: Run) -> None:
    code, output = run("--warehouse-url", "mysql://somewhere")
    assert code == 2
    assert "Write it as postgresql://user:password@host:5432/database." in " ".join(output.split())


def test_only_the_schema_that_is_named_is_drafted(
    desk: Desk, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for statement in ("create schema old", "create table old.installs as select * from crm.installs"):
        desk.sql(statement)
    desk.sql("delete from crm.installs")
    monkeypatch.setenv("WAREHOUSE_URL", address(desk))
    code, output = run("a", "--crm", "crm", "--json")
    assert code == 0, output
    tables = {one["options"]["crm_table"] for one in json.loads(output)["tables"]}
    assert tables
    assert all(one.startswith("crm.") for one in tables), tables
    code, output = run("b", "--crm", "old", "--json")
    assert [one["options"]["crm_table"] for one in json.loads(output)["tables"]] == ["old.installs"]


def test_a_schema_without_tables_is_an_error_and_the_nearest_is_named(
    desk: Desk, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output = run("--crm", "crm")
    assert (code, "no warehouse is named" in output) == (2, True)
    monkeypatch.setenv("WAREHOUSE_URL", address(desk))
    code, output = run("--crm", "CRM")
    assert (code, "no table of schema CRM can be read" in output, "Did you mean crm?" in output) == (
        2,
        True,
        True,
    )
    code, output = run("--crm", "enerflo")
    assert (code, "The role can read tables of the schemas crm" in " ".join(output.split())) == (2, True)
    assert not Path("sync.yaml").exists()
