"""``sync.agreed``: per field the value on which both sides last agreed, from which it shows who moved since.

A pair of values is remembered as each side writes it, so that a side has moved exactly when it says something
else than then. Rows that did not move since the last look are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.last_look import since_last_look, watermark_name
from enerflo_sync.agreed.twins import (
    alone,
    clear_equal,
    look_further,
    mark_twins,
    may_have_twins,
    temporary_tables,
    watch,
)
from enerflo_sync.agreed.undone import apart_statement
from enerflo_sync.agreed.written import names_record, not_kept, of_key, shown
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.incremental import moved_statement
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side
from enerflo_sync.reconcile.observation import (
    current_look,
    note_look,
)
from enerflo_sync.warehouse.engine import transaction_time
from enerflo_sync.warehouse.statistics import note_growth
from enerflo_sync.warehouse.watermarks import move_watermark


class AgreedBy(StrEnum):
    """How a pair of values came to be the agreed one.

    A pair of a field that stands for something else by now has ``former_`` before it, and is no base.
    """

    COMPARISON = "comparison"
    PUSH = "push"
    UNDO = "undo"


_AGREE = Template("""
/* enerflo-sync agree $name: pairs of values on which both sides agree */
insert into sync.agreed
  (account, table_name, key, field, value, crm_value, agreed_at, agreed_by, is_link, enerflo_key)
select $distinct %(account)s, $table, o.key, f.field, f.mine,
       case when f.theirs is distinct from f.mine then coalesce(f.theirs, 'null') end,
       %(now)s, %(by)s, f.is_link, $record_key
from (
  select $key as key, m.*, $crm_columns $written
  from $keys ($mirror) m $on_mirror join ($crm) c on $on where m.lives $alone
) o $known cross join lateral ($fields) f
$which
on conflict (account, table_name, key, field) do update
set value = excluded.value, crm_value = excluded.crm_value, agreed_at = excluded.agreed_at,
    agreed_by = excluded.agreed_by, is_link = excluded.is_link, enerflo_key = excluded.enerflo_key
where (agreed.value, agreed.crm_value, agreed.enerflo_key)
      is distinct from (excluded.value, excluded.crm_value, excluded.enerflo_key)
   or agreed.agreed_by like 'former%%' or $always
""")

# What is agreed already, read once a record, is left out before the upsert, which would lock each row of it.
_KNOWN = Template("""left join lateral (
  select array_agg(a.field) as fields,
         jsonb_object_agg(a.field, a.value) filter (where a.value is not null) as mine,
         jsonb_object_agg(a.field, a.crm_value) filter (where a.crm_value is not null) as theirs
  from sync.agreed a where a.account = %(account)s and a.table_name = $table and a.key = o.key$of_record
    and a.agreed_by not like 'former%%'
) k on true""")

# Asked of each field by itself: few are news, and only of those it is asked whether they are equal.
_NEWS = """ where case when {field} = any(k.fields) and k.mine -> {field} is not distinct from {mine}
    and nullif(coalesce(k.theirs -> {field}, k.mine -> {field}), 'null') is not distinct from {theirs}
  then false else {equal} end"""

# What was written, and what of a new record is equal besides; but what somebody else has read of Enerflo's
# record since is not what came of our write.
_WRITTEN = """ where (jsonb_exists(o.written, {field}) or (o.made and {equal}))
    and (o.direction = 'to_crm' or not %(pinned)s or o.observed_at <= %(read_at)s::timestamptz or {equal})"""

# The side that was written says what came of it; of the other only what the plan saw counts, so that what it
# says since stays a change.
_AS_PLANNED = """case when %(pinned)s and o.direction = '{direction}' and jsonb_exists(o.written, {field})
    then nullif(o.written -> {field}, 'null') else {now} end"""

_PAIR = Template("""nullif($saw, 'null') as value,
       case when $theirs is distinct from nullif($saw, 'null') then coalesce($theirs, 'null') end
         as crm_value""")
_MOVED = f"""
  set value = n.value, crm_value = n.crm_value, agreed_at = %(now)s, agreed_by = '{AgreedBy.PUSH}',
      is_link = $is_link$set_record
  from ($pairs) n
  where a.account = %(account)s and a.table_name = $table and a.key = n.key and a.field = $field"""

# Within the statement that updates one column of the CRM: ``made`` says what the plan saw in Enerflo, and
# what the row says now. Nearly every change is of a pair that was agreed on before, and stands where the plan
# found it: that is a tenth of the work of looking for it. This finds no other.
_AT_ONCE = Template(f"agreed as (update sync.agreed a {_MOVED} and a.ctid = n.agreed_row::tid returning 1)")
_MADE = Template("select m.key, m.agreed_row, $pair$record_of_made from made m")

# When all columns are written: what a plan saw in Enerflo, and what the row says by then.
_OF_COLUMN = Template("""
  select $distinct p.key, $pair, $record_of_change as enerflo_key
  from sync.plan_changes p join $crm t on $on
  where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = $table and p.op = 'update'
    and p.field = $field and p.direction = 'to_crm' and p.position between %(first)s and %(last)s
    and p.state = 'applied' and p.done_at = %(now)s and not $not_kept
