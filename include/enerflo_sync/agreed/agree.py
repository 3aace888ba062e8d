"""``sync.agreed``: the last values on which both sides agreed, one pair for each field of a row.

A side changed a field exactly when its present value differs from its half of the pair. To make that test
exact, each half is stored as that side writes it. A run looks only at rows that changed since the last run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.former_rows import forget_former_keys, keep_former_rows
from enerflo_sync.agreed.last_look import since_last_looks, watermark_name
from enerflo_sync.agreed.pair_times import stored_times, times_of_field, times_statement
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
from enerflo_sync.agreed.written_keys import written_keys_statement
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.changed import keeps_times
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.incremental import moved_statement
from enerflo_sync.reconcile.looks import note_looks
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side
from enerflo_sync.reconcile.observation import current_looks
from enerflo_sync.warehouse.engine import transaction_time
from enerflo_sync.warehouse.statistics import note_growth
from enerflo_sync.warehouse.watermarks import move_watermark


class AgreedBy(StrEnum):
    """How a pair of values became the agreed pair.

    When ``sync.yaml`` maps a field to something else, ``former_`` is put before this word: such a pair shows
    that the row once existed on both sides, and no change is computed from it. ``former_row_`` is put before
    it if the record's row had another key then (:mod:`enerflo_sync.agreed.former_rows`).

    ``altered``: we wrote the value, and a trigger, rule or default of the CRM's table changed it.

    ``reworded``: the CRM has our own label, which had another meaning when it was handed over. The pair
    stores the label's present meaning as Enerflo's value, although Enerflo never had that value.
    """

    COMPARISON = "comparison"
    PUSH = "push"
    UNDO = "undo"
    ALTERED = "altered"
    REWORDED = "reworded"


_AGREE = Template("""
/* enerflo-sync agree $name: pairs of values on which both sides agree */
insert into sync.agreed
  (account, table_name, key, field, value, crm_value, agreed_at, agreed_by, is_link, enerflo_key$times)
select $distinct %(account)s, $table, o.key, f.field, f.mine,
       case when f.theirs is distinct from f.mine then coalesce(f.theirs, 'null') end,
       %(now)s, %(by)s, f.is_link, $record_key$times_of_field
from (
  select $key as key, m.*, c.changed_at$record_time, $crm_columns $written
  from $keys ($mirror) m $on_mirror join ($crm) c on $on$of_install where m.lives $alone
) o $known cross join lateral ($fields) f
$which
on conflict (account, table_name, key, field) do update
set value = excluded.value, crm_value = excluded.crm_value, agreed_at = excluded.agreed_at,
    agreed_by = $kept_by, is_link = excluded.is_link, enerflo_key = excluded.enerflo_key$set_times
where (agreed.value, agreed.crm_value, agreed.enerflo_key)
      is distinct from (excluded.value, excluded.crm_value, excluded.enerflo_key)$times_differ
   or agreed.agreed_by like 'former%%' or agreed.agreed_by = 'reworded' or $always
""")

# Two values that an undo left apart, and that looser options call equal for a while, stay left apart.
_KEPT_BY = """case when agreed.crm_value is not null and agreed.agreed_by = 'undo'
        and (agreed.value, agreed.crm_value, agreed.enerflo_key)
          is not distinct from (excluded.value, excluded.crm_value, excluded.enerflo_key)
      then agreed.agreed_by else excluded.agreed_by end"""

# The upsert locks each row that it meets, changed or not. So the agreed pairs of a record are read once, and
# pairs that did not change are left out before the upsert.
_KNOWN = Template("""left join lateral (
  select array_agg(a.field) as fields,
         jsonb_object_agg(a.field, a.value) filter (where a.value is not null) as mine,
         jsonb_object_agg(a.field, a.crm_value) filter (where a.crm_value is not null) as theirs
  from sync.agreed a where a.account = %(account)s and a.table_name = $table and a.key = o.key$of_record
    and a.agreed_by not like 'former%%' and a.agreed_by <> 'reworded'
) k on true""")

# Comparing the two sides is expensive. It is done only for fields whose pair differs from the stored one,
# which are few.
_NEWS = """ where case when {field} = any(k.fields) and k.mine -> {field} is not distinct from {mine}
    and nullif(coalesce(k.theirs -> {field}, k.mine -> {field}), 'null') is not distinct from {theirs}
  then false else {equal} end"""

# The fields that were written; of a new record also the other fields that are equal. A value of Enerflo that
# was observed after our read-back may be a later edit, so it counts only if both sides are equal.
_WRITTEN = """ where (jsonb_exists(o.written, {field}) or (o.made and {equal}))
    and (o.direction = 'to_crm' or not %(pinned)s or o.observed_at <= %(read_at)s::timestamptz or {equal})"""

# On the side that was written, the present value is the result of the write. On the other side only the value
# that the plan saw counts, so that a later edit there is still a change for the next plan.
_AS_PLANNED = """case when %(pinned)s and o.direction = '{direction}' and jsonb_exists(o.written, {field})
    then nullif(o.written -> {field}, 'null') else {now} end"""

# An undo restores one side. The other side's half stays, so that what was edited there since is still a
# change for the next plan.
_AS_BEFORE = """case when o.direction = '{direction}' and not {equal}
    and coalesce({field} = any(k.fields), false) then {half} else {now} end"""

_DROP = "/* enerflo-sync agree: drop the temporary tables */ drop table if exists {}"

_FORGET = """
/* enerflo-sync agree: delete the pairs of deleted rows */
delete from sync.agreed a using sync.plan_changes p
where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.position = any(%(positions)s::bigint[])
  and p.op = 'delete' and a.account = p.account and a.table_name = p.table_name and a.key = p.key
