"""The receiver's section of docker-compose.yml, and that its container could start."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from tests.receiver.conftest import COMMAND, SECRET, environment
from tests.test_compose import COMPOSE_FILE, SECRETS

OWN = {"RECEIVER_SECRET": SECRET}


def services(*profiles: str, **variables: str) -> dict[str, Any]:
    if not shutil.which("docker-compose"):
        pytest.skip("NOT CHECKED: docker-compose is missing (apt-get install docker-compose)")
    options = [word for profile in profiles for word in ("--profile", profile)]
    shown = subprocess.run(
        ["docker-compose", *options, "--env-file", os.devnull, "-f", str(COMPOSE_FILE), "config"],  # noqa: S607
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **SECRETS, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = yaml.safe_load(shown.stdout)["services"]
    return found


def test_it_is_there_when_asked_for_and_nothing_else_needs_its_secret() -> None:
    assert "receiver" not in services()
    assert "receiver" in services("receiver", **OWN)


def test_it_knows_its_own_secret_and_no_other() -> None:
    started = services("receiver", **OWN)
    told = started["receiver"]["environment"]
    assert told["RECEIVER_SECRET"] == SECRET
    assert not set(told.values()) & set(SECRETS.values())
    for name, service in started.items():
        assert (SECRET in service["environment"].values()) == (name == "receiver"), name


def test_it_cannot_write_anything_but_the_drop_and_is_published_to_this_machine_only() -> None:
    receiver = services("receiver", **OWN)["receiver"]
    assert receiver["read_only"] is True
    assert receiver["user"] == "50000:0"
    assert receiver["cap_drop"] == ["ALL"]
    mounts = {mount["target"]: mount for mount in receiver["volumes"]}
    assert mounts["/opt/airflow/include"]["read_only"] is True
    assert mounts["/opt/airflow/webhooks"]["source"] == "webhooks"
    assert [(port["host_ip"], port["published"], port["target"]) for port in receiver["ports"]] == [
        ("127.0.0.1", "8099", 8099)
    ]
    assert receiver["healthcheck"]["test"][-1] == "http://127.0.0.1:8099/health"


@pytest.mark.parametrize("uri", ["", "s3://bucket/drop"])
def test_it_drops_where_airflow_looks(uri: str) -> None:
    started = services("receiver", WEBHOOK_DROP_URI=uri, **OWN)
    airflow = {name: started[name] for name in ("scheduler", "triggerer", "dag-processor")}
    places = {
        service["environment"]["WEBHOOK_DROP_URI"] for service in [started["receiver"], *airflow.values()]
    }
    assert places == {uri or "/opt/airflow/webhooks/drop"}
    for service in airflow.values():
        mounts = {mount["target"]: mount["source"] for mount in service["volumes"]}
        assert mounts["/opt/airflow/webhooks"] == "webhooks"


def test_its_command_is_one_that_there_is() -> None:
    words = services("receiver", **OWN)["receiver"]["entrypoint"]
    assert (
        words[0] in tomllib.loads(COMPOSE_FILE.with_name("pyproject.toml").read_text())["project"]["scripts"]
    )
    told = subprocess.run([*COMMAND[:3], *words[1:], "--help"], env=environment(), check=False, timeout=60)
    assert told.returncode == 0
