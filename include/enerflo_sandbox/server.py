"""The company behind a socket: HTTP/1.1 with keep-alive, one thread a connection."""

from __future__ import annotations

import ipaddress
import logging
import socket
import socketserver
import threading
from http import HTTPStatus
from io import BufferedIOBase
from types import TracebackType
from typing import Self

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.control import PREFIX, Control
from enerflo_sandbox.exchange import Cut, Request, Response, refusal
from enerflo_sync.clock import Clock

logger = logging.getLogger(__name__)

_LONGEST_LINE = 65_536
_LARGEST_BODY = 64 * 1024 * 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class _BadRequestError(ValueError):
    """The bytes on the socket are no HTTP request that this server reads."""


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], api: SandboxApi, clock: Clock) -> None:
        self.api = api
        self.control = Control(api)
        self.clock = clock
        self.open: set[socket.socket] = set()
        super().__init__(address, _Connection)


class _Connection(socketserver.StreamRequestHandler):
    server: _Listener
    rbufsize = 65_536
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.server.open.add(self.connection)
        try:
            while self._serve_one():
                pass
        except OSError:
            logger.debug("sandbox connection ended by the client")
        finally:
            self.server.open.discard(self.connection)

    def _serve_one(self) -> bool:
        try:
            request = _read_request(self.rfile, self.connection)
        except _BadRequestError as error:
            self._send(refusal(400, str(error)), close=True, head_only=False)
            return False
        if request is None:
            return False
        answer = self._answer(request)
        if answer.delay > 0:
            self.server.clock.sleep(answer.delay)
        if answer.cut is Cut.BEFORE_ANSWER:
            return False
        close = request.headers.get("connection", "").lower() == "close" or answer.cut is Cut.IN_BODY
        self._send(answer, close=close, head_only=request.method == "HEAD")
        return not close

    def _answer(self, request: Request) -> Response:
        if not request.path.startswith(PREFIX):
            return self.server.api.handle(request)
        if ipaddress.ip_address(self.client_address[0]).is_loopback:
            return self.server.control.handle(request)
        return refusal(403, "The control routes answer callers on this machine only.")

    def _send(self, answer: Response, *, close: bool, head_only: bool) -> None:
        lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines.append(f"content-length: {len(answer.body)}")
        lines.append("connection: " + ("close" if close else "keep-alive"))
        body = answer.body[: len(answer.body) // 2] if answer.cut is Cut.IN_BODY else answer.body
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.connection.sendall(head)
        if not head_only:
            self.connection.sendall(body)


def _read_request(stream: BufferedIOBase, connection: socket.socket) -> Request | None:
    """Return the next request, or None when the client has closed the connection.

    :raises _BadRequestError: when it is malformed, too large, or sends its body in chunks.
    """
    line = stream.readline(_LONGEST_LINE)
    if not line:
        return None
    parts = line.decode("latin-1").split()
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise _BadRequestError("the first line is no HTTP/1 request line")
    headers = _read_headers(stream)
    if "transfer-encoding" in headers:
        raise _BadRequestError("send a content-length, bodies in chunks are not read here")
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > _LARGEST_BODY:
        raise _BadRequestError("content-length is no number of at most 64 MB")
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    path, _, query = parts[1].partition("?")
    return Request(parts[0], path, query, headers, stream.read(int(length)))


def _read_headers(stream: BufferedIOBase) -> dict[str, str]:
    headers: dict[str, str] = {}
    while True:
        line = stream.readline(_LONGEST_LINE)
        if line in (b"\r\n", b"\n", b""):
            return headers
        name, found, value = line.decode("latin-1").partition(":")
        if not found:
            raise _BadRequestError("a header line has no colon")
        headers[name.strip().lower()] = value.strip()


class SandboxServer:
    """A running sandbox; use it as a context, or call ``start`` and ``close``.

    :param api: the company's API.
    :param host: the address to listen on; 127.0.0.1 keeps it on this machine.
    :param port: 0 takes a free one, see ``url``.
    """

    def __init__(self, api: SandboxApi, host: str = "127.0.0.1", port: int = 0) -> None:
        self.api = api
        self._listener = _Listener((host, port), api, api.clock)
        # How often the listener looks whether it is to stop: a server takes so long to close.
        looks = {"poll_interval": 0.02}
        self._thread = threading.Thread(
            target=self._listener.serve_forever, kwargs=looks, name="sandbox", daemon=True
        )

    @property
    def url(self) -> str:
        """Return the base URL, such as ``http://127.0.0.1:40123``."""
        host, port = self._listener.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> Self:
        """Serve in a thread of its own and return at once."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop listening and end the open connections."""
        if self._thread.is_alive():
            self._listener.shutdown()
            self._thread.join()
        self._listener.server_close()
        for connection in list(self._listener.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                logger.debug("sandbox connection was closed already")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
