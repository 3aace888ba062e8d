"""A server as a process sees it: real PostgreSQL, with a boundary at each statement and commit."""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy as sa

from enerflo_sync.clock import Clock, SystemClock
from tests.simulation.process import Boundary, Process

# A statement that waits for a lock waits for a process that is itself waiting for this one.
# The server's own time is the virtual clock's (tests/simulation/database.py).
OPTIONS = " -c lock_timeout=50ms -c statement_timeout=20s -c search_path=simulation,pg_catalog,public"
_IDLE = psycopg.pq.TransactionStatus.IDLE


class WatchedCursor(psycopg.Cursor[Any]):
    connection: WatchedConnection

    def execute(self, *args: Any, **kwargs: Any) -> WatchedCursor:
        self.connection.at(Boundary.STATEMENT)
        self.connection.tell_time()
        return super().execute(*args, **kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> None:
        self.connection.at(Boundary.STATEMENT)
        self.connection.tell_time()
        super().executemany(*args, **kwargs)

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        self.connection.at(Boundary.STATEMENT)
        self.connection.tell_time()
        return super().copy(*args, **kwargs)


class WatchedConnection(psycopg.Connection[Any]):
    process: Process
    server: Server
    clock: Clock
    _told = ""

    def at(self, boundary: Boundary) -> None:
        """Let the process pass a boundary on this server."""
        self.process.at(boundary, self.server)

    def tell_time(self) -> None:
        """Let ``now()`` of the transaction that begins be the virtual moment."""
        if self.info.transaction_status != _IDLE:
            return
        self.process.transaction_begins()
        now = self.clock.now().isoformat()
        if now != self._told:
            with self.plain() as cursor:
                cursor.execute("select set_config('simulation.now', %s, false)", [now])
            # In a transaction of its own: some begin with what must be their first statement.
            super().commit()
            self._told = now

    def plain(self) -> psycopg.Cursor[Any]:
        """Return a cursor without boundaries."""
        return psycopg.Cursor(self)

    def commit(self) -> None:
        self.at(Boundary.COMMIT)
        super().commit()
        self.at(Boundary.COMMITTED)


class Server:
    """One database, reached by one process after the other over connections that are kept between them."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.process: Process | None = None
        self.clock: Clock = SystemClock()
        sa.event.listen(self.engine, "do_connect", self._connect)
        sa.event.listen(self.engine, "checkout", self._check_out)

    def _connect(self, _dialect: Any, _record: Any, args: Any, options: dict[str, Any]) -> WatchedConnection:
        if self.process is not None:
            self.process.at(Boundary.STATEMENT, self)
        options = {**options, "options": options.get("options", "") + OPTIONS}
        made = WatchedConnection.connect(*args, cursor_factory=WatchedCursor, **options)
        # The dialect asks for version and type ids on a first connection, outside every job.
        made.process = self.process or Process("set-up", lambda _boundary: None)
        made.clock, made.server = self.clock, self
        return made

    def _check_out(self, driver: WatchedConnection, _record: Any, _proxy: Any) -> None:
        driver.clock = self.clock
        if self.process is not None:
            driver.process = self.process
            if not any(driver is one for one in self.process.connections):
                self.process.connections.append(driver)

    def begin(self, process: Process) -> None:
        """Let what is done with the engine from now on be done by ``process``."""
        self.process = process

    def end(self) -> None:
        """Take the engine from its process; one that came to harm leaves no connection behind."""
        process, self.process = self.process, None
        if process is not None and process.ended_at is not None:
            self.engine.dispose()
