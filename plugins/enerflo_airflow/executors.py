"""Accounts that name an executor which Airflow does not have."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import get_bundle_base_folder
from airflow.executors.executor_loader import ExecutorLoader
from airflow.sdk import conf

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.problems import Problem, listed, nearest


def executor_problems(config: SyncConfig) -> Mapping[str, Problem]:
    """Return by account that its executor is none of Airflow's, or none of the team's that has the DAG file.

    One DAG that names such an executor would be the import error of its file, and stop the DAGs of all
    accounts in it. Only the DAG processor may ask: a worker's own ``[core] executor`` may be another one.
    """
    named = {name: one.airflow.executor for name, one in config.accounts.items() if one.airflow.executor}
    if not named:
        return {}
    known, paths = _known_executors()
    found = {}
    for account, executor in named.items():
        if executor not in known | paths:
            spot = config.spot("accounts", account, "airflow", "executor")
            found[account] = Problem(
                str(spot.file),
                spot.line,
                ".".join(spot.place),
                f"the executor {executor}",
                f"{listed(sorted(known))}, as [core] executor has them",
                nearest(executor, known),
            )
    return found


def _known_executors() -> tuple[set[str], set[str]]:
    """Return what a task of this DAG file may name: words, and the modules' paths."""
    names = ExecutorLoader.get_executor_names(validate_teams=False)
    usable = []
    for team in _teams():
        own = [one for one in names if one.team_name in (None, team)]
        # Airflow takes the alias, the module's path, or the class's name.
        words = {word for one in own for word in (one.alias, one.module_path.rsplit(".")[-1]) if word}
        usable.append((words, {one.module_path for one in own}))
    return (
        set.intersection(*(words for words, _ in usable)),
        set.intersection(*(paths for _, paths in usable)),
    )


def _teams() -> set[str | None]:
    """Return the teams whose DAG bundle this file may be of.

    A DAG file is not told its bundle. Airflow puts the bundle's folder on ``sys.path`` before it parses the
    file; where none of the bundles is found there, an executor has to be one of every team's.
    """
    if not conf.getboolean("core", "multi_team", fallback=False):
        return {None}
    bundles = conf.getjson("dag_processor", "dag_bundle_config_list", fallback=None) or []
    folders = [Path(entry) for entry in sys.path if entry]
    parsed = [one for one in bundles if _is_parsed(one, folders)]
    return {one.get("team_name") for one in parsed or bundles} or {None}


def _is_parsed(bundle: Mapping[str, Any], folders: Iterable[Path]) -> bool:
    if bundle["classpath"].endswith(".LocalDagBundle"):
        place = Path(bundle["kwargs"].get("path") or conf.get("core", "dags_folder"))
        return place in folders
    # Whatever else brings a bundle keeps it there, in a folder of its own for each version.
    place = get_bundle_base_folder(bundle["name"])
    return any(folder.is_relative_to(place) for folder in folders)
