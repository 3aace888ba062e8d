"""How long the receiver waits for a request's header, and for how many senders at once.

A connection that says nothing costs a file descriptor. Without bounds, two thousand of them would use up what
the process may have, and a well-behaved sender would not get in.
"""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# From the connection, or from the last answer on it, to the end of the next header.
HEADER_SECONDS = 10.0
# Connections that have not sent a header yet: the one that waited longest makes room for the next.
MOST_SILENT = 500
_MANY_FILES = 8_192


class PatientProtocol(H11Protocol):
    """HTTP over one connection, which is closed when no whole header comes in time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timer: asyncio.TimerHandle | None = None
        self._requests_seen: object = None
        # Of all connections of the server, the one that waits longest first.
        self._silent: dict[PatientProtocol, None] = self.server_state.__dict__.setdefault("silent", {})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a header; the longest silent connection makes room where there are too many."""
        super().connection_made(transport)
        self._await_header()
        if len(self._silent) > MOST_SILENT:
            next(iter(self._silent)).give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._header_came()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take what was sent; a whole header ends the wait for it."""
        super().handle_events()
        if self.cycle is not self._requests_seen:
            self._requests_seen = self.cycle
            self._header_came()

    def on_response_complete(self) -> None:
        """Wait for the next header on the same connection; how long nothing at all may come is uvicorn's."""
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
    """Raise this process's bound of open files as far as it may; the usual one is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY_FILES if hard == resource.RLIM_INFINITY else min(_MANY_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
