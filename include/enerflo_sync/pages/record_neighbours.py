"""The related records of a record: an install's milestones, notes and orders; other records' install."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.addresses import Addresses
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.pages.records import enerflo_address
from enerflo_sync.reconcile.record import FoundRecord
from enerflo_sync.reconcile.render.wording import visible

# The number of rows that a short table shows; further ones are counted.
ROWS = 12

_MILESTONES = sa.text("""
/* enerflo-sync pages: milestones of an install */
select milestone_id, title, started_at, due_at, completed_at, deleted_at, count(*) over () as total
from enerflo.milestones where account = :account and install_id = :install
order by deleted_at is not null, sequence nulls last, milestone_id limit :most
""")

_NOTES = sa.text("""
/* enerflo-sync pages: notes of an install */
select note_id, author_id, created_at, length(body) as length, deleted_at, count(*) over () as total
from enerflo.notes where account = :account and install_id = :install
order by created_at desc nulls last, note_id desc limit :most
""")

_ORDERS = sa.text("""
/* enerflo-sync pages: change orders of an install */
select o.change_order_id, o.status, o.signed_at, o.total_change, o.deleted_at, f.failing,
       q.state = 'open' as held, count(*) over () as total
from enerflo.change_orders o
left join sync.change_order_facts f on f.account = o.account and f.change_order_id = o.change_order_id
left join sync.quarantine q on q.account = o.account and q.item_id = f.item_id
where o.account = :account and o.install_id = :install
order by o.signed_at desc nulls last, o.change_order_id desc limit :most
""")

_INSTALLS = sa.text("""
/* enerflo-sync pages: installs of a customer */
select install_id, customer_name, status_name, created_at, deleted_at, count(*) over () as total
from enerflo.installs where account = :account and customer_id = :customer
order by created_at desc nulls last, install_id desc limit :most
""")

_INSTALL = sa.text("""
/* enerflo-sync pages: whose install it is */
select deal_id, customer_id from enerflo.installs where account = :account and install_id = :install
""")


@dataclass(frozen=True, slots=True)
class Cell:
    """A value in a short table, with the address of its link."""

    value: str | int | datetime | None
    address: str | None = None


@dataclass(frozen=True)
class ShortTable:
    """Records related to the page's record.

    :param total: how many there are, those that are not shown included.
    """

    name: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    total: int


@dataclass(frozen=True)
class Neighbours:
    """The related records of a record.

    :param install: the install that the record belongs to, :param install_address: its page.
    :param customer: the customer of an install.
    """

    tables: Sequence[ShortTable] = ()
    install: int | None = None
    install_address: str | None = None
    deal: str | None = None
    customer: int | None = None
    customer_address: str | None = None


def read_neighbours(
    connection: sa.Connection, config: SyncConfig, account: str, record: FoundRecord, to: Addresses
) -> Neighbours:
    """Return the related records of a record, the first rows of each kind."""
    reader = _Reader(connection, config, account, to)
    kind = record.comparison.mapping.key_kind(record.comparison.name)
    if kind == RecordKind.LEADS:
        customer = (record.named_key or record.enerflo_key or {}).get("customer_id")
        return Neighbours() if customer is None else Neighbours([reader.installs(customer)])
    install = record.install
    if install is None:
        return Neighbours()
    if kind != RecordKind.INSTALLS:
        return Neighbours(install=install, install_address=reader.address(RecordKind.INSTALLS, install))
    found = connection.execute(_INSTALL, {"account": account, "install": install}).first()
    tables = [reader.milestones(install), reader.notes(install), reader.orders(install)]
    return Neighbours(
        tables=[table for table in tables if table.total],
        deal=None if found is None else found.deal_id,
        customer=None if found is None else found.customer_id,
        customer_address=None if found is None else reader.address(RecordKind.LEADS, found.customer_id),
    )


@dataclass(frozen=True)
class _Reader:
    connection: sa.Connection
    config: SyncConfig
    account: str
    to: Addresses

    def address(self, kind: str, *ids: int | None) -> str | None:
        tables = self.config.tables_for(self.account)
        return enerflo_address(self.to, self.account, tables, kind, *ids)

    def _rows(self, statement: sa.TextClause, **values: Any) -> Sequence[Any]:
        return self.connection.execute(statement, {"account": self.account, "most": ROWS, **values}).all()

    def _table(
        self, name: str, heads: Sequence[str], found: Sequence[Any], rows: Sequence[Sequence[Cell]]
    ) -> ShortTable:
        return ShortTable(name, heads, rows, found[0].total if found else 0)

    def milestones(self, install: int) -> ShortTable:
        found = self._rows(_MILESTONES, install=install)
        rows = [
            (
                Cell(
                    visible(row.title or str(row.milestone_id)),
                    self.address(RecordKind.MILESTONES, install, row.milestone_id),
                ),
                *(Cell(moment) for moment in (row.started_at, row.due_at, row.completed_at)),
                Cell(_gone(row)),
            )
            for row in found
        ]
        return self._table("Milestones", ("Milestone", "Started", "Due", "Completed", "State"), found, rows)

    def notes(self, install: int) -> ShortTable:
        found = self._rows(_NOTES, install=install)
        rows = [
            (
                Cell(str(row.note_id), self.address(RecordKind.NOTES, row.note_id)),
                Cell(row.created_at),
                Cell(None if row.author_id is None else f"user {row.author_id}"),
                Cell(f"{row.length or 0:,} characters"),
                Cell(_gone(row)),
            )
            for row in found
        ]
        return self._table("Notes", ("Note", "Created", "Author", "Length", "State"), found, rows)

    def orders(self, install: int) -> ShortTable:
        found = self._rows(_ORDERS, install=install)
        rows = [
            (
                Cell(str(row.change_order_id), self.address(RecordKind.CHANGE_ORDERS, row.change_order_id)),
                Cell(None if row.status is None else visible(row.status)),
                Cell(row.signed_at),
                Cell(None if row.total_change is None else f"{row.total_change:,}"),
                Cell(_checked(row)),
            )
            for row in found
        ]
        return self._table(
            "Change orders", ("Order", "Status", "Signed", "Total change", "State"), found, rows
        )

    def installs(self, customer: int) -> ShortTable:
        found = self._rows(_INSTALLS, customer=customer)
        rows = [
            (
                Cell(str(row.install_id), self.address(RecordKind.INSTALLS, row.install_id)),
                Cell(mask(row.customer_name, PersonalData.NAME)),
                Cell(None if row.status_name is None else visible(row.status_name)),
                Cell(row.created_at),
                Cell(_gone(row)),
            )
            for row in found
        ]
        return self._table("Installs", ("Install", "Customer", "Status", "Created", "State"), found, rows)


def _gone(row: Any) -> str | None:
    return None if row.deleted_at is None else "deleted at Enerflo"


def _checked(row: Any) -> str | None:
    if row.held:
        return f"held: {', '.join(row.failing)}"
    return "warned: " + ", ".join(row.failing) if row.failing else _gone(row)
