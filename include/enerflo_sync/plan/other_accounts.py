"""CRM rows that also belong to another account of ``sync.yaml``: a person decides whether to send them."""

from __future__ import annotations

import sqlalchemy as sa

from enerflo_sync.crm.chosen_rows import of_one_table
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.names import literal
from enerflo_sync.crm.where import condition_problem, met_by
from enerflo_sync.reconcile.compare import Comparison

OF_ANOTHER = (
    "it is also a row of {}, by the where of that table: give this table a where that excludes the row"
)


def of_another_account(
    connection: sa.Connection, comparison: Comparison, config: SyncConfig, account: str
) -> str:
    """Return ``when … then …`` for a CRM row ``t`` that also belongs to another account; "" if no row can.

    The other account would send the row to its own Enerflo account. Two kinds of accounts are left out: an
    account that keeps Enerflo's id in another column, because both may send the row; and an account without
    ``where``, because it does not say which rows are its own.
    """
    mapping, links = comparison.mapping, set(comparison.mapping.join_columns)
    found = ""
    for other, whose, theirs in of_one_table(config, account, comparison.name):
        if other == account or theirs.where is None or mapping.is_kept or set(theirs.join_columns) != links:
            continue
        if theirs.where != mapping.where and not condition_problem(connection, theirs.where, comparison.live):
            met = met_by(theirs.where, comparison.live, "t")
            found += f"\n      when {met} then {literal(OF_ANOTHER.format(whose))}"
    return found
