"""The measuring core: one contender, one job, one fresh process, seen from outside and from inside."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from benchmarks.jobs import Job
from benchmarks.worker import Outcome

ROOT = Path(__file__).parents[1]
SAMPLE_SECONDS = 0.03
LONGEST_SECONDS = 1800
_PAGE = os.sysconf("SC_PAGE_SIZE")

# No look-ups outside this machine, and no chatter between the measured lines.
ENVIRONMENT = {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    # dlt would import the whole of Airflow to ask it for secrets, inside the measured work.
    "PROVIDERS__ENABLE_AIRFLOW_SECRETS": "false",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    "XDG_RUNTIME_DIR": tempfile.gettempdir(),
}


class CouldNotMeasureError(Exception):
    """A contender did not come to an end, or is not installed."""


class Counter(Protocol):
    """Something that only grows, read before and after a run: CPU seconds of a server, requests served."""

    def __call__(self) -> float:
        """Return the value now."""
        ...


@dataclass(frozen=True)
class Measurement:
    """One run.

    :param seconds: work only, imports excluded.
    :param wall_seconds: the whole process, from its start to its end.
    :param cpu_seconds: of the contender, work only; ``server_cpu_seconds`` of PostgreSQL meanwhile.
    :param peak_rss_mb: of the contender's whole process tree.
    """

    seconds: float
    wall_seconds: float
    cpu_seconds: float
    server_cpu_seconds: float
    peak_rss_mb: float
    requests: int
    counts: Mapping[str, Any]


@dataclass(frozen=True)
class Spread:
    """The middle of several values and their ends."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of one value or more."""
        found = sorted(values)
        return cls(found[0], statistics.median(found), found[-1])


def spread(runs: Sequence[Measurement], name: str) -> Spread:
    """Return the spread of one of the runs' numbers, such as ``seconds``."""
    return Spread.of(getattr(run, name) for run in runs)


def run_fresh(
    module: str,
    job: Job,
    *,
    server_cpu: Counter,
    requests: Counter = lambda: 0,
    environment: Mapping[str, str] | None = None,
) -> Measurement:
    """Run ``module.run(job)`` in a process of its own and return what it took.

    :param module: a module of ``benchmarks.peers``.
    :param environment: further variables of that process.
    :raises CouldNotMeasureError: it failed; the text holds the end of what it wrote.
    """
    with tempfile.TemporaryDirectory(prefix="bench-run-") as folder:
        result = Path(folder) / "outcome.json"
        log = Path(folder) / "log"
        cpu_before, requests_before = server_cpu(), requests()
        started = time.perf_counter()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.worker", module, str(result)],
                cwd=ROOT,
                env=process_environment(folder) | dict(environment or {}),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            with _Sampler(process.pid) as sampler:
                _communicate(process, job, module)
        wall = time.perf_counter() - started
        if process.returncode != 0 or not result.exists():
            raise CouldNotMeasureError(f"{module} failed: {_tail(log)}")
        outcome = msgspec.json.decode(result.read_bytes(), type=Outcome)
    return Measurement(
        seconds=outcome.seconds,
        wall_seconds=wall,
        cpu_seconds=outcome.cpu_seconds,
        server_cpu_seconds=server_cpu() - cpu_before,
        peak_rss_mb=max(sampler.peak_mb, outcome.peak_rss_mb),
        requests=round(requests() - requests_before),
        counts=outcome.counts,
    )


def process_environment(folder: str) -> dict[str, str]:
    """Return the variables of a measured process.

    :param folder: for what it writes.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), str(ROOT / "include"), os.environ.get("PYTHONPATH"))))
    # Byte code is written and kept, as where the tool is installed for good: imports are not compiled anew.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | ENVIRONMENT | {"PYTHONPATH": path, "AIRFLOW_HOME": str(Path(folder) / "airflow")}


def _communicate(process: subprocess.Popen[bytes], job: Job, module: str) -> None:
    try:
        process.communicate(msgspec.json.encode(job), timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise CouldNotMeasureError(f"{module} did not end within {LONGEST_SECONDS} s") from error
    except BaseException:
        process.kill()
        process.wait()
        raise


def _tail(log: Path, lines: int = 12) -> str:
    text = log.read_text(errors="replace").strip().splitlines()
    return "\n".join(text[-lines:]) or "it wrote nothing"


class _Sampler:
    """Watches the resident memory of a process and all its descendants."""

    def __init__(self, pid: int) -> None:
        self.peak_mb = 0.0
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(SAMPLE_SECONDS):
            # A child that was made a moment ago still shares its parent's memory, to the page: counted once.
            self.peak_mb = max(self.peak_mb, sum(map(_resident_mb, {*map(_memory, descendants(self._pid))})))


def descendants(pid: int) -> list[int]:
    """Return ``pid`` and every process below it, by /proc; those that are gone are left out."""
    found = [pid]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    found += descendants(int(child))
    return found


def _memory(pid: int) -> str:
    """Return the pages of a process in all their counts; nothing where it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/statm").read_text()
    return ""


def _resident_mb(pages: str) -> float:
    counts = pages.split()
    return int(counts[1]) * _PAGE / 2**20 if len(counts) > 1 else 0.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process, of its live children, and of those it has seen end."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for one in descendants(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15] if one == pid else fields[11:13])) / ticks
    return total
