"""What only some commands need may be missing: the others work, and these say what to install."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The packages of the extras, by the names by which they are imported.
OF_EXTRAS = {
    "fastapi": "receiver",
    "prometheus_client": "receiver",
    "uvicorn": "receiver",
    "pandas": "pandas",
    "pyarrow": "pandas",
    "great_expectations": "quality",
    "airflow": "airflow",
}
WITHOUT = f"""
import sys
for name in {list(OF_EXTRAS)!r}:
    sys.modules[name] = None
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, timeout=60, cwd=ROOT
    )


def test_every_command_has_its_help_without_any_extra() -> None:
    code = """
from typer.testing import CliRunner
from enerflo_sync.cli.app import app
from enerflo_sync.cli.commands import COMMANDS
for name in COMMANDS:
    found = CliRunner().invoke(app, [name, "--help"])
    assert found.exit_code == 0, (name, found.output, found.exception)
import enerflo_sync.jobs.poll, enerflo_sync.jobs.reconcile, enerflo_sync.jobs.plan, enerflo_sync.jobs.apply
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        (
            "import sys; sys.argv[1:] = ['receiver', 'serve']; from enerflo_sync.cli import main; main()",
            "receiver",
        ),
        (
            "from enerflo_sync.reconcile.render.records import write_parquet; write_parquet(None, [], None)",
            "pandas",
        ),
        ("from enerflo_sync import frames; frames.installs(None)", "pandas"),
    ],
)
def test_what_is_missing_is_named_with_its_extra(code: str, extra: str) -> None:
    done = run(code)
    assert f'Install it with "enerflo-sync[{extra}]".' in " ".join(done.stderr.split())


def test_no_package_of_an_extra_is_among_those_that_everybody_gets() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {name.split(">")[0].split("[")[0].replace("-", "_") for name in project["dependencies"]}
    assert not core & OF_EXTRAS.keys()
    assert set(OF_EXTRAS.values()) <= project["optional-dependencies"].keys()


def test_what_is_left_out_is_there_again_afterwards_and_what_was_loaded_stays() -> None:
    code = """
import json, importlib
from enerflo_sync.extras import left_out
with left_out("json", "wave"):
    importlib.import_module("json")
    try:
        importlib.import_module("wave")
    except ImportError:
        print("left out")
print(importlib.import_module("wave").__name__)
"""
    assert run(code).stdout.split() == ["left", "out", "wave"]
