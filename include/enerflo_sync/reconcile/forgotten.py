"""Rows of forgotten customers: their personal data is not compared, and the CRM's values are not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from enerflo_sync.crm.mapping import MIRROR_TABLES
from enerflo_sync.crm.names import literal
from enerflo_sync.masking import PersonalData
from enerflo_sync.mirror.forgotten import Forgotten, forgotten_of, personal_columns
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata


def without_forgotten(
    connection: sa.Connection, account: str, comparisons: Sequence[Comparison]
) -> list[Comparison]:
    """Return comparisons that do not read the CRM's personal data of forgotten customers.

    The mirror has no such values any more. With the CRM's values hidden both sides are equal, so nothing of a
    forgotten customer differs, is planned or is stored. Reads in the caller's transaction.
    """
    forgotten = forgotten_of(connection, account)
    if not forgotten:
        return list(comparisons)
    return [replace(comparison, hidden=_hidden(comparison, account, forgotten)) for comparison in comparisons]


def _hidden(comparison: Comparison, account: str, forgotten: Forgotten) -> dict[str, str]:
    columns = [name for name in hidden_columns(comparison) if comparison.live.columns[name].readable]
    owned = records_of(comparison, "e", forgotten)
    if not columns or owned is None:
        return {}
    same = " and ".join(
        f"({join.mirror})::{join.type} = ({join.crm})::{join.type}" for join in comparison.joins
    )
    rows = (
        f"exists (select from {comparison.mirror} e"
        f" where e.account = {literal(account)} and {owned} and {same})"
    )
    return dict.fromkeys(columns, rows)


def hidden_columns(comparison: Comparison) -> list[str]:
    """Return the mapped CRM columns, other than keys, that hold personal data of a customer.

    A column that ``sync.yaml`` adds to the mirror counts as personal data, since forgetting erases it as
    well.
    """
    keys = {*comparison.mapping.key_columns, *comparison.mapping.join_columns}
    table = _mirror_table(comparison)
    hidden = personal_columns(MIRROR_TABLES[comparison.kind])
    return [
        one.name
        for one in comparison.fields
        if one.name not in keys
        and (
            one.mapping.enerflo in hidden
            or one.mapping.enerflo not in table.c
            or (one.mapping.personal_kind is not PersonalData.NONE and one.mapping.enerflo != "agent_name")
        )
    ]


def records_of(comparison: Comparison, alias: str, forgotten: Forgotten) -> str | None:
    """Return the condition that a mirror row is of a forgotten customer; None if no row is of any."""
    known = {"customer_id": forgotten.customers, "install_id": forgotten.installs}
    # A wide table's rows are installs; their milestones hold no personal data.
    table = _mirror_table(comparison)
    columns = [] if comparison.is_wide else [column for column in known if column in table.c]
    if not columns:
        return None
    listed = [
        f"{alias}.{column} = any('{{{','.join(map(str, sorted(known[column])))}}}'::bigint[])"
        for column in columns
    ]
    # If the customer is known, only the customer counts: the install's present owner may be another person.
    return f"coalesce({', '.join(listed)})"


def _mirror_table(comparison: Comparison) -> sa.Table:
    return metadata.tables[f"{MIRROR_SCHEMA}.{MIRROR_TABLES[comparison.kind]}"]
