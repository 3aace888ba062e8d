"""When a job last saw each CRM row, so that changes are found whatever the row's own time says.

The CRM's tables are often copies: a row can arrive minutes or a day after the time in its ``updated_at``, and
imports can set that time back. So neither the CRM's own times (unless the mapping trusts them) nor counts
show what changed. Each reconciliation and each plan looks at the CRM's rows in one of three ways:
- By transaction, the usual way. PostgreSQL stores in each row the transaction that wrote it (``xmin``). A
look
  remembers the first transaction whose rows it could not see; rows of this or a later transaction have
changed
  since. ``sync.crm_rows`` holds a hash of each row that changed within a month, and when that hash was first
  seen.
- By kept hashes, where rows have no transaction (views, foreign tables) or change without being written. Then
  ``sync.crm_rows`` holds all rows, and each look compares it with the CRM's rows as a set. A row with a new
  hash changed; a stored row that the CRM does not have any more was deleted.
- By a column that the mapping names (``arrived_at``, ``updated_at_set_at_commit``), whose index saves reading
  all rows. Rows of transactions that were open at the last look are found by their transaction as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from string import Template
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.looks import Look, find_looks, note_looks, since_look
from enerflo_sync.warehouse.statistics import note_growth

# The name of the lock under which rows are observed (enerflo_sync.warehouse.alone).
OBSERVATION = "observation of the CRM"
# Deleted rows are remembered for this long. A job whose last look is older has to read all rows.
REMEMBERED = timedelta(days=30)
_LOOKER = "observation"

# The hash join of all rows needs more than the usual 4 MB of memory; it would spill to disk.
_ROOM = "set local work_mem = '128MB'"
_USUAL_ROOM = "reset work_mem"


_CHANGED = Template("""
/* enerflo-sync observe $name: CRM rows that are not as they were last seen */
create temporary table $changed on commit drop as
select coalesce(c.identity, r.identity) as identity, c.row_hash, c.link,
       case when %(rehashed)s and r.identity is not null and coalesce(c.changed_at <= %(last)s, true)
         then r.seen_at else %(now)s::timestamptz end as seen_at
from ($rows) c full join (
  select r.identity, r.row_hash, r.seen_at from sync.crm_rows r
  where r.account = %(account)s and r.table_name = $table and r.gone_at is null
) r on r.identity = c.identity
where c.row_hash is distinct from r.row_hash
""")

_ROWS = Template(
    "select $identity as identity, $hash as row_hash, $link as link, $changed_at as changed_at from $crm t"
)

# Rows that share an identity, since nothing proves it unique, are hashed together.
_ROWS_TOGETHER = Template("""select identity, link, max(changed_at) as changed_at,
    hash_numeric_extended(sum(row_hash), count(*)) as row_hash from ($rows) s group by identity, link""")

# An age counts backwards from now, and is below 0 for rows written beside this transaction. Ids have 32 bits,
# and a cluster reuses them: a very old row may count as written since. All rows count as written if too many
# ids passed to tell, or fewer than none, as in a copy of the database on another server.
WRITTEN_SINCE = """(%(crm_from_xid)s::bigint is not null and (
    age(t.xmin) between -100000000 and age((%(crm_from_xid)s::bigint & 4294967295)::text::xid)
    or (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint - %(crm_from_xid)s::bigint
        not between 0 and 2000000000)))"""

_ANEW = """on conflict (account, table_name, identity) do update
set row_hash = excluded.row_hash, link = excluded.link, seen_at = excluded.seen_at, gone_at = null
"""

_MOVED = Template(f"""
/* enerflo-sync observe $name: CRM rows that were written since the last look, and say something else */
insert into sync.crm_rows as k (account, table_name, identity, row_hash, link, seen_at)
select distinct on (c.identity) %(account)s, $table, c.identity, c.row_hash, c.link, %(now)s::timestamptz
from ($rows) c left join sync.crm_rows r
  on r.account = %(account)s and r.table_name = $table and r.identity = c.identity
