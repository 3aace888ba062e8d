"""Agreed pairs and handed-over changes of CRM rows that were adopted: rows that get the id of their record.

:mod:`enerflo_sync.plan.adopt` finds these rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy
from enerflo_sync.agreed.handing_over import deliver, note_not_made
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import difference_key

# A note at Enerflo may have the CRM's text in the form in which we send it. Then nobody edited it.
_AGREE = Template("""
/* enerflo-sync plan $name: what adopted rows say in the form in which we send it */
insert into sync.agreed
  (account, table_name, key, field, value, crm_value, agreed_at, agreed_by, enerflo_key)
select %(account)s, $table, d.key, f.field, f.mine, coalesce(f.theirs, 'null'), %(now)s, '$by',
       jsonb_build_object($p1, d.p1)
from $adopted d
join (select o.p1, $mine from $mismatched o where o.in_enerflo and not o.in_crm) m using (p1)
join (select $key as key, $theirs from $mismatched o where o.in_crm and not o.in_enerflo) c on c.key = d.key
cross join lateral ($fields) f
where not f.same
on conflict (account, table_name, key, field) do update
set value = excluded.value, crm_value = excluded.crm_value, agreed_at = excluded.agreed_at,
    agreed_by = excluded.agreed_by, is_link = false, enerflo_key = excluded.enerflo_key
""")

GIVEN_AWAY = "the row that the record was made of has another key by now"

# We sent a row, and before a tool wrote the record's id into it, an import gave its key to another row. The
# row with the record's values has another key now, and was adopted. The row with the former key has other
# values, and must not get the id.
_GIVEN_AWAY = Template(f"""
/* enerflo-sync plan $name: ids of records whose rows have other keys now */
update sync.crm_changes w
set state = 'superseded', state_at = now(), ended_at = now(),
    reason = '{GIVEN_AWAY}'
from $adopted d
where w.account = %(account)s and w.table_name = $table and w.kind = 'link' and w.state = 'open'
  and w.ended_at is null and ($ours or coalesce(w.acknowledged_at, w.sent_as_of) is null)
  and w.enerflo_key = jsonb_build_object($p1, d.p1) and w."column" = $column and w.key <> all(d.alike)
""")  # noqa: S608 - a constant

ROW_IS_THERE = "a row of the CRM is found to be its record"

# The row that the tool would make is another one: nothing of it is looked for any more.
_NOT_NEEDED = Template(f"""
/* enerflo-sync plan $name: new rows of records that rows of the CRM are found to be */
update sync.crm_changes w
set state = 'superseded', state_at = now(), ended_at = now(), reason = '{ROW_IS_THERE}'
from $adopted d
where w.account = %(account)s and w.table_name = $table and w.op = 'insert' and w.state = 'open'
  and w.ended_at is null and w.enerflo_key = jsonb_build_object($p1, d.p1) and w.key <> d.key
  and not exists (
    select from sync.crm_changes v
    where v.account = w.account and v.plan_hash = w.plan_hash and v.table_name = w.table_name
      and v.key = w.key and v.op = w.op and coalesce(v.acknowledged_at, v.sent_as_of) is not null)
""")  # noqa: S608 - a constant


def agree_adopted(
    connection: sa.Connection, comparison: Comparison, adopted: str, values: Mapping[str, Any]
) -> None:
    """Store agreed pairs for adopted rows whose value is Enerflo's in the form in which we send it.

    :param adopted: the temporary table of adopted rows, with ``p1`` and ``key``.
    :param values: ``account`` and ``now``.
    """
    numbers = range(1, len(comparison.fields) + 1)
    statement = _AGREE.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        by=AgreedBy.PUSH,
        p1=literal(comparison.mirror_key[0]),
        adopted=adopted,
        mismatched=comparison.mismatched,
        mine=", ".join(f"o.e{n}" for n in numbers),
        key=difference_key(comparison),
        theirs=", ".join(f"o.c{n}" for n in numbers),
        fields=" union all ".join(
            f"select {literal(field.name)} as field, {field.enerflo.shown} as mine,"
            f" {field.crm.shown} as theirs, {field.equal} as same"
            for field in comparison.fields
        ),
    )
    connection.exec_driver_sql(statement, values)


def supersede_given_away(
    connection: sa.Connection, comparison: Comparison, account: str, adopted: str
) -> None:
    """End changes that adopted rows make needless, also in the outlet.

    These are ids for a row whose key another row has by now, and new rows of the adopted rows' records that
    no tool acknowledged.

    :param adopted: the temporary table of adopted rows, with ``p1``, and ``alike``, the keys of all rows that
        say what the record says.
    """
    named = {
        "name": comparison.name,
        "table": literal(comparison.name),
        "adopted": adopted,
        "p1": literal(comparison.mirror_key[0]),
    }
    given_away = _GIVEN_AWAY.substitute(
        named,
        column=literal(comparison.joins[0].crm_name),
        # No tool carries it: what the copy does not show was not written.
        ours=str(comparison.mapping.is_carried).lower(),
    )
    ended = connection.exec_driver_sql(given_away, {"account": account}).rowcount
    needless = connection.exec_driver_sql(_NOT_NEEDED.substitute(named), {"account": account}).rowcount
    if needless:
        note_not_made(connection, account, "copy")
    if ended or needless:
        deliver(connection, [comparison], account)
