"""One worker: takes mutants as JSON lines, and answers with how many tests noticed each.

It runs in a copy of the tree. What tests import from other packages is loaded once, and each mutant is tried in
a fork, so that a mutant costs its tests and not the imports.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

_LOADED_ONCE = (
    "alembic.command",
    "fastapi.testclient",
    "fsspec",
    "hypothesis",
    "jinja2",
    "msgspec",
    "psycopg",
    "pydantic",
    "requests",
    "rich.progress",
    "sqlalchemy.dialects.postgresql.psycopg",
    "typer.testing",
    "yaml",
)
# pytest's own codes: some test failed, it was interrupted, a file could not be imported.
_NOTICED = {1, 2, 3}


def _tests_in_a_fork(tests: list[str], seconds: float) -> tuple[str, float]:
    """Run tests until one fails and return ``killed``, ``survived`` or ``broken``, with the seconds it took."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
            code = pytest.main(["-x", "-q", "-p", "no:randomly", *tests])
        os._exit(int(code))
    status = None
    while status is None and time.monotonic() - began < seconds:
        done, status_now = os.waitpid(child, os.WNOHANG)
        status = status_now if done else None
        time.sleep(0.02)
    took = time.monotonic() - began
    # Also after an ordinary end: a test that failed may leave processes in its session.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if status is None:
        os.waitpid(child, 0)
        return "killed", took
    if os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) in _NOTICED:
        return "killed", took
    return ("survived" if status == 0 else "broken"), took


def main() -> None:
    """Answer each line of standard input: ``{"file", "code", "tests", "seconds"}``."""
    sys.path[:0] = ["include", "plugins", "."]
    for name in _LOADED_ONCE:
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        file = Path(job["file"])
        original = file.read_text()
        try:
            file.write_text(job["code"])
            outcome, took = _tests_in_a_fork(job["tests"], job["seconds"])
        finally:
            file.write_text(original)
        print(json.dumps({"outcome": outcome, "seconds": took}), flush=True)


if __name__ == "__main__":
    main()
