"""Outcomes of changes that were handed over to a tool: the CRM's copy shows the value, or another value.

A change whose value the copy shows is recorded as applied, and its values become agreed values, as after our
own write. A superseded change may still arrive, because the tool may have read it before. When it does, that
is not an edit by a person either, so the copy is searched for it until ``late_hours`` are over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy, agree_written
from enerflo_sync.agreed.copy_look import GONE, look_at_copy
from enerflo_sync.agreed.ended_deletions import end_other_deletions
from enerflo_sync.agreed.handing_over import deliver, load_acknowledgements, note_not_made
from enerflo_sync.agreed.mapped_otherwise import end_mapped_otherwise
from enerflo_sync.agreed.outcomes import Applying, Decision, record_outcome
from enerflo_sync.agreed.own_words import stand_for
from enerflo_sync.agreed.own_writes import note_unseen
from enerflo_sync.agreed.relinked_arrivals import end_relinked
from enerflo_sync.agreed.renamed_columns import make_former
from enerflo_sync.agreed.whole_rows import note_new_rows
from enerflo_sync.crm.live.arrivals import last_arrival
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.changed import needs_own_times
from enerflo_sync.reconcile.compare import Comparison, full_name
from enerflo_sync.reconcile.levels import tables_in_doubt
from enerflo_sync.reconcile.meanings import stored_meanings
from enerflo_sync.reconcile.on_its_way import SINCE
from enerflo_sync.warehouse.engine import transaction_time

SEEN = "it was handed over, and the CRM's copy shows it"
# The limit for tables whose mapping has no ``write_to: changes`` any more: the default of ``late_hours``.
_DEFAULT_HOURS = 24.0

_FOLLOWED = sa.text("""
/* enerflo-sync plan: tables with changes that were handed over and are looked for */
select distinct table_name from sync.crm_changes where account = :account and ended_at is null
""")

# While a copy is being loaded again, its rows are missing. A missing row is then no evidence that a deletion
# arrived, nor that an update cannot arrive.
_NOT_LOADED = Template("""
/* enerflo-sync plan $name: rows that are missing while the CRM's copy has lost many at once */
update $looked set seen = null
where op = 'delete' and seen = 'arrived' or op = 'update' and seen = '$gone'
""")

_NEWER_THAN = """n.key = a.key and n.op = 'update' and a.op = 'update' and n."column" = a."column"
      and n.number > a.number"""

# If several changes of one column have the same value, the newest one counts as arrived. Changes older than
# an arrived one end. Newer ones stay open; the arrived value is now the copy's value that they replace.
_RECORD_ARRIVALS = Template("""
/* enerflo-sync plan $name: what became of changes that were handed over */
with arrived as (
  select key, op, "column", max(number) as number from $looked where seen = 'arrived' group by 1, 2, 3
), ended as (
  update sync.crm_changes w set state = l.state, reason = l.reason, state_at = %(now)s, ended_at = l.ended_at
  from (
    select number, 'arrived' as state, null as reason, %(now)s::timestamptz as ended_at from arrived
    union all
    select number, 'superseded', seen, null::timestamptz from $looked n where seen <> 'arrived'
      and not exists (select from arrived a where $newer_than)
  ) l where w.account = %(account)s and w.number = l.number
  returning w.number
), older as (
  update sync.crm_changes w set ended_at = %(now)s,
    state = case when w.state = 'open' then 'superseded' else w.state end,
    reason = case when w.state = 'open' then 'a later change arrived' else w.reason end,
    state_at = case when w.state = 'open' then %(now)s else w.state_at end
  from arrived a
  where w.account = %(account)s and w.table_name = $table and w.key = a.key and w.op = a.op
    and w."column" is not distinct from a."column" and w.number < a.number and w.ended_at is null
), newer as (
  update sync.crm_changes w set copy_value = o.after
  from $looked n join arrived a on $newer_than
  join sync.crm_changes o on o.account = %(account)s and o.number = a.number
  where w.account = %(account)s and w.number = n.number
)
select l.plan_hash, l.kind, l.approved_by, array_agg(l.position order by l.position) as positions,
       (array_agg(l.key order by l.number))[1]::text as key, bool_or(l.op = 'insert') as made
