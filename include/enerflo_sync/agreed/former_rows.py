"""Values that both sides agreed on for rows of the CRM whose keys now belong to rows of other records.

An import may number all rows of a table anew. Then a row has the key of another record's row, and its agreed
pairs would replace those of that record. They are kept under the key that the record's row has now, with
``former_row_`` before how they were agreed: no change is computed from them, but a value that the row has had
since then is nobody's edit, so only a person sends it to Enerflo (rule ``row_moved``).
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side

# Only links are looked up for each row: there is one for a row. All pairs are read as they are before the
# statement, so rows that exchange their keys lose nothing.
_KEEP = Template("""
/* enerflo-sync agree $name: pairs of records whose rows have other keys now */
with given as materialized (
  select o.key, o.record
  from (select $key as key, $record_of_m as record
        from $keys ($mirror) m $on_mirror join ($crm) c on $on where m.lives offset 0) o
  join sync.agreed l
    on l.account = %(account)s and l.table_name = $table and l.key = o.key and l.field = $link
  where l.enerflo_key <> o.record
)
insert into sync.agreed
  (account, table_name, key, field, value, crm_value, agreed_at, agreed_by, is_link, enerflo_key)
select distinct on (r.key, q.field)
       q.account, q.table_name, r.key, q.field, q.value, q.crm_value, q.agreed_at,
       case when q.agreed_by like 'former_row%%' then q.agreed_by else 'former_row_' || q.agreed_by end,
       false, q.enerflo_key
from given g
join sync.agreed q on q.account = %(account)s and q.table_name = $table and q.key = g.key
  and q.enerflo_key <> g.record and not q.is_link
  and (q.agreed_by not like 'former%%' or q.agreed_by like 'former_row%%')
cross join lateral (
  select $key as key from ($mirror) m join ($crm) c on $on where $is_record offset 0
) r
where r.key <> q.key and not exists (
  select from sync.agreed s where s.account = %(account)s and s.table_name = $table and s.key = r.key
    and s.field = q.field and s.enerflo_key = q.enerflo_key)
order by r.key, q.field, q.agreed_at desc
on conflict (account, table_name, key, field) do update
set value = excluded.value, crm_value = excluded.crm_value, agreed_at = excluded.agreed_at,
    agreed_by = excluded.agreed_by, is_link = false, enerflo_key = excluded.enerflo_key,
    enerflo_time = null, crm_time = null
""")


def keep_former_rows(
    connection: sa.Connection, comparison: Comparison, keys: str, values: Mapping[str, Any]
) -> None:
    """Keep the pairs of records whose row has another key now, before other records' pairs replace them.

    :param keys: the temporary table with the join keys to look at; empty: all rows are looked at.
    :param values: ``account``.
    """
    if comparison.former_rows is None:
        return
    statement = _KEEP.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        link=literal(comparison.links[-1].crm_name),
        key=comparison.crm_key(f"c.k{n}" for n, _ in enumerate(comparison.mapping.key_columns, 1)),
        keys=f"{keys} w join" if keys else "",
        on_mirror=f"on {comparison.on('m', 'w')}" if keys else "",
        mirror=mirror_side(comparison),
        crm=crm_side(comparison),
        on=comparison.on("m", "c"),
        record_of_m=comparison.record_of("m"),
        is_record=" and ".join(
            f"m.p{n} = (q.enerflo_key ->> {literal(name)})::bigint"
            for n, name in enumerate(comparison.mirror_key, 1)
        ),
    )
    connection.exec_driver_sql(statement, values)
