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

# Only links are looked up for each row: there is one for a row. The pairs are read before any of them is
# replaced, so rows that exchange their keys lose nothing.
_FIND = Template("""
/* enerflo-sync agree $name: pairs under keys that rows of other records have now */
create temporary table $found on commit drop as
select q.key, q.field, q.value, q.crm_value, q.agreed_at, q.agreed_by, q.enerflo_key, $ids
from (
  select o.key, o.record
  from (select $key as key, $record as record
        from $keys ($mirror) m $on_mirror join ($crm) c on $on where m.lives offset 0) o
  join sync.agreed l
    on l.account = %(account)s and l.table_name = $table and l.key = o.key and l.field = $link
  where l.enerflo_key <> o.record
) g
join sync.agreed q on q.account = %(account)s and q.table_name = $table and q.key = g.key
where q.enerflo_key <> g.record and not q.is_link
  and (q.agreed_by not like 'former%%' or q.agreed_by like 'former_row%%')
""")
_KEEP = Template("""
/* enerflo-sync agree $name: pairs of records whose rows have other keys now */
insert into sync.agreed
  (account, table_name, key, field, value, crm_value, agreed_at, agreed_by, is_link, enerflo_key)
select distinct on (r.key, r.field)
       %(account)s, $table, r.key, r.field, r.value, r.crm_value, r.agreed_at,
       case when r.agreed_by like 'former_row%%' then r.agreed_by else 'former_row_' || r.agreed_by end,
       false, r.enerflo_key
from (
  select $key as key, q.key as former_key, q.field, q.value, q.crm_value, q.agreed_at, q.agreed_by,
         q.enerflo_key
  from $found q join ($mirror) m on $is_record join ($crm) c on $on
) r
where r.key <> r.former_key and not exists (
  select from sync.agreed s where s.account = %(account)s and s.table_name = $table and s.key = r.key
    and s.field = r.field and s.enerflo_key = r.enerflo_key)
order by r.key, r.field, r.agreed_at desc
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
    found = f"pg_temp.former_rows_{comparison.name}"
    numbered = list(enumerate(comparison.mirror_key, 1))
    parts = {
        "name": comparison.name,
        "found": found,
        "table": literal(comparison.name),
        "link": literal(comparison.links[-1].crm_name),
        "key": comparison.crm_key(f"c.k{n}" for n, _ in enumerate(comparison.mapping.key_columns, 1)),
        "record": comparison.record_of("m"),
        "ids": ", ".join(f"(q.enerflo_key ->> {literal(name)})::bigint as p{n}" for n, name in numbered),
        "is_record": " and ".join(f"m.p{n} = q.p{n}" for n, _ in numbered),
        "keys": f"{keys} w join" if keys else "",
        "on_mirror": f"on {comparison.on('m', 'w')}" if keys else "",
        "mirror": mirror_side(comparison),
        "crm": crm_side(comparison),
        "on": comparison.on("m", "c"),
    }
    if connection.exec_driver_sql(_FIND.substitute(parts), values).rowcount:
        # An import may number very many rows anew: the statistics decide how they are found.
        connection.exec_driver_sql(f"analyze {found}")
        connection.exec_driver_sql(_KEEP.substitute(parts), values)
    connection.exec_driver_sql(f"drop table {found}")
