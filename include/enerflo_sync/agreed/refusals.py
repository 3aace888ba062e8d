"""The texts for rows that the CRM's database refuses or passes over."""

from __future__ import annotations

import psycopg

from enerflo_sync.warehouse.refused import refused_by_policy, refused_by_rule

PASSED_OVER = "the CRM's table passes over the write, by a trigger, rule or policy of its own"

# What the codes of refusals mean that name no constraint.
_MEANS = {
    "22P02": "the column's type has no such value",
    "22001": "the value is too long for the column",
    "22003": "the number is too large for the column",
    "22008": "the time lies beyond what the column holds",
    "44000": "the view's check option does not let such a row be",
}


def why_refused(error: psycopg.Error) -> str:
    """Return which constraint or policy of the table refused a row, without any of the row's values."""
    if refused_by_policy(error):
        return "the CRM's table refuses it: a policy of row-level security"
    if refused_by_rule(error):
        return "the CRM's table has a rule (CREATE RULE) that such a write cannot pass: use a trigger instead"
    names = [error.diag.constraint_name, error.diag.column_name]
    what = " ".join(name for name in names if name)
    refused = f"the CRM's table refuses it: {type(error).__name__}"
    if what:
        return f"{refused} ({what})"
    # In a trigger's own statement a code tells nothing of our value.
    means = None if error.diag.context else _MEANS.get(error.sqlstate or "")
    return f"{refused}, SQLSTATE {error.sqlstate}{f' ({means})' if means else ''}"
