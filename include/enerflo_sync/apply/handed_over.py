"""Hands over a plan's changes to a CRM of which we see only a copy, if the copy has the expected value.

The copy is not written. Each change becomes a row of ``sync.crm_changes``, in the same transaction as its
outcome in the plan and in the ledger. So if an apply is killed, the next one hands over the uncommitted
changes, and no change twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from string import Template
from typing import Any

import psycopg
import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy, agree_written
from enerflo_sync.agreed.arrivals import record_arrivals
from enerflo_sync.agreed.handing_over import deliver, hand_over_sql, note_not_made, take_back_sql
from enerflo_sync.agreed.outcomes import RECORD_OUTCOMES, Applying, Decision, outcome_values
from enerflo_sync.agreed.soft_deletes import mark_of, shown_row, unmark_condition
from enerflo_sync.agreed.whole_rows import may_take_link, one_of_its_key, row_digest, whole_row
from enerflo_sync.agreed.written import alone_of_key, of_key, record_lives, says_as_planned, shown
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.copies import copy_columns
from enerflo_sync.crm.keys import case_folding
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.plan.on_its_way import require_not_copied
from enerflo_sync.plan.undoing import WITHDRAW
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import names_record
from enerflo_sync.reconcile.live import live_comparisons
from enerflo_sync.reconcile.near_keys import no_near_row
from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.engine import at_one_moment, transaction_time
from enerflo_sync.warehouse.refused import refuses_a_row
from enerflo_sync.warehouse.statistics import note_growth

_MOVED = "the CRM's copy says something else than when the plan was made"
_OTHERWISE = "the CRM's copy or Enerflo says something else than when the plan was made"
_TAKEN_OVER = "it arrived, or a tool took it over, since its undo was planned: undo it again"

_GROUPS = sa.text("""
/* enerflo-sync apply: what there is to hand over */
select op, field, min(position) as first from sync.plan_changes
where account = :account and plan_hash = :plan_hash and table_name = :table and direction = 'to_crm'
  and state = 'planned'
group by op, field order by first
""")

_HAND_OVER = Template(f"""
/* enerflo-sync apply $name: changes that are handed over */
with due as materialized (
  select p.ctid as id, p.position, p.key, p.enerflo_key, p.field, p.before, p.after, p.row_digest, p.rule
  from sync.plan_changes p
  where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.direction = 'to_crm'
    and p.state = 'planned' and p.table_name = $table and p.op = %(op)s
    and (%(op)s = 'insert' or p.field is not distinct from %(field)s::text)
), $take_back, made as (
  $made
  union select id, null::jsonb from withdrawn
), ended as (
  select id, case when m.id is null then 'moved' when d.rule = '{WITHDRAW}' then 'applied'
           else '{Decision.HANDED_OVER}' end as decision,
         case when m.id is not null then null when d.rule = '{WITHDRAW}' then $taken_over
           else $moved end as reason, m.deleted_row
  from due d left join made m using (id)
), {RECORD_OUTCOMES}, $hand_over
select state as decision, count(*) as number, array_agg(position) as positions from recorded group by 1
""")  # noqa: S608 - constants

_UPDATED = Template("""select p.id, null::jsonb as deleted_row from due p join $crm t on $on
  where p.rule <> $withdraw and $counts
    and nullif($now, 'null') is not distinct from nullif(p.before, 'null') and $same_record$alone""")

_INSERTED = Template("""select p.id, null::jsonb as deleted_row from due p
  where p.rule <> $withdraw
    and ($unmarked or not exists (select from $crm t where $on) $lives $unlinked)""")

_UNLINKED = Template("""and not exists (
      select from $mirror e join $crm t on $same
      where e.account = %(account)s and $of_record)""")

_DELETED = Template("""select p.id, $whole as deleted_row from due p join $crm t on $on
  where p.rule <> $withdraw and $counts and $row = p.before and $digest = p.row_digest and $one_of_its_key
    and $same_record and $due_still""")


def record_earlier_arrivals(connection: sa.Connection, config: SyncConfig, account: str) -> None:
    """Record what became of changes that were handed over, in a transaction of its own."""
    if not any(mapping.handed_to is not None for mapping in config.tables_for(account).values()):
        return
    with at_one_moment(connection):
        found = live_comparisons(connection, config, account, case_folding(connection), all_tables=True)
        record_arrivals(connection, [comparison for comparison in found if comparison.hands_over], account)


def hand_over(
    connection: sa.Connection,
    applying: Applying,
    comparisons: Mapping[str, Comparison],
    *,
    undone: str | None,
    evidence: str,
    file: str,
) -> Counter[str]:
    """Hand over the plan's changes to copied tables in the caller's transaction, and count their outcomes.

    Call :func:`record_earlier_arrivals` before it. A change of an undo that withdraws a handed-over change
    succeeds if no tool has acknowledged that change.

    :param undone: the hash of the plan that this plan undoes.
    :param evidence: the source of the values, as the ledger names it.
    :param file: the file of the mapping.
    :raises ConfigurationError: the team's own table (``write_to``) refuses a row; or a table to be written
        now seems to be a copy, and ``write_to`` is not declared.
    """
    copies = [comparison for comparison in comparisons.values() if comparison.hands_over]
    counts: Counter[str] = Counter()
    for comparison in comparisons.values():
        if (
            not comparison.hands_over
            and copy_columns(comparison.live.columns)
            and _groups(connection, comparison, applying)
        ):
            require_not_copied(comparison, file)
    if not copies:
        return counts
    values = outcome_values(applying, transaction_time(connection), evidence)
    values |= {"undone": undone, "kind": "sync" if undone is None else "undo"}
    for comparison in copies:
        withdrawn: dict[bool, list[int]] = {True: [], False: []}
        for op, field in _groups(connection, comparison, applying):
            of_group = {**values, "op": op, "field": field}
            made = _made(connection, comparison, of_group)
            statement = _statement(comparison, op, made)
            for decision, number, positions in driver_connection(connection).execute(statement, of_group):
                counts[decision] += number
                if decision == Decision.APPLIED:
                    withdrawn[op == "update"] += positions
        for is_update, positions in withdrawn.items():
            if positions:
                agree_written(
                    connection,
                    comparison,
                    applying.account,
                    applying.plan_hash,
                    positions,
                    AgreedBy.UNDO,
                    withdrawn=is_update,
                )
    # The next job may look for these rows before autovacuum has counted them.
    note_growth(connection, "sync.crm_changes", counts[Decision.HANDED_OVER])
    note_not_made(connection, applying.account, applying.run_id)
    _deliver(connection, copies, applying.account)
    return counts


def _deliver(connection: sa.Connection, copies: Iterable[Comparison], account: str) -> None:
    for plan in copies:
        try:
            deliver(connection, [plan], account)
        except sa.exc.DBAPIError as error:
            if not isinstance(error.orig, psycopg.Error) or not refuses_a_row(error.orig):
                raise
            to = plan.mapping.handed_to
            kind = type(error.orig).__name__
            raise ConfigurationError(
                f"it does not take a change ({kind}, {error.orig.sqlstate}); nothing was handed over.",
                where=f"{to.changes if to is not None else ''}, the write_to of {plan.name}",
                next_step="Give it the columns of sync.crm_changes, in the same types or as text.",
            ) from None


def _groups(
    connection: sa.Connection, comparison: Comparison, applying: Applying
) -> list[tuple[str, str | None]]:
    """Return the plan's operations on a table: updates by column, new rows all together."""
    named = {"account": applying.account, "plan_hash": applying.plan_hash, "table": str(comparison.name)}
    rows = connection.execute(_GROUPS, named).all()
    return list(dict.fromkeys((row.op, None if row.op == "insert" else row.field) for row in rows))


