"""Trying mutants: a copy of the tree and a process for each worker, one PostgreSQL for all of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.conftest import embedded_for_tests
from tests.mutation.mutants import Mutant
from tests.mutation.targets import Target

ROOT = Path(__file__).parents[2]
_COPIED = ("include", "plugins", "dags", "tests", "docs", "pyproject.toml")
# A mutant that never ends counts as noticed; all tests of one module take less than this on a busy machine.
LONGEST = 900.0


@dataclass(frozen=True)
class Tried:
    """What came of one mutant: ``killed``, ``survived``, or ``broken`` where its tests could not be run."""

    mutant: Mutant
    outcome: str
    seconds: float


class Worker:
    """One process in a copy of the tree. Used by one thread at a time."""

    def __init__(self, folder: Path, postgres: str) -> None:
        for name in _COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        environment = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "ENERFLO_TEST_POSTGRES": postgres,
            "ENERFLO_TEST_MIGRATED": "1",
        }
        # No installed package of ours: the copy's own.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.worker"],
            cwd=folder,
            env={**environment, "PYTHONPATH": f"{folder / 'include'}:{folder}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, file: str, code: str, tests: Sequence[str]) -> tuple[str, float]:
        """Return what came of the tests with ``code`` in ``file``, and the seconds that they took."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"file": file, "code": code, "tests": list(tests), "seconds": LONGEST}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["outcome"], answer["seconds"]

    def end(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@contextmanager
def workers(number: int) -> Iterator[SimpleQueue[Worker]]:
    """Yield a queue of idle workers, and take everything away at the end."""
    idle: SimpleQueue[Worker] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder, embedded_for_tests() as postgres:
        every = []
        try:
            for count in range(number):
                place = Path(folder) / str(count)
                place.mkdir()
                every.append(Worker(place, postgres))
                idle.put(every[-1])
            yield idle
        finally:
            for worker in every:
                worker.end()


def file_of(target: Target) -> str:
    """Return a module's path from the top of the tree."""
    return f"include/enerflo_sync/{target.module}"


def check_unchanged(idle: SimpleQueue[Worker], targets: Sequence[Target]) -> None:
    """Run the tests of each module without a change.

    :raises SystemExit: they fail, so that no mutant could be judged by them.
    """
    worker = idle.get()
    for tests in {target.tests for target in targets}:
        file = file_of(targets[0])
        outcome, _ = worker.run(file, (ROOT / file).read_text(), tests)
        if outcome != "survived":
            raise SystemExit(f"without any change these tests do not pass: {' '.join(tests)}")
    idle.put(worker)


def try_all(idle: SimpleQueue[Worker], found: Sequence[Mutant], threads: int) -> Iterator[Tried]:
    """Yield what came of each mutant, as they end."""

    def try_one(mutant: Mutant) -> Tried:
        worker = idle.get()
        try:
            outcome, seconds = worker.run(file_of(mutant.target), mutant.code, mutant.target.tests)
        finally:
            idle.put(worker)
        return Tried(mutant, outcome, seconds)

    with ThreadPoolExecutor(threads) as pool:
        for done in as_completed([pool.submit(try_one, mutant) for mutant in found]):
            yield done.result()
