"""The address of a record that another page names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enerflo_sync.addresses import Addresses
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.plan.parts import record_name


def record_address(
    to: Addresses, account: str, tables: Mapping[str, TableMapping], table: str, key: Mapping[str, Any]
) -> str:
    """Return the address of a record; a stored key has its parts in another order than the mapping."""
    columns = tables[table].key_columns if table in tables else ()
    return to.record(account, table, record_name(key, columns))
