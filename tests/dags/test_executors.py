"""An account's executor where each team of Airflow has executors of its own (``[core] multi_team``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.shipped import CONFIG_VARIABLE, shipped
from tests.airflow_environment import DAGS

# Airflow keeps the executors that it read for the life of a process, so that each world has one of its own.
PARSE = """
import json, sys
from pathlib import Path
from airflow.dag_processing.dagbag import BundleDagBag, DagBag
name, folder = sys.argv[1:]
files = [str(file) for file in sorted(Path(folder).glob("*.py"))]
whole = {}, {}
for file in files:
    bag = BundleDagBag(dag_folder=file, bundle_path=Path(folder), bundle_name=name)
    whole[0].update(bag.import_errors), whole[1].update(dict.fromkeys(bag.dags))
print(json.dumps([whole[0], sorted(whole[1])]))
"""
EXECUTORS = "LocalExecutor;solar=CeleryExecutor;wind=KubernetesExecutor"
LOCAL = "airflow.dag_processing.bundles.local.LocalDagBundle"
KUBERNETES = "airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor"


def parsed(tmp_path: Path, west: str, **teams: str | None) -> tuple[dict[str, str], set[str]]:
    """Return the import errors and DAGs of the bundle ``one``, as the DAG processor parses it."""
    config = tmp_path / "sync.yaml"
    config.write_text(shipped("sync.yaml").read_text())
    (tmp_path / "accounts").mkdir()
    (tmp_path / "accounts" / "west.yaml").write_text(f"airflow: {{executor: {west}}}\n")
    bundles: list[dict[str, Any]] = []
    for name, team in teams.items():
        folder = tmp_path / name
        folder.symlink_to(DAGS)
        bundles.append({"name": name, "classpath": LOCAL, "kwargs": {"path": str(folder)}, "team_name": team})
    environment = {
        **os.environ,
        CONFIG_VARIABLE: str(config),
        "AIRFLOW__CORE__MULTI_TEAM": "True",
        "AIRFLOW__CORE__EXECUTOR": EXECUTORS,
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
    }
    done = subprocess.run(
        [sys.executable, "-c", PARSE, "one", str(tmp_path / "one")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    errors, dags = json.loads(done.stdout.splitlines()[-1])
    return errors, set(dags)


@pytest.mark.parametrize(
    ("executor", "teams"),
    [
        ("LocalExecutor", {"one": "solar"}),
        ("CeleryExecutor", {"one": "solar", "two": "wind"}),
        ("CeleryExecutor", {"one": "solar", "two": None}),
    ],
)
def test_an_executor_of_all_or_of_the_own_team_is_used(
    tmp_path: Path, executor: str, teams: dict[str, str | None]
) -> None:
    errors, dags = parsed(tmp_path, executor, **teams)
    assert errors == {}
    assert {"enerflo_poll", "enerflo_poll__west"} <= dags


@pytest.mark.parametrize(
    ("executor", "teams"),
    [
        ("KubernetesExecutor", {"one": "solar", "two": "wind"}),
        (KUBERNETES, {"one": "solar", "two": "wind"}),
        ("KubernetesExecutor", {"one": None, "two": "wind"}),
    ],
)
def test_an_executor_of_another_team_stops_the_account_that_names_it_alone(
    tmp_path: Path, executor: str, teams: dict[str, str | None]
) -> None:
    errors, dags = parsed(tmp_path, executor, **teams)
    assert {name for name in dags if name.endswith("__west")} == set()
    assert {"enerflo_poll", "enerflo_sync", "enerflo_accounts"} <= dags
    (error,) = errors.items()
    assert error[0] == "check_every_account.py"
    assert f"accounts.west.airflow.executor: found the executor {executor}" in error[1]
    own = "one of CeleryExecutor, LocalExecutor" if teams["one"] else "LocalExecutor"
    assert f"expected {own}, as [core] executor has them" in error[1]
