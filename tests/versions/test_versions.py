"""What `make versions` tries is what pyproject.toml promises."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tests.supply_chain import uv_program
from tests.versions.environments import (
    ENVIRONMENTS,
    NEXT_AIRFLOW,
    PARSED,
    QUICK,
    ROOT,
    WALKS,
    Packages,
    requirements,
)
from tests.versions.interpreters import interpreter

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(path: Path) -> dict[str, str]:
    lines = [line.partition(" ")[0] for line in path.read_text().splitlines() if "==" in line]
    return dict(line.split("==") for line in lines)


def test_every_python_that_is_promised_is_tried_with_the_locked_packages() -> None:
    tried = {one.python for one in ENVIRONMENTS if one.packages is Packages.LOCKED}
    told = {word.split(" :: ")[-1] for word in PROJECT["classifiers"] if "Language :: Python" in word}
    assert tried == told
    assert {f"3.{n}" for n in range(30) if f"3.{n}" in SpecifierSet(PROJECT["requires-python"])} == tried


def test_the_next_airflow_is_one_that_the_extra_allows() -> None:
    (airflow,) = [
        one
        for one in map(Requirement, PROJECT["optional-dependencies"]["airflow"])
        if one.name == "apache-airflow"
    ]
    assert airflow.specifier.contains(pins(NEXT_AIRFLOW)["apache-airflow"], prereleases=True)


def test_what_is_run_is_there_and_ci_runs_the_short_form() -> None:
    files = {*WALKS, *PARSED, *QUICK} | {name for one in ENVIRONMENTS for name in one.short}
    assert [name for name in files if not (ROOT / name).exists()] == []
    assert any(one.short for one in ENVIRONMENTS)
    assert "make versions VERSIONS=--short" in (ROOT / ".ci" / "run").read_text()


def test_the_next_airflow_stands_in_the_place_of_the_locked_one(tmp_path: Path) -> None:
    uv = uv_program()
    if uv is None:
        pytest.skip("NOT CHECKED: the packages of an environment, as uv is not here (make sync fetches it)")
    locked, later = (pins(requirements(kind, uv, tmp_path)) for kind in (Packages.LOCKED, Packages.NEXT))
    wanted = pins(NEXT_AIRFLOW)
    assert locked.keys() == later.keys()
    assert {name for name in later if later[name] != locked[name]} == wanted.keys()


def test_a_python_is_found_beside_a_command_of_its_name_that_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = "{}.{}".format(*sys.version_info)
    shims, pyenv = tmp_path / "shims", tmp_path / "pyenv"
    real = pyenv / "versions" / f"{version}.99" / "bin"
    shims.mkdir()
    real.mkdir(parents=True)
    (shims / f"python{version}").write_text("#!/bin/sh\necho pyenv: command not found >&2\nexit 127\n")
    (shims / f"python{version}").chmod(0o755)
    monkeypatch.setenv("PATH", str(shims))
    monkeypatch.setenv("PYENV_ROOT", str(pyenv))
    interpreter.cache_clear()
    assert interpreter(version) is None
    (real / f"python{version}").symlink_to(sys.executable)
    interpreter.cache_clear()
    assert interpreter(version) is not None
    interpreter.cache_clear()
