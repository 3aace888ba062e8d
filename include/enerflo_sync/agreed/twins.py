"""``sync.agreed_twins``: CRM rows that share their record, or their key, with another row ("twins").

It is unknown which of these rows has the right values. So twins give no agreed values, and no change is
decided from them. That still holds when only one row is left, because a difference may come from the row that
is gone. So each field of a twin is stored here, and gets an agreed value only after both sides were equal
once. The row that is left may get another key, so each field is stored under the row's key and under its
record's (:mod:`enerflo_sync.reconcile.twin_marks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.incremental import differing_keys
from enerflo_sync.reconcile.judged_rows import stored_key
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side, twice_statement
from enerflo_sync.reconcile.twin_marks import marked_records, record_mark

_WATCHED = Template("""
/* enerflo-sync agree $name: join keys of rows that were one of several */
create temporary table $watched on commit drop as
select distinct $joins from sync.agreed_twins w join $crm t on $on
where w.account = %(account)s and w.table_name = $table and $known
$of_records
""")

_FURTHER_KEYS = Template("""
/* enerflo-sync agree $name: further keys to look at */
insert into $keys
select $names from (select $mine from $mirror e where false $further) k
group by $names
except select $names from $keys
""")

# A key is shared even if only one of its rows is to be compared now, so all rows of the CRM are counted.
_SHARED = Template("""
/* enerflo-sync agree $name: keys that more than one row has */
create temporary table $shared on commit drop as
select $columns from $crm t $which group by $numbers having count(*) > 1
""")

_MARK = Template("""
/* enerflo-sync agree $name: rows that are one of several */
insert into sync.agreed_twins (account, table_name, key, field, seen_at)
select distinct %(account)s, $table, k.key, f.field, %(now)s::timestamptz
from ($rows) r cross join lateral (values (r.key), (r.record)) k (key)
  cross join unnest(%(fields)s::text[]) as f (field)
