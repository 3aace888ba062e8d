"""Enerflo as a process sees it: the sandbox in process, with a boundary before and after each request."""

from __future__ import annotations

from typing import Any

import requests

from enerflo_sandbox.adapter import SandboxAdapter
from enerflo_sandbox.api import SandboxApi
from tests.simulation.process import Boundary, Process


class WatchedAdapter(SandboxAdapter):
    """Answers one process from the sandbox."""

    def __init__(self, api: SandboxApi, process: Process) -> None:
        super().__init__(api)
        self._process = process

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self._process.at(Boundary.REQUEST)
        answer = super().send(request, *args, **kwargs)
        self._process.at(Boundary.ANSWER)
        return answer


def session_of(api: SandboxApi, process: Process) -> requests.Session:
    """Return a session that reaches the sandbox only."""
    session = requests.Session()
    session.trust_env = False
    session.adapters.clear()
    session.mount("https://", WatchedAdapter(api, process))
    return session
