"""Fields that are sent along with a lead's change, because Enerflo's call takes a whole lead.

Enerflo may spell these fields its own way. Nobody edited them, so their new spelling must not count as a
change, and the values that are sent must be those that Enerflo already has.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy
from enerflo_sync.outbox.changes import OutboxChange
from enerflo_sync.outbox.lead_fields import LEAD_FIELDS, comparable, is_respelled_field
from enerflo_sync.reconcile.compare import Comparison

_PAIRS = sa.text("""
/* enerflo-sync push: the agreed pairs of a customer */
select a.field, a.value, coalesce(a.crm_value, a.value) as theirs from sync.agreed a
where a.account = :account and a.table_name = :table and a.key = cast(:key as jsonb)
  and (:key_is_record or a.enerflo_key = cast(:record as jsonb))
""")
_RESPELLED = sa.text("""
/* enerflo-sync push: Enerflo spelled a field differently that was sent along */
update sync.agreed set value = cast(:value as jsonb), crm_value = coalesce(crm_value, value),
  agreed_at = now(), agreed_by = :by
where account = :account and table_name = :table and key = cast(:key as jsonb) and field = :field
""")


class _Pair(NamedTuple):
    field: str
    column: str
    mine: Any
    theirs: Any

    def was_respelled(self, present: object, *, cut: bool) -> bool:
        return any(is_respelled_field(self.column, one, present, cut=cut) for one in (self.theirs, self.mine))


def whole_lead(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    change: OutboxChange,
    customer: Mapping[str, Any],
) -> dict[str, object]:
    """Return the fields of a customer as Enerflo has them, in the caller's transaction.

    If Enerflo spelled a text differently, the CRM's spelling is returned, because Enerflo would escape an
    escaped text again.
    """
    fields = {name: customer[name] for name in LEAD_FIELDS if customer[name] is not None}
    for pair in _pairs(connection, comparison, account, change):
        present = fields.get(pair.column)
        if present == pair.mine and is_respelled_field(pair.column, pair.theirs, present):
            fields[pair.column] = comparable(pair.column, pair.theirs)
    return fields


def agree_on_carried(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    change: OutboxChange | sa.Row[Any],
    customer: Mapping[str, Any],
    *,
    sent: Collection[str],
    before: Mapping[str, Any] | None = None,
) -> None:
    """Store Enerflo's spelling of fields that were sent along with a lead's change as their agreed values.

    Runs in the caller's transaction.

    :param change: any of the changes that were sent.
    :param customer: the record as it was read after the request.
    :param sent: the CRM columns that were to be changed.
    :param before: the record as it was read before the request. If it is None, a shortened text counts as
        somebody's edit, because it could be one.
    """
    for pair in _pairs(connection, comparison, account, change):
        present = customer[pair.column]
        if pair.field in sent or present == pair.mine:
            continue
        was_ours = before is None or comparable(pair.column, before[pair.column]) == pair.mine
        if was_ours and pair.was_respelled(present, cut=before is not None):
            values = {"field": pair.field, "value": json.dumps(present), "by": str(AgreedBy.PUSH)}
            connection.execute(_RESPELLED, {**_named(comparison, account, change), **values})


def _pairs(
    connection: sa.Connection, comparison: Comparison, account: str, change: OutboxChange | sa.Row[Any]
) -> Iterator[_Pair]:
    record = {"record": json.dumps(change.enerflo_key), "key_is_record": comparison.key_is_record}
    for row in connection.execute(_PAIRS, {**_named(comparison, account, change), **record}).all():
        mapping = comparison.mapping.fields.get(row.field)
        if mapping is not None and mapping.enerflo in LEAD_FIELDS:
            yield _Pair(row.field, mapping.enerflo, row.value, row.theirs)


def _named(comparison: Comparison, account: str, change: OutboxChange | sa.Row[Any]) -> dict[str, Any]:
    return {"account": account, "table": comparison.name, "key": json.dumps(change.key, default=str)}
