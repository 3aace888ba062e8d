"""From a dropped file to the mirror's row and to the CRM's, with a running Airflow: 50 files, one by one."""

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

from enerflo_demo.both_ways import APPROVE, SYNC
from enerflo_demo.processes import free_port
from enerflo_demo.story import POLL, Demo
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
_BEFORE = sa.text("""
select i.status_id, max(c.status) as in_crm
from enerflo.installs i left join crm.installs c on c.enerflo_install_id = i.install_id
where i.account = 'default' and i.install_id = :install_id
group by i.status_id, i.status_name
having count(*) = 1 and max(c.status) = i.status_name
""")
_IN_CRM = sa.text("select status from crm.installs where enerflo_install_id = :install_id")


@dataclass
class LatencyRuns:
    """Seconds from the moment a file lay in the drop, by file."""

    applied: list[float] = field(default_factory=list)
    mirrored: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest of ``values`` that is not exceeded by so many percent of them."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def measure_latency(files: int, say: Callable[[str], None]) -> LatencyRuns:
    """Start the demo's parts, drop files one by one, and return how long each took to the CRM's row.

    Writing is switched on, and the plan of what the demo plants is approved before.

    :param files: how many; each is dropped after the former one was written.
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
            _switch_writing_on(demo)
            for number in range(files):
                time.sleep(rng.uniform(0, _PAUSE_SECONDS))
                applied, mirrored, written = _one(demo, number)
                result.applied.append(applied)
                result.mirrored.append(mirrored)
                result.written.append(written)
                say(f"latency: file {number + 1} of {files}: mirror {mirrored:.1f} s, CRM {written:.1f} s")
        except (EnerfloSyncError, TimeoutError, requests.RequestException) as error:
            result.failures.append(f"latency: {error}")
            say(f"NOT MEASURED: {result.failures[-1]}")
    return result


def _switch_writing_on(demo: Demo) -> None:
    """Let the rules write, and approve what the demo has planted: no later change asks a person."""
    demo.api.unpause(SYNC)
    demo.api.unpause(APPROVE)
    demo.way_back.configure(("mode: report", "mode: both"))
    demo.way_back.answer(demo.way_back.ask(), "Approve")
    # Only webhooks tell of what follows.
    demo.api.pause(POLL)


def _one(demo: Demo, number: int) -> tuple[float, float, float]:
    """Change an install, drop a file that says so, and return the seconds to its event and both rows."""
    install_id, before = _changed_install(demo)
    values = {"install_id": install_id, "number": str(number)}
    dropped = _drop(demo.drop, number, install_id)
    mirrored = None
    while time.time() < dropped + LONGEST_SECONDS:
        time.sleep(LOOK_SECONDS)
        with demo.engine.connect() as connection:
            row = connection.execute(_ARRIVED, values).one_or_none()
            in_crm = connection.scalar(_IN_CRM, values)
        if row is None or row.status_id == before.status_id:
            continue
        mirrored = mirrored or time.time() - dropped
        if in_crm != before.in_crm:
            return row.applied_at - dropped, mirrored, time.time() - dropped
    place = "the mirror" if mirrored is None else "the CRM"
    raise TimeoutError(f"file {number + 1} did not reach {place} within {LONGEST_SECONDS:.0f} s")


def _changed_install(demo: Demo) -> tuple[int, sa.Row[Any]]:
    """Change the status of installs until one is met whose CRM row agreed, and return it as it was before."""
    order = {"minutes": 1, "events": 1, "kinds": ["status_changed"]}
    while True:
        answer = requests.post(f"{demo.sandbox_url}/_sandbox/step", json=order, timeout=60)
        answer.raise_for_status()
        install_id: int = answer.json()["changes"][0]["install_id"]
        with demo.engine.connect() as connection:
            before = connection.execute(_BEFORE, {"install_id": install_id}).one_or_none()
        if before is not None:
            return install_id, before


def _drop(folder: Path, number: int, install_id: int) -> float:
    """Write a file as our receiver does, whole before it has its name, and return when that was."""
    body: dict[str, Any] = {"webhook_event": "update_install", "id": install_id, "drop_number": number}
    unfinished = folder / f".{number:04d}.json.tmp"
    unfinished.write_text(json.dumps(body))
    os.rename(unfinished, folder / f"{number:04d}-update_install.json")
    return time.time()
