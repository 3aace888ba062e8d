"""Debian's PgBouncer before a test's warehouse, as an unprivileged user on a free port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_demo.processes import free_port

# From a warehouse's address, a pool mode and further lines of the configuration to the address behind it.
Start = Callable[..., str]


def pgbouncer_program() -> str:
    """Return the program's path; skip the test, loudly, where PgBouncer is not installed."""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        reason = "NOT CHECKED: PgBouncer before the warehouse (apt-get install pgbouncer)"
        if os.environ.get("CI") or os.environ.get("ENERFLO_REQUIRE_BROWSER"):
            pytest.fail(f"{reason}; .ci/run installs it.")
        pytest.skip(reason)
    return found


@contextmanager
def bouncers() -> Iterator[Start]:
    """Yield what starts a PgBouncer; all of them end with the context."""
    program = pgbouncer_program()
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="enerflo-pgb-") as folder:
        Path(folder).chmod(0o755)

        def start(warehouse_url: str, mode: str, *settings: str) -> str:
            url = sa.make_url(warehouse_url)
            server, port = Path(str(url.query["host"])), free_port()
            lines = [
                f"[databases]\n* = host={server} user={url.username}",
                f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =",
                f"auth_type = any\npool_mode = {mode}\ndefault_pool_size = 12",
                *settings,
            ]
            path, log = Path(folder) / f"{port}.ini", Path(folder) / f"{port}.log"
            path.write_text("\n".join(lines))
            # PgBouncer refuses to run as root; the server's own user reaches the server's socket.
            owner = server.stat().st_uid if os.geteuid() == 0 else None
            with log.open("wb") as output:
                started.append(subprocess.Popen([program, path], stdout=output, stderr=output, user=owner))
            _wait(started[-1], port, log)
            behind = sa.URL.create(
                "postgresql", username=url.username, host="127.0.0.1", port=port, database=url.database
            )
            return behind.render_as_string(hide_password=False)

        try:
            yield start
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(20)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())