from $looked l join arrived a using (number)
group by l.plan_hash, l.kind, l.approved_by, case when l.kind = 'link' then l.key end
""")

# The CRM had the row when its record was made. That it is gone now is a deletion, as it is of a row that has
# the id: no new row is made of the record.
_ROW_GONE = Template("""
/* enerflo-sync plan $name: rows that are gone before the ids of their records arrived */
insert into sync.agreed (account, table_name, key, field, value, agreed_at, agreed_by, is_link, enerflo_key)
select w.account, w.table_name, w.key, w."column", w.after, %(now)s, '$by', true, w.enerflo_key
from $looked l join sync.crm_changes w on w.account = %(account)s and w.number = l.number
where l.kind = 'link' and l.seen = '$gone' and w.state = 'superseded'
on conflict do nothing
""")

_FORGET = Template("""
/* enerflo-sync plan $name: changes that do not come through any more */
update sync.crm_changes w set ended_at = %(now)s
where w.account = %(account)s and w.table_name = $table and w.ended_at is null and w.state <> 'open'
  and greatest(w.state_at, $since) <= %(until)s::timestamptz - %(hours)s
""")

# Pairs of a column whose change arrived, but was handed over before the column's values changed their
# meaning. A pair with a newer change on its way is left out, because that change replaces the arrived value.
_MEANT_OTHERWISE = Template("""and a.key in (
    select l.key from $looked l join sync.crm_changes w on w.account = a.account and w.number = l.number
    where l.seen = 'arrived' and l."column" = a.field and w.made_at < $since::timestamptz
      and not exists (select from sync.crm_changes n
        where n.account = w.account and n.table_name = w.table_name and n.key = w.key and n.number > w.number
          and n."column" = w."column" and n.state = 'open' and n.ended_at is null))""")

_CREATED = sa.text("""
select array_agg(position) as positions, max(done_at) as read_at from sync.plan_changes
where account = :account and plan_hash = :plan_hash and table_name = :table and op = 'insert'
  and direction = 'to_enerflo' and state = 'applied' and key = cast(:key as jsonb)
