"""An Airflow of several machines as processes of one: Redis, scheduler, two Celery workers, and a company to read."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enerflo_demo.airflow import AirflowApi, connection, environment
from enerflo_demo.processes import Background, free_port, run
from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
REDIS = shutil.which("redis-server")
WORKERS = ("worker-1", "worker-2")
BACKFILL, POLL = "enerflo_backfill", "enerflo_poll"
# A page is asked for with so many installs, so that some thousand installs are many pages.
PER_PAGE = 100
# How long a page seems to take while it is estimated: parts are cut to take at least half a minute.
ESTIMATED_SECONDS, READ_SECONDS = 5.0, 0.8

# What is the same as shipped but for the pause before a task is tried again.
IMPATIENT = '''
"""Our DAGs; a task that was lost is tried again after five seconds instead of a minute."""

from datetime import timedelta

from enerflo_airflow.dags import all_dags

for name, dag in all_dags().items():
    for task in dag.tasks:
        task.retry_delay, task.retry_exponential_backoff = timedelta(seconds=5), 0
    globals()[name] = dag
'''


class Fleet:
    """Everything that runs.

    :param folder: for logs, Airflow's files and Redis's.
    :param warehouse_url: a migrated database; ``metadata_url`` an empty one for Airflow, on the same server.
    :param dags: the folder of DAG files.
    """

    def __init__(
        self,
        stack: ExitStack,
        folder: Path,
        *,
        installs: int,
        warehouse_url: str,
        metadata_url: str,
        dags: Path,
        prompt: bool,
    ) -> None:
        self._stack, self._folder = stack, folder
        self.world = World(installs, 7, clock=SystemClock())
        self.installs = sum(1 for _ in self.world.truth.installs())
        self.sandbox = SandboxApi(self.world, rate_limit=100_000)
        server = stack.enter_context(SandboxServer(self.sandbox))
        self.warehouse = sa.create_engine(warehouse_url)
        self.metadata = sa.create_engine(metadata_url)
        stack.callback(self.warehouse.dispose)
        stack.callback(self.metadata.dispose)
        self.port, self._redis_port = free_port(), free_port()
        self._password = secrets.token_hex(32)
        self.environ = self._environment(server.url, warehouse_url, metadata_url, dags, prompt=prompt)
        self.parts: dict[str, Background] = {}
        self.api = AirflowApi(f"http://127.0.0.1:{self.port}", self.check)

    def _environment(
        self, sandbox_url: str, warehouse_url: str, metadata_url: str, dags: Path, *, prompt: bool
    ) -> dict[str, str]:
        database = metadata_url.replace("+psycopg:", "+psycopg2:")
        home = self._folder / "airflow"
        environ = environment(os.environ, home=home, repository=ROOT, port=self.port, database_url=database)
        config = self._folder / "sync.yaml"
        shipped = (ROOT / "include" / "config" / "sync.yaml").read_text()
        for before, after in (
            ("per_page: 500", f"per_page: {PER_PAGE}"),
            ("min_per_page: 25", "min_per_page: 10"),
            ("backfill_changes: 100", "backfill_changes: 100\n  backfill_requests: 1000000"),
        ):
            assert before in shipped
            shipped = shipped.replace(f"  {before}\n", f"  {after}\n")
        config.write_text(shipped)
        warehouse = sa.make_url(warehouse_url)
        environ |= {
            "PATH": f"{Path(sys.executable).parent}:{environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("", "include", "plugins")),
            "ENERFLO_SYNC_CONFIG": str(config),
            "AIRFLOW_CONN_ENERFLO_DEFAULT": connection("enerflo", host=sandbox_url, password=DEFAULT_KEY),
            "AIRFLOW_CONN_ENERFLO_WAREHOUSE": connection(
                "postgres",
                login=warehouse.username,
                password=warehouse.password or "",
                host=warehouse.query["host"],
                schema=warehouse.database,
            ),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CELERY__BROKER_URL": f"redis://:{self._password}@127.0.0.1:{self._redis_port}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
            # So each of two tasks at a time is on a worker of its own.
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "tests.workers.hostname.worker_name",
            # What tasks return is nowhere in Airflow's database.
            "AIRFLOW__CORE__XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"file://{self._folder}/xcoms",
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": "0",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        }
        if prompt:
            environ |= {
                "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
                "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "12",
                "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
                "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
                "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
            }
        return environ

    # -- processes -----------------------------------------------------------------------------------------

    def start_all(self) -> None:
        """Start everything, and return when Airflow is healthy and knows our DAGs."""
        log = self._folder / "migrate.log"
        run("airflow db migrate", ["airflow", "db", "migrate"], self.environ, log)
        self.start_redis()
        for part in ("api-server", "scheduler", "dag-processor"):
            self.start(part, ["airflow", part])
        for name in WORKERS:
            self.start_worker(name)
        self.api.wait_until_healthy(wanted=("metadatabase", "scheduler", "dag_processor"))
        self.api.wait_for_dags(BACKFILL, POLL)

    def start_redis(self) -> None:
        """Start Redis with nothing in it: it keeps nothing on disk."""
        assert REDIS is not None
        config = self._folder / "redis.conf"
        config.write_text(
            f'bind 127.0.0.1\nport {self._redis_port}\nrequirepass {self._password}\nsave ""\nappendonly no\n'
            f"dir {self._folder}\n"
        )
        self.start("redis", [REDIS, str(config)])

    def start_worker(self, name: str) -> None:
        """Start a worker that says its name wherever Airflow shows a host."""
        command = ["airflow", "celery", "worker", "--celery-hostname", f"{name}@%h"]
        own = {"WORKER_NAME": name, "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port())}
        self.start(name, command, own)

    def start(self, name: str, command: list[str], own: dict[str, str] | None = None) -> None:
        """Start a part; its output is added to its log."""
        part = Background(name, command, self.environ | (own or {}), self._folder / f"{name}.log")
        self.parts[name] = part
        self._stack.callback(part.end)

    def kill(self, name: str) -> None:
        """End a part and all that it started at once, as a machine that loses its power."""
        part = self.parts.pop(name)
        session = part.pid
        for _ in range(3):
            for process in _processes_of(session):
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.05)
        part.end()

    def check(self) -> None:
        """Raise where a part has ended that nobody killed."""
        for part in self.parts.values():
            part.check()

    # -- what happened -------------------------------------------------------------------------------------

    def of_warehouse(self, statement: str, **values: Any) -> list[Any]:
        """Return rows of the warehouse."""
        with self.warehouse.connect() as rows:
            return list(rows.execute(sa.text(statement), values))

    def of_airflow(self, statement: str, **values: Any) -> list[Any]:
        """Return rows of Airflow's database."""
        with self.metadata.connect() as rows:
            return list(rows.execute(sa.text(statement), values))

    def wait(self, what: str, done: Callable[[], Any], seconds: float = 120) -> None:
        """Return when something is so."""
        until = time.monotonic() + seconds
        while not done():
            self.check()
            if time.monotonic() > until:
                raise ConfigurationError(f"{what}: not within {seconds:.0f} s.", where=str(self._folder))
            time.sleep(0.1)


def _processes_of(session: int) -> list[int]:
    """Return the processes of a session (proc(5)): a worker's tasks are groups of their own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append(int(entry.name))
    return found


@contextmanager
def fleet(folder: Path, **options: Any) -> Iterator[Fleet]:
    """Yield everything that runs, and end it."""
    with ExitStack() as stack:
        found = Fleet(stack, folder, **options)
        found.start_all()
        yield found
