"""The company in process: a transport for ``requests`` that asks the same function as the socket does."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.control import PREFIX, Control
from enerflo_sandbox.exchange import Cut, Request, Response
from enerflo_sandbox.virtual_clock import VirtualClock

__all__ = ["SandboxAdapter", "VirtualClock"]


class SandboxAdapter(BaseAdapter):
    """Answers a ``requests`` session from a sandbox in this process; nothing goes over a network.

    Mount it with ``session.mount("https://enerflo.io", SandboxAdapter(api))``. A slow answer passes its time
    on the API's clock, so that with a ``VirtualClock`` no test waits; one that takes longer than the read
    time-out raises ``ReadTimeout`` after that time. A dropped connection raises ``ConnectionError``, a body
    that breaks off ``ChunkedEncodingError``, as on a socket.
    """

    def __init__(self, api: SandboxApi) -> None:
        super().__init__()
        self._api = api
        self._control = Control(api)
        self._builder = HTTPAdapter()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Return the sandbox's answer to a prepared request.

        :raises requests.exceptions.ReadTimeout: when the answer takes longer than the read time-out.
        :raises requests.exceptions.ConnectionError: when the connection is dropped before the answer.
        """
        asked = _request(request)
        handler = self._control if asked.path.startswith(PREFIX) else self._api
        answer = handler.handle(asked)
        patience = timeout[1] if isinstance(timeout, tuple) else timeout
        if patience is not None and answer.delay > patience:
            self._api.clock.sleep(patience)
            text = f"Read timed out. (read timeout={patience})"
            raise requests.exceptions.ReadTimeout(text, request=request)
        self._api.clock.sleep(answer.delay)
        if answer.cut is Cut.BEFORE_ANSWER:
            raise requests.exceptions.ConnectionError("Remote end closed connection", request=request)
        built = self._builder.build_response(request, _raw(answer))
        if not stream:
            # As the session does for any adapter: reading here lets a broken body raise here.
            _ = built.content
        return built

    def close(self) -> None:
        """Release nothing: there is no connection."""


def _request(request: requests.PreparedRequest) -> Request:
    parts = urlsplit(request.url or "")
    body = request.body or b""
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    data = body.encode() if isinstance(body, str) else bytes(body)
    return Request(request.method or "GET", parts.path or "/", parts.query, headers, data)


def _raw(answer: Response) -> HTTPResponse:
    headers = HTTPHeaderDict({**answer.headers, "content-length": str(len(answer.body))})
    body = answer.body[: len(answer.body) // 2] if answer.cut is Cut.IN_BODY else answer.body
    return HTTPResponse(
        body=BytesIO(body),
        headers=headers,
        status=answer.status,
        preload_content=False,
        enforce_content_length=True,
    )
