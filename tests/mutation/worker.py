"""One worker: takes jobs as JSON lines, and answers each with what its tests did.

It runs in a copy of the tree. What tests import from other packages is loaded once, and each job runs in a fork,
so that a mutant costs its tests and not the imports.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import py_compile
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

from tests.mutation.reach import REACHED, noting

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
# Looking for plugins takes as long as a quick test: these are the ones that tests need.
_PLUGINS = ("_hypothesis_pytestplugin", "anyio.pytest_plugin", "pytest_timeout")
# Nobody reads what a property fails with: it need not become the shortest example.
_UNSHRUNK = "unshrunk"
# Bytes. A mutant that collects pages without an end must not take the machine's memory.
_MEMORY = 6 << 30
_ENGINE = Path("include") / "enerflo_sync"


class _Watch:
    """A plugin of pytest: runs the wanted tests in their order, and notes how long each took and reached what."""

    def __init__(self, wanted: list[str] | None) -> None:
        self._order = None if wanted is None else {name: number for number, name in enumerate(wanted)}
        self.tests: list[tuple[str, float, list[str]]] = []
        self.failed: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the wanted tests, in their order."""
        order = self._order
        if order is not None:
            items[:] = sorted((i for i in items if i.nodeid in order), key=lambda i: order[i.nodeid])

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note what a test reaches from its fixtures on."""
        REACHED.clear()
        began = time.monotonic()
        yield
        self.tests.append((item.nodeid, time.monotonic() - began, sorted(REACHED)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which tests failed."""
        if report.failed:
            self.failed.append(report.nodeid)


def _run_tests(files: list[str], wanted: list[str] | None, timeout: float) -> dict[str, Any]:
    watch = _Watch(wanted)
    options = ["-q", f"--hypothesis-profile={_UNSHRUNK}", "-o", f"timeout={timeout}"]
    # It collects garbage twice in every run.
    options += ["-p", "no:unraisableexception", *(part for name in _PLUGINS for part in ("-p", name))]
    options += ["-x"] if wanted is not None else []
    code = pytest.main([*options, *files], plugins=[watch])
    return {"code": int(code), "failed": watch.failed, "tests": watch.tests}


def _in_a_fork(job: dict[str, Any]) -> dict[str, Any] | None:
    """Run a job's tests and return what they did; None where they did not end in time or ended the process."""
    began, answer = time.monotonic(), Path("answer.json")
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        os.environ.update(job["environment"])
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
            answer.write_text(json.dumps(_run_tests(job["files"], job["tests"], job["timeout"])))
        os._exit(0)
    done = 0
    while not done and time.monotonic() - began < job["seconds"]:
        done, _ = os.waitpid(child, os.WNOHANG)
        time.sleep(0.02)
    # Also after an ordinary end: a test that failed may leave processes in its session.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not done:
        os.waitpid(child, 0)
        return None
    return json.loads(answer.read_text()) if answer.exists() else None


@contextlib.contextmanager
def _changed(files: dict[str, str]) -> Iterator[None]:
    """Hold modules of the engine in another version."""
    originals = {name: (_ENGINE / name).read_text() for name in files}
    try:
        for name, code in files.items():
            _write(_ENGINE / name, code)
        yield
    finally:
        for name, code in originals.items():
            _write(_ENGINE / name, code)
            py_compile.compile(str(_ENGINE / name))


def _write(file: Path, code: str) -> None:
    """Write a module whose compiled form cannot be an earlier version's of the same second and size."""
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
    file.write_text(code)


def main() -> None:
    """Answer each line of standard input, a job as :meth:`tests.mutation.run.Worker.run` writes it.

    ``code`` holds modules in another version, ``noted`` those whose statements are to be noted; ``timeout`` is
    that of one test, ``seconds`` that of all.
    """
    sys.path[:0] = ["include", "plugins", "."]
    for name in (*_LOADED_ONCE, *_PLUGINS):
        importlib.import_module(name)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # What is here by now stays: no collection in a fork has to look at it.
    gc.freeze()
    settings.register_profile(_UNSHRUNK, derandomize=True, phases=(Phase.explicit, Phase.generate))
    for line in sys.stdin:
        job = json.loads(line)
        noted = {name: noting((_ENGINE / name).read_text(), name) for name in job["noted"]}
        # Compiled tests and modules are kept, but for the changed ones.
        sys.dont_write_bytecode = bool(job["code"])
        with _changed({**noted, **job["code"]}):
            answer = _in_a_fork(job)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