where k.key is not null
on conflict do nothing
""")

_CLEAR = Template("""
/* enerflo-sync agree $name: rows that were one of several, and are equal by themselves */
delete from sync.agreed_twins w using (
  select k.key, f.field
  from (
    select $key as key, $record as record, m.*, $crm_columns
    from $watched w join ($mirror) m on $on_mirror join ($crm) c on $on_crm where m.lives and $alone
  ) o cross join lateral (values (o.key), (o.record)) k (key) cross join lateral ($equal) f
) n
where w.account = %(account)s and w.table_name = $table and w.key = n.key and w.field = n.field
""")


def may_have_twins(comparison: Comparison) -> bool:
    """Return whether two rows can have the same join key or the same key: no unique index prevents it."""
    return not comparison.unique or _may_share_keys(comparison)


def temporary_tables(comparison: Comparison) -> Sequence[str]:
    """Return the names of the temporary tables that this module leaves to its caller."""
    return comparison.twice, _shared(comparison), _watched(comparison)


def watch(connection: sa.Connection, comparison: Comparison, account: str) -> bool:
    """Collect the join keys of the rows in ``sync.agreed_twins``; return whether there are any."""
    named = {"account": account, "table": str(comparison.name)}
    known = "select exists (select from sync.agreed_twins where account = :account and table_name = :table)"
    if not connection.scalar(sa.text(f"/* enerflo-sync agree: is any row one of several */ {known}"), named):
        return False
    of_records = ""
    if not comparison.key_is_record:
        of_records = f"union select {comparison.select_join('mirror')} from {marked_records(comparison)}"  # noqa: S608
    statement = _WATCHED.substitute(
        name=comparison.name,
        watched=_watched(comparison),
        joins=comparison.select_join("crm"),
        crm=comparison.crm_rows,
        on=" and ".join(
            f"t.{quoted(name)} = {stored_key(comparison, 'w.key', name)}"
            for name in comparison.mapping.key_columns
        ),
        table=literal(comparison.name),
        known=comparison.crm_key_known,
        of_records=of_records,
    )
    connection.exec_driver_sql(statement, {"account": account})
    return True


def look_further(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    reconciliation_id: str | None,
    *,
    watching: bool,
) -> int:
    """Add unchanged rows to ``wanted`` that must be compared too: known twins, and rows that differed.

    :return: how many keys were added.
    """
    further = ""
    if watching:
        further = f"union all select {comparison.join_names()} from {_watched(comparison)}"  # noqa: S608
    if reconciliation_id is not None and may_have_twins(comparison) and comparison.mapping.reconcile:
        further += differing_keys(comparison)
    if not further:
        return 0
    statement = _FURTHER_KEYS.substitute(
        name=comparison.name,
        keys=comparison.wanted,
        names=comparison.join_names(),
        mine=comparison.select_join("mirror"),
        mirror=comparison.mirror,
        further=further,
    )
    return connection.exec_driver_sql(statement, {"account": account, "previous": reconciliation_id}).rowcount


def mark_twins(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    fields: Sequence[str],
    now: datetime,
    *,
    wanted_only: bool,
) -> None:
    """Store the rows that are twins now, and fill the temporary tables that :func:`alone` reads.

    :param fields: the fields of the table's agreed pairs.
    :param wanted_only: whether only the join keys in ``wanted`` are checked.
    """
    values = {"account": account, "now": now, "fields": list(fields)}
    rows = []
    key = comparison.crm_key(f"t.{quoted(name)}" for name in comparison.mapping.key_columns)
    selected, beside = f"select {key} as key, {_record_of_row(comparison)} as record", _record(comparison)
    if not comparison.unique:
        connection.exec_driver_sql(twice_statement(comparison, wanted_only=wanted_only), values)
        on = " and ".join(f"({join.crm})::{join.type} = d.j{n}" for n, join in enumerate(comparison.joins, 1))
        rows.append(f"{selected} from {comparison.twice} d join {comparison.crm_rows} t on {on}{beside}")
    if _may_share_keys(comparison):
        connection.exec_driver_sql(_shared_statement(comparison, wanted_only), values)
        same = _same_key(comparison, "t", "d")
        rows.append(f"{selected} from {_shared(comparison)} d join {comparison.crm_rows} t on {same}{beside}")
    statement = _MARK.substitute(
        name=comparison.name, table=literal(comparison.name), rows="\n  union all ".join(rows)
    )
    connection.exec_driver_sql(statement, values)


def alone(comparison: Comparison) -> str:
    """Return the condition that neither ``m`` nor ``c``, the rows of both sides, has a twin."""
    conditions = []
    if not comparison.unique:
        on = comparison.on("d", "m")
        conditions.append(f"not exists (select from {comparison.twice} d where {on})")
    if _may_share_keys(comparison):
        on = " and ".join(f"d.k{n} = c.k{n}" for n, _ in enumerate(comparison.mapping.key_columns, 1))
        conditions.append(f"not exists (select from {_shared(comparison)} d where {on})")
    return " and ".join(conditions) or "true"


def clear_equal(
    connection: sa.Connection, comparison: Comparison, account: str, equal: Sequence[tuple[str, str]]
) -> None:
    """Delete known twins from ``sync.agreed_twins``, for the fields in which both sides are equal now.

    :param equal: each field's name, and the condition that it is equal.
    """
    names = comparison.mapping.key_columns
    statement = _CLEAR.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        key=comparison.crm_key(f"c.k{n}" for n, _ in enumerate(names, 1)),
        record=record_mark(comparison.record_of("m")),
        crm_columns=", ".join(f"c.c{n}" for n, _ in enumerate(comparison.fields, 1)),
        watched=_watched(comparison),
        mirror=mirror_side(comparison),
        crm=crm_side(comparison),
        on_mirror=comparison.on("m", "w"),
        on_crm=comparison.on("m", "c"),
        alone=alone(comparison),
        equal="\n  union all ".join(
            f"select {literal(name)} as field where {condition}" for name, condition in equal
        ),
    )
    connection.exec_driver_sql(statement, {"account": account})


def _may_share_keys(comparison: Comparison) -> bool:
    mapping = comparison.mapping
    return not mapping.joined_by_key and not comparison.live.unique_by(mapping.key_columns)


def _watched(comparison: Comparison) -> str:
    return f"pg_temp.watched_{comparison.name}"


def _shared(comparison: Comparison) -> str:
    return f"pg_temp.shared_{comparison.name}"


def _record(comparison: Comparison) -> str:
    """Return the join of a CRM row ``t`` with the record ``e`` that it names; ``""`` if its key tells."""
    if comparison.key_is_record:
        return ""
    same = " and ".join(
        f"({join.mirror})::{join.type} = ({join.crm})::{join.type}" for join in comparison.joins
    )
    return f" left join {comparison.mirror} e on {comparison.mirror_rows} and {same}"


def _record_of_row(comparison: Comparison) -> str:
    if comparison.key_is_record:
        return "null::jsonb"
    record = jsonb_object((name, f"e.{quoted(name)}") for name in comparison.mirror_key)
    return f"case when e.account is not null then {record_mark(record)} end"


def _shared_statement(comparison: Comparison, wanted_only: bool) -> str:
    names = comparison.mapping.key_columns
    columns = [f"t.{quoted(name)}" for name in names]
    which = ""
    if wanted_only:
        on = " and ".join(f"({join.crm})::{join.type} = w.j{n}" for n, join in enumerate(comparison.joins, 1))
        seen = f"select {', '.join(columns)} from {comparison.wanted} w join {comparison.crm_rows} t on {on}"  # noqa: S608
        which = f"where ({', '.join(columns)}) in ({seen})"
    return _SHARED.substitute(
        name=comparison.name,
        shared=_shared(comparison),
        columns=", ".join(f"{column} as k{n}" for n, column in enumerate(columns, 1)),
        crm=comparison.crm_rows,
        which=which,
        numbers=", ".join(str(n) for n, _ in enumerate(names, 1)),
    )


def _same_key(comparison: Comparison, row: str, keys: str) -> str:
    names = comparison.mapping.key_columns
    return " and ".join(f"{row}.{quoted(name)} = {keys}.k{n}" for n, name in enumerate(names, 1))