"""


def agree_moved(
    connection: sa.Connection,
    comparisons: Sequence[Comparison],
    account: str,
    config: SyncConfig,
    reconciliation_id: str | None = None,
) -> None:
    """Store the values that are equal as declared, of rows that changed since the last run, as agreed pairs.

    Runs in the caller's transaction and moves its own watermarks. A table's first run, and the first one
    after the mapping or the CRM table's columns changed, compares all rows. When several CRM rows name one
    record, none of them gives an agreed pair (:mod:`enerflo_sync.agreed.twins`).

    :param reconciliation_id: a reconciliation whose differing rows are also checked for such duplicates.
    """
    now = transaction_time(connection)
    config_hash = config.hash(account)
    looks = current_looks(connection, comparisons, account, now)
    lookback = config.reconcile.lookback_minutes
    since = since_last_looks(connection, comparisons, account, config_hash, lookback, now)
    for comparison in comparisons:
        _agree_on_moved(connection, comparison, account, since.get(comparison.name), now, reconciliation_id)
    names = {comparison.name: watermark_name(comparison, config_hash) for comparison in comparisons}
    for name in names.values():
        move_watermark(connection, account, name, now, run_id="plan", now=now)
    note_looks(connection, account, looks, names)


def _agree_on_moved(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    since: Mapping[str, Any] | None,
    now: datetime,
    reconciliation_id: str | None,
) -> None:
    """Store the agreed pairs of one table's rows that changed.

    :param since: the parameters that select changed rows; None: all rows are compared.
    """
    watching = watch(connection, comparison, account)
    if since is None:
        _agree_on(connection, comparison, account, "", now, watching=watching)
    else:
        keys = comparison.wanted
        moved = connection.exec_driver_sql(moved_statement(comparison, keys), {"account": account, **since})
        further = look_further(connection, comparison, account, reconciliation_id, watching=watching)
        if moved.rowcount + further:
            connection.exec_driver_sql(f"analyze {keys}")
            _agree_on(connection, comparison, account, keys, now, watching=watching)
    # In what-if the decisions run in the same transaction and create temporary tables of these names.
    connection.exec_driver_sql(_DROP.format(", ".join([comparison.wanted, *temporary_tables(comparison)])))


def _agree_on(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    keys: str,
    now: datetime,
    *,
    watching: bool,
) -> None:
    """Store agreed pairs of the rows whose join keys are in the temporary table ``keys``; empty: of all rows.

    :param watching: whether some of the rows are known twins.
    """
    values: dict[str, Any] = {"account": account, "now": now, "by": str(AgreedBy.COMPARISON)}
    equal = [(name, condition) for name, _, _, condition in _pairs(comparison)]
    if may_have_twins(comparison):
        mark_twins(connection, comparison, account, [name for name, _ in equal], now, wanted_only=bool(keys))
    keep_former_rows(connection, comparison, keys, values)
    found = connection.exec_driver_sql(_statement(comparison, keys), values)
    note_growth(connection, "sync.agreed", found.rowcount)
    if keys and keeps_times(comparison):
        sides = [(name, mine, theirs) for name, mine, theirs, _ in _pairs(comparison)]
        connection.exec_driver_sql(times_statement(comparison, keys, sides), values)
    if watching:
        clear_equal(connection, comparison, account, equal)
    forget_former_keys(connection, comparison, keys, values)


def agree_written(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    plan_hash: str,
    positions: Sequence[int],
    by: AgreedBy,
    read_at: datetime | None = None,
    *,
    withdrawn: bool = False,
) -> None:
    """Store the values that applied changes left on both sides as agreed pairs, in the caller's transaction.

    The value that we wrote and the value that the written side now has become one pair even if the two are
    spelled differently, so the next plan sees no change. A value that the other side changed after the plan
    was made does not become part of the pair: the next plan contains that change.

    :param positions: positions of changes of one direction.
    :param read_at: for changes at Enerflo, when its records were read back.
    :param withdrawn: the updates of an undo withdrew what was handed over: Enerflo's half is the value that
        was planned.
    """
    keys = f"pg_temp.written_{comparison.name}"
    undone = by is AgreedBy.UNDO and not withdrawn
    values: dict[str, Any] = {
        "account": account,
        "plan_hash": plan_hash,
        "positions": list(positions),
        "by": str(by),
        "pinned": not undone,
        "read_at": read_at,
        "now": transaction_time(connection),
    }
    connection.exec_driver_sql(f"drop table if exists {keys}")
    connection.exec_driver_sql(written_keys_statement(comparison, keys), values)
    connection.exec_driver_sql(f"analyze {keys}")
    connection.exec_driver_sql(_statement(comparison, keys, written=True, undone=undone), values)
    if by is AgreedBy.UNDO:
        connection.exec_driver_sql(apart_statement(comparison), values)
    else:
        connection.exec_driver_sql(_FORGET, values)


def _statement(comparison: Comparison, keys: str, *, written: bool = False, undone: bool = False) -> str:
    """Return the statement that stores agreed pairs of the rows in ``keys``, or of all rows if it is empty.

    :param written: store the fields that ``keys`` lists as written, equal or not; otherwise store the fields
        that are equal and whose pair is new.
    :param undone: the written fields were restored by an undo.
    """
    names = comparison.mapping.key_columns
    columns = [f"c.c{n}" for n, _ in enumerate(comparison.fields, 1)]
    links = {join.crm_name for join in comparison.links}
    which = _WRITTEN if written else _NEWS if keys else " where {equal}"
    selects = []
    for name, mine, theirs, equal in _pairs(comparison):
        where = which.format(field=literal(name), mine=mine, theirs=theirs, equal=equal)
        now = mine, theirs
        if undone:
            half = f"k.mine -> {literal(name)}"
            other = f"nullif(coalesce(k.theirs -> {literal(name)}, {half}), 'null')"
            kept = partial(_AS_BEFORE.format, field=literal(name), equal=f"coalesce({equal}, false)")
            mine = kept(direction="to_crm", half=half, now=mine)
            theirs = kept(direction="to_enerflo", half=other, now=theirs)
        elif written:
            mine = _AS_PLANNED.format(direction="to_crm", field=literal(name), now=mine)
            theirs = _AS_PLANNED.format(direction="to_enerflo", field=literal(name), now=theirs)
        times = times_of_field(comparison, name, now, (mine, theirs))
        selects.append(
            f"select {literal(name)} as field, {mine} as mine, {theirs} as theirs,"
            f" {str(name in links).lower()} as is_link{times}{where}"
        )
    return _AGREE.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        # Without a unique index two rows may share a key: each pair is stored once.
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
        if which is _NEWS or undone
        else "",
        record_key=comparison.record_key("o"),
        **stored_times(comparison),
        alone=f"and {alone(comparison)}" if not written and may_have_twins(comparison) else "",
        always=str(written).lower(),
        kept_by="excluded.agreed_by" if written else _KEPT_BY,
    )


def _pairs(comparison: Comparison) -> Iterator[tuple[str, str, str, str]]:
    """Yield each field as SQL: its name, its value on either side, and the condition that they are equal.

    If a CRM column beside the key holds Enerflo's id, that id is a field as well. Its pair holds the value by
    which rows are matched, whatever the type of the column is.
    """
    links = {join.crm_name for join in comparison.links}
    for field in comparison.fields:
        if field.name not in links:
            yield field.name, field.enerflo.shown, field.crm.shown, field.equal
    for n, join in enumerate(comparison.joins, 1):
        if join.crm_name in links:
            yield join.crm_name, f"to_jsonb(o.j{n})", f"to_jsonb(o.j{n})", "true"