where c.row_hash is distinct from r.row_hash
{_ANEW}""")  # noqa: S608 - a constant

# A row that is removed from the table counts as unchanged.
_FORGET_SEEN = """
/* enerflo-sync observe: CRM rows that moved long ago */
delete from sync.crm_rows where account = %(account)s and table_name = %(table)s and seen_at <= %(before)s
"""

_SEEN = Template(f"""
/* enerflo-sync observe $name: CRM rows that are new or say something else */
insert into sync.crm_rows as k (account, table_name, identity, row_hash, link, seen_at)
select distinct on (identity) %(account)s, $table, identity, row_hash, link, seen_at
from $changed where row_hash is not null
{_ANEW}""")  # noqa: S608 - a constant

_GONE = Template("""
/* enerflo-sync observe $name: CRM rows that are gone */
update sync.crm_rows k set gone_at = %(now)s from $changed c
where c.row_hash is null and k.account = %(account)s and k.table_name = $table and k.identity = c.identity
""")

_FORGET = """
/* enerflo-sync observe: CRM rows that are gone for long */
delete from sync.crm_rows where account = %(account)s and table_name = %(table)s and gone_at < %(before)s
"""

_NEXT_XID = sa.text("""
/* enerflo-sync observe: the first transaction whose rows may be out of sight */
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint
""")

# If the role may not see a session's activity, the session counts as one with an open transaction.
_FROM_XID = sa.text("""
/* enerflo-sync observe: transactions whose rows are out of sight */
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint
where pg_snapshot_xmin(pg_current_snapshot()) <> pg_snapshot_xmax(pg_current_snapshot()) or exists (
  select from pg_catalog.pg_stat_activity a
  where a.datname = current_database() and a.pid <> pg_backend_pid()
    and coalesce(a.backend_type, 'client backend') = 'client backend'
    and (a.state is null or a.xact_start is not null))
""")


def observe(
    connection: sa.Connection, comparisons: Iterable[Comparison], account: str, now: datetime
) -> dict[str, Look]:
    """Bring what is known of the tables' CRM rows up to date, and return the look at each table.

    Runs in the caller's transaction, of which all looks share the snapshot.

    :param connection: the caller holds :data:`OBSERVATION` alone, since before the transaction began.
    """
    by_column, others = _by_column(connection, comparisons, now)
    before = find_looks(connection, account, {one.name: _LOOKER for one in others})
    unseen_from = _unseen_from(connection, others)
    looks = {}
    for comparison in others:
        last = before.get(comparison.name)
        # Each look has its own moment, so that a later look's changes never seem to be part of an earlier
        # look.
        moment = now if last is None else max(now, last.seen_until + timedelta(microseconds=1))
        look = Look(moment, signature(comparison), unseen_from[comparison.name])
        if comparison.keeps_hashes:
            _compare_hashes(connection, comparison, account, last, look)
        else:
            look = _look_at_written(connection, comparison, account, last, look)
        looks[comparison.name] = look
    note_looks(connection, account, looks, dict.fromkeys(looks, _LOOKER))
    return by_column | looks


def _look_at_written(
    connection: sa.Connection, comparison: Comparison, account: str, last: Look | None, look: Look
) -> Look:
    """Store the rows that were written since the last look; none if there is no look to start from."""
    now = look.seen_until
    known = last if still_holds(last, comparison, now) else None
    since = None if known is None else known.unchanged_since
    # If the hashes cover other columns now, the stored hashes are useless and are deleted.
    floor = now if since is None else max(since, now - REMEMBERED)
    values = {"account": account, "table": str(comparison.name), "now": now, "before": floor}
    connection.exec_driver_sql(_FORGET_SEEN, values)
    if known is not None and since is not None and _unique(comparison):
        parts = {"name": comparison.name, "table": literal(comparison.name)}
        moved = _MOVED.substitute(parts, rows=_rows(comparison, WRITTEN_SINCE))
        seen = connection.exec_driver_sql(moved, {**values, **since_look(known)})
        note_growth(connection, "sync.crm_rows", seen.rowcount)
    return msgspec.structs.replace(look, unchanged_since=floor)


def _compare_hashes(
    connection: sa.Connection, comparison: Comparison, account: str, last: Look | None, look: Look
) -> None:
    """Store the differences between the CRM's rows and the kept hashes."""
    values: dict[str, Any] = {
        "account": account,
        "table": str(comparison.name),
        "now": look.seen_until,
        "rehashed": last is not None and last.signature != look.signature,
        "last": None if last is None else last.seen_until,
        "before": look.seen_until - REMEMBERED,
    }
    parts = {"name": comparison.name, "table": literal(comparison.name), "changed": _changed(comparison)}
    connection.exec_driver_sql(_ROOM)
    connection.exec_driver_sql(f"drop table if exists {_changed(comparison)}")
    connection.exec_driver_sql(_CHANGED.substitute(parts, rows=_rows(comparison)), values)
    connection.exec_driver_sql(f"analyze {_changed(comparison)}")
    seen = connection.exec_driver_sql(_SEEN.substitute(parts), values)
    note_growth(connection, "sync.crm_rows", seen.rowcount)
    connection.exec_driver_sql(_USUAL_ROOM)
    connection.exec_driver_sql(_GONE.substitute(parts), values)
    connection.exec_driver_sql(_FORGET, values)


