"""Reading rows of the CRM's own database again, so that requests to Enerflo use their present values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.written import fitting_key, of_key
from enerflo_sync.copies.copy_table import CopyTable
from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.copies.remote_table import remote_table
from enerflo_sync.copies.remote_writes import RemoteWriter
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.copies import KEY_HASH
from enerflo_sync.reconcile.compare import Comparison


class FreshRows:
    """Updates single rows of an account's copies, in the caller's transaction."""

    def __init__(self, crm: CrmConnections, config: SyncConfig, account: str) -> None:
        self._crm = crm
        self._config = config
        self._account = account

    def read(
        self, connection: sa.Connection, comparison: Comparison, keys: Sequence[Mapping[str, Any]]
    ) -> None:
        """Read the rows of these keys again; does nothing for a table in the warehouse itself.

        :raises RetriableError: the CRM's database is away.
        """
        if not comparison.mapping.is_kept or not keys:
            return
        values = {"keys": [json.dumps(key) for key in keys]}
        columns = ", ".join(fitting_key(comparison, "k.key", name) for name in comparison.mapping.key_columns)
        asked = connection.exec_driver_sql(
            f"/* enerflo-sync copy: keys */ select {columns} from unnest(%(keys)s::jsonb[]) k(key)",  # noqa: S608
            values,
        ).all()
        known = connection.exec_driver_sql(
            f"/* enerflo-sync copy: rows of keys */ select t.{KEY_HASH} from {comparison.crm} t"  # noqa: S608
            f" join unnest(%(keys)s::jsonb[]) k(key) on {of_key(comparison, 'k.key')}",
            values,
        ).scalars()
        with self._crm.connected(f"reading {comparison.mapping.crm_table}") as theirs:
            remote = remote_table(theirs, self._crm, self._config, self._account, comparison.name)
            found = list(RemoteWriter(theirs, remote).read_back(asked))
        CopyTable(connection, comparison.mapping.relation, remote).merge_keys(found, list(known))
