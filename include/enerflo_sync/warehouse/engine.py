"""The one way to connect to the warehouse, with the session settings for which its SQL is tuned."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from enerflo_sync.errors import ConfigurationError, EnerfloSyncError, RetriableError
from enerflo_sync.warehouse.pooler import connect
from enerflo_sync.warehouse.refused import (
    finds_another_server,
    finds_no_address,
    finds_no_tls,
    server_asked,
)
from enerflo_sync.warehouse.timeouts import job_of_sessions, set_timeouts

MINIMUM_VERSION = 14

# Measured with a comparison of 1,000,000 rows by hash: 0.35 s, and 1.08 s with the server's defaults. JIT
# costs more than it saves, and the default random_page_cost makes the planner scan whole tables for a few
# thousand keys. UTC keeps row text comparable, with extra_float_digits no digit of a float is
# lost, and with array_nulls a null in a list is no text NULL.
_OPTIONS = ("jit=off", "random_page_cost=1.1", "timezone=UTC", "extra_float_digits=1", "array_nulls=on")
SESSION_OPTIONS = " ".join(f"-c {option}" for option in (*_OPTIONS, "client_min_messages=warning"))

# Ping a pooled connection only after this long without use: each ping is a round trip, and a poll takes a
# connection for every page.
IDLE_SECONDS = 20.0

_OF_WAREHOUSE = "of_warehouse"


def warehouse_engine(url: str, *, application: str = "enerflo-sync", pool_size: int = 5) -> sa.Engine:
    """Return an engine on ``url`` whose sessions have the settings that this project expects.

    Makes no connection yet. The first connection raises :class:`RetriableError` or
    :class:`ConfigurationError` if it fails within :func:`warehouse_errors`.

    :param url: any PostgreSQL URL: ``postgresql://``, ``postgres://`` or ``postgresql+<driver>://``.
    :raises ConfigurationError: the text is not a PostgreSQL URL.
    """
    try:
        parsed = sa.make_url(re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql+psycopg://", url.strip()))
    except (sa.exc.ArgumentError, ValueError):
        # A port that is no number is a ValueError.
        parsed = None
    if parsed is None or parsed.get_backend_name() != "postgresql":
        raise ConfigurationError(
            "the warehouse address is not a PostgreSQL URL.",
            where="WAREHOUSE_URL",
            next_step="Write it as postgresql://user:password@host:5432/database.",
        )
    if "@" in (parsed.host or ""):
        # The host would be a part of the password: never named in the error.
        raise ConfigurationError(
            "the warehouse address has more than one @.",
            where="WAREHOUSE_URL",
            next_step="Write an @ of the user or the password as %40, and other special characters likewise.",
        )
    own_options = parsed.query.get("options", "")
    engine = sa.create_engine(
        parsed,
        pool_size=pool_size,
        # A statement's parameters contain customers' data.
        hide_parameters=True,
        connect_args={
            "application_name": application,
            "connect_timeout": 10,
            # Records are copied in the vendor's UTF-8, whatever the database's own encoding.
            "client_encoding": "utf8",
            "options": f"{SESSION_OPTIONS} {own_options}".strip() if own_options else SESSION_OPTIONS,
        },
    )
    # Not a "do_connect" listener, which would keep others from making their own connections.
    engine.dialect.connect = connect  # type: ignore[method-assign,assignment]
    _prepare_sessions(engine)
    return engine


def _prepare_sessions(engine: sa.Engine) -> None:
    """Set each session's timeouts to those of the job that takes it; replace a session that died idle."""

    @sa.event.listens_for(engine, "checkin")
    def put_back(_driver: Any, entry: ConnectionPoolEntry) -> None:
        entry.info["idle_since"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def hand_out(driver: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
        since = entry.info.get("idle_since")
        try:
            if since is not None and time.monotonic() - since >= IDLE_SECONDS:
                engine.dialect.do_ping(driver)
            set_timeouts(driver, entry.info)
        except psycopg.Error as error:
            raise sa.exc.DisconnectionError from error

    @sa.event.listens_for(engine, "handle_error")
    def say_whose_it_is(context: sa.engine.ExceptionContext) -> None:
        if context.sqlalchemy_exception is not None:
            setattr(context.sqlalchemy_exception, _OF_WAREHOUSE, True)


def is_of_warehouse(error: DBAPIError) -> bool:
    """Return whether an error is a warehouse engine's: a job may use the CRM's own database beside it."""
    return getattr(error, _OF_WAREHOUSE, False)


@contextmanager
def warehouse_errors(where: str) -> Iterator[None]:
    """Translate the driver's errors: what a person should change, or that a retry may help.

    :param where: the current step in words: ``"poll"``, ``"migrate"``.
    :raises ConfigurationError: missing migration, missing permission, unknown database or password, a view or
        column that cannot be written.
    :raises RetriableError: server down, disk full, deadlock, connection lost: safe to run again.
    """
    try:
        with job_of_sessions(where):
            yield
    except DBAPIError as error:
        # Drop the original error, here and below: its text may contain a row.
        raise _explained(error.orig, where) from None
    except psycopg.Error as error:
        raise _explained(error, where) from None


# SQLSTATE of a statement that writes where only reading is possible.
READS_ONLY = "25006"

# SQLSTATE of a repeatable-read transaction that meets a row which was changed after it began.
_CROSSED = "40001"

# Advice by SQLSTATE; the server's message names the table, column or right.
# The server tells where a statement of a function failed, innermost first.
_FUNCTION = re.compile(r'^(?:PL/\w+|SQL) function (?P<name>(?:"[^"\n]+"|[\w.$])+)', re.MULTILINE)
_TO_CHANGE = {
    **dict.fromkeys(("42P01", "3F000", "42703"), "Run enerflo-sync migrate, then enerflo-sync doctor."),
    "42501": "Grant what is missing: enerflo-sync doctor --grants ROLE prints what the role needs.",
    **dict.fromkeys(("55000", "428C9"), "Run enerflo-sync doctor: it names what cannot be written."),
}

# What the server lacks, and what gives it back.
_LACKING = {
    "53100": ("the database server's disk is full", "Free room on the server's disk"),
    "53200": ("the database server is out of memory", "Give the server memory, or run less beside it"),
    "53300": (
        "the database server takes no more connections",
        "Raise max_connections, or run less beside it",
    ),
}

_TAKES_TOO_LONG = {
    "55P03": (
        "somebody else holds a lock that is needed, for longer than this job waits for one",
        "Run it again; if it stays, look for who holds it: docs/runbook.md, database.locked.",
    ),
    "57014": (
        "the statement was ended: it ran longer than this job's statements may, or somebody ended it",
        "Run it again; if it stays, look at the server's load and at docs/runbook.md, database.locked.",
    ),
}


def _explained(error: BaseException | None, where: str) -> EnerfloSyncError:
    """Describe a driver's error in our words, never quoting a statement or a row."""
    state = getattr(error, "sqlstate", None) or ""
    place = f"warehouse, during {where}"
    if state in _TO_CHANGE:
        return _to_change(getattr(error, "diag", None), state, place)
    if state == READS_ONLY:
        return read_only_error(place, standby=None)
    if (mistake := _wrong_address(error, state, place)) is not None:
        return mistake
    if (passing := _passing(error, state, place)) is not None:
        return passing
    diag = error.diag if isinstance(error, psycopg.Error) else None
    names = (diag.table_name, diag.constraint_name) if diag else ()
    named = "".join(f", {name}" for name in names if name)
    return EnerfloSyncError(
        f"the statement failed ({type(error).__name__}, SQLSTATE {state or 'none'}{named}).",
        where=place,
        next_step="Nothing was half-written. Please report it with the server's log line.",
    )


def _wrong_address(error: BaseException | None, state: str, place: str) -> ConfigurationError | None:
    """Return the error of an address, login or certificate that a person has to correct; None otherwise."""
    # A refused connection has no SQLSTATE, only the server's message.
    refused = "authentication failed", "no pg_hba.conf entry", "does not exist"
    words = str(error) if not state and isinstance(error, psycopg.OperationalError) else ""
    if finds_no_address(error):
        return ConfigurationError(
            "an option or the port of the warehouse address is not known to PostgreSQL's client.",
            where=place,
            next_step="Correct what stands behind the host, such as the port and sslmode: docs/databases.md.",
        )
    if finds_no_tls(error):
        return ConfigurationError(
            "the server offers no TLS, and sslmode asks for it.",
            where=place,
            next_step="Switch TLS on in the server, or leave sslmode out on a network that you trust.",
        )
    if finds_another_server(error):
        return ConfigurationError(
            "the server did not prove, as sslmode asks, that it is the one that is meant.",
            where=place,
            next_step="Compare host, sslmode and sslrootcert of the warehouse URL with the server's"
            " certificate: docs/databases.md.",
        )
    if state.startswith("28") or state == "3D000" or any(word in words for word in refused):
        return ConfigurationError(
            "the server refused the login or does not know the database.",
            where=place,
            next_step="Check user, password and database name of the warehouse URL or connection.",
        )
    return None


def _passing(error: BaseException | None, state: str, place: str) -> RetriableError | None:
    """Return the error of a trouble that may be over at the next try; None otherwise."""
    if state in _TAKES_TOO_LONG:
        what, next_step = _TAKES_TOO_LONG[state]
        return RetriableError(
            f"{what} (SQLSTATE {state}).", where=place, next_step=f"Nothing was half-written. {next_step}"
        )
    if state in _LACKING:
        what, cure = _LACKING[state]
        return RetriableError(
            f"{what} (SQLSTATE {state}).",
            where=place,
            next_step=f"Nothing was half-written and no watermark moved. {cure}, then run it again.",
        )
    if state.startswith(("57P", "08")):
        return RetriableError(
            f"the server ended the connection (SQLSTATE {state}).",
            where=place,
            next_step="Nothing was half-written and no watermark moved; run it again once the server runs.",
        )
    if state == _CROSSED:
        return RetriableError(
            f"somebody else changed meanwhile what this job stands on, such as a plan (SQLSTATE {state}).",
            where=place,
            next_step="Nothing was half-written and no watermark moved; run it again.",
        )
    if state.startswith(("57", "40", "55")):
        return RetriableError(
            f"the server could not finish the statement (SQLSTATE {state}).",
            where=place,
            next_step="Nothing was half-written and no watermark moved; free the resource and run it again.",
        )
    if isinstance(error, psycopg.OperationalError) and not state:
        asked = server_asked(error)
        return RetriableError(
            f"the server could not be reached, or the connection was lost{asked and f' ({asked})'}.",
            where=place,
            next_step="Check that PostgreSQL runs and that host and port are right, then run it again.",
        )
    return None


def read_only_error(place: str, *, standby: bool | None) -> EnerfloSyncError:
    """Return the error of a job that writes, on a connection that may only read.

    :param standby: whether the server is one, and may become the primary; otherwise the role or the address
        says so. None where a statement was refused, which does not tell.
    """
    if standby or standby is None:
        more = "" if standby else f", or the connection may only read (SQLSTATE {READS_ONLY})"
        return RetriableError(
            f"the server only reads: it is a standby of another one{more}.",
            where=place,
            next_step="Nothing was changed. Jobs that write need the primary's address, or those of both with"
            " target_session_attrs=read-write; after a failover run it again: docs/databases.md.",
        )
    return ConfigurationError(
        "the connection may only read (default_transaction_read_only).",
        where=place,
        next_step="Nothing was changed. Jobs that write need a role that may: docs/databases.md.",
    )


def _to_change(diagnosis: psycopg.errors.Diagnostic | None, state: str, place: str) -> ConfigurationError:
    """Return an error with the server's message; but not a function's message, which may name a customer."""
    if diagnosis is not None and diagnosis.context:
        found = _FUNCTION.search(diagnosis.context)
        name = f"the function {found['name']}" if found else "a function"
        return ConfigurationError(
            f"{name} of the database, or what it calls, failed (SQLSTATE {state}).",
            where=place,
            next_step="Correct it, or drop the trigger that runs it: the server's log has its words.",
        )
    words = diagnosis and diagnosis.message_primary
    return ConfigurationError(
        f"{words or 'a table, column or right is missing'}.", where=place, next_step=_TO_CHANGE[state]
    )


def check_server(connection: sa.Connection) -> None:
    """Return if the server is new enough.

    :raises ConfigurationError: it is older than PostgreSQL 14.
    """
    number = int(connection.scalar(sa.text("show server_version_num")) or 0)
    if number < MINIMUM_VERSION * 10_000:
        raise ConfigurationError(
            f"the server is PostgreSQL {number // 10_000}, and {MINIMUM_VERSION} or newer is needed.",
            where="warehouse",
            next_step="Upgrade it, or point WAREHOUSE_URL at a newer one.",
        )


@contextmanager
def at_one_moment(connection: sa.Connection) -> Iterator[None]:
    """Open a transaction whose statements all see the database as it was when the first of them began."""
    with connection.begin():
        connection.exec_driver_sql("set transaction isolation level repeatable read")
        yield


def transaction_time(connection: sa.Connection) -> datetime:
    """Return when the caller's transaction began, by the server's clock."""
    return _time(connection, "now()")


def server_time(connection: sa.Connection) -> datetime:
    """Return the present moment by the server's clock, even within a transaction."""
    return _time(connection, "clock_timestamp()")


def ask_time(engine: sa.Engine) -> datetime:
    """Return the present moment by the server's clock, on a separate connection."""
    with warehouse_errors("a look at the clock"), engine.connect() as connection:
        return server_time(connection)


def _time(connection: sa.Connection, clock: str) -> datetime:
    found: datetime = connection.exec_driver_sql(f"select {clock}").scalar_one()
    return found
