"""A web server that answers what a test tells it to, down to the bytes, and a clock that only jumps."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from enerflo_sync.enerflo.budget import UnlimitedBudget
from enerflo_sync.enerflo.client import EnerfloClient

KEY = "secret-key-3f9a77"


@dataclass
class Asked:
    """One request as the server got it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    """What the server sends back; ``cut`` bytes are missing at the end, ``hang`` sends nothing at all."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    reset: bool = False
    hang: bool = False
    trickle: bool = False
    no_length: bool = False

    def head(self) -> bytes:
        """Return the status line and headers."""
        given = {"content-type": "application/json", **self.headers}
        if self.no_length:
            given["connection"] = "close"
        else:
            given["content-length"] = str(len(self.body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        return f"HTTP/1.1 {self.status} X\r\n{lines}\r\n".encode()


class ScriptedServer:
    """Answers the first of ``script`` to each request, or what ``handler`` says."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.script: list[Reply] = []
        self.handler: Callable[[Asked], Reply] | None = None
        self.connections = 0
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The server's base URL."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        """End every connection."""
        self._over.set()
        self._socket.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            stream = connection.makefile("rb")
            while asked := self._read(stream):
                self.asked.append(asked)
                reply = self.handler(asked) if self.handler else self.script.pop(0)
                if not self._answer(connection, reply):
                    break
        connection.close()

    @staticmethod
    def _read(stream: object) -> Asked | None:
        line = stream.readline().decode()  # type: ignore[attr-defined]
        if not line:
            return None
        method, target, _ = line.split(" ", 2)
        headers: dict[str, str] = {}
        while (header := stream.readline().decode().strip()) != "":  # type: ignore[attr-defined]
            name, value = header.split(":", 1)
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers.get("content-length", "0")))  # type: ignore[attr-defined]
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return Asked(method, parts.path, query, headers, body)

    def _answer(self, connection: socket.socket, reply: Reply) -> bool:
        if reply.hang:
            self._over.wait(20)
            return False
        if reply.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        whole = reply.head() + reply.body
        if reply.trickle:
            connection.sendall(reply.head())
            for byte in reply.body:
                if self._over.wait(0.05):
                    break
                connection.sendall(bytes([byte]))
            return False
        connection.sendall(whole[: len(whole) - reply.cut])
        return not (reply.cut or reply.no_length)


class JumpingClock:
    """A clock that stands still, except that sleeping moves it at once; ``slept`` keeps the waits."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._now = datetime(2026, 3, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the present moment."""
        return self._now

    def monotonic(self) -> float:
        """Return the present moment as seconds."""
        return self._now.timestamp()

    def sleep(self, seconds: float) -> None:
        """Move the clock."""
        self.slept.append(seconds)
        self._now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> JumpingClock:
    """A clock on which waiting takes no time."""
    return JumpingClock()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A server that answers what the test scripts."""
    scripted = ScriptedServer()
    yield scripted
    scripted.close()


@pytest.fixture
def new_client(clock: JumpingClock) -> Iterator[Callable[..., EnerfloClient]]:
    """Make a client for an address; keyword arguments replace its parts."""
    with requests.Session() as session:
        session.trust_env = False

        def make(url: str, **parts: object) -> EnerfloClient:
            given = {"budget": UnlimitedBudget(), "clock": clock, "rng": random.Random(1), **parts}
            return EnerfloClient(session, url, KEY, **given)  # type: ignore[arg-type]

        yield make


@pytest.fixture
def client(server: ScriptedServer, new_client: Callable[..., EnerfloClient]) -> EnerfloClient:
    """A client of the scripted server."""
    return new_client(server.url)
