"""Recognise errors of the driver: a row, an address or a server's proof of itself is refused."""

from __future__ import annotations

import re

import psycopg

# SQLSTATE classes unrelated to a row: connection, features, transaction, names and rights, resources, state
# of the server, foreign servers.
_NOT_OF_A_ROW = ("08", "0A", "25", "3D", "3F", "40", "42", "53", "55", "57", "58", "HV", "XX")
# The server function that reports RAISE of PL/pgSQL: a trigger may give it any code.
_RAISED = "exec_stmt_raise"
# And the one that checks a written row against policies, whose code is that of a missing right.
_CHECKED = "ExecWithCheckOptions"
# The server function that puts a table's rules into effect. Some rules allow no statement that returns rows.
_RULED = "RewriteQuery"
# Words of libpq about a server's certificate. A connection that is lost under TLS has others.
_NOT_THE_ONE = (
    "certificate verify failed",
    "does not match host name",
    "root certificate file",
)
_WITHOUT_TLS = "does not support SSL"
# Words of libpq about an address, before it asks any server.
_NOT_AN_ADDRESS = (
    "connection is bad: invalid ",
    "invalid connection option",
    "invalid URI query parameter",
)


def refuses_a_row(error: psycopg.Error) -> bool:
    """Return whether a check, a length, a missing value or a trigger refused a row."""
    if error.diag.source_function == _RAISED:
        return True
    return error.sqlstate is not None and not error.sqlstate.startswith(_NOT_OF_A_ROW)


def crm_refuses_a_row(error: psycopg.Error) -> bool:
    """Return whether a CRM's table refused a row, by a rule of its own or by a policy."""
    return refuses_a_row(error) or refused_by_policy(error) or refused_by_rule(error)


def refused_by_policy(error: psycopg.Error) -> bool:
    """Return whether a policy of row-level security refused a row, and not a right that is missing."""
    return error.diag.source_function == _CHECKED and error.sqlstate == "42501"


def refused_by_rule(error: Exception) -> bool:
    """Return whether a rule of the table (CREATE RULE) allows no such statement, whatever the row."""
    if not isinstance(error, psycopg.Error):
        return False
    return error.diag.source_function == _RULED and error.sqlstate == "0A000"


# The words of libpq and of psycopg about a connection that was not made.
_ASKED = re.compile(
    r"server at \"(?P<host>[\w.:-]+)\".*?, port (?P<port>\d+) failed|resolve host '(?P<name>[\w.:-]+)'"
)


def finds_another_server(error: BaseException | None) -> bool:
    """Return whether the server did not prove, as sslmode asks, that it is the one that is meant."""
    return _says(error, *_NOT_THE_ONE, _WITHOUT_TLS)


def finds_no_tls(error: BaseException | None) -> bool:
    """Return whether the server offers no TLS at all, which sslmode asks for."""
    return _says(error, _WITHOUT_TLS)


def finds_no_address(error: BaseException | None) -> bool:
    """Return whether the driver takes no such port or option, and asked no server."""
    return _says(error, *_NOT_AN_ADDRESS)


def server_asked(error: BaseException | None) -> str:
    """Return host and port at which no server answered, as the driver names them; ``""`` if it names none."""
    found = _ASKED.search(str(error))
    if found is None:
        return ""
    port = f", port {found['port']}" if found["port"] else ""
    return f"{found['host'] or found['name']}{port}"


def _says(error: BaseException | None, *words: str) -> bool:
    if not isinstance(error, (psycopg.OperationalError, psycopg.ProgrammingError)) or error.sqlstate:
        return False
    return any(word in str(error) for word in words)
