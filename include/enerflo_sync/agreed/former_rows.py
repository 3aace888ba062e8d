"""Values that both sides agreed on for rows of the CRM that have other keys now, or none.

An import may number all rows of a table anew. Then the row of one record gets the key that another record's
row had, and its new agreed pairs would replace the pairs of the other record. So those pairs are kept under
the present key of their own record's row, with ``former_row_`` before the word for how they were agreed. No
change is computed from them. But a value of the row that equals such a pair is nobody's edit, so it is sent
to Enerflo only if a person says so (rule ``row_moved``).

A record may have no row at that moment, because somebody deleted the row, or because the import has not
finished. Then its pairs wait under a key of their own (:data:`PARKED`) until the record has a row again.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.agreed_pairs import had_another_key, is_overtaken
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import row_stands
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side

# No column of a key has this name, so no row of the CRM has such a key.
PARKED = "jsonb_exists({}.key, '')"

# Each row has one link, so only links are looked up for each row. All pairs are read before any is replaced,
# so rows that exchange their keys lose nothing. ``is_renumbered`` is true if the row that has the key now had
# another key before; otherwise somebody relinked the row. A row may also get its former key back, after newer
# pairs replaced its pairs from that time.
_FIND = Template("""
/* enerflo-sync agree $name: pairs of records whose rows have other keys now */
create temporary table $found on commit drop as
with o as materialized (
  select $key as key, $record as record, to_jsonb(m.j$first_number) as link
  from $keys ($mirror) m $on_mirror join ($crm) c on $on
)
select q.key, q.field, q.value, q.crm_value, q.agreed_at, q.agreed_by, q.enerflo_key, q.is_link,
       g.is_renumbered, $ids
from (
  select o.key, o.record, $is_renumbered as is_renumbered
  from o join sync.agreed l
    on l.account = %(account)s and l.table_name = $table and l.key = o.key and l.field = $link
  where l.enerflo_key <> o.record
) g
join sync.agreed q on q.account = %(account)s and q.table_name = $table and q.key = g.key
where q.enerflo_key <> g.record and (q.agreed_by not like 'former%%' or q.agreed_by like 'former_row%%')
union all
select q.key, q.field, q.value, q.crm_value, q.agreed_at, q.agreed_by, q.enerflo_key, q.is_link, false, $ids
from o
join sync.agreed l on l.account = %(account)s and l.table_name = $table and l.link = o.link
  and l.field = $first_link and l.enerflo_key = o.record and l.key <> o.key
join sync.agreed q on q.account = %(account)s and q.table_name = $table and q.key = l.key
  and q.enerflo_key = o.record
where (q.agreed_by not like 'former%%' or q.agreed_by like 'former_row%%') and ($parked or exists (
    select from sync.agreed s where s.account = %(account)s and s.table_name = $table and s.key = o.key
      and s.field = q.field and s.enerflo_key = o.record and $overtaken) and not $stands)
""")
_KEEP = Template("""
/* enerflo-sync agree $name: pairs of records under the keys that their rows have now */
insert into sync.agreed
  (account, table_name, key, field, value, crm_value, agreed_at, agreed_by, is_link, enerflo_key)
select distinct on (q.key, q.field)
       %(account)s, $table, q.key, q.field, q.value, q.crm_value, q.agreed_at, $by, false, q.enerflo_key
from (
  select $key as key, q.key as former_key, q.field, q.value, q.crm_value, q.agreed_at, q.agreed_by,
         q.enerflo_key
  from $found q join ($mirror) m on $is_record join ($crm) c on $on where not q.is_link
) q
where q.key <> q.former_key and not exists (
  select from sync.agreed s where s.account = %(account)s and s.table_name = $table and s.key = q.key
    and s.field = q.field and s.enerflo_key = q.enerflo_key and not ($overtaken))
order by q.key, q.field, q.agreed_at desc
on conflict (account, table_name, key, field) do update
set value = excluded.value, crm_value = excluded.crm_value, agreed_at = excluded.agreed_at,
    agreed_by = excluded.agreed_by, is_link = false, enerflo_key = excluded.enerflo_key,
    enerflo_time = null, crm_time = null
""")
_PARK = Template("""
/* enerflo-sync agree $name: pairs of records that have no row now */
insert into sync.agreed
  (account, table_name, key, field, value, crm_value, agreed_at, agreed_by, is_link, enerflo_key)
select distinct on (q.enerflo_key, q.field)
       %(account)s, $table, jsonb_build_object('', q.enerflo_key), q.field, q.value, q.crm_value, q.agreed_at,
       $by, q.is_link, q.enerflo_key
from $found q
where q.is_renumbered and not exists (select from ($mirror) m join ($crm) c on $on where $is_record)
order by q.enerflo_key, q.field, q.agreed_at desc
on conflict (account, table_name, key, field) do update
set value = excluded.value, crm_value = excluded.crm_value, agreed_at = excluded.agreed_at,
    agreed_by = excluded.agreed_by, is_link = excluded.is_link
