"""Mirror columns that sync.yaml adds: create them, and fill them from stored records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from enerflo_sync.crm.columns import column_places, declared
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.rebuild import run_rebuild
from enerflo_sync.mirror.details import all_due
from enerflo_sync.mirror.poll import Progress
from enerflo_sync.rebuild.from_versions import NO_VERSION
from enerflo_sync.rebuild.tables import RebuildTable
from enerflo_sync.resources.registry import ALL, STORED
from enerflo_sync.warehouse.declared import DeclaredColumn, column_values, declare, filled
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.migrate import in_turn
from enerflo_sync.warehouse.watermarks import forget_watermark


@dataclass(frozen=True)
class ColumnsReport:
    """The outcome for each declared column, named like ``installs.lender``.

    :param read_elsewhere: columns whose path or maximum length has changed.
    :param filled: columns that were filled now, from every stored record.
    :param next_poll: columns that the next poll fills, because it reads their records again.
    :param rows: rows of the mirror written to fill columns, by table.
    :param values: by column that was filled now, how many rows of live records have a value, and how many
        rows there are.
    :param kept: columns that are no longer declared but stay in the mirror.
    """

    added: list[str] = field(default_factory=list)
    read_elsewhere: list[str] = field(default_factory=list)
    filled: list[str] = field(default_factory=list)
    next_poll: list[str] = field(default_factory=list)
    rows: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def run_columns(
    context: AccountContext, *, drop: bool = False, progress: Progress | None = None
) -> ColumnsReport:
    """Create the account's declared columns, and fill the unfilled ones, without requests to Enerflo.

    If it is killed, the next run continues. Tables with stored versions are derived again from these
    (:func:`enerflo_sync.jobs.rebuild.run_rebuild`). The next poll fills the other tables, and a table in
    which a record has no stored version.

    :param drop: drop columns that are no longer declared.
    """
    account, wanted = context.account, declared(context.config.columns)
    places = column_places(context.config.columns, context.config.spot)
    changes = in_turn(
        context.engine, lambda connection: declare(connection, account, wanted, places, drop=drop)
    )
    stored = [one for one in changes.to_fill if one.table in STORED]
    rows, left = _fill(context, stored, progress) if stored else ({}, set())
    now = [one for one in stored if one.table not in left]
    later = [one for one in changes.to_fill if one not in now]
    with warehouse_errors("migrate"), context.engine.begin() as connection:
        filled(connection, account, now)
        for resource in ALL:
            if resource.swept and any(one.table == resource.table.name for one in later):
                forget_watermark(connection, account, resource.swept)
        if any(one.table == "milestones" for one in now):
            all_due(connection, account)
        values = {one.place: column_values(connection, account, one) for one in now}
    return ColumnsReport(
        added=changes.added,
        read_elsewhere=changes.read_elsewhere,
        filled=[one.place for one in now],
        next_poll=[one.place for one in later],
        rows=rows,
        values=values,
        kept=changes.kept,
        dropped=changes.dropped,
    )


def _fill(
    context: AccountContext, columns: list[DeclaredColumn], progress: Progress | None
) -> tuple[dict[str, int], set[str]]:
    """Return the numbers of rows written by table, and the tables with records without a stored version."""
    tables = [RebuildTable(name) for name in STORED if any(one.table == name for one in columns)]
    report = run_rebuild(context, tables=tables, write=True, fills=True, progress=progress)
    written = {table.table_name: table.new + table.changed + table.gone for table in report.tables}
    left = {name for name, reasons in report.left.items() if reasons.get(NO_VERSION)}
    return written, left
