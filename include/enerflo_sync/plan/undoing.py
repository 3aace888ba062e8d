"""The applied changes of a plan in a temporary table, and those that the mapping keeps from an undo."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

import sqlalchemy as sa

from enerflo_sync.agreed.whole_rows import digest_of
from enerflo_sync.crm.mapping import Side
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.plan.same_writes import same_writes
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import kind_parameters
from enerflo_sync.reconcile.values import translated_back

UNDO = "undo"
# The rule of a change that withdraws a handed-over change which no tool has acknowledged.
WITHDRAW = "withdraw"
# The cause of an undo's changes, because no rule of sync.yaml produces them.
UNDONE = "undone"

# Columns of ``decided`` that every row of an undo fills.
COLUMNS = """outcome, table_name, key, enerflo_key, op, field, before, after, source_value, policy, cause,
  rule, reason, agreed_at"""

_VOID = "it would void the install there, which void_in does not allow"
WRITTEN_LATER = "a later plan wrote it since: undo that plan"

# ``recorded_at`` distinguishes this undo from the same undo of an earlier time. If a later plan wrote the
# field, only an undo of that plan may restore it, even if it wrote the same value.
MAKE_UNDOING = f"""
/* enerflo-sync undo: what the plan applied */
create temporary table undoing on commit drop as
select l.table_name, l.key, l.op, l.field, nullif(l.old_value, 'null') as old_value,
       nullif(l.new_value, 'null') as new_value, nullif(l.kept_value, 'null') as kept_value, l.direction,
       l.policy, l.rule, l.reason as how, l.recorded_at, l.ledger_id, c.enerflo_key,
       c.row_digest, c.deleted_row is not null as row_kept, {digest_of("c.deleted_row")} as kept_digest,
       exists (
         select from sync.ledger n
         where n.account = l.account and n.table_name = l.table_name and n.key = l.key
           and n.direction = l.direction and n.decision = 'applied' and n.ledger_id > l.ledger_id
           and n.plan_hash <> l.plan_hash and (n.op <> 'update' or l.op = 'update' and n.field = l.field)
       ) or l.direction = 'to_crm' and exists (
         select from sync.crm_changes w
         where w.account = l.account and w.table_name = l.table_name and w.key = l.key and w.ended_at is null
           and w.state = 'open' and w.plan_hash <> l.plan_hash
           and (w.op <> 'update' or l.op = 'update' and w."column" = l.field)
       ) as written_later
from sync.plan_changes c
join sync.ledger l on l.account = c.account and l.table_name = c.table_name and l.key = c.key
  and l.plan_hash = c.plan_hash and l.op = c.op and l.direction = c.direction
  and l.field is not distinct from c.field and l.decision = 'applied'
where c.account = %(account)s and c.plan_hash = %(plan_hash)s and c.state = 'applied'
"""  # noqa: S608 - a constant

# Another column, or another table, may have written the same field of the same record of Enerflo since.
_WRITTEN_ELSEWHERE = Template("""
/* enerflo-sync undo: fields of Enerflo that a later plan wrote from another column or table */
update pg_temp.undoing u set written_later = true
where u.direction = 'to_enerflo' and u.op = 'update' and exists (
  select from sync.ledger n
  join sync.plan_changes c on c.account = n.account and c.plan_hash = n.plan_hash
    and c.table_name = n.table_name and c.key = n.key and c.op = n.op and c.direction = n.direction
    and c.field = n.field
  where n.account = %(account)s and n.plan_hash <> %(plan_hash)s and n.ledger_id > u.ledger_id
    and n.op = 'update' and n.direction = 'to_enerflo' and n.decision = 'applied'
    and (n.table_name, n.field, u.table_name, u.field) in ($same) and c.enerflo_key = u.enerflo_key)
""")

_UNMAPPED = sa.text(f"""
/* enerflo-sync undo: changes of tables and columns that are not mapped any more */
with gone as (
  delete from pg_temp.undoing u
  where not exists (select from jsonb_to_recordset(cast(:known as jsonb)) as k(table_name text, field text)
                    where k.table_name = u.table_name and (u.op <> 'update' or k.field = u.field))
  returning u.*
)
insert into pg_temp.decided ({COLUMNS})
select 'review', table_name, key, enerflo_key, op, field, null, null, null, policy, '{UNDONE}', '{UNDO}',
       'the mapping does not know it any more', recorded_at
