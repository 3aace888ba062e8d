"""The help: every command is in it, and it imports none of them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from enerflo_sync.cli.app import app
from enerflo_sync.cli.commands import COMMANDS
from enerflo_sync.process import COLLECT_AFTER

HEAVY = ("sqlalchemy", "alembic", "pydantic", "fastapi", "requests", "yaml", "rich.progress")


def test_a_command_does_not_look_for_garbage_while_it_starts() -> None:
    program = (
        "import atexit, gc, sys\n"
        "from enerflo_sync.cli import main\n"
        "atexit.register(lambda: print(gc.get_threshold()[0], file=sys.stderr))\n"
        "sys.argv = ['enerflo-sync', '--help']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == str(COLLECT_AFTER)


def test_the_help_imports_no_command_and_none_of_what_they_need() -> None:
    code = f"""
import sys
from enerflo_sync.cli.app import app
try:
    app(["--help"])
except SystemExit as end:
    assert end.code == 0, end.code
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip() == "[]"
    shown = dict(line.split(maxsplit=1) for line in done.stdout.split("Commands:\n")[1].splitlines() if line)
    assert shown == {name: line for name, (_, line) in COMMANDS.items()}


@pytest.mark.parametrize("job", ["poll", "ingest", "reconcile", "plan", "apply", "explain"])
def test_a_job_imports_nothing_of_migrations_the_receiver_and_checks(job: str) -> None:
    others = ("alembic", "fastapi", "uvicorn", "great_expectations", "pandas", "airflow")
    code = f"import sys, enerflo_sync.jobs.{job}; print([name for name in {others!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_of_its_own(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Usage: enerflo-sync {name}" in result.output or f" {name} " in result.output.splitlines()[0]
    assert len(result.output.splitlines()) > 3


def commands_of(group: Any, *words: str) -> Iterator[tuple[str, Any]]:
    """Yield each command below ``group`` with its words."""
    if not isinstance(group, TyperGroup):
        yield " ".join(words), group
        return
    context = typer.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        yield from commands_of(found, *words, name)


def test_each_command_that_may_end_with_1_says_in_its_help_when() -> None:
    waiting = [
        (words, " ".join((one.help or "").split()))
        for words, one in commands_of(get_command(app))
        if one.callback is not None and "NEEDS_A_PERSON" in inspect.getsource(inspect.unwrap(one.callback))
    ]
    assert {"doctor", "poll", "plan", "quarantine list"} <= dict(waiting).keys()
    assert [words for words, text in waiting if "Exit code 1" not in text] == []


def test_the_program_says_its_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"enerflo-sync {version('enerflo-sync')}\n")


@pytest.mark.parametrize(
    ("word", "near"), [("plna", "plan"), ("reconsile", "reconcile"), ("quarentine", "quarantine")]
)
def test_a_mistyped_command_is_answered_with_the_nearest(word: str, near: str) -> None:
    done = CliRunner().invoke(app, [word])
    assert done.exit_code == 2
    assert f"No such command '{word}'. Did you mean '{near}'?" in done.output


def test_a_word_that_is_near_no_command_is_only_refused() -> None:
    done = CliRunner().invoke(app, ["xyzzy"])
    assert (done.exit_code, "Did you mean" in done.output) == (2, False)