def _changed(comparison: Comparison) -> str:
    return f"pg_temp.changed_{comparison.name}"


def current_looks(
    connection: sa.Connection, comparisons: Iterable[Comparison], account: str, now: datetime
) -> dict[str, Look]:
    """Return the looks that the caller has without observing, but for tables that were not observed yet.

    Whatever is written from now on counts as unseen, so the caller reads the tables after this.
    """
    by_column, others = _by_column(connection, comparisons, now)
    unseen_from = _unseen_from(connection, others)
    observed = find_looks(connection, account, {one.name: _LOOKER for one in others if one.keeps_hashes})
    written = {
        one.name: Look(now, signature(one), unseen_from[one.name]) for one in others if not one.keeps_hashes
    }
    return by_column | observed | written


def _by_column(
    connection: sa.Connection, comparisons: Iterable[Comparison], now: datetime
) -> tuple[dict[str, Look], list[Comparison]]:
    """Return the looks at tables of which a column finds changed rows, and the other tables."""
    looks, others = {}, []
    for comparison in comparisons:
        if comparison.moved_by is None:
            others.append(comparison)
        else:
            looks[comparison.name] = Look(now, signature(comparison), connection.scalar(_FROM_XID))
    return looks, others


def _unseen_from(connection: sa.Connection, comparisons: Sequence[Comparison]) -> dict[str, int | None]:
    """Return the first transaction whose rows may be out of sight; None where rows have no transaction."""
    kept = all(one.keeps_hashes for one in comparisons)
    xid = None if kept else connection.scalar(_NEXT_XID)
    return {one.name: None if one.keeps_hashes else xid for one in comparisons}


def still_holds(look: Look | None, comparison: Comparison, now: datetime) -> bool:
    """Return whether all changes since ``look`` can be found."""
    return look is not None and look.signature == signature(comparison) and look.seen_until > now - REMEMBERED


# A row may have changed since the last look: its content was seen before only if its hash is the stored one.
_SEEN_AT = Template("""(select max(r.seen_at) from $row sync.crm_rows r
    where r.account = %(account)s and r.table_name = $table and r.gone_at is null
      and r.identity = $identity and r.row_hash = $hash$same)""")

# A row that is not stored either did not change since the first look, or changed since the last look.
_SEEN_OR_UNCHANGED = Template("""(select max(case when r.row_hash = $hash then r.seen_at
        when r.row_hash is null and not ($written) then l.unchanged_since end)
    from $row sync.crm_looks l left join sync.crm_rows r
      on r.account = l.account and r.table_name = l.table_name and r.identity = $identity
    where l.account = %(account)s and l.table_name = $table and l.looker = '$looker'$same)""")


