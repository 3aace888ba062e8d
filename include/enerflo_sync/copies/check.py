"""Checks whether a mapping fits the CRM's table itself, beyond what its copy shows; reads only."""

from __future__ import annotations

from collections.abc import Iterator

from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.live.rights import filled_in_new_rows, unfilled_notices
from enerflo_sync.crm.mapping import Side
from enerflo_sync.crm.names import relation
from enerflo_sync.crm.notice import Notice


def notices_there(crm: CrmConnections, config: SyncConfig, account: str) -> Iterator[tuple[str, Notice]]:
    """Yield what would prevent new rows in an account's tables, each with the name of its table.

    :raises RetriableError: the CRM's database is away.
    """
    for name, mapping in config.tables_for(account).items():
        writes = "to_crm" in config.mode_of(account, name).writes
        if not (mapping.is_carried and writes and Side.CRM in mapping.create_in):
            continue
        with crm.connected(f"reading {mapping.crm_table}") as theirs:
            columns = crm.relation(theirs, *relation(mapping.crm_table)).columns
        names = {one.own for one in columns}
        filled = {crm.dialect.same_name(one, names) or one for one in filled_in_new_rows(mapping)}
        needed = [one.own for one in columns if one.needed]
        yield from ((name, notice) for notice in unfilled_notices(needed, filled))
