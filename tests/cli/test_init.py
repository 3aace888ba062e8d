"""``enerflo-sync init``, and which sync.yaml a command takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from enerflo_sync import shipped as module
from enerflo_sync.crm.load import load_config
from enerflo_sync.shipped import CONFIG_VARIABLE, find_config, named_config, shipped
from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    monkeypatch.delenv("WAREHOUSE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_writes_a_file_that_is_valid_and_found_in_its_folder(init_command: Run, elsewhere: Path) -> None:
    code, output = init_command()
    assert code == 0, output
    assert find_config({}) == Path("sync.yaml")
    assert load_config(Path("sync.yaml"), {}).accounts["default"].mode == "report"
    assert json.loads(Path("sync.schema.json").read_text())["title"]
    assert CONFIG_VARIABLE not in output


def test_of_another_folder_it_says_how_the_file_is_found(init_command: Run, elsewhere: Path) -> None:
    code, output = init_command("team/conf")
    assert code == 0, output
    assert f"export {CONFIG_VARIABLE}={elsewhere / 'team/conf/sync.yaml'}" in output


def test_json_says_what_was_written(init_command: Run, elsewhere: Path) -> None:
    code, output = init_command("--json")
    assert code == 0
    assert json.loads(output) == {
        "written": ["sync.yaml", "sync.schema.json", "account.schema.json"],
        "is_found": True,
    }


@pytest.mark.parametrize("name", ["sync.yaml", "sync.schema.json", "account.schema.json"])
def test_a_file_that_is_there_stays_as_it_is(init_command: Run, elsewhere: Path, name: str) -> None:
    (elsewhere / name).write_text("mine")
    code, output = init_command()
    assert code == 2
    assert f"{name}: the file is there already. Edit it, or name another folder." in " ".join(output.split())
    assert {path.name for path in elsewhere.iterdir()} == {name}
    assert (elsewhere / name).read_text() == "mine"


def test_a_folder_that_cannot_be_made(init_command: Run, elsewhere: Path) -> None:
    (elsewhere / "file").write_text("")
    code, output = init_command("file/conf")
    assert code == 2
    assert "Name a folder that you may write." in " ".join(output.split())


def test_the_variable_counts_then_the_working_folder_then_what_was_shipped(elsewhere: Path) -> None:
    assert find_config({}) == shipped("sync.yaml")
    Path("sync.yaml").write_text("")
    assert find_config({}) == Path("sync.yaml")
    assert named_config({}) == shipped("sync.yaml")
    Path("include/config").mkdir(parents=True)
    Path("include/config/sync.yaml").write_text("")
    assert find_config({}) == Path("include/config/sync.yaml")
    assert find_config({CONFIG_VARIABLE: "other.yaml"}) == named_config({CONFIG_VARIABLE: "other.yaml"})
    assert find_config({CONFIG_VARIABLE: "other.yaml"}) == Path("other.yaml")


def test_an_installed_package_has_the_files_within_itself(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PACKAGED", elsewhere)
    assert shipped("sync.yaml") == elsewhere / "sync.yaml"


def test_variables_that_are_not_set_are_taken_from_a_file_of_the_working_folder(
    init_command: Run, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As monkeypatch knows them, they are gone after the test.
    for name in ("SOME_KEY", "OTHER_KEY"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("SOME_KEY")
    monkeypatch.setenv("OTHER_KEY", "of the environment")
    (elsewhere / ".env").write_text("SOME_KEY=of the file\nOTHER_KEY=of the file\n")
    assert init_command()[0] == 0
    assert os.environ["SOME_KEY"] == "of the file"
    assert os.environ["OTHER_KEY"] == "of the environment"