def _statement(comparison: Comparison, op: str, made: str) -> str:
    return _HAND_OVER.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        take_back=take_back_sql(comparison, op, WITHDRAW),
        made=made,
        moved=literal(_OTHERWISE if op == "insert" and comparison.mapping.create_only else _MOVED),
        taken_over=literal(_TAKEN_OVER),
        hand_over=hand_over_sql(comparison),
    )


def _made(connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]) -> str:
    """Return the select of the changes of ``due`` whose expected values the copy and Enerflo still have."""
    op, field, undone = values["op"], values["field"], values["undone"] is not None
    common = {"crm": comparison.crm, "on": of_key(comparison, "p.key"), "withdraw": literal(WITHDRAW)}
    common["counts"] = comparison.counts("t")
    same_record = names_record(comparison, "t", "p.enerflo_key")
    if op == "update" and field is not None:
        link = field in comparison.mapping.join_columns
        return _UPDATED.substitute(
            common,
            now=shown(comparison, field),
            same_record=may_take_link(comparison, field, "p") if link else same_record,
            alone=alone_of_key(comparison),
        )
    if op == "insert":
        lives = f"and {record_lives(comparison, 'p.enerflo_key')}{says_as_planned(comparison, 'p')}"
        return _INSERTED.substitute(
            common,
            unmarked=unmark_condition(connection, comparison, values) if undone else "false",
            lives="" if undone else lives,
            unlinked=_unlinked(comparison),
        )
    plain, marked = shown_row(comparison, None), shown_row(comparison, mark_of(connection, comparison))
    return _DELETED.substitute(
        common,
        whole=whole_row(comparison),
        # A plan of an older version does not show the mark.
        row=f"(case when p.after is null then {plain} else {marked} end)",
        digest=row_digest(comparison),
        one_of_its_key=one_of_its_key(comparison),
        same_record=same_record,
        due_still="true" if undone else f"not {record_lives(comparison, 'p.enerflo_key')}",
    )


def _unlinked(comparison: Comparison) -> str:
    """Return ``and …``: no row of the CRM names the record, in any spelling."""
    of_key = {
        join.crm_name: f"p.enerflo_key ->> {literal(join.mirror_name)}"
        for join in comparison.joins
        if join.mirror_name in comparison.mirror_key
    }
    near = f" {no_near_row(comparison, of_key)}"
    if comparison.mapping.joined_by_key and not any(join.varies for join in comparison.joins):
        return near
    same = [f"({join.crm})::{join.type} = ({join.mirror})::{join.type}" for join in comparison.joins]
    record = [
        f"e.{quoted(name)} = (p.enerflo_key ->> {literal(name)})::bigint" for name in comparison.mirror_key
    ]
    unlinked = _UNLINKED.substitute(
        mirror=comparison.mirror, crm=comparison.crm, same=" and ".join(same), of_record=" and ".join(record)
    )
    return unlinked + near
