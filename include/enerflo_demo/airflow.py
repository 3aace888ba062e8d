"""Airflow as the demo needs it: its environment, and the few calls of its REST API. Imports nothing of it."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from enerflo_demo.failed_run import failed_words, log_place
from enerflo_demo.processes import free_port
from enerflo_sync.errors import ConfigurationError

_PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
_ENDED = ("success", "failed")
# An answer that comes before the scheduler saw the asking process end is taken by Airflow 3.3 for a failure
# of the task, which asks again. So wait much longer than the workers' heartbeat interval below.
_NO_SOONER = 5.0


def environment(
    base: Mapping[str, str], *, home: Path, repository: Path, port: int, database_url: str
) -> dict[str, str]:
    """Return the environment in which the demo's Airflow runs: on loopback only, examples off.

    Anyone on this machine is its admin, so that the demo asks for no password.
    """
    binaries = Path(sys.executable).parent
    return {
        **{name: value for name, value in base.items() if not name.startswith("AIRFLOW")},
        # standalone starts its parts by name.
        "PATH": f"{binaries}:{base.get('PATH', '')}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(64),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__CORE__DAGS_FOLDER": str(repository / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # Most of what a demo at rest costs is parsing: a file takes half a second, twice a minute by default.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url,
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        # A worker of a busy machine notices that a task's process has ended up to so many seconds later.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }


def connection(conn_type: str, **parts: Any) -> str:
    """Return an Airflow connection in the JSON form that an environment variable takes."""
    return json.dumps({"conn_type": conn_type, **parts})


@dataclass
class AirflowApi:
    """The calls that the demo makes.

    :param check: called while waiting; raises when Airflow has died.
    """

    url: str
    check: Callable[[], None]
    session: requests.Session = field(default_factory=requests.Session)

    def wait_until_healthy(self, seconds: float = 180, wanted: Sequence[str] = _PARTS) -> None:
        """Return when the parts of Airflow say that they are healthy."""

        def healthy() -> bool:
            parts = self.session.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
            return all(parts.get(part, {}).get("status") == "healthy" for part in wanted)

        self._wait("Airflow did not become healthy", healthy, seconds)
        token = self.session.get(f"{self.url}/auth/token", timeout=10)
        self.session.headers["Authorization"] = f"Bearer {token.json()['access_token']}"

    def wait_for_dags(self, *dag_ids: str, seconds: float = 180) -> None:
        """Return when all DAGs are parsed."""

        def parsed() -> bool:
            return all(
                self.session.get(f"{self.url}/api/v2/dags/{dag_id}", timeout=10).ok for dag_id in dag_ids
            )

        self._wait(f"the DAGs {', '.join(dag_ids)} did not appear", parsed, seconds)

    def wait_for_parse(self, dag_id: str, seconds: float = 90) -> None:
        """Ask for a parse of a DAG's file, and return when it has been parsed again."""
        began = datetime.now(UTC)
        self._call("PUT", f"/parseDagFile/{self._call('GET', f'/dags/{dag_id}')['file_token']}")

        def parsed() -> bool:
            when = self._call("GET", f"/dags/{dag_id}")["last_parsed_time"]
            return bool(datetime.fromisoformat(when) > began)

        self._wait(f"the DAG {dag_id} was not parsed again", parsed, seconds)

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run."""
        self._call("PATCH", f"/dags/{dag_id}", {"is_paused": False})

    def pause(self, dag_id: str, seconds: float = 300) -> None:
        """Let no further run of a DAG begin, and return when none is under way."""
        self._call("PATCH", f"/dags/{dag_id}", {"is_paused": True})
        self._wait(
            f"a run of {dag_id} did not end",
            lambda: all(run["state"] != "running" for run in self.runs(dag_id)),
            seconds,
        )

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run and return its id."""
        body = {"logical_date": None, "conf": dict(conf or {})}
        run_id: str = self._call("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"]
        return run_id

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return a DAG's runs, newest first."""
        answer = self._call("GET", f"/dags/{dag_id}/dagRuns?order_by=-run_after&limit=50")
        found: list[dict[str, Any]] = answer["dag_runs"]
        return found

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float = 300) -> dict[str, Any]:
        """Return a run that has ended well.

        :raises ConfigurationError: it failed, or did not end in time.
        """

        def ended() -> bool:
            return self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"] in _ENDED

        self._wait(f"the run {run_id} of {dag_id} did not end", ended, seconds)
        run: dict[str, Any] = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
        if run["state"] != "success":
            raise ConfigurationError(
                f"a run failed.\n{failed_words(self._call, dag_id, run_id)}\n",
                where=f"{dag_id} {run_id}",
                next_step=f"The whole log is below the demo's airflow/{log_place(dag_id, run_id)},"
                " until the demo starts anew.",
            )
        return run

    def wait_for_next_run(self, dag_id: str, known: set[str], seconds: float = 300) -> dict[str, Any]:
        """Return the first run that is not among ``known``, once it has ended well."""
        self._wait(
            f"no new run of {dag_id} began",
            lambda: any(run["dag_run_id"] not in known for run in self.runs(dag_id)),
            seconds,
        )
        new = [run["dag_run_id"] for run in self.runs(dag_id) if run["dag_run_id"] not in known]
        return self.wait_for_run(dag_id, new[-1], seconds)

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task returned."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self._call("GET", path)["value"]

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        state: str = self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"]
        return state

    def task_state(self, dag_id: str, run_id: str, task_id: str) -> str | None:
        """Return the state of one task of a run, None while it has none."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        state: str | None = self._call("GET", path)["state"]
        return state

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str) -> None:
        """Answer a task that waits for a person."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        self._call("PATCH", path, {"chosen_options": [option], "params_input": {}})

    def answer_as_often_as_asked(
        self, dag_id: str, run_id: str, task_id: str, how: Callable[[], None], seconds: float = 300
    ) -> None:
        """Answer whenever a task of a run waits for a person, and return when the run has ended well.

        :param how: gives the answer.
        :raises ConfigurationError: the run failed, or did not end in time.
        """
        deadline = time.monotonic() + seconds
        while self.run_state(dag_id, run_id) not in _ENDED and time.monotonic() < deadline:
            if self.task_state(dag_id, run_id, task_id) == "awaiting_input":
                time.sleep(_NO_SOONER)
                how()
            time.sleep(1)
        self.wait_for_run(dag_id, run_id, 1)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.session.request(method, f"{self.url}/api/v2{path}", json=body, timeout=30)
        if not answer.ok:
            raise ConfigurationError(
                f"Airflow answered {answer.status_code}.",
                where=f"{method} {path}",
                next_step="Read the demo's airflow.log.",
            )
        return answer.json()

    def _wait(self, otherwise: str, done: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            self.check()
            try:
                if done():
                    return
            except (requests.RequestException, ValueError):
                pass
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"{otherwise} within {seconds:.0f} s.",
                    where="demo",
                    next_step="Read the demo's airflow.log.",
                )
            time.sleep(0.5)
