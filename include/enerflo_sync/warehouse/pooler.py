"""Connections through a pooler (PgBouncer and the like): a session of its own is needed, and all else works.

Jobs hold locks and settings in their sessions. A pooler that gives a server's session to another client after
each transaction would lose the locks, and lend the settings to other programs; so it is refused before
anything is set. In session mode nothing is lost.
"""

from __future__ import annotations

import re
from typing import Any

import psycopg

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse.quiet_driver import QuietConnection

# A pooler takes only the start-up options that it knows, unless its administrator lets it ignore them.
_OPTIONS_REFUSED = "unsupported startup parameter"
_SETTING = re.compile(r"(?:-c\s*|--)([\w.-]+)=((?:\\.|[^\s\\])*)")
_SESSION = "select pg_backend_pid()"
_ALIKE = (
    "select set_config('datestyle', 'ISO', false), set_config('standard_conforming_strings', 'on', false)"
)
# Two clients that take turns meet on one session of a shared pool at once where nobody else uses the pool,
# and within a few turns where others do.
_TURNS = 6

# Addresses whose pooler was found to keep sessions apart: looked at once in each process.
_apart: set[tuple[str, ...]] = set()


def connect(*args: Any, **options: Any) -> QuietConnection:
    """Connect as the driver does, and find out whether a pooler stands between.

    Behind a pooler that keeps sessions apart, the start-up options are set as settings of the session, since
    a pooler refuses or ignores them.

    :raises ConfigurationError: the pooler shares sessions between clients.
    """
    try:
        connection = QuietConnection.connect(*args, **options)
    except psycopg.OperationalError as error:
        if _OPTIONS_REFUSED not in str(error) or not options.get("options"):
            raise
        plain = {name: value for name, value in options.items() if name != "options"}
        connection = QuietConnection.connect(*args, **plain)
    try:
        # A pooler answers with a number of its own where a server names its process.
        if connection.info.backend_pid != _session_of(connection):
            _settle(connection, args, options)
        _write_alike(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _write_alike(connection: QuietConnection) -> None:
    """Have times and texts of statements written in the one form that driver and statements rest on.

    A role or database may have another one. The order of day and month in texts stays as it is there.
    """
    style, strings = map(connection.info.parameter_status, ("DateStyle", "standard_conforming_strings"))
    if not (style or "ISO").startswith("ISO") or strings == "off":
        _alone(connection, _ALIKE)


def _settle(connection: QuietConnection, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Require sessions that are kept apart, and give this session the start-up options."""
    address = tuple(str(options.get(name)) for name in ("host", "port", "dbname", "user"))
    plain = {name: value for name, value in options.items() if name != "options"}
    if address not in _apart:
        if _shared(connection, args, plain):
            raise ConfigurationError(
                "a connection pooler (PgBouncer or the like) gives this session to another client after each"
                " transaction, and the jobs' locks and settings need sessions of their own.",
                where="WAREHOUSE_URL",
                next_step="Set pool_mode = session for this database in the pooler, or give the server's own"
                " address: docs/databases.md.",
            )
        _apart.add(address)
    settings = settings_of(str(options.get("options") or ""))
    if settings:
        calls = ", ".join(["set_config(%s, %s, false)"] * len(settings))
        _alone(connection, f"select {calls}", [part for setting in settings for part in setting])
    connection.set_by_us = frozenset(name for name, _ in settings)


def _shared(connection: QuietConnection, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Return whether two clients were seen on one session, or one client on two."""
    seen = set()
    with QuietConnection.connect(*args, **options) as other:
        for _ in range(_TURNS):
            mine, its = _session_of(connection), _session_of(other)
            seen.add(mine)
            if mine == its or len(seen) > 1:
                return True
    return False


def _session_of(connection: QuietConnection) -> int:
    found: int = _alone(connection, _SESSION)[0][0]
    return found


def _alone(connection: QuietConnection, statement: str, values: list[Any] | None = None) -> list[Any]:
    """Run a statement in a transaction of its own, in one message."""
    usual = connection.autocommit
    connection.autocommit = True
    try:
        return connection.execute(statement, values, prepare=False).fetchall()
    finally:
        connection.autocommit = usual


def settings_of(options: str) -> list[tuple[str, str]]:
    """Return the settings in a text of start-up options (``-c name=value``), in their order."""
    return [
        (name.replace("-", "_"), re.sub(r"\\(.)", r"\1", value)) for name, value in _SETTING.findall(options)
    ]
