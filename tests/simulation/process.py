"""One simulated operating-system process: every boundary that it passes, and how it dies.

A kill is an exception that nothing catches, and after it every further statement, request and file operation
of the process raises again: what the engine does in ``finally`` blocks reaches nothing, as after SIGKILL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg


class Boundary(StrEnum):
    """What a process is about to do, or has just done."""

    STATEMENT = "before a statement"
    COMMIT = "before a commit"
    COMMITTED = "after a commit"
    REQUEST = "before a request"
    ANSWER = "after an answer"
    LIST = "before the drop is listed"
    LISTED = "after the drop is listed"
    READ = "before a file is read"
    MOVE = "before a file is moved"
    MOVED = "after a file is moved"


OF_WAREHOUSE = frozenset({Boundary.STATEMENT, Boundary.COMMIT, Boundary.COMMITTED})


class End(StrEnum):
    """What happens to a process at a chosen boundary."""

    KILLED = "killed"
    # The process goes on and meets errors; a commit before it may have happened all the same.
    WAREHOUSE_LOST = "warehouse lost"


class Killed(BaseException):
    """The process is gone. A ``BaseException``, so that no handler of the engine takes it for an error."""


@dataclass
class Process:
    """What one job runs in.

    :param end_at: the boundary, counted from 1, at which ``end`` happens; None lets it live.
    :param passing: called at each boundary while the process lives: the rest of the world goes on there.
    :param begins_at: told of each transaction before it begins.
    :param clock: what the process takes for the time, and ``started_at`` when it began by the true clock.
    """

    name: str
    passing: Callable[[Boundary], None]
    end_at: int | None = None
    end: End = End.KILLED
    dead: bool = False
    passed: int = 0
    ended_at: Boundary | None = None
    connections: list[Any] = field(default_factory=list)
    begins_at: Any = None
    clock: Any = None
    started_at: datetime | None = None

    def transaction_begins(self) -> None:
        """Say that the next statement begins a transaction."""
        if self.begins_at is not None and not self.dead:
            self.begins_at.begins()

    def at(self, boundary: Boundary, server: object = None) -> None:
        """Pass a boundary.

        :param server: where a statement or a commit happens.
        :raises Killed: the process dies here, or is dead already.
        :raises psycopg.OperationalError: its connections to that server break here.
        """
        if self.dead:
            raise Killed(self.name)
        self.passed += 1
        if self.end_at is not None and self.passed >= self.end_at and self.ended_at is None:
            self._end(boundary, server)
        self.passing(boundary)

    def _end(self, boundary: Boundary, server: object) -> None:
        if self.end is End.WAREHOUSE_LOST:
            if boundary not in OF_WAREHOUSE:
                return
            self.ended_at = boundary
            lost = [one for one in self.connections if one.server is server]
            self._let_go(lost)
            for connection in lost:
                psycopg.Connection.close(connection)
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        self.ended_at, self.dead = boundary, True
        self._let_go(self.connections)
        raise Killed(self.name)

    def _let_go(self, lost: Iterable[Any]) -> None:
        """Undo what is not committed and give locks back, as the server does for a lost session."""
        for connection in lost:
            if not connection.closed:
                psycopg.Connection.rollback(connection)
                with connection.plain() as cursor:
                    cursor.execute("select pg_advisory_unlock_all()")
                psycopg.Connection.rollback(connection)