where agreed.agreed_at <= excluded.agreed_at
""")
_UNPARK = Template("""
/* enerflo-sync agree $name: records that have a row again */
delete from sync.agreed a using $found q
where a.account = %(account)s and a.table_name = $table and a.key = q.key and $parked
""")

# If a CRM is loaded again and again under new keys, the pairs of all former keys would stay for ever. They
# are deleted once both sides agreed on the field under the present key of the record's row.
_FIND_LEFT = Template("""
/* enerflo-sync agree $name: keys that rows of the same records had before */
create temporary table $left on commit drop as
with o as materialized (
  select $key as key, $record as record, to_jsonb(m.j$first_number) as link
  from $keys ($mirror) m $on_mirror join ($crm) c on $on where m.lives
)
select distinct l.key, o.record, o.key as present
from o join sync.agreed l on l.account = %(account)s and l.table_name = $table and l.link = o.link
  and l.field = $first_link and l.enerflo_key = o.record and l.key <> o.key
where not $parked and not $stands
""")
_FORGET_FIELDS = Template("""
/* enerflo-sync agree $name: pairs of former keys whose fields were agreed on since */
delete from sync.agreed a using $left g
where a.account = %(account)s and a.table_name = $table and a.key = g.key and a.enerflo_key = g.record
  and not a.is_link and exists (
    select from sync.agreed s where s.account = a.account and s.table_name = a.table_name
      and s.key = g.present and s.field = a.field and s.enerflo_key = g.record
      and s.agreed_by not like 'former%%' and s.agreed_at > a.agreed_at)
""")
# The remaining fields of a former key are found by the links of that key, so its links stay until then.
_FORGET_LINKS = Template("""
/* enerflo-sync agree $name: links of former keys of which no field is left */
delete from sync.agreed a using $left g
where a.account = %(account)s and a.table_name = $table and a.key = g.key and a.enerflo_key = g.record
  and a.is_link and not exists (
    select from sync.agreed f where f.account = a.account and f.table_name = a.table_name and f.key = a.key
      and f.enerflo_key = g.record and not f.is_link)
  and exists (
    select from sync.agreed s where s.account = a.account and s.table_name = a.table_name
      and s.key = g.present and s.field = a.field and s.enerflo_key = g.record)
""")
_BY = "case when q.agreed_by like 'former_row%%' then q.agreed_by else 'former_row_' || q.agreed_by end"


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
    parts = _common(comparison, keys) | {
        "found": found,
        "link": literal(comparison.links[-1].crm_name),
        "ids": ", ".join(f"(q.enerflo_key ->> {literal(name)})::bigint as p{n}" for n, name in numbered),
        "is_record": " and ".join(f"m.p{n} = q.p{n}" for n, _ in numbered),
        "is_renumbered": had_another_key(
            comparison,
            "o.link",
            "o.key",
            "w.enerflo_key = o.record",
            row_stands(comparison, "w.key", "w.enerflo_key"),
        ),
        "overtaken": is_overtaken("s", "q"),
        "stands": row_stands(comparison, "q.key", "q.enerflo_key"),
        "parked": PARKED.format("q"),
        "by": _BY,
    }
    if connection.exec_driver_sql(_FIND.substitute(parts), values).rowcount:
        # An import may number very many rows anew: the statistics decide how they are found.
        connection.exec_driver_sql(f"analyze {found}")
        for statement in (_KEEP, _PARK, _UNPARK):
            connection.exec_driver_sql(statement.substitute(parts), values)
    connection.exec_driver_sql(f"drop table {found}")


def forget_former_keys(
    connection: sa.Connection, comparison: Comparison, keys: str, values: Mapping[str, Any]
) -> None:
    """Delete pairs of keys that no row has any more if their field was agreed on since under another key.

    The parameters are those of :func:`keep_former_rows`.
    """
    if comparison.former_rows is None:
        return
    left = f"pg_temp.former_keys_{comparison.name}"
    parts = _common(comparison, keys) | {
        "left": left,
        "stands": row_stands(comparison, "l.key", "l.enerflo_key"),
        "parked": PARKED.format("l"),
    }
    if connection.exec_driver_sql(_FIND_LEFT.substitute(parts), values).rowcount:
        connection.exec_driver_sql(f"analyze {left}")
        for statement in (_FORGET_FIELDS, _FORGET_LINKS):
            connection.exec_driver_sql(statement.substitute(parts), values)
    connection.exec_driver_sql(f"drop table {left}")


def _common(comparison: Comparison, keys: str) -> dict[str, str]:
    first = comparison.links[0]
    return {
        "name": comparison.name,
        "table": literal(comparison.name),
        "first_link": literal(first.crm_name),
        "first_number": str(list(comparison.joins).index(first) + 1),
        "key": comparison.crm_key(f"c.k{n}" for n, _ in enumerate(comparison.mapping.key_columns, 1)),
        "record": comparison.record_of("m"),
        "keys": f"{keys} w join" if keys else "",
        "on_mirror": f"on {comparison.on('m', 'w')}" if keys else "",
        "mirror": mirror_side(comparison),
        "crm": crm_side(comparison),
        "on": comparison.on("m", "c"),
    }
