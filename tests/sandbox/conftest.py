from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.world import World

Ask = Callable[..., Response]


@pytest.fixture
def world() -> World:
    return World(120, 7)


@pytest.fixture
def api(world: World) -> SandboxApi:
    return SandboxApi(world)


def asking(api: SandboxApi) -> Ask:
    def ask(method: str, url: str, body: Any = None, key: str = DEFAULT_KEY) -> Response:
        path, _, query = url.partition("?")
        data = b"" if body is None else json.dumps(body).encode()
        return api.handle(Request(method, path, query, {"api-key": key}, data))

    return ask


@pytest.fixture
def ask(api: SandboxApi) -> Ask:
    return asking(api)


def body_of(response: Response) -> Any:
    assert response.status < 300, response.body[:300]
    return json.loads(response.body)
