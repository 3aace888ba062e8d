"""What the demo makes of Airflow's answers, which a small server gives as Airflow gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from enerflo_demo.airflow import AirflowApi
from enerflo_demo.both_ways import APPROVE, ASK, SYNC, BothWays
from enerflo_sync.errors import ConfigurationError

RUN, EARLIER = "ask_9f8e7d6c5b4a3210_1", "ask_0123456789abcdef_1"


@contextmanager
def airflow(answers: dict[str, Any]) -> Iterator[AirflowApi]:
    """Serve answers by path, without the part that all paths of the API share."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.removeprefix("/api/v2").partition("?")[0])
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        do_POST = do_GET  # noqa: N815 - the names are http.server's

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield AirflowApi(f"http://127.0.0.1:{server.server_port}", lambda: None)
        server.shutdown()


def test_a_run_that_failed_is_told_also_where_its_tasks_cannot_be_read() -> None:
    run = {"dag_id": APPROVE, "dag_run_id": RUN, "state": "failed", "note": None}
    with (
        airflow({f"/dags/{APPROVE}/dagRuns/{RUN}": run}) as api,
        pytest.raises(ConfigurationError, match="a run failed"),
    ):
        api.wait_for_run(APPROVE, RUN, 5)


def test_the_demo_answers_the_run_that_asks_about_its_own_plan() -> None:
    """A reconciliation may have started a plan just before, about which another run asks already."""
    plan = {"waiting": RUN.split("_")[1] + "0" * 48}
    answers: dict[str, Any] = {
        f"/dags/{SYNC}/dagRuns": {"dag_run_id": "manual"},
        f"/dags/{SYNC}/dagRuns/manual": {"state": "success"},
        f"/dags/{SYNC}/dagRuns/manual/taskInstances/make_plan/xcomEntries/return_value": {"value": plan},
        f"/dags/{APPROVE}/dagRuns": {
            "dag_runs": [{"dag_run_id": name, "state": "running"} for name in (EARLIER, RUN)]
        },
    }
    for name in (EARLIER, RUN):
        answers[f"/dags/{APPROVE}/dagRuns/{name}/taskInstances/{ASK}"] = {"state": "awaiting_input"}
    with airflow(answers) as api:
        assert BothWays(api, Path("sync.yaml")).ask(5) == RUN
        plan["waiting"] = ""
        with pytest.raises(ConfigurationError, match="nobody was asked"):
            BothWays(api, Path("sync.yaml")).ask(5)
