"""The fresh process of one measurement: ``python -m benchmarks.worker MODULE < job.json``."""

from __future__ import annotations

import importlib
import os
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.jobs import Job


class Outcome(msgspec.Struct, frozen=True):
    """What one run took, seen from inside.

    :param seconds: work only: the clock starts after the imports.
    :param cpu_seconds: this process and its children, work only.
    :param peak_rss_mb: this process alone; the sampler outside adds the children.
    :param counts: what the contender says of its own work.
    """

    seconds: float
    cpu_seconds: float
    peak_rss_mb: float
    counts: dict[str, Any]


def main() -> None:
    """Run one job and leave its outcome as JSON in the file named by the last argument."""
    module = importlib.import_module(sys.argv[1])
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    cpu, started = _cpu(), time.perf_counter()
    counts = module.run(job)
    seconds = time.perf_counter() - started
    outcome = Outcome(seconds, _cpu() - cpu, _peak_rss_mb(), counts)
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(outcome))


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_rss_mb() -> float:
    # ru_maxrss would also count the parent from which this process was forked.
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()