""")
_AGAIN = Template(f"""
/* enerflo-sync agree $name: what came of one column */
update sync.agreed a {_MOVED} and (a.agreed_at, a.agreed_by) is distinct from (%(now)s, '{AgreedBy.PUSH}')
""")
_FIRST = Template(f"""
/* enerflo-sync agree $name: what came of one column, that was not agreed on before */
insert into sync.agreed
  (account, table_name, key, field, value, crm_value, agreed_at, agreed_by, is_link, enerflo_key)
select %(account)s, $table, n.key, $field, n.value, n.crm_value, %(now)s, '{AgreedBy.PUSH}', $is_link,
       n.enerflo_key
from ($pairs) n
on conflict (account, table_name, key, field) do nothing
""")  # noqa: S608 - constants

_WRITTEN_KEYS = Template("""
/* enerflo-sync agree $name: join keys of written rows, and what was written of each */
create temporary table $into on commit drop as
select $joins, p.key as written_key, bool_or(p.op = 'insert') as made, min(p.direction) as direction,
       coalesce(jsonb_object_agg(p.field, p.source_value) filter (where p.field is not null), '{}') as written
from sync.plan_changes p join $crm t on $on
where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = $table
  and p.position = any(%(positions)s::bigint[]) and $known and (p.op <> 'update' or $same_record)
group by $names, p.key
""")

_DROP = "/* enerflo-sync agree: nothing of it is needed any more */ drop table if exists {}"

_FORGET = """
/* enerflo-sync agree: rows that are gone are agreed on no longer */
delete from sync.agreed a using sync.plan_changes p
where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.position = any(%(positions)s::bigint[])
  and p.op = 'delete' and a.account = p.account and a.table_name = p.table_name and a.key = p.key
