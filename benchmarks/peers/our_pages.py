"""Ours: the pages as Airflow's API server answers them, and Airflow's own beside them, in one process."""

from __future__ import annotations

import json
import os
import resource
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.jobs import PagesJob

_ROOT = Path(__file__).parents[2]
_DAG = "enerflo_poll"
_RUNS = 25


def run(job: PagesJob) -> dict[str, Any]:
    """Answer every address, and return what each took."""
    with tempfile.TemporaryDirectory(prefix="bench-airflow-") as home:
        os.environ |= _environment(job, Path(home))
        client = _client()
        return {"pages": dict(_answers(client, job)), "export": _export(client, job.export)}


def _environment(job: PagesJob, home: Path) -> dict[str, str]:
    url = sa.make_url(job.database_url)
    warehouse = {
        "conn_type": "postgres",
        "login": url.username,
        "host": url.query["host"],
        "schema": url.database,
    }
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(_ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(64),
        "AIRFLOW__API__BASE_URL": "http://localhost:8080",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "ENERFLO_SYNC_CONFIG": job.config_path,
        "WAREHOUSE_URL": job.database_url,
        "AIRFLOW_CONN_ENERFLO_WAREHOUSE": json.dumps(warehouse),
    }


def _client() -> Any:
    """Return a client of Airflow's API server in this process, which knows the DAGs and who asks."""
    from airflow.api_fastapi.app import create_app, get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.utils.db import initdb
    from fastapi.testclient import TestClient

    initdb()
    client = TestClient(create_app(apps="core"), base_url="http://localhost:8080", follow_redirects=True)
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="bench", role="ADMIN"))
    client.cookies.set("_token", token)
    _airflow_runs()
    return client


def _export(client: Any, path: str) -> dict[str, float]:
    """Return what a download takes: seconds, bytes, and by how many MB it raises the server's peak memory."""
    before, started = peak_rss_mb(), time.perf_counter()
    answer = client.get(path)
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.status_code}")
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "bytes": len(answer.content), "megabytes": peak_rss_mb() - before}


def peak_rss_mb() -> float:
    """Return the highest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _answers(client: Any, job: PagesJob) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each address with what its answers took."""
    for path in (*job.paths, *job.airflow):
        for _ in range(3):
            answer = client.get(path)
        if answer.status_code != 200:
            said = answer.text.partition("<main")[2][:600]
            raise RuntimeError(f"{path}: {answer.status_code} {said}")
        with _counted() as statements:
            client.get(path)
        took = []
        for _ in range(job.requests):
            started = time.perf_counter()
            answer = client.get(path)
            took.append((time.perf_counter() - started) * 1000)
        yield (
            path,
            {
                "status": answer.status_code,
                "bytes": len(answer.content),
                "milliseconds": took,
                "statements": len(statements),
            },
        )


def _airflow_runs() -> None:
    """Let Airflow know the DAGs, and 25 runs of one of them: what its own grid shows at first."""
    from airflow.api.common.trigger_dag import trigger_dag
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType

    dags, bundle = _ROOT / "dags", "dags-folder"
    measured = os.environ["ENERFLO_SYNC_CONFIG"]
    # One account's DAG is enough for Airflow's own page.
    os.environ["ENERFLO_SYNC_CONFIG"] = str(_ROOT / "include" / "config" / "sync.yaml")
    bag = DagBag(dag_folder=str(dags / f"{_DAG}.py"), bundle_path=dags, bundle_name=bundle)
    os.environ["ENERFLO_SYNC_CONFIG"] = measured
    DagBundlesManager().sync_bundles_to_db()
    with create_session() as session:
        sync_bag_to_db(bag, bundle, None, session=session)
    for number in range(_RUNS):
        trigger_dag(_DAG, run_id=f"bench{number}", triggered_by=DagRunTriggeredByType.CLI)


@contextmanager
def _counted() -> Iterator[list[str]]:
    """Collect the statements that are sent to PostgreSQL meanwhile."""
    statements: list[str] = []

    def note(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if connection.dialect.name == "postgresql":
            statements.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield statements
    sa.event.remove(sa.Engine, "before_cursor_execute", note)
