"""The time of the simulated years: one clock for the company, the jobs, the pages and the database itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa

from enerflo_sandbox.virtual_clock import VirtualClock

# Functions in a schema before ``pg_catalog`` stand for the server's own, for every session of the database.
_TIME = """
create schema simulation;
create unlogged table simulation.clock (at timestamptz not null);
create function simulation.now() returns timestamptz language sql stable parallel safe
    as 'select at from simulation.clock';
create function simulation.clock_timestamp() returns timestamptz language sql volatile parallel safe
    as 'select at from simulation.clock';
"""


class SharedClock(VirtualClock):
    """A virtual clock whose time every session of one database takes for the present.

    Time stands still but for :meth:`advance` and :meth:`sleep`, so that nothing ever waits.

    :param url: a migrated database; its sessions that begin from now on have the virtual time.
    """

    def __init__(self, start: datetime, url: str) -> None:
        super().__init__(start)
        self._connection = connect(url)
        self._connection.execute(_TIME)
        self._connection.execute("insert into simulation.clock values (%s)", [start])
        name = self._connection.info.dbname
        self._connection.execute(
            f"alter database {name} set search_path = simulation, pg_catalog, public".encode()
        )

    def advance(self, seconds: float) -> None:
        """Move the time on, for the database too."""
        super().advance(seconds)
        if seconds > 0:
            self._connection.execute("update simulation.clock set at = %s", [self.now()])

    def close(self) -> None:
        self._connection.close()


def connect(url: str, application: str = "soak") -> psycopg.Connection[Any]:
    """Return a connection beside those of the jobs."""
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(
        plain, autocommit=True, application_name=application, options="-c timezone=UTC -c lock_timeout=5s"
    )
