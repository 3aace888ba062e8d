"""The mirror's records by key, as texts, to compare with a CRM table's rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.checks import mirror_columns
from enerflo_sync.crm.mapping import MIRROR_TABLES
from enerflo_sync.crm.names import quoted
from enerflo_sync.reconcile.draft.words import KEYS
from enerflo_sync.reconcile.values import mirror_kind
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA

Record = Mapping[str, str | None]

# Fields of a milestone that a column of a wide table's row can correspond to.
OF_MILESTONES = ("started_at", "due_at", "completed_at")

_THERE = sa.text("""
/* enerflo-sync init: is the mirror there, and may it be read? */
select coalesce(has_table_privilege(t.oid, 'select') and has_schema_privilege(t.relnamespace, 'usage'), false)
from pg_catalog.pg_class t join pg_catalog.pg_namespace n on n.oid = t.relnamespace
where n.nspname = :schema and t.relname = :name
""")

_COUNT = Template("""
/* enerflo-sync init: how many records there are */
select count(*) from $table where account = %(account)s and deleted_at is null
""")
_RECORDS = Template("""
/* enerflo-sync init: records of some rows */
select $values from $table where account = %(account)s and deleted_at is null and $condition
""")


def columns_of_kind(kind: str) -> dict[str, Kind]:
    """Return the mirror's columns of a kind of records that a CRM column can correspond to."""
    found = {str(name): mirror_kind(one) for name, one in mirror_columns(kind, {}).items()}
    return {name: of for name, of in found.items() if of is not Kind.JSONB and name != "updated_at"}


class Mirror:
    """One account's living records."""

    def __init__(self, connection: sa.Connection, account: str) -> None:
        self._connection, self._account = connection, account

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Return how many records of each kind the mirror has; empty if the mirror cannot be read."""
        return {kind: self._count(kind) for kind in (*KEYS, "milestones")}

    @property
    def is_empty(self) -> bool:
        """Return whether the mirror has no installs yet, so that only names can be compared."""
        return not self.counts["installs"]

    def records(self, kind: str, ids: Collection[int]) -> dict[int, Record]:
        """Return the records of a kind whose key is among ``ids``."""
        key, _ = KEYS[kind]
        found = self._rows(kind, columns_of_kind(kind), f"{quoted(key)} = any(%(ids)s)", ids)
        return {int(row[key] or 0): row for row in found}

    def deals(self, texts: Collection[str]) -> dict[str, Record]:
        """Return the installs whose deal, in lower case, is among ``texts``, by that text."""
        found = self._rows("installs", columns_of_kind("installs"), "lower(deal_id) = any(%(ids)s)", texts)
        return {(row["deal_id"] or "").lower(): row for row in found}

    def milestones(self, installs: Collection[int]) -> dict[tuple[int, int], Record]:
        """Return the milestones of some installs, by the ids of install and milestone."""
        found = self._rows("milestones", columns_of_kind("milestones"), "install_id = any(%(ids)s)", installs)
        return {(int(row["install_id"] or 0), int(row["milestone_id"] or 0)): row for row in found}

    def wide(self, installs: Collection[int]) -> dict[int, dict[tuple[str, str], str | None]]:
        """Return the fields of the milestones of some installs, by title and field."""
        found: dict[int, dict[tuple[str, str], str | None]] = {}
        for (install, _), row in self.milestones(installs).items():
            if row["title"]:
                fields = {(row["title"].strip(), name): row[name] for name in OF_MILESTONES}
                found.setdefault(install, {}).update(fields)
        return found

    def _count(self, kind: str) -> int:
        names = {"schema": MIRROR_SCHEMA, "name": MIRROR_TABLES[kind]}
        if not self._connection.scalar(_THERE, names):
            return 0
        statement = _COUNT.substitute(table=quoted(MIRROR_SCHEMA, MIRROR_TABLES[kind]))
        return int(self._connection.exec_driver_sql(statement, {"account": self._account}).scalar_one())

    def _rows(self, kind: str, columns: Iterable[str], condition: str, ids: Collection[Any]) -> list[Record]:
        if not self.counts[kind]:
            return []
        values = ", ".join(f"{quoted(name)}::text as {quoted(name)}" for name in columns)
        table = quoted(MIRROR_SCHEMA, MIRROR_TABLES[kind])
        statement = _RECORDS.substitute(values=values, table=table, condition=condition)
        found = self._connection.exec_driver_sql(statement, {"account": self._account, "ids": list(ids)})
        return [dict(row) for row in found.mappings()]
