"""How the CRM's people reach its tables: small statements, each committed at once unless somebody is slow."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg

from enerflo_sync.clock import Clock

# A slow transaction stays open for so many minutes, mostly for longer than a lookback.
_OPEN_MINUTES = (5, 20, 45, 120)
# The order of rows ``t`` that are told apart by their place (ctid). Places themselves give no order that a seed
# repeats: a freed place is used again once the server has cleaned up its page, sooner or later.
BY_CONTENT = "(to_jsonb(t) - 'ctid')::text"
_CRM = re.compile(r"\bcrm\.")
_TOUCHING = re.compile(r", updated_at = %\(now\)s")


class Desk:
    """One way to the CRM.

    :param late: the share of statements that date what they write in the past, as a copy does that lags.
    :param unmoved: the share of edits that leave a row's time of change as it was.
    :param slow: the share of edits that are committed only some time after they were made.
    :param tells_time: the server stamps what is written, by the simulated time.
    :param schema: where people work, where that is not ``crm``.
    :param done: called after each statement that is committed.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        slow_connection: psycopg.Connection[Any],
        clock: Clock,
        rng: random.Random,
        *,
        late: float = 0.0,
        unmoved: float = 0.0,
        slow: float = 0.0,
        tells_time: bool = False,
        schema: str = "crm",
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self._quick = self._connection = connection
        self._slow_connection = slow_connection
        self._clock = clock
        self._rng = rng
        self._late = late
        self._unmoved = unmoved
        # A generator of its own, so that all else that people do is as without it.
        self._past_times = random.Random()
        self._past_times.setstate(rng.getstate())
        self._slow = slow
        self._tells_time = tells_time
        self._schema = schema
        self._done = done
        self._commit_at: datetime | None = None

    @property
    def now(self) -> datetime:
        """Return the time that a row gets which is written now."""
        now = self._clock.now()
        if self._late and self._rng.random() < self._late:
            return now - timedelta(
                minutes=self._rng.choice((2, 20, 90, 600, 1800)) * (0.5 + self._rng.random())
            )
        return now

    def run(self, statement: str, **values: Any) -> list[Any]:
        """Carry out one statement, which has ``now`` beside its values.

        :raises psycopg.errors.LockNotAvailable: somebody else holds the row.
        """
        with self._connection.cursor() as cursor:
            if self._tells_time:
                cursor.execute(
                    "select set_config('simulation.now', %s, false)", [self._clock.now().isoformat()]
                )
            if self._unmoved and self._past_times.random() < self._unmoved:
                statement = _TOUCHING.sub("", statement)
            cursor.execute(_CRM.sub(f"{self._schema}.", statement).encode(), {"now": self.now, **values})
            rows = cursor.fetchall() if cursor.description else []
        if self._connection is self._quick:
            self._done()
        return rows

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let statements be committed together."""
        with self._quick.transaction():
            yield
        self._done()

    @contextmanager
    def writing_as(self, name: str) -> Iterator[None]:
        """Let rows be written by somebody else, as the history of rows has it."""
        self.run("select set_config('application_name', %(name)s, false)", name=name)
        try:
            yield
        finally:
            self.run("select set_config('application_name', 'people', false)")

    def some(self, table: str, columns: str, where: str = "true") -> Any:
        """Return one row's ``columns``, None where there is none."""
        order = columns.replace("ctid::text", BY_CONTENT)
        rows = self.run(f"select {columns} from crm.{table} t where {where} order by {order}")
        return self._rng.choice(rows) if rows else None

    def edit(self, act: Callable[[], None]) -> None:
        """Let somebody do something; nothing where a row is held, or now and then in a transaction of its own."""
        self.close_due()
        slowly = self._slow and self._commit_at is None and self._rng.random() < self._slow
        if not slowly:
            self._try(act)
            return
        self._connection = self._slow_connection
        try:
            done = self._try(act)
        finally:
            self._connection = self._quick
        if done:
            minutes = self._rng.choice(_OPEN_MINUTES)
            self._commit_at = self._clock.now() + timedelta(minutes=minutes)
        else:
            self._slow_connection.rollback()

    def at_once(self, act: Callable[[], None]) -> bool:
        """Let a tool do something in transactions of their own; return False where a row is held."""
        return self._try(act)

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.UniqueViolation):
            return False
        return True

    def close_due(self, *, all_of_it: bool = False) -> None:
        """Commit what was left open, when its time has come."""
        if self._commit_at is not None and (all_of_it or self._clock.now() >= self._commit_at):
            self._commit_at = None
            self._slow_connection.commit()
            self._done()

    def forget(self) -> None:
        """Give up what is left open."""
        self._commit_at = None
        self._slow_connection.rollback()
