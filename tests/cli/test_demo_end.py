"""However the demo is ended, it ends what it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

RUNNING = """
    import sys
    import time
    from contextlib import ExitStack
    from pathlib import Path

    from enerflo_sync.cli.demo.processes import Background, ends_as_by_ctrl_c

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
