"""Lists parked changes, and stores a person's request that the next plan tries some of them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.plan.parked import HELD, held_values
from enerflo_sync.reconcile.live import case_folding, live_comparisons
from enerflo_sync.reconcile.record import find_record, table_of
from enerflo_sync.reconcile.store import masked_key, personal_data_classes

# The parameters are those of :func:`enerflo_sync.plan.parked.held_values`. Changes with the same fingerprint
# can be retried together: updates of one field, or new rows of one table, that were parked for one reason.
PARKED = f"""
  select p.ledger_id, p.table_name, p.key, p.op, p.field, p.old_value, p.new_value, p.direction, p.reason,
         p.plan_hash, p.recorded_at,
         left(md5(concat_ws('|', p.table_name, p.op, case when p.op = 'update' then p.field end, p.direction,
           p.reason)), 16) as fingerprint
  from ({HELD}) p
  where not exists (
      select from sync.ledger l
      where l.account = :account and l.table_name = p.table_name and l.key = p.key and l.op = p.op
        and l.field is not distinct from p.field and l.ledger_id > p.ledger_id and l.decision = 'applied')
"""  # noqa: S608 - a constant

_PARKED = sa.text(f"""
/* enerflo-sync retry: changes that are parked and held back */
select * from ({PARKED}) p order by p.table_name, p.key::text, p.op, p.field, p.ledger_id
""").bindparams(  # noqa: S608 - a constant
    sa.bindparam("since", type_=sa.Interval), sa.bindparam("writes", type_=JSONB)
)

_RETRY = sa.text("""
/* enerflo-sync retry: parked changes that the next plan tries again */
insert into sync.retries (account, ledger_id, requested_at, requested_by)
select :account, unnest(cast(:ids as bigint[])), now(), :by
on conflict (account, ledger_id) do nothing
""")


@dataclass(frozen=True)
class RetrySelection:
    """A selection of parked changes; a change must fit every given criterion.

    :param table: the table in the singular, with ``key`` names one record, as in ``explain``.
    :param field: one CRM column of that record.
    :param plan_hash: at least the first eight characters of the hash of the plan that parked the change.
    :param reason: a text that the reason of the change contains.
    :param everything: select all parked changes.
    :param fingerprint: the fingerprint of changes that were parked for one reason (see :data:`PARKED`).
    """

    table: str | None = None
    key: str | None = None
    field: str | None = None
    plan_hash: str | None = None
    reason: str | None = None
    everything: bool = False
    fingerprint: str | None = None

    @property
    def chooses(self) -> bool:
        """Return whether the selection has any criterion."""
        return self.everything or any((self.table, self.plan_hash, self.reason, self.fingerprint))


class ParkedChange(msgspec.Struct, frozen=True, kw_only=True):
    """One parked change, its values and its key masked.

    :param field: None for a row as a whole.
    """

    table_name: str
    key: Mapping[str, Any]
    op: str
    field: str | None
    direction: str
    before: Any
    after: Any
    reason: str | None
    plan_hash: str
    parked_at: datetime


class RetryReport(msgspec.Struct, frozen=True, kw_only=True):
    """The parked changes, or those of them that the next plan tries again.

    :param retried: whether the next plan tries the changes again; otherwise they are only listed.
    """

    account: str
    retried: bool
    changes: Sequence[ParkedChange]


def retry(
    connection: sa.Connection, config: SyncConfig, account: str, selection: RetrySelection, by: str
) -> RetryReport:
    """Request that the next plan tries the selected parked changes again; list all without a selection.

    Runs in the caller's transaction. All fields of a new record are tried again together. Nothing is written
    to either side.

    :param by: the person who asks for the retry.
    :raises ConfigurationError: no parked change fits, or the selection is incomplete.
    """
    if (selection.table is None) != (selection.key is None) or (selection.field and not selection.table):
        raise ConfigurationError(
            "a record is named by its table and its key.",
            where="TABLE KEY [--field F]",
            next_step="Give both, as in: enerflo-sync retry note n-17.",
        )
    if not by.strip():
        raise ConfigurationError("nobody is named.", where="--by", next_step="Give the name of who asks.")
    parked = list(connection.execute(_PARKED, held_values(config, account)).mappings())
    if selection.chooses:
        keys = _keys(connection, config, account, selection)
        named = selection.table and table_of(selection.table, config.tables_for(account))
        parked = _chosen(parked, named, keys, selection)
        if not parked and not selection.everything:
            raise ConfigurationError(
                "no parked change fits.",
                where=f"account {account}",
                next_step="enerflo-sync retry lists the parked changes; each is planned again after a day.",
            )
        ids = [row["ledger_id"] for row in parked]
        connection.execute(_RETRY, {"account": account, "ids": ids, "by": by.strip()})
    classes = personal_data_classes(config.tables_for(account))
    changes = [_masked(row, classes) for row in parked]
    return RetryReport(account=account, retried=selection.chooses, changes=changes)


def _keys(
    connection: sa.Connection, config: SyncConfig, account: str, selection: RetrySelection
) -> Sequence[Mapping[str, Any]] | None:
    """Return the keys of the selected record; None if the selection names no record."""
    if selection.table is None or selection.key is None:
        return None
    name = table_of(selection.table, config.tables_for(account))
    comparisons = live_comparisons(connection, config, account, case_folding(connection), all_tables=True)
    for comparison in comparisons:
        if comparison.name == name:
            return find_record(connection, comparison, account, selection.table, selection.key).keys
    raise ConfigurationError(
        f"the table {name} is not mapped.",
        where=f"{config.file}, account {account}",
        next_step="Map it under tables, or choose another one.",
    )


def _chosen(
    parked: Sequence[sa.RowMapping],
    named: str | None,
    keys: Sequence[Mapping[str, Any]] | None,
    selection: RetrySelection,
) -> list[sa.RowMapping]:
    def fits(row: sa.RowMapping) -> bool:
        return (
            (named is None or (row["table_name"] == named and row["key"] in (keys or ())))
            and (selection.field is None or row["field"] == selection.field)
            and row["plan_hash"].startswith((selection.plan_hash or "").strip().lower())
            and (selection.reason or "").lower() in (row["reason"] or "").lower()
            and selection.fingerprint in (None, row["fingerprint"])
        )

    def record(row: sa.RowMapping) -> tuple[str, str]:
        return row["table_name"], str(row["key"])

    found = [row for row in parked if fits(row)]
    created = {record(row) for row in found if row["op"] == "insert"}
    return [row for row in parked if row in found or (row["op"] == "insert" and record(row) in created)]


def _masked(row: sa.RowMapping, classes: Mapping[tuple[str, str], PersonalData]) -> ParkedChange:
    table, field = row["table_name"], row["field"]

    def hidden(column: str | None, value: Any) -> Any:
        if column is None and isinstance(value, dict):
            return {name: hidden(name, one) for name, one in value.items()}
        return mask(value, classes.get((table, column or ""), PersonalData.FREE_TEXT))

    return ParkedChange(
        table_name=table,
        key=masked_key(table, row["key"], classes),
        op=row["op"],
        field=field,
        direction=row["direction"],
        before=hidden(field, row["old_value"]),
        after=hidden(field, row["new_value"]),
        reason=row["reason"],
        plan_hash=row["plan_hash"],
        parked_at=row["recorded_at"],
    )
