"""The Helm values of docs/hosting, as far as they can be checked without a cluster, and the pages beside them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.configuration import conf

from tests.test_compose import SECRET_NAME

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "docs" / "hosting" / "kubernetes-values.yaml"
PAGE = ROOT / "docs" / "workers.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# What the executor needs beside Airflow, and the auth manager that the chart sets.
OF_THE_IMAGE = {"apache-airflow-providers-cncf-kubernetes", "apache-airflow-providers-fab"}
# Keys of the chart's first level, looked up in the values of version 1.22.0.
OF_THE_CHART = {
    "airflowVersion",
    "apiSecretKeySecretName",
    "data",
    "env",
    "executor",
    "fernetKeySecretName",
    "images",
    "jwtSecretName",
    "logs",
    "postgresql",
    "secret",
    "triggerer",
    "volumeMounts",
    "volumes",
    "workers",
}


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(VALUES.read_text())
    return found


def test_every_part_says_what_it_is_for_and_is_one_of_the_charts(values: dict[str, Any]) -> None:
    assert set(values) == OF_THE_CHART
    paragraphs = VALUES.read_text().split("\n\n")
    assert all(part.startswith("#") for part in paragraphs), "a part without a reason"
    told = {
        line.split(":")[0] for part in paragraphs for line in part.splitlines() if re.match(r"\w+:", line)
    }
    assert told == set(values)


def test_executor_version_and_image_are_those_of_the_project(values: dict[str, Any]) -> None:
    locked = {one["name"]: one["version"] for one in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    assert values["airflowVersion"] == locked["apache-airflow"]
    assert values["executor"] == "KubernetesExecutor"
    image = values["images"]["airflow"]
    assert image["repository"].rpartition("/")[2] == PROJECT["name"]
    assert image["tag"] == PROJECT["version"]
    build = re.search(r'--build-arg (\w+)="--extra (\w+)" --tag (\S+)', VALUES.read_text())
    assert build is not None
    argument, extra, tag = build.groups()
    assert tag == f"{image['repository']}:{image['tag']}"
    needed = {re.split(r"[<>=\[]", name)[0] for name in PROJECT["optional-dependencies"][extra]}
    assert needed == OF_THE_IMAGE
    assert set(locked) >= OF_THE_IMAGE
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f'ARG {argument}=""' in dockerfile
    syncs = [line for line in dockerfile.splitlines() if "uv sync" in line]
    assert all(f"${argument}" in line for line in syncs)
    assert build.group(0) in PAGE.read_text()


def test_every_variable_is_read_by_our_code_or_by_airflow(values: dict[str, Any]) -> None:
    shipped = (ROOT / "include" / "config" / "sync.yaml").read_text()
    code = " ".join(path.read_text() for path in (ROOT / "include" / "enerflo_sync").rglob("*.py"))
    names = [one["name"] for one in values["env"]] + [one["envName"] for one in values["secret"]]
    assert len(names) == len(set(names)) >= 4
    for name in names:
        if option := re.fullmatch(r"AIRFLOW__([A-Z0-9_]+?)__([A-Z0-9_]+)", name):
            assert conf.has_option(option[1].lower(), option[2].lower()), name
        elif connection := re.fullmatch(r"AIRFLOW_CONN_([A-Z0-9_]+)", name):
            assert f"_connection: {connection[1].lower()}" in shipped, name
        else:
            assert f"${{{name}" in shipped or f'"{name}"' in code, name


def test_the_mounted_folder_is_the_one_that_the_configuration_is_read_from(values: dict[str, Any]) -> None:
    (mount,) = values["volumeMounts"]
    (volume,) = values["volumes"]
    assert volume["name"] == mount["name"]
    variables = {one["name"]: one["value"] for one in values["env"]}
    assert variables["ENERFLO_SYNC_CONFIG"] == f"{mount['mountPath']}/sync.yaml"
    # A folder of one machine is no drop here.
    assert "://" in variables["WEBHOOK_DROP_URI"]


def test_no_secret_stands_in_it_and_the_page_makes_every_one_that_it_names(values: dict[str, Any]) -> None:
    assert not [one["name"] for one in values["env"] if SECRET_NAME.search(one["name"])]
    named = {values["data"]["metadataSecretName"]}
    named |= {values[f"{key}SecretName"] for key in ("fernetKey", "apiSecretKey", "jwt")}
    named |= {one["secretName"] for one in values["secret"]}
    page = PAGE.read_text().replace("\\\n", " ")
    made = dict(re.findall(r"create secret generic (\S+) (.+)", page))
    assert set(made) == named
    for one in values["secret"]:
        assert f"--from-literal={one['secretKey']}=" in made[one["secretName"]]
    for key in ("fernet-key", "api-secret-key", "jwt-secret"):
        assert f"--from-literal={key}=" in made[values["fernetKeySecretName"]]
    assert f"create configmap {values['volumes'][0]['configMap']['name']} " in page


def test_what_was_never_tried_says_so_and_links_lead_somewhere() -> None:
    pages = [PAGE, *sorted((ROOT / "docs" / "hosting").glob("*.md"))]
    assert len(pages) == 4
    for page in pages:
        text = page.read_text()
        assert "never" in text.lower(), page.name
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
