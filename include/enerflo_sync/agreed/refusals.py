"""The text for a row that the CRM's database refuses."""

from __future__ import annotations

import psycopg

from enerflo_sync.warehouse.refused import refused_by_policy, refused_by_rule


def why_refused(error: psycopg.Error) -> str:
    """Return which constraint or policy of the table refused a row, without any of the row's values."""
    if refused_by_policy(error):
        return "the CRM's table refuses it: a policy of row-level security"
    if refused_by_rule(error):
        return "the CRM's table has a rule (CREATE RULE) that such a write cannot pass: use a trigger instead"
    names = [error.diag.constraint_name, error.diag.column_name]
    what = " ".join(name for name in names if name)
    kind = type(error).__name__
    return f"the CRM's table refuses it: {kind}{f' ({what})' if what else f', SQLSTATE {error.sqlstate}'}"
