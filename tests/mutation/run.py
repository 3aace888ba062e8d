"""Trying mutants: a copy of the tree and a process for each worker, one PostgreSQL for all of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.conftest import embedded_for_tests
from tests.mutation.mutants import Mutant
from tests.mutation.reach import Kept, Reach, Timed
from tests.writes.conftest import make_polled

ROOT = Path(__file__).parents[2]
_COPIED = ("include", "plugins", "dags", "tests", "docs", "pyproject.toml")
# Seconds that the tests of one file may take while they are measured.
_LONGEST_FILE = 900.0
# Tests that are tried first, together: most mutants are noticed by one of them.
_FIRST = 4
# Seconds after which the company is polled again: its clock goes on, and tests compare with it.
_POLLED_LASTS = 480.0


@dataclass(frozen=True)
class Tried:
    """What came of one mutant: ``killed``, ``survived``, or ``unreached`` where no test runs its line.

    :ivar by: the test that noticed it; "" where none did, or where the tests did not end.
    :ivar tests: how many tests it was tried with, of how many that reach it.
    """

    mutant: Mutant
    outcome: str
    seconds: float
    by: str
    tests: tuple[int, int]


class Worker:
    """One process in a copy of the tree. Used by one thread at a time."""

    def __init__(self, folder: Path, postgres: str) -> None:
        for name in _COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        environment = {
            **os.environ,
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

    def run(
        self,
        files: Iterable[str],
        tests: Sequence[str] | None = None,
        *,
        seconds: float,
        timeout: float,
        polled: str,
        code: dict[str, str] | None = None,
        noted: Sequence[str] = (),
    ) -> dict[str, Any] | None:
        """Return what the tests did; None where they did not end in time.

        :param tests: those to run of ``files`` until one fails; all of them, and to the end, where None.
        :param seconds: that all of them may take, ``timeout`` that one may take.
        :param polled: the database in which the company was polled.
        :param code: modules in another version.
        :param noted: modules whose reached statements are noted.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {
            "files": list(files),
            "tests": tests,
            "seconds": seconds,
            "timeout": timeout,
            "environment": {"ENERFLO_TEST_POLLED": polled},
            "code": code or {},
            "noted": list(noted),
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] | None = json.loads(self._process.stdout.readline())
        return answer

    def end(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@dataclass
class Workers:
    """The idle workers, and the database in which the company was polled a short while ago."""

    postgres: str
    number: int
    idle: SimpleQueue[Worker] = field(default_factory=SimpleQueue)
    _polled: tuple[str, float] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def polled(self) -> str:
        """Return the name of that database, which is made by the unchanged code."""
        with self._lock:
            if self._polled is None or time.monotonic() - self._polled[1] > _POLLED_LASTS:
                self._polled = make_polled(self.postgres), time.monotonic()
            return self._polled[0]

    @contextmanager
    def one(self) -> Iterator[Worker]:
        """Yield an idle worker."""
        worker = self.idle.get()
        try:
            yield worker
        finally:
            self.idle.put(worker)


@contextmanager
def workers(number: int) -> Iterator[Workers]:
    """Yield the workers, and take everything away at the end."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder, embedded_for_tests() as postgres:
        every = []
        found = Workers(postgres, number)
        try:
            for count in range(number):
                place = Path(folder) / str(count)
                place.mkdir()
                every.append(Worker(place, postgres))
                found.idle.put(every[-1])
            yield found
        finally:
            for worker in every:
                worker.end()


def test_files(names: Iterable[str]) -> list[str]:
    """Return the test files of files and folders, each once."""
    found: dict[str, None] = {}
    for name in names:
        place = ROOT / name
        files = [place] if place.is_file() else sorted(place.rglob("test_*.py"))
        found |= dict.fromkeys(str(one.relative_to(ROOT)) for one in files)
    return list(found)


def measure(found: Workers, files: Sequence[str], kept: Kept, noted: Sequence[str]) -> Iterator[Timed]:
    """Yield every test of the files with its time and what it reaches, run without a mutant where not kept.

    A test that fails by itself is named and left out: no mutant can be judged by it.
    """

    def measure_file(file: str) -> list[Timed]:
        known = kept.of(ROOT, file)
        if known is not None:
            return known
        with found.one() as worker:
            answer = worker.run(
                [file], seconds=_LONGEST_FILE, timeout=180, polled=found.polled(), noted=noted
            )
        if answer is None or answer["code"] not in {0, 1}:
            raise SystemExit(f"{file}: its tests could not be run without a mutant")
        failed = set(answer["failed"])
        for name in sorted(failed):
            print(f"left out, as it fails without a mutant: {name}", flush=True)
        tests = [
            Timed(name, seconds, frozenset(reached))
            for name, seconds, reached in answer["tests"]
            if name not in failed
        ]
        if not failed:
            kept.keep(ROOT, file, tests)
        return tests

    with ThreadPoolExecutor(found.number) as pool:
        for tests in pool.map(measure_file, files):
            yield from tests


def try_all(found: Workers, mutants: Sequence[Mutant], reach: Reach, longest: float) -> Iterator[Tried]:
    """Yield what came of each mutant, as they end.

    :param longest: seconds of tests, by the time that each took without a mutant, to try a mutant with.
    """

    def try_one(mutant: Mutant) -> Tried:
        tests = reach.order(mutant.target.module, mutant.line, mutant.target.tests)
        chosen, total = [], 0.0
        for one in tests:
            if not chosen or total + one.seconds <= longest:
                chosen.append(one)
                total += one.seconds
        began, outcome, by = time.monotonic(), "survived" if chosen else "unreached", ""
        with found.one() as worker:
            for part in (chosen[:_FIRST], chosen[_FIRST:]):
                if not part or outcome == "killed":
                    continue
                # A mutant that never ends counts as noticed.
                timeout = 10 + 8 * max(one.seconds for one in part)
                answer = worker.run(
                    {one.file: None for one in part},
                    [one.name for one in part],
                    seconds=timeout + 20 + 4 * sum(one.seconds for one in part),
                    timeout=timeout,
                    polled=found.polled(),
                    code={mutant.target.module: mutant.code},
                )
                if answer is None or answer["code"] != 0:
                    outcome, by = "killed", (answer or {"failed": []})["failed"][:1]
                    by = by[0] if by else ""
        if by:
            reach.noticed(mutant.target.module, by)
        return Tried(mutant, outcome, time.monotonic() - began, by, (len(chosen), len(tests)))

    pool = ThreadPoolExecutor(found.number)
    try:
        for done in as_completed([pool.submit(try_one, mutant) for mutant in mutants]):
            yield done.result()
    finally:
        # Whoever stops the run does not want the rest.
        pool.shutdown(cancel_futures=True)
