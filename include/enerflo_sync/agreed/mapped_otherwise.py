"""Handed-over changes that still wait although ``sync.yaml`` now maps their column or row differently."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import Template

import sqlalchemy as sa

from enerflo_sync.agreed.handing_over import deliver, note_not_made
from enerflo_sync.crm.mapping import Direction, Side
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.meanings import OF_ROWS
from enerflo_sync.reconcile.on_its_way import names_array
from enerflo_sync.warehouse.engine import transaction_time

OTHERWISE = "sync.yaml maps it otherwise since it was handed over"
FORBIDDEN = "sync.yaml does not let the CRM's column or row be written any more"
UNMAPPED = "sync.yaml does not map its table any more"

_WAITING = sa.text("""
/* enerflo-sync: tables with changes that were handed over and wait */
select distinct table_name from sync.crm_changes
where account = :account and ended_at is null and state = 'open' and kind <> 'link'
""")

# A new row that a tool acknowledged is in the CRM or will be, so it stays open and is not handed over again.
# A superseded change of a column may still arrive, and the copy is searched for it. If the mapping of whole
# rows changed, the row of a change cannot be found in the copy, so the change ends at once (``ended_at``).
_END = Template("""
/* enerflo-sync $name: changes that were handed over, and are mapped otherwise */
with otherwise as (
  select w.number, w.plan_hash, w.key, w.op, case when $of_rows or w."column" = any($remeant) then $otherwise
    when $forbidden then $not_allowed end as reason
  from sync.crm_changes w
  where w.account = %(account)s and w.table_name = $table and w.ended_at is null and w.state = 'open'
    and w.kind <> 'link' and (w.op <> 'insert' or w.acknowledged_at is null or $is_carried)
)
update sync.crm_changes w set state = 'superseded', state_at = %(now)s, reason = o.reason,
  ended_at = case when $of_rows then %(now)s end
from (
  select number, case when op = 'insert' then max(reason) over (partition by op, plan_hash, key)
    else reason end as reason
  from otherwise
) o
where w.account = %(account)s and w.number = o.number and o.reason is not null
""")
_END_UNMAPPED = sa.text("""
/* enerflo-sync: changes that were handed over, of tables that are not mapped any more */
update sync.crm_changes set state = 'superseded', state_at = :now, ended_at = :now, reason = :reason
where account = :account and table_name = any(:tables) and ended_at is null and state = 'open'
  and kind <> 'link'
""")


def end_mapped_otherwise(
    connection: sa.Connection, comparisons: Iterable[Comparison], account: str, *, all_tables: bool = False
) -> None:
    """End waiting handed-over changes that are now mapped differently or may no longer be written.

    They were decided and approved under the former mapping, so the next plan decides again. Changes that
    carry the id of a record created at Enerflo are kept: without that id the CRM row would be created at
    Enerflo a second time. Runs in the caller's transaction.

    :param comparisons: the mapped tables, before their new meanings are stored
        (:mod:`enerflo_sync.agreed.changed_meanings`).
    :param all_tables: whether these are all mapped tables of the account; then changes of other tables end
        too.
    """
    waiting = set(connection.execute(_WAITING, {"account": account}).scalars())
    if not waiting:
        return
    values = {"account": account, "now": transaction_time(connection)}
    mapped = [comparison for comparison in comparisons if comparison.name in waiting]
    for comparison in mapped:
        connection.exec_driver_sql(_statement(comparison), values)
    if all_tables and (gone := sorted(waiting - {comparison.name for comparison in mapped})):
        connection.execute(_END_UNMAPPED, {**values, "tables": gone, "reason": UNMAPPED})
    note_not_made(connection, account, "mapping")
    deliver(connection, mapped, account)


def _statement(comparison: Comparison) -> str:
    return _END.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        of_rows=str(OF_ROWS in comparison.remeant).lower(),
        remeant=names_array(sorted(comparison.remeant)),
        forbidden=_forbidden(comparison),
        otherwise=literal(OTHERWISE),
        not_allowed=literal(FORBIDDEN),
        is_carried=str(comparison.mapping.is_carried).lower(),
    )


def _forbidden(comparison: Comparison) -> str:
    """Return the condition that the present mapping forbids a change ``w``, whatever the two values are."""
    mapping = comparison.mapping
    open_ = [
        one.name for one in comparison.fields if one.mapping.direction in {Direction.BOTH, Direction.TO_CRM}
    ]
    updated, made = names_array([*open_, *mapping.join_columns]), names_array(list(mapping.crm_columns))
    return f"""(w.op = 'update' and not w."column" = any({updated})
      or w.op = 'insert' and not w."column" = any({made})
      or w.op = 'insert' and w.kind = 'sync' and {_lacks(mapping.create_in)}
      or w.op = 'delete' and w.kind = 'sync' and {_lacks(mapping.delete_in)})"""


def _lacks(sides: Sequence[Side]) -> str:
    return str(Side.CRM not in sides).lower()