"""


def agree_moved(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    config_hash: str,
    lookback_minutes: int,
    reconciliation_id: str | None = None,
) -> None:
    """Remember the pairs of values that are equal as declared, of rows that moved since the last look.

    In the caller's transaction, with its own watermark. All rows are looked at for the first time, and after
    the mapping or the CRM table's columns changed. A row that is one of several for its record is no source
    of a pair (:mod:`enerflo_sync.agreed.twins`).

    :param reconciliation_id: the rows that differed in it are among those that may be one of several.
    """
    now = transaction_time(connection)
    look = current_look(connection, comparison, account, now)
    since = since_last_look(connection, comparison, account, config_hash, lookback_minutes, now)
    values: dict[str, Any] = {"account": account, "now": now, "by": str(AgreedBy.COMPARISON)}
    keys = ""
    equal = [(name, condition) for name, _, _, condition in _pairs(comparison)]
    watching = watch(connection, comparison, account)
    if since is not None:
        keys = comparison.wanted
        connection.exec_driver_sql(moved_statement(comparison, keys), {"account": account, **since})
        look_further(connection, comparison, account, reconciliation_id, watching=watching)
        connection.exec_driver_sql(f"analyze {keys}")
    if may_have_twins(comparison):
        names = [name for name, _ in equal]
        mark_twins(connection, comparison, account, names, now, wanted_only=bool(keys))
    found = connection.exec_driver_sql(_statement(comparison, keys), values)
    note_growth(connection, "sync.agreed", found.rowcount)
    if watching:
        clear_equal(connection, comparison, account, equal)
    name = watermark_name(comparison, config_hash)
    move_watermark(connection, account, name, now, run_id="plan", now=now)
    if look is not None:
        note_look(connection, comparison, account, look, name)
    # A decision in the same transaction, as in what-if, makes tables of these names itself.
    connection.exec_driver_sql(_DROP.format(", ".join([comparison.wanted, *temporary_tables(comparison)])))


def column_agreed(comparison: Comparison, column: str) -> str:
    """Return ``agreed`` of a statement that updates one CRM column: the pairs that it leaves behind.

    One row for each pair that stands where it stood when the plan was made; the others wait for
    :func:`agree_column`.
    """
    pair = _PAIR.substitute(saw="m.source_value", theirs="m.theirs")
    parts = _column_parts(comparison, column)
    return _AT_ONCE.substitute(parts, pairs=_MADE.substitute(parts, pair=pair))


def agree_column(
    connection: sa.Connection,
    comparison: Comparison,
    column: str,
    positions: tuple[int, int],
    values: Mapping[str, Any],
) -> None:
    """Remember the pairs of one CRM column when all is written, in the caller's transaction.

    For what could not be remembered at once: pairs that were never agreed on, or stand elsewhere by now, and
    all where the table's own rules may have written since. One half of each pair is what the plan saw, so
    Enerflo's records are not read.

    :param positions: of the first and the last of these changes.
    :param values: ``account``, ``plan_hash`` and ``now``, the time at which the changes were made.
    """
    theirs = shown(comparison, column)
    parts = _column_parts(comparison, column)
    parts["pairs"] = _OF_COLUMN.substitute(
        parts,
        # Without a unique key two rows may share one: each pair is remembered once.
        distinct="" if comparison.live.unique_by(comparison.mapping.key_columns) else "distinct on (p.key)",
        pair=_PAIR.substitute(saw="p.source_value", theirs=theirs),
        # A rule that runs after the update may put back what was there: then nothing is agreed on.
        not_kept=not_kept(comparison, column, "p"),
        crm=comparison.crm_rows,
        on=of_key(comparison, "p.key"),
    )
    first, last = positions
    named = {**values, "first": first, "last": last}
    for statement in (_AGAIN, _FIRST):
        connection.exec_driver_sql(statement.substitute(parts), named)


def _column_parts(comparison: Comparison, column: str) -> dict[str, str]:
    links = {join.crm_name for join in comparison.links}
    return {
        "name": str(comparison.name),
        "table": literal(comparison.name),
        "field": literal(column),
        "is_link": str(column in links).lower(),
        # Where the CRM's key says which record it is, a pair need not.
        "set_record": "" if comparison.key_is_record else ", enerflo_key = n.enerflo_key",
        "record_of_made": "" if comparison.key_is_record else ", m.enerflo_key",
        "record_of_change": "null::jsonb" if comparison.key_is_record else "p.enerflo_key",
    }


def agree_written(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    plan_hash: str,
    positions: Sequence[int],
    by: AgreedBy,
    read_at: datetime | None = None,
) -> None:
    """Remember the pairs of values that changes left behind, equal or not, in the caller's transaction.

    What we wrote and what came of it is agreed on, however each side puts it, so it comes back as no change.
    What the other side says by now that it did not say in the plan is not: it is in the next plan.

    :param positions: changes of one direction.
    :param read_at: when Enerflo's records were read back, for changes of theirs.
    """
    keys = f"pg_temp.written_{comparison.name}"
    values: dict[str, Any] = {
        "account": account,
        "plan_hash": plan_hash,
        "positions": list(positions),
        "by": str(by),
        # What an undo leaves apart is as it is now.
        "pinned": by is not AgreedBy.UNDO,
        "read_at": read_at,
        "now": transaction_time(connection),
    }
    connection.exec_driver_sql(f"drop table if exists {keys}")
    connection.exec_driver_sql(
        _WRITTEN_KEYS.substitute(
            name=comparison.name,
            into=keys,
            joins=comparison.select_join("crm"),
            names=", ".join(str(n) for n, _ in enumerate(comparison.joins, 1)),
            crm=comparison.crm_rows,
            on=of_key(comparison, "p.key"),
            table=literal(comparison.name),
            known=comparison.crm_key_known,
            same_record=names_record(comparison, "t", "p.enerflo_key"),
        ),
        values,
    )
    connection.exec_driver_sql(f"analyze {keys}")
    connection.exec_driver_sql(_statement(comparison, keys, written=True), values)
    if by is AgreedBy.UNDO:
        connection.exec_driver_sql(apart_statement(comparison), values)
    else:
        connection.exec_driver_sql(_FORGET, values)


def _statement(comparison: Comparison, keys: str, *, written: bool = False) -> str:
    """Return the statement that remembers pairs of the rows of ``keys``, or of all rows where it is empty.

    :param written: what ``keys`` says was written, equal or not; otherwise what is equal and news.
    """
    names = comparison.mapping.key_columns
    columns = [f"c.c{n}" for n, _ in enumerate(comparison.fields, 1)]
    links = {join.crm_name for join in comparison.links}
    which = _WRITTEN if written else _NEWS if keys else " where {equal}"
    selects = []
    for name, mine, theirs, equal in _pairs(comparison):
        where = which.format(field=literal(name), mine=mine, theirs=theirs, equal=equal)
        if written:
            mine = _AS_PLANNED.format(direction="to_crm", field=literal(name), now=mine)
            theirs = _AS_PLANNED.format(direction="to_enerflo", field=literal(name), now=theirs)
        selects.append(
            f"select {literal(name)} as field, {mine} as mine, {theirs} as theirs,"
            f" {str(name in links).lower()} as is_link{where}"
        )
    return _AGREE.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        # Without a unique key two rows may share one: each pair is remembered once.
        distinct="" if comparison.unique else "distinct on (o.key, f.field)",
        key=comparison.crm_key(f"c.k{n}" for n, _ in enumerate(names, 1)),
        crm_columns=", ".join(columns),
        written=", w.written_key, w.written, w.made, w.direction" if written else "",
        keys=f"{keys} w join" if keys else "",
        on_mirror=f"on {comparison.on('m', 'w')}" if keys else "",
        mirror=mirror_side(comparison),
        crm=crm_side(comparison),
        on=comparison.on("m", "c"),
        fields="\n  union all ".join(selects),
        which="where o.key = o.written_key" if written else "",
        known=_KNOWN.substitute(
            table=literal(comparison.name), of_record=comparison.of_record("a", comparison.record_key("o"))
        )
        if which is _NEWS
        else "",
        record_key=comparison.record_key("o"),
        alone=f"and {alone(comparison)}" if not written and may_have_twins(comparison) else "",
        always=str(written).lower(),
    )


def _pairs(comparison: Comparison) -> Iterator[tuple[str, str, str, str]]:
    """Yield each field with its value on either side, and whether they are equal, as SQL.

    The other side's id is a field as well, where the CRM names it in a column beside the key. It is
    remembered as rows are matched by it, whatever the field's own type.
    """
    links = {join.crm_name for join in comparison.links}
    for field in comparison.fields:
        if field.name not in links:
            yield field.name, field.enerflo.shown, field.crm.shown, field.equal
    for n, join in enumerate(comparison.joins, 1):
        if join.crm_name in links:
            yield join.crm_name, f"to_jsonb(o.j{n})", f"to_jsonb(o.j{n})", "true"
