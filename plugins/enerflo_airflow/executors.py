"""Accounts that name an executor which Airflow does not have."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.executors.executor_loader import ExecutorLoader

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.problems import Problem, listed, nearest


def executor_problems(config: SyncConfig) -> Mapping[str, Problem]:
    """Return by account that its executor is none of Airflow's.

    One DAG that names such an executor would be the import error of its file, and stop the DAGs of all
    accounts in it. Only the DAG processor may ask: a worker's own ``[core] executor`` may be another one.
    """
    named = {name: one.airflow.executor for name, one in config.accounts.items() if one.airflow.executor}
    if not named:
        return {}
    names = ExecutorLoader.get_executor_names(validate_teams=False)
    # Airflow takes the alias, the module's path, or the class's name.
    known = {word for one in names for word in (one.alias, one.module_path.rsplit(".")[-1]) if word}
    paths = {one.module_path for one in names}
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
