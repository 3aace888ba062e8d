"""However the demo is ended, it ends what it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest

from enerflo_demo.processes import free_port

RUNNING = """
    import sys
    import time
    from contextlib import ExitStack
    from pathlib import Path

    from enerflo_demo.processes import Background, ends_as_by_ctrl_c

    with ends_as_by_ctrl_c(), ExitStack() as stack:
        child = Background("sleeper", ["sleep", "60"], {"PATH": "/usr/bin:/bin"}, Path(sys.argv[1]))
        stack.callback(child.end)
        print(child._process.pid, flush=True)
        time.sleep(60)
"""


def runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_running(tmp_path: Path, way: signal.Signals) -> None:
    # As a shell starts what it puts in the background.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        demo = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RUNNING), str(tmp_path / "log")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert demo.stdout is not None
    with demo:
        started = int(demo.stdout.readline())
        demo.send_signal(way)
        demo.wait(20)
    until = time.monotonic() + 5
    while runs(started) and time.monotonic() < until:
        time.sleep(0.05)
    assert not runs(started)


# What the database's folder shows first while it is made, while its server starts, and once that runs.
MOMENTS = {"made": "PG_VERSION", "starting": "postmaster.pid", "running": ".handle_pids.json"}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_demo_ends_its_database_when_it_is_ended_early(moment: str) -> None:
    command = [Path(sys.executable).with_name("enerflo-sync"), "demo", "--port", str(free_port())]
    with tempfile.TemporaryDirectory(prefix="enerflo-demo-") as folder:
        checkout = Path(folder)
        # Where root runs the tests, PostgreSQL runs as somebody else, who has to get through.
        checkout.chmod(0o755)
        for name in ("dags", "plugins"):
            (checkout / name).mkdir()
        with (checkout / "log").open("w") as log:
            demo = subprocess.Popen(command, cwd=checkout, stdout=log, stderr=log)
        cluster = checkout / ".demo" / "postgres"
        try:
            appears(cluster / MOMENTS[moment])
        finally:
            demo.send_signal(signal.SIGTERM)
            demo.wait(60)
        assert servers_of(cluster) == []
        assert not (cluster / "postmaster.pid").exists()


def servers_of(cluster: Path) -> list[int]:
    """Return the processes that were started with the folder of a database as an argument."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(cluster) in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def appears(path: Path, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} does not appear"
        time.sleep(0.002)
