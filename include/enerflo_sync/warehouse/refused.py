"""Recognise a driver's error that refuses one row, so that other rows of the same statement may pass."""

from __future__ import annotations

import psycopg

# SQLSTATE classes unrelated to a row: connection, features, transaction, names and rights, resources, state
# of the server, foreign servers.
_NOT_OF_A_ROW = ("08", "0A", "25", "3D", "3F", "40", "42", "53", "55", "57", "58", "HV", "XX")
# The server function that reports RAISE of PL/pgSQL: a trigger may give it any code.
_RAISED = "exec_stmt_raise"


def refuses_a_row(error: psycopg.Error) -> bool:
    """Return whether a check, a length, a missing value or a trigger refused a row."""
    if error.diag.source_function == _RAISED:
        return True
    return error.sqlstate is not None and not error.sqlstate.startswith(_NOT_OF_A_ROW)
