"""What jobs and pages take: statements, requests, blocks that the server looked at, and seconds."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa

from enerflo_sandbox.api import SandboxApi
from tests.soak.clock import connect

_BLOCKS = "select blks_hit + blks_read from pg_stat_database where datname = current_database()"
_OTHERS = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name = 'enerflo-sync'
"""


@dataclass
class Took:
    """What runs of one job, or one page, took together.

    :param blocks: 8 kB blocks that the server looked at; 0 where they were not counted.
    """

    runs: int = 0
    statements: int = 0
    requests: int = 0
    blocks: int = 0
    seconds: float = 0.0

    def each(self) -> Took:
        """Return the mean of one run."""
        runs = max(1, self.runs)
        return Took(
            1,
            round(self.statements / runs),
            round(self.requests / runs),
            round(self.blocks / runs),
            self.seconds / runs,
        )


class Meter:
    """Counts statements on the sessions of one engine, and requests to one company.

    :ivar jobs: by name, what ran since :meth:`read` was called last.
    """

    def __init__(self, url: str) -> None:
        self.statements = 0
        self.jobs: dict[str, Took] = defaultdict(Took)
        self._server = connect(url, "meter")
        self._engine: sa.Engine | None = None
        self._api: SandboxApi | None = None

    def watch(self, engine: sa.Engine, api: SandboxApi) -> None:
        """Count from now on what is sent on sessions that the engine begins."""
        self._engine, self._api = engine, api

        @sa.event.listens_for(engine, "connect")
        def connected(driver: Any, _record: Any) -> None:
            driver.cursor_factory = self._counting(driver.cursor_factory)

    def _counting(self, kind: type[psycopg.Cursor[Any]]) -> type[psycopg.Cursor[Any]]:
        meter = self

        class Counting(kind):  # type: ignore[valid-type,misc]
            def execute(self, *args: Any, **options: Any) -> Any:
                meter.statements += 1
                return super().execute(*args, **options)

            def executemany(self, *args: Any, **options: Any) -> None:
                meter.statements += 1
                super().executemany(*args, **options)

            def copy(self, *args: Any, **options: Any) -> Any:
                meter.statements += 1
                return super().copy(*args, **options)

        return Counting

    @contextmanager
    def counting(self, name: str) -> Iterator[None]:
        """Count what is done within the block under a name."""
        statements, requests, began = self.statements, self._requests(), time.perf_counter()
        yield
        took = self.jobs[name]
        took.runs += 1
        took.statements += self.statements - statements
        took.requests += self._requests() - requests
        took.seconds += time.perf_counter() - began

    def _requests(self) -> int:
        return 0 if self._api is None else sum(self._api.requests.values())

    def read(self) -> dict[str, Took]:
        """Return what each job took in all, and begin anew."""
        found, self.jobs = dict(self.jobs), defaultdict(Took)
        return found

    def probe(self, act: Callable[[], Any], times: int = 1) -> Took:
        """Do something on fresh sessions and return what it took: the least seconds of several times."""
        before = self._blocks()
        statements, requests, seconds = self.statements, self._requests(), []
        for _ in range(times):
            began = time.perf_counter()
            act()
            seconds.append(time.perf_counter() - began)
        after = self._blocks()
        return Took(
            1,
            (self.statements - statements) // times,
            (self._requests() - requests) // times,
            (after - before) // times,
            min(seconds),
        )

    def _blocks(self) -> int:
        """Return the blocks that ended sessions looked at: a session tells of them at its end at the latest."""
        assert self._engine is not None
        self._engine.dispose()
        while self._one(_OTHERS):
            time.sleep(0.005)
        return self._one(_BLOCKS)

    def _one(self, statement: str) -> int:
        row = self._server.execute(statement.encode()).fetchone()
        assert row is not None
        return int(row[0])

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return rows and bytes of each of our tables, its indexes included."""
        found = self._server.execute(
            "select format('%s.%s', schemaname, relname), pg_total_relation_size(relid)"
            " from pg_stat_user_tables where schemaname in ('sync', 'enerflo') order by 1"
        ).fetchall()
        return {name: (self._one(f"select count(*) from {name}"), size) for name, size in found}

    def close(self) -> None:
        self._server.close()
