"""Limits on waiting for request headers: how long, and for how many connections.

A silent connection costs a file descriptor. Without limits, two thousand of them would exhaust the process's
file descriptors and lock out well-behaved senders.
"""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# From the connection's start, or its last answer, to the end of the next header.
HEADER_SECONDS = 10.0
# Maximum connections without a header; above it, the longest silent one is closed.
MOST_SILENT = 500
_MANY_FILES = 8_192


class PatientProtocol(H11Protocol):
    """HTTP over one connection, which is closed if no complete header arrives in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timer: asyncio.TimerHandle | None = None
        self._requests_seen: object = None
        # All waiting connections of the server, the longest silent one first.
        self._silent: dict[PatientProtocol, None] = self.server_state.__dict__.setdefault("silent", {})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for a header; close the longest silent connection if there are too many."""
        super().connection_made(transport)
        self._await_header()
        if len(self._silent) > MOST_SILENT:
            next(iter(self._silent)).give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._header_came()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Handle received bytes; a complete header ends the wait."""
        super().handle_events()
        if self.cycle is not self._requests_seen:
            self._requests_seen = self.cycle
            self._header_came()

    def on_response_complete(self) -> None:
        """Wait for the next header on this connection; uvicorn limits complete silence."""
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._await_header()

    def give_up(self) -> None:
        """Close the connection."""
        self._header_came()
        if not self.transport.is_closing():
            self.transport.abort()

    def _await_header(self) -> None:
        self._header_came()
        self._silent[self] = None
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self.give_up)

    def _header_came(self) -> None:
        self._silent.pop(self, None)
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


def allow_many_connections() -> None:
    """Raise this process's limit of open files as far as permitted; the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(_MANY_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
