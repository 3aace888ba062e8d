"""The address of a record's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enerflo_sync.addresses import Addresses
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.plan.parts import record_name


def record_address(
    to: Addresses, account: str, tables: Mapping[str, TableMapping], table: str, key: Mapping[str, Any]
) -> str:
    """Return the address of a record; a stored key may have its parts in another order than the mapping."""
    columns = tables[table].key_columns if table in tables else ()
    return to.record(account, table, record_name(key, columns))


def table_of_kind(tables: Mapping[str, TableMapping], kind: str) -> str | None:
    """Return the table of ``sync.yaml`` whose pages show records of a kind; None if none is mapped."""
    return next((name for name, mapping in tables.items() if mapping.key_kind(name) == kind), None)


def enerflo_address(
    to: Addresses, account: str, tables: Mapping[str, TableMapping], kind: str, *ids: int | None
) -> str | None:
    """Return the address of a record by its ids at Enerflo; None if no table of its kind is mapped."""
    table = table_of_kind(tables, kind)
    if table is None or None in ids:
        return None
    return to.record(account, table, f"enerflo:{'/'.join(map(str, ids))}")
