"""The mirror's state of an install before an order was signed, from the stored versions.

The function that loads installs into the mirror also reads these versions, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError
from enerflo_sync.resources.installs import INSTALLS

BEFORE = "pg_temp.install_before"

_MAKE = f"""
/* enerflo-sync quality: what installs were before orders were signed */
create temporary table {BEFORE} (
  change_order_id bigint primary key, at timestamptz not null, status_id bigint, status_name text,
  panel_type text, panel_count integer, battery_configuration text
) on commit drop
"""

# The newest version first seen before the signature. History loaded later has no such version.
_VERSIONS = sa.text("""
/* enerflo-sync quality: versions of installs before orders were signed */
select o.change_order_id, v.first_seen_at, v.raw
from pg_temp.to_check k
join enerflo.change_orders o on o.account = :account and o.change_order_id = k.change_order_id
cross join lateral (
  select v.first_seen_at, v.raw from enerflo.install_versions v
  where v.account = o.account and v.install_id = o.install_id and v.first_seen_at < o.signed_at
  order by v.first_seen_at desc limit 1
) v
""")

_INSERT = sa.text(f"""
insert into {BEFORE} values (:change_order_id, :at, :status_id, :status_name, :panel_type, :panel_count,
  :battery_configuration)
""")  # noqa: S608 - a constant

_COLUMNS = ("status_id", "status_name", "panel_type", "panel_count", "battery_configuration")
_CHUNK = 1_000


def make_before(connection: sa.Connection, account: str) -> None:
    """Fill the temporary table for the orders in ``to_check``, in the caller's transaction."""
    connection.exec_driver_sql(_MAKE)
    found = connection.execute(_VERSIONS, {"account": account}, execution_options={"yield_per": _CHUNK})
    for partition in found.partitions():
        rows = list(_read(partition))
        if rows:
            connection.execute(_INSERT, rows)
    connection.exec_driver_sql(f"analyze {BEFORE}")


def _read(versions: Any) -> Iterator[dict[str, Any]]:
    for change_order_id, at, raw in versions:
        try:
            (row, *_), *_ = INSTALLS.rows_by_column(raw)
        except BadRecordError:
            # Skip an unreadable version.
            continue
        yield {"change_order_id": change_order_id, "at": at, **{name: row[name] for name in _COLUMNS}}
