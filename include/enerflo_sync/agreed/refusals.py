"""How a CRM table's refusal of a row is said."""

from __future__ import annotations

import psycopg

from enerflo_sync.warehouse import refused


def refuses_a_row(error: psycopg.Error) -> bool:
    """Return whether a CRM's table refused a row, by any rule of its own or a policy."""
    return refused.refuses_a_row(error) or refused.refused_by_policy(error)


def why_refused(error: psycopg.Error) -> str:
    """Say which rule of the table refused a row, without the row."""
    if refused.refused_by_policy(error):
        return "the CRM's table refuses it: a policy of row-level security"
    names = [error.diag.constraint_name, error.diag.column_name]
    what = " ".join(name for name in names if name)
    kind = type(error).__name__
    return f"the CRM's table refuses it: {kind}{f' ({what})' if what else f', SQLSTATE {error.sqlstate}'}"
