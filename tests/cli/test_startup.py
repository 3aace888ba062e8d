"""What a command imports: a process that a schedule starts every few minutes waits for nothing that it does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run

# Each as the whole package, or as the module that makes the difference.
NEVER = (
    *(
        "airflow",
        "alembic",
        "duckdb",
        "fastapi",
        "great_expectations",
        "jinja2",
        "numpy",
        "openpyxl",
        "pandas",
    ),
    *(
        "pyarrow",
        "pymysql",
        "snowflake",
        "uvicorn",
        "prometheus_client",
        "fsspec",
        "dotenv",
        "enerflo_sandbox",
    ),
    # Of a terminal's colours and bars.
    *("rich.console", "rich.progress", "enerflo_sync.cli.rich_bars"),
    # Of other databases than the warehouse.
    *("sqlalchemy.dialects.mysql", "sqlalchemy.dialects.sqlite", "sqlalchemy.orm"),
    *("enerflo_sync.pages", "enerflo_sync.receiver", "enerflo_sync.quality.validate", "enerflo_sync.frames"),
)
HTTP = ("requests", "urllib3", "charset_normalizer", "enerflo_sync.enerflo.client")
ENGINE = ("sqlalchemy", "psycopg", "pydantic", "yaml", "enerflo_sync.crm", "enerflo_sync.jobs")

PROGRAM = """
import atexit, gc, json, pathlib, sys
ended = pathlib.Path(sys.argv.pop(1))
# Functions that are registered later, as by the command, are called before it.
atexit.register(lambda: ended.write_text(json.dumps([list(sys.modules), gc.get_freeze_count()])))
from enerflo_sync.cli import main
main()
"""


def modules_after(tmp_path: Path, *words: str) -> set[str]:
    """Run a command as a whole process that succeeds, and return the names of all modules at its end."""
    ended = tmp_path / "ended.json"
    command = [sys.executable, "-c", PROGRAM, str(ended), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    modules, left_to_the_system = json.loads(ended.read_text())
    # What the process made is not taken apart before its end: that took longer than a third of a command.
    assert left_to_the_system > 10_000
    return set(modules)


def among(modules: set[str], names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in modules]


@pytest.mark.parametrize("words", [["--help"], ["poll", "--help"]])
def test_the_help_imports_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    others = (*NEVER, *HTTP, *ENGINE) if words == ["--help"] else NEVER
    assert among(modules_after(tmp_path, *words), others) == []


def test_a_reconciliation_imports_neither_an_http_client_nor_what_makes_pages(
    tmp_path: Path, run: Run
) -> None:
    assert run("sandbox", "crm-tables", "--installs", "60", "--seed", "7", "--per-cause", "1").code == 0
    run("poll")
    modules = modules_after(tmp_path, "reconcile")
    assert among(modules, (*NEVER, *HTTP)) == []
    assert among(modules, ENGINE) == list(ENGINE)


def test_a_poll_imports_nothing_that_it_does_not_use(tmp_path: Path, run: Run) -> None:
    run("poll")
    modules = modules_after(tmp_path, "poll")
    assert among(modules, NEVER) == []
    assert among(modules, HTTP) == list(HTTP)