""")


def record_arrivals(
    connection: sa.Connection, comparisons: Sequence[Comparison], account: str, *, read_back: bool = False
) -> None:
    """Look up handed-over changes in the CRM's copies and record their outcomes, in the caller's transaction.

    A change whose value the copy shows is recorded as applied in the plan and in the ledger, and its values
    become agreed values. A change that cannot arrive any more, because the copy or Enerflo has another value,
    is superseded; the next plan decides again. Changes whose column or row ``sync.yaml`` now maps differently
    end first. Tables without handed-over changes are not read.

    Call it in a transaction that sees one moment of the copies. Otherwise an edit between two statements
    would become part of the agreed values.

    :param read_back: the rows that we wrote ourselves were read back after it, and their times are stored.
    """
    end_mapped_otherwise(connection, comparisons, account)
    tables = set(connection.execute(_FOLLOWED, {"account": account}).scalars())
    in_doubt = tables_in_doubt(connection, account, None) if tables else {}
    for comparison in comparisons:
        if comparison.name in tables:
            load_acknowledgements(connection, comparison, account)
            # What we write ourselves is read back row by row.
            loads = str(comparison.name) in in_doubt and not comparison.mapping.is_carried
            looked = _record_arrivals(connection, comparison, account, loads=loads)
            if not read_back:
                note_unseen(connection, comparison, account, looked)
    if tables:
        note_not_made(connection, account, "copy")
        deliver(connection, comparisons, account)


def note_arriving(connection: sa.Connection, comparisons: Sequence[Comparison], account: str) -> None:
    """Store that rows' times may come from a tool, where the copy shows a change that is not recorded yet.

    Call it in the transaction that decides: a change may arrive after :func:`record_arrivals` has looked.
    """
    tables = set(connection.execute(_FOLLOWED, {"account": account}).scalars())
    for comparison in comparisons:
        if comparison.name in tables and needs_own_times(comparison):
            meanings = stored_meanings(connection, account, [comparison.name])[comparison.name]
            looked = look_at_copy(connection, comparison, account, meanings)
            note_unseen(connection, comparison, account, looked)


def _record_arrivals(connection: sa.Connection, comparison: Comparison, account: str, *, loads: bool) -> str:
    now = transaction_time(connection)
    values: dict[str, Any] = {"account": account, "now": now}
    meanings = stored_meanings(connection, account, [comparison.name])[comparison.name]
    looked = look_at_copy(connection, comparison, account, meanings)
    named = {"name": str(comparison.name), "table": literal(comparison.name), "looked": looked}
    named["newer_than"] = _NEWER_THAN
    if loads:
        connection.exec_driver_sql(_NOT_LOADED.substitute(named, gone=GONE), values)
    end_other_deletions(connection, comparison, looked, values, GONE)
    end_relinked(connection, comparison, looked, values)
    for row in connection.exec_driver_sql(_RECORD_ARRIVALS.substitute(named), values).all():
        applying = Applying(account, row.plan_hash, "copy", row.approved_by)
        if row.kind == "link":
            _agree_on_link(connection, comparison, applying, row.key)
            continue
        _apply(connection, comparison, applying, row, values)
    gone = _ROW_GONE.substitute(named, gone=GONE, by=AgreedBy.PUSH)
    connection.exec_driver_sql(gone, values)
    _follow_words(connection, comparison, account, looked, meanings)
    hours = (
        comparison.mapping.handed_to.late_hours
        if comparison.mapping.handed_to is not None
        else _DEFAULT_HOURS
    )
    # While the copy gets no rows, no change can be seen in it. So the hours end at the newest row of the
    # copy.
    last = last_arrival(connection, comparison.mapping, comparison.live)
    until = {"until": now if last is None else last.at, "hours": timedelta(hours=hours)}
    connection.exec_driver_sql(_FORGET.substitute(named, since=SINCE), {**values, **until})
    return looked


def _follow_words(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    looked: str,
    meanings: Mapping[str, Mapping[str, Any]],
) -> None:
    """Correct the pairs of arrived changes whose words stood for other values when they were handed over.

    Otherwise the pair would say that both sides agree, although their values now mean different things.
    """
    mapped = {field.name for field in comparison.fields}
    for name, meaning in meanings.items():
        if (since := meaning.get("said_since")) is None or name not in comparison.meanings:
            continue
        which = _MEANT_OTHERWISE.substitute(looked=looked, since=literal(since))
        if name in mapped:
            stand_for(connection, comparison, account, name, which)
        else:
            make_former(connection, comparison, account, name, which)


def _apply(
    connection: sa.Connection, comparison: Comparison, applying: Applying, row: Any, values: Mapping[str, Any]
) -> None:
    record_outcome(
        connection,
        applying,
        row.positions,
        Decision.APPLIED,
        values["now"],
        reason=SEEN,
        evidence=f"copy:{full_name(comparison.mapping)}",
        found_after=True,
    )
    by = AgreedBy.UNDO if row.kind == "undo" else AgreedBy.PUSH
    agree_written(connection, comparison, applying.account, applying.plan_hash, row.positions, by)
    if row.made:
        made = {**values, "plan_hash": applying.plan_hash}
        note_new_rows(connection, {comparison.name: comparison}, [comparison.name], made)


def _agree_on_link(connection: sa.Connection, comparison: Comparison, applying: Applying, key: str) -> None:
    """Store the agreed values of a record that was created at Enerflo, now that its CRM row has its id."""
    named = {
        "account": applying.account,
        "plan_hash": applying.plan_hash,
        "table": str(comparison.name),
        "key": key,
    }
    created = connection.execute(_CREATED, named).one()
    if created.positions:
        # What Enerflo says since it was read back then is no spelling of what we sent.
        agree_written(
            connection,
            comparison,
            applying.account,
            applying.plan_hash,
            created.positions,
            AgreedBy.PUSH,
            created.read_at,
        )
