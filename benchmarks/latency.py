"""From a dropped file to the mirror's row, with a running Airflow: 50 files, one by one."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from enerflo_demo.processes import free_port
from enerflo_demo.story import Demo
from enerflo_sync.errors import EnerfloSyncError

INSTALLS = 500
SEED = 13
LOOK_SECONDS = 0.05
LONGEST_SECONDS = 180.0
# So that files fall on every moment of the triggerer's interval between two looks.
_PAUSE_SECONDS = 3.0

_ARRIVED = sa.text("""
select extract(epoch from e.applied_at)::float8 as applied_at, i.status_id
from sync.webhook_events e join enerflo.installs i using (account, install_id)
where e.account = 'default' and e.state = 'applied' and e.install_id = :install_id
  and e.body->>'drop_number' = :number
""")
_STATUS = sa.text(
    "select status_id from enerflo.installs where account = 'default' and install_id = :install_id"
)


@dataclass
class LatencyRuns:
    """Seconds from the moment a file lay in the drop, by file."""

    applied: list[float] = field(default_factory=list)
    mirrored: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest of ``values`` that is not exceeded by so many percent of them."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def measure_latency(files: int, say: Callable[[str], None]) -> LatencyRuns:
    """Start the demo's parts, drop files one by one, and return how long each took to reach the mirror.

    :param files: how many; each is dropped after the former one was applied.
    """
    result, rng = LatencyRuns(), random.Random(SEED)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-latency-")))
        # What the demo tells of its steps does not belong into the report.
        stack.enter_context(redirect_stdout(sys.stderr))
        try:
            say("latency: starting the demo's parts")
            demo = Demo(stack, port=free_port(), installs=INSTALLS, seed=SEED, home=home / "demo")
            demo.prepare()
            demo.start_airflow()
            demo.first_poll()
            for number in range(files):
                time.sleep(rng.uniform(0, _PAUSE_SECONDS))
                applied, mirrored = _one(demo, number)
                result.applied.append(applied)
                result.mirrored.append(mirrored)
                say(f"latency: file {number + 1} of {files}: {mirrored:.1f} s")
        except (EnerfloSyncError, TimeoutError, requests.RequestException) as error:
            result.failures.append(f"latency: {error}")
            say(f"NOT MEASURED: {result.failures[-1]}")
    return result


def _one(demo: Demo, number: int) -> tuple[float, float]:
    """Change an install, drop a file that says so, and return the seconds to its event and to its row."""
    order = {"minutes": 1, "events": 1, "kinds": ["status_changed"]}
    answer = requests.post(f"{demo.sandbox_url}/_sandbox/step", json=order, timeout=60)
    answer.raise_for_status()
    install_id: int = answer.json()["changes"][0]["install_id"]
    with demo.engine.connect() as connection:
        before = connection.scalar(_STATUS, {"install_id": install_id})
    dropped = _drop(demo.drop, number, install_id)
    while time.time() < dropped + LONGEST_SECONDS:
        time.sleep(LOOK_SECONDS)
        with demo.engine.connect() as connection:
            values = {"install_id": install_id, "number": str(number)}
            row = connection.execute(_ARRIVED, values).one_or_none()
        if row is not None and row.status_id != before:
            return row.applied_at - dropped, time.time() - dropped
    raise TimeoutError(f"file {number + 1} did not reach the mirror within {LONGEST_SECONDS:.0f} s")


def _drop(folder: Path, number: int, install_id: int) -> float:
    """Write a file as our receiver does, whole before it has its name, and return when that was."""
    body: dict[str, Any] = {"webhook_event": "update_install", "id": install_id, "drop_number": number}
    unfinished = folder / f".{number:04d}.json.tmp"
    unfinished.write_text(json.dumps(body))
    os.rename(unfinished, folder / f"{number:04d}-update_install.json")
    return time.time()
