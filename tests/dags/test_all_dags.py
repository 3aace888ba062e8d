"""A DAG file of three lines has what the files of ``dags/`` have."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from enerflo_airflow.dags import all_dags, wiring_files

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.shipped import CONFIG_VARIABLE, shipped
from tests.airflow_environment import DAGS, ROOT

THREE_LINES = "from enerflo_airflow.dags import all_dags\n\nglobals().update(all_dags())\n"
EVERY_ACCOUNT = """\
# For Airflow: it has no DAG.
from enerflo_airflow.accounts import require_every_account

require_every_account()
"""


def bag_of(folder: Path) -> DagBag:
    return DagBag(dag_folder=str(folder))


def test_three_lines_give_every_dag(tmp_path: Path) -> None:
    (tmp_path / "enerflo.py").write_text(THREE_LINES)
    short, long = bag_of(tmp_path), bag_of(DAGS)
    assert short.import_errors == {}
    assert sorted(short.dags) == sorted(long.dags)
    for dag_id, dag in short.dags.items():
        assert dag.fileloc == str(tmp_path / "enerflo.py")
        assert [task.task_id for task in dag.tasks] == [task.task_id for task in long.dags[dag_id].tasks]


def test_copied_files_beside_the_three_lines_are_named_and_nothing_is_loaded_twice(tmp_path: Path) -> None:
    (tmp_path / "enerflo.py").write_text(THREE_LINES)
    # An older version's file, and one of that name that has no DAG.
    (tmp_path / "enerflo_poll.py").write_text((DAGS / "enerflo_poll.py").read_text() + "\n# older\n")
    (tmp_path / "enerflo_accounts.py").write_text(EVERY_ACCOUNT)
    (error,) = DagBag(dag_folder=str(tmp_path / "enerflo.py")).import_errors.values()
    assert (
        f"{tmp_path}: found enerflo_poll.py, expected the DAGs of enerflo-sync once: enerflo.py has" in error
    )
    assert "Remove the copied files, or enerflo.py." in error
    (tmp_path / "enerflo_poll.py").unlink()
    assert bag_of(tmp_path).import_errors == {}


def test_each_call_reads_the_accounts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(all_dags())
    path = tmp_path / "sync.yaml"
    west = "accounts:\n  west:\n    base_url: https://west.example\n    api_key: ${K:-}\n    warehouse_url: ${W:-}\n"
    path.write_text(shipped("sync.yaml").read_text().replace("accounts:\n", west, 1))
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    added = set(all_dags()) - before
    assert {"enerflo_poll__west", "enerflo_sync__west"} <= added
    assert all(name.endswith("__west") for name in added - {"enerflo_accounts"})
    assert "enerflo_accounts" in added


def test_a_mistake_in_the_configuration_is_the_import_error_of_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text("version: 1\n")
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    with pytest.raises(ConfigurationError):
        all_dags()


def test_every_file_of_the_folder_with_a_dag_is_among_them() -> None:
    files = sorted(file.name for file in DAGS.glob("*.py") if file.stem != "check_every_account")
    assert [file.name for file in wiring_files()] == files


def test_a_mistake_in_an_accounts_own_file_is_the_import_error_of_another_file_of_three_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "accounts").mkdir()
    (tmp_path / "accounts" / "west.yaml").write_text("mod: both\n")
    (tmp_path / "sync.yaml").write_text(shipped("sync.yaml").read_text())
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "sync.yaml"))
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "enerflo.py").write_text(THREE_LINES)
    assert EVERY_ACCOUNT in (ROOT / "docs" / "accounts.md").read_text()
    (folder / "enerflo_accounts.py").write_text(EVERY_ACCOUNT)
    bag = bag_of(folder)
    (error,) = bag.import_errors.items()
    assert error[0].endswith("enerflo_accounts.py")
    assert f"{tmp_path}/accounts/west.yaml:1: accounts.west.mod: found the unknown option mod" in error[1]
    assert {"enerflo_poll", "enerflo_accounts"} <= set(bag.dags)
