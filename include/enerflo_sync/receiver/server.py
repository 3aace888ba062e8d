"""Run the receiver on a socket until it is asked to stop."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.receiver.patience import PatientProtocol, allow_many_connections

# For posts in progress at shutdown. docker-compose.yml grants ten seconds more.
GRACE_SECONDS = 30
_MOST_CONNECTIONS = 2_000
_BACKLOG = 1_024


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that already queues connections.

    :param port: 0 selects a free one.
    :raises ConfigurationError: the address cannot be bound.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        # A failed name resolution has its own text and no system error number.
        unknown = isinstance(error, socket.gaierror) or error.errno is None
        reason = "no such host" if unknown else os.strerror(error.errno or 0)
        raise ConfigurationError(
            f"the address cannot be taken ({reason}).",
            where=f"{host}:{port}",
            next_step="Stop the other program on it, or choose another --host or --port (0: a free one).",
        ) from error


def url_of(listener: socket.socket) -> str:
    """Return the address to call, such as ``http://127.0.0.1:8099``."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; then accept no new connection, finish posts in progress, and return.

    A post not answered within 30 seconds is aborted: the drop has all of it or nothing.
    """
    config = uvicorn.Config(
        app,
        # h11 is always installed. The faster parser is optional, and would treat bad requests differently.
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        # Access lines contain full paths, which contain the secret.
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    allow_many_connections()
    with _ending_is_no_error():
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _ending_is_no_error() -> Iterator[None]:
    """Catch the signal that uvicorn raises again after its orderly end, which would kill the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