from gone
""").bindparams(sa.bindparam("known", type_=sa.JSON))  # noqa: S608 - constants

# A value that was written to one field of Enerflo must not be restored in another field.
_REDIRECTED = sa.text(f"""
/* enerflo-sync undo: values of columns that are mapped to another field of Enerflo */
with gone as (
  delete from pg_temp.undoing u using sync.agreed_keys m
  where m.account = :account and m.table_name = u.table_name || '/fields' and u.direction = 'to_enerflo'
    and u.op = 'update' and (m.columns -> u.field ->> 'enerflo_since')::timestamptz > u.recorded_at
  returning u.*
)
insert into pg_temp.decided ({COLUMNS})
select 'review', table_name, key, enerflo_key, op, field, null, null, null, policy, '{UNDONE}', '{UNDO}',
       'its column is mapped to another field of Enerflo since', recorded_at
from gone
""")  # noqa: S608 - constants


def said_in_enerflo(comparison: Comparison, field: str | None, key: str) -> str:
    """Return the select of Enerflo's present value of a field; null if Enerflo has no such record.

    :param field: the CRM column of the field; None selects the record's key.
    :param key: SQL of Enerflo's key of the record.
    """
    on = " and ".join(
        f"e.{quoted(name)} = ({key} ->> {literal(name)})::bigint" for name in comparison.mirror_key
    )
    column, value = quoted(comparison.mirror_key[0]), key
    for n, one in enumerate(comparison.fields, 1):
        if one.name == field:
            column, value = f"{quoted(one.mirror_column)} as e{n}", one.enerflo.shown
    joined = comparison.mapping.join_columns.get(field or "")
    if joined is not None and value == key:
        column, value = f"{quoted(joined)} as said", "to_jsonb(said)"
    return (
        f"(select {value} from (select e.{column} from {comparison.mirror} e"  # noqa: S608 - names of the mapping
        f" where e.account = %(account)s and e.deleted_at is null and {on}) m)"
    )


def note_other_writes(
    connection: sa.Connection, comparisons: Sequence[Comparison], account: str, plan_hash: str
) -> None:
    """Note changes at Enerflo that a later plan wrote again from another column or table."""
    tables = {comparison.name: comparison.mapping for comparison in comparisons}
    same = [
        (write.table, write.there, name, write.here) for name in tables for write in same_writes(name, tables)
    ]
    if same:
        listed = ", ".join(f"({', '.join(map(literal, write))})" for write in same)
        statement = _WRITTEN_ELSEWHERE.substitute(same=listed)
        connection.exec_driver_sql(statement, {"account": account, "plan_hash": plan_hash})


def leave_unmapped(connection: sa.Connection, comparisons: Sequence[Comparison]) -> None:
    """Make questions of changes to a table or column that is no longer mapped or no longer exists."""
    known = [
        {"table_name": str(comparison.name), "field": name}
        for comparison in comparisons
        for name in {*comparison.mapping.fields, *comparison.mapping.join_columns}
        & set(comparison.live.columns)
    ]
    connection.execute(_UNMAPPED, {"known": known})


def leave_redirected(connection: sa.Connection, account: str) -> None:
    """Make questions of changes at Enerflo whose CRM column is now mapped to another field of Enerflo."""
    connection.execute(_REDIRECTED, {"account": account})


_VOIDS = Template("""
/* enerflo-sync undo: installs that would be voided where void_in does not allow it */
update pg_temp.decided d set outcome = 'review', reason = '$reason'
where d.table_name = $table and d.field = $field and d.outcome = '$direction'
  and lower(btrim($status)) in (
    select unnest(%(voided_names)s::text[])
    union select lower(btrim(s.name)) from enerflo.install_statuses s
    where s.account = %(account)s and s.status_id = any(%(voided_ids)s::bigint[]))
""")


def leave_unvoided(
    connection: sa.Connection, comparisons: Sequence[Comparison], account: str, voided: Sequence[str | int]
) -> None:
    """Make questions in ``decided`` of changes that would void an install on a side not in ``void_in``.

    :param voided: the voided statuses of ``sync.yaml``, by name or id.
    """
    values = {"account": account, **kind_parameters("voided", voided)}
    for comparison in comparisons:
        for field in comparison.fields if comparison.is_installs else ():
            if field.mapping.enerflo != "status_name":
                continue
            said = "(d.after #>> '{}')"
            in_crm = translated_back(said, field.mapping, field.fold)
            for side, direction, status in ((Side.CRM, "to_crm", in_crm), (Side.ENERFLO, "to_enerflo", said)):
                if side not in comparison.mapping.void_in:
                    statement = _VOIDS.substitute(
                        reason=_VOID,
                        table=literal(comparison.name),
                        field=literal(field.name),
                        direction=direction,
                        status=status,
                    )
                    connection.exec_driver_sql(statement, values)
