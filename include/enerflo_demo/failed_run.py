"""What a failed run of the demo's Airflow says: its failed tasks and the ends of their logs.

The demo ends together with its Airflow, so nobody can open the run in the UI afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import requests

from enerflo_sync.errors import ConfigurationError

_LINES = 12
Read = Callable[[str, str], Any]


def failed_words(call: Read, dag_id: str, run_id: str) -> str:
    """Return the failed tasks of a run, each with its try and the end of its log.

    :param call: sends a request to Airflow's API and returns the answer: method, path.
    """
    run = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
    try:
        tasks = call("GET", run)["task_instances"]
        failed = [task for task in tasks if task["state"] == "failed"]
        return "\n".join(_task_words(call, run, task) for task in failed) or "No task of it failed."
    except (ConfigurationError, requests.RequestException, LookupError):
        # The run's failure is what is told, also where Airflow says no more about it.
        return "Airflow does not say which of its tasks failed."


def log_place(dag_id: str, run_id: str) -> str:
    """Return the folder with the logs of a run's tasks, seen from Airflow's home."""
    return f"logs/dag_id={dag_id}/run_id={run_id}"


def _task_words(call: Read, run: str, task: Mapping[str, Any]) -> str:
    name, number = task["task_id"], task["try_number"]
    head = f"The task {name} failed in try {number} of {task['max_tries'] + 1}."
    content = call("GET", f"{run}/{name}/logs/{number}?full_content=true")["content"]
    lines = [_line(message) for message in content][-_LINES:]
    return "\n".join([f"{head} Its log ends with:", *(f"    {line}" for line in lines)])


def _line(message: Mapping[str, Any] | str) -> str:
    if isinstance(message, str):
        return message
    errors = [f"{one['exc_type']}: {one['exc_value']}" for one in message.get("error_detail") or ()]
    return " ".join([str(message.get("level", "")), str(message["event"]), *errors]).strip()
