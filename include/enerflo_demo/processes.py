"""Processes that the demo starts, each in a session of its own, so that ending one ends all its children."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.interruption import ENDINGS, uninterrupted

_PATIENCE = ((signal.SIGINT, 3.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))

_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port of this machine that nothing uses at the moment.

    The kernel gives ports above these to connections that begin: one of them may be taken again before its
    server listens, and Airflow's takes half a minute for that.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ConfigurationError(
        f"no port from {_PORTS[0]} to {_PORTS[-1]} is free.",
        where="demo",
        next_step="End what listens on them.",
    )


def require_free(port: int) -> None:
    """Return when nothing listens on ``port``.

    :raises ConfigurationError: something does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} is in use.",
                where="demo",
                next_step='Choose another: make demo DEMO="--port 8081".',
            ) from error


@contextmanager
def ends_as_by_ctrl_c() -> Iterator[None]:
    """Let a ``kill`` and a closed terminal end the block as Ctrl-C does, so that it ends what it started.

    Ctrl-C itself as well: a shell lets what it starts in the background ignore it.
    """
    before = {way: signal.signal(way, signal.default_int_handler) for way in ENDINGS}
    try:
        yield
    finally:
        for way, handler in before.items():
            signal.signal(way, handler)


class Background:
    """A command that runs until :meth:`end`, its output in a log file."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own commands
                list(command),
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the command's process id, which its session has as well."""
        return self._process.pid

    def check(self) -> None:
        """Return while the command runs.

        :raises ConfigurationError: it has ended; the text names its log.
        """
        code = self._process.poll()
        if code is not None:
            raise ConfigurationError(
                f"{self.name} ended with code {code}.", where="demo", next_step=f"Read {self.log}."
            )

    def end(self) -> None:
        """End the command and every process that it started, more firmly each time it does not listen."""
        group = self._process.pid
        for how, seconds in _PATIENCE:
            with suppress(ProcessLookupError):
                os.killpg(group, how)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                self._process.poll()
                if not _alive(group):
                    # It may have ended since it was asked for above.
                    self._process.poll()
                    return
                time.sleep(0.1)


@contextmanager
def in_background(
    name: str, command: Sequence[str], environ: Mapping[str, str], log: Path
) -> Iterator[Background]:
    """Run a command as long as the block runs, its output in a log file."""
    with ExitStack() as stack:
        with uninterrupted():
            process = Background(name, command, environ, log)
            stack.callback(process.end)
        yield process


def _alive(group: int) -> bool:
    """Return whether a process of the group still runs; one that ended and was not reaped does not."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    states = [_state(entry, group) for entry in Path("/proc").glob("[0-9]*")]
    found = [state for state in states if state]
    return not found or any(state not in "ZX" for state in found)


def _state(process: Path, group: int) -> str:
    """Return the state letter of a process of the group (proc(5)), ``""`` for any other."""
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return fields[0] if int(fields[2]) == group else ""


def run(name: str, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
    """Run a command to its end, its output in a log file.

    :raises ConfigurationError: it failed; the text names its log.
    """
    with log.open("ab") as output:
        code = subprocess.run(  # noqa: S603 - our own commands
            list(command),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        raise ConfigurationError(f"{name} ended with code {code}.", where="demo", next_step=f"Read {log}.")
