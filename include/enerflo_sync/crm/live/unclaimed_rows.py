"""Rows of a CRM table that several mappings share by ``where``, and that none of them has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from enerflo_sync.crm.catalog import LiveTable
from enerflo_sync.crm.chosen_rows import in_other_copy, of_one_table, unmarked
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.names import quoted
from enerflo_sync.crm.notice import Notice
from enerflo_sync.crm.where import condition_problem, met_by


class UnclaimedRows(NamedTuple):
    """How many rows no mapping of their table has.

    :param unknown: how many of them no condition decides, since a column that it names is null.
    """

    rows: int
    unknown: int

    def of(self, table: str) -> str:
        """Return how many rows of a table, in words."""
        return f"{self.rows:,} {'row' if self.rows == 1 else 'rows'} of {table}"


def unclaimed_rows(
    connection: sa.Connection, config: SyncConfig, account: str, name: str, live: LiveTable
) -> UnclaimedRows:
    """Return how many living rows of a table meet the ``where`` of no mapping, if several share the table.

    A table of one mapping has none: its ``where`` says which rows are wanted. If several mappings share
    a table, their conditions divide its rows, and nobody compares a row that all of them leave out.
    """
    mapping = config.tables_for(account)[name]
    others = [one for _, _, one in of_one_table(config, account, name) if one.where != mapping.where]
    if not others or mapping.where is None or any(one.where is None for one in others):
        return UnclaimedRows(0, 0)
    met, unknown = [], []
    for one in (mapping, *others):
        if one.is_kept and one is not mapping:
            in_copy = list(in_other_copy(connection, mapping, one))
            if not in_copy:
                return UnclaimedRows(0, 0)
            met += in_copy
        elif one.condition is not None:
            if condition_problem(connection, one.condition, live):
                return UnclaimedRows(0, 0)
            met.append(met_by(one.condition, live, "t"))
            unknown.append(met_by(one.condition, live, "t", verdict="is null"))
    query = f"""
    /* enerflo-sync: rows of a shared table that belong to no mapping */
    select count(*), count(*) filter (where {" and ".join(unknown)})
    from {quoted(live.schema, live.name)} t where not ({" or ".join(met)}){unmarked(mapping)}
    """  # noqa: S608 - checked conditions
    return UnclaimedRows(*connection.exec_driver_sql(query, {}).one())


def unclaimed(
    connection: sa.Connection, config: SyncConfig, account: str, name: str, live: LiveTable
) -> Iterator[Notice]:
    """Yield how many rows of a shared table no mapping has."""
    found = unclaimed_rows(connection, config, account, name, live)
    if found.rows:
        table = config.tables_for(account)[name].crm_table
        why = f", {found.unknown:,} of them since a column of the condition is empty" if found.unknown else ""
        yield Notice(
            "hint",
            ("where",),
            f"{found.of(table)} outside the where of each table of sync.yaml{why}",
            "rows of one mapping each",
            "Nobody compares these rows. If one of the tables is to have them, widen its where, as with"
            " coalesce(company, 'east') = 'east'.",
        )


def unclaimed_remarks(
    connection: sa.Connection, config: SyncConfig, account: str, name: str, live: LiveTable
) -> list[str]:
    """Return a sentence on rows of a shared table that no mapping has."""
    found = unclaimed_rows(connection, config, account, name, live)
    if not found.rows:
        return []
    table = config.tables_for(account)[name].crm_table
    return [f"{found.of(table)} outside the where of each table of sync.yaml: no account compares these."]