def seen_at(comparison: Comparison, alias: str) -> str:
    """Return when the present content of a CRM row was first seen; null if nobody knows.

    It is known of a single row that did not change since the last look, unless a column finds changed rows.
    ``alias`` has the columns ``k1…`` of ``mismatched``, or is ``t``, a row of the CRM's table. Takes
    ``account``.
    """
    if comparison.moved_by is not None or not _unique(comparison):
        return "null::timestamptz"
    names = comparison.mapping.key_columns
    keys = [f"t.{quoted(name)}" for name in names]
    of_row = alias != "t"
    same = "".join(f" and {key} = {alias}.k{n}" for n, key in enumerate(keys, 1)) if of_row else ""
    template = _SEEN_AT if comparison.keeps_hashes else _SEEN_OR_UNCHANGED
    return template.substitute(
        row=f"{comparison.crm} t cross join" if of_row else "",
        table=literal(comparison.name),
        identity=_identity(comparison, keys, _joins(comparison)),
        hash=_row_hash(comparison),
        same=same,
        looker=_LOOKER,
        written=WRITTEN_SINCE.replace("%(crm_from_xid)s::bigint", "l.from_xid"),
    )


def signature(comparison: Comparison) -> str:
    """Return the digest of what a row's hash covers and of how the table's changed rows are found."""
    types = [f"{name} {comparison.live.columns[name].type}" for name in _hashed_columns(comparison)]
    text = ";".join([str(comparison.moved_by), str(comparison.live.heap), _rows(comparison), *types])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _rows(comparison: Comparison, written: str = "") -> str:
    """Return the select of all CRM rows, or of those that meet the condition ``written``."""
    joins = _joins(comparison)
    rows = _ROWS.substitute(
        identity=_identity(
            comparison, [f"t.{quoted(name)}" for name in comparison.mapping.key_columns], joins
        ),
        hash=_row_hash(comparison),
        link=f"array[{', '.join(f'{join}::text' for join in joins)}]",
        changed_at=comparison.changed_at("t"),
        crm=comparison.crm,
    ) + (f" where {written}" if written else "")
    return rows if _unique(comparison) else _ROWS_TOGETHER.substitute(rows=rows)


def _unique(comparison: Comparison) -> bool:
    keys = comparison.mapping.key_columns
    return comparison.live.unique_by(keys) and all(comparison.live.columns[name].not_null for name in keys)


def _joins(comparison: Comparison) -> list[str]:
    return [f"({join.crm})::{join.type}" for join in comparison.joins]


def _row_hash(comparison: Comparison) -> str:
    values = [_hashable(comparison, name, f"t.{quoted(name)}") for name in _hashed_columns(comparison)]
    return _hash(
        values if comparison.mapping.condition is None else [*values, f"{comparison.inside('t')}::text"]
    )


def _hashed_columns(comparison: Comparison) -> list[str]:
    """Return the columns that are compared, or that decide whether a row counts."""
    mapping = comparison.mapping
    named = [
        *mapping.key_columns,
        *mapping.join_columns,
        *mapping.fields,
        *([comparison.updated_at] if comparison.updated_at else []),
        *mapping.deleted_when,
        *mapping.create_when,
        *mapping.adopt,
    ]
    return [name for name in dict.fromkeys(named) if name in comparison.live.columns]


def _identity(comparison: Comparison, keys: Sequence[str], joins: Sequence[str]) -> str:
    """Return what identifies a row: a whole number as it is, any other key as a hash."""
    one_number = comparison.mapping.joined_by_key and [join.type for join in comparison.joins] == ["bigint"]
    if one_number and not comparison.may_be_loose:
        # With the order of both tables, the join of a million rows takes a third less time.
        return joins[0]
    named = zip(comparison.mapping.key_columns, keys, strict=True)
    typed = zip(comparison.joins, joins, strict=True)
    return _hash(
        [
            *(_hashable(comparison, name, key) for name, key in named),
            *(f'{value} collate "C"' if join.type == "text" else value for join, value in typed),
        ]
    )


def _hash(values: Any) -> str:
    # Hashed by the types' own functions: the text of a value depends on the session's zone and date style.
    return f"hash_record_extended(row({', '.join(values)}), 0)"


def _hashable(comparison: Comparison, column: str, value: str) -> str:
    """Return a column's value in a form in which texts are equal only if all letters are."""
    match comparison.live.columns[column].kind:
        case Kind.TEXT:
            return f'{value}::text collate "C"'
        case Kind.JSON | Kind.OTHER:
            return f"{value}::text"
        case _:
            return value
