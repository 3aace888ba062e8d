"""When a copied CRM table got its newest row: a copy that stopped shows what the CRM said then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind, LiveColumn, LiveTable
from enerflo_sync.crm.live.copies import tool_of
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.crm.notice import Notice

# A company may well change nothing on a Sunday.
QUIET = timedelta(days=2)


class LastArrival(NamedTuple):
    """When the newest row arrived, by which column, and how long ago that is by the database's clock."""

    column: str
    at: datetime
    ago: timedelta


def arrival_column(mapping: TableMapping, table: LiveTable) -> LiveColumn | None:
    """Return the column with the time at which a copy got a row: the mapping's, or the copy tool's own."""
    tool = tool_of(table)
    names = [mapping.arrived_at or "", *(tool.arrivals if tool is not None else ())]
    live = next((table.columns[name] for name in names if name in table.columns), None)
    return live if live is not None and live.kind.is_time and live.readable else None


def longest_silence(mapping: TableMapping, usual: timedelta) -> timedelta:
    """Return after how long without a new row a copy is late: as the mapping says, or else ``usual``."""
    hours = mapping.arrives_within_hours
    return usual if hours is None else timedelta(hours=hours)


def last_arrival(
    connection: sa.Connection, mapping: TableMapping, table: LiveTable, now: datetime | None = None
) -> LastArrival | None:
    """Return when the newest row of a copied table arrived; None where no column tells.

    A row that is marked as deleted, or does not meet ``where``, arrived as well.

    :param now: the present moment; by the database's clock where none is given.
    """
    live = arrival_column(mapping, table)
    if live is None:
        return None
    column = f"t.{quoted(live.name)}"
    moment = column
    if live.kind is not Kind.TIMESTAMPTZ:
        moment = f"{column}::timestamp at time zone {literal(mapping.time_zone)}"
    # Times without end, or of the future, say nothing of the last load.
    query = f"""
    /* enerflo-sync arrivals: the newest row of one relation */
    select max({moment}) as at, n.now - max({moment}) as ago
    from (select coalesce(%(now)s::timestamptz, now()) as now) n
    left join {quoted(table.schema, table.name)} t on {column} > '1970-01-01' and {moment} <= n.now
    group by n.now
    """  # noqa: S608 - quoted names
    found = connection.exec_driver_sql(query, {"now": now}).one()
    return None if found.at is None else LastArrival(live.name, found.at, found.ago)


def untold_arrivals(mapping: TableMapping, table: LiveTable) -> Iterator[Notice]:
    """Yield that no column tells the arrivals about which the mapping says how often they come."""
    if mapping.arrives_within_hours is None or arrival_column(mapping, table) is not None:
        return
    yield Notice(
        "error",
        ("arrives_within_hours",),
        f"no column of {table.schema}.{table.name} that says when a row arrived",
        "arrived_at, with a column of times that may be read, or a copy tool's own column of that",
        "Write arrived_at: COLUMN, or leave arrives_within_hours out.",
    )


def no_arrivals(connection: sa.Connection, mapping: TableMapping, table: LiveTable) -> Iterator[Notice]:
    """Yield that no row of a copied table arrived for days."""
    last = last_arrival(connection, mapping, table)
    if last is None or last.ago < longest_silence(mapping, QUIET):
        return
    since = f"{last.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    yield Notice(
        "warning",
        ("arrived_at",) if mapping.arrived_at == last.column else ("crm_table",),
        f"no row of {table.schema}.{table.name} that arrived since {since} ({last.column})",
        "a copy that is kept up to date",
        "See whether the copy's tool still runs. If it does, nothing changed in the CRM for"
        f" {_while(last.ago)}.",
    )


def _while(ago: timedelta) -> str:
    hours = int(ago.total_seconds() // 3600)
    return f"{ago.days} days" if ago.days > 1 else f"{hours} hours"
