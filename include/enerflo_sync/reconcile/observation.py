"""What was last seen of the CRM's rows, so that a change is found whatever time its row tells.

The CRM's tables are often copies: a row arrives minutes or a day after the time in its ``updated_at``, and
imports date rows back. Nothing is concluded from the CRM's own times, unless the mapping says so, nor from
counts. Each reconciliation and each plan looks at the CRM's rows, in one of three ways:

- By transaction, which is the usual one. PostgreSQL keeps in each row which transaction wrote it (``xmin``).
  A look remembers the first transaction whose rows it could not see; what this or a later one wrote has
  moved since. ``sync.crm_rows`` holds a hash of each row that moved within a month, and when it was first
  seen so.
- By kept hashes, where rows have no transaction (views, foreign tables) or change unwritten. Then
  ``sync.crm_rows`` holds all rows, and is compared with them as a set. A row whose hash is new was seen now,
  and a kept row that is not among the CRM's rows any more is gone.
- By a column that the mapping names (``arrived_at``, ``updated_at_set_at_commit``), whose index saves looking
  at every row. Rows of transactions that were open at the last look are found by transaction beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from string import Template
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.warehouse.statistics import note_growth

# The name of the lock under which rows are observed (enerflo_sync.warehouse.alone).
OBSERVATION = "observation of the CRM"
# Rows that are gone are remembered for so long. A job that looked before has to look at all rows.
REMEMBERED = timedelta(days=30)
_LOOKER = "observation"

# A join of all rows by hashes: with the usual 4 MB it would go over the disk.
_ROOM = "set local work_mem = '128MB'"
_USUAL_ROOM = "reset work_mem"


class Look(msgspec.Struct, frozen=True):
    """How far a job has seen one CRM table.

    :param from_xid: this transaction and later ones may have written what could not be seen; None: none had.
    :param signature: digest of what the hashes cover.
    :param unchanged_since: rows that moved later than this are in ``sync.crm_rows``; None where all rows are.
    """

    seen_until: datetime
    signature: str
    from_xid: int | None = None
    unchanged_since: datetime | None = None


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

# Rows that nothing proves to be unique are seen together.
_ROWS_TOGETHER = Template("""select identity, link, max(changed_at) as changed_at,
    hash_numeric_extended(sum(row_hash), count(*)) as row_hash from ($rows) s group by identity, link""")

# An age counts backwards from now, and is less than 0 for what was written beside this transaction. Ids are
# 32 bits, which a cluster uses again and again: a row that is very old may count as written since. All rows
# do where too many ids went by to tell, or fewer than none, as in a copy of the database on another server.
WRITTEN_SINCE = """(%(crm_from_xid)s::bigint is not null and (
    age(t.xmin) between -100000000 and age((%(crm_from_xid)s::bigint & 4294967295)::text::xid)
    or (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint - %(crm_from_xid)s::bigint
        not between 0 and 2000000000)))"""

_MOVED = Template("""
/* enerflo-sync observe $name: CRM rows that were written since the last look, and say something else */
create temporary table $changed on commit drop as
select c.identity, c.row_hash, c.link, %(now)s::timestamptz as seen_at
from ($rows) c left join sync.crm_rows r
  on r.account = %(account)s and r.table_name = $table and r.identity = c.identity
where c.row_hash is distinct from r.row_hash
""")

# A row that is forgotten counts as unchanged since.
_FORGET_SEEN = """
/* enerflo-sync observe: CRM rows that moved long ago */
delete from sync.crm_rows where account = %(account)s and table_name = %(table)s and seen_at <= %(before)s
"""

_SEEN = Template("""
/* enerflo-sync observe $name: CRM rows that are new or say something else */
insert into sync.crm_rows as k (account, table_name, identity, row_hash, link, seen_at)
select distinct on (identity) %(account)s, $table, identity, row_hash, link, seen_at
from $changed where row_hash is not null
on conflict (account, table_name, identity) do update
set row_hash = excluded.row_hash, link = excluded.link, seen_at = excluded.seen_at, gone_at = null
""")

_GONE = Template("""
/* enerflo-sync observe $name: CRM rows that are gone */
update sync.crm_rows k set gone_at = %(now)s from $changed c
where c.row_hash is null and k.account = %(account)s and k.table_name = $table and k.identity = c.identity
""")

_FORGET = """
/* enerflo-sync observe: CRM rows that are gone for long */
delete from sync.crm_rows where account = %(account)s and table_name = %(table)s and gone_at < %(before)s
"""

_LOOK = sa.text("""
/* enerflo-sync observe: how far a CRM table was seen */
select seen_until, signature, from_xid, unchanged_since from sync.crm_looks
where account = :account and table_name = :table and looker = :looker
""")

_NOTE = sa.text("""
/* enerflo-sync observe: a CRM table was seen */
insert into sync.crm_looks (account, table_name, looker, seen_until, signature, from_xid, unchanged_since)
values (:account, :table, :looker, :seen_until, :signature, :from_xid, :unchanged_since)
on conflict (account, table_name, looker) do update
set seen_until = excluded.seen_until, signature = excluded.signature, from_xid = excluded.from_xid,
    unchanged_since = excluded.unchanged_since
""")

_NEXT_XID = sa.text("""
/* enerflo-sync observe: the first transaction whose rows may be out of sight */
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint
""")

# A session of a role whose activity we may not see counts as one with a transaction.
_FROM_XID = sa.text("""
/* enerflo-sync observe: transactions whose rows are out of sight */
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint
where pg_snapshot_xmin(pg_current_snapshot()) <> pg_snapshot_xmax(pg_current_snapshot()) or exists (
  select from pg_catalog.pg_stat_activity a
  where a.datname = current_database() and a.pid <> pg_backend_pid()
    and coalesce(a.backend_type, 'client backend') = 'client backend'
    and (a.state is null or a.xact_start is not null))
""")


def observe(connection: sa.Connection, comparison: Comparison, account: str, now: datetime) -> Look:
    """Bring what is known of a table's CRM rows up to now, in the caller's transaction, and return the look.

    :param connection: the caller holds :data:`OBSERVATION` alone, since before the transaction began.
    """
    if comparison.moved_by is not None:
        return Look(now, signature(comparison), connection.scalar(_FROM_XID))
    last = find_look(connection, comparison, account)
    if last is not None:
        # Two looks never share a moment: what the later one finds was not seen by the earlier.
        now = max(now, last.seen_until + timedelta(microseconds=1))
    if comparison.keeps_hashes:
        look = Look(now, signature(comparison))
        _compare_hashes(connection, comparison, account, last, look)
    else:
        look = _look_at_written(connection, comparison, account, last, now)
    note_look(connection, comparison, account, look)
    return look


def _look_at_written(
    connection: sa.Connection, comparison: Comparison, account: str, last: Look | None, now: datetime
) -> Look:
    """Store the rows that were written since the last look; none where there is no such look."""
    known = last if still_holds(last, comparison, now) else None
    since = None if known is None else known.unchanged_since
    # All that was seen is forgotten where the hashes cover something else now.
    floor = now if since is None else max(since, now - REMEMBERED)
    look = Look(now, signature(comparison), connection.scalar(_NEXT_XID), floor)
    values = {"account": account, "table": str(comparison.name), "now": now, "before": floor}
    connection.exec_driver_sql(_FORGET_SEEN, values)
    if known is not None and since is not None and _unique(comparison):
        _store_seen(connection, comparison, _MOVED, {**values, **since_look(known)}, written=WRITTEN_SINCE)
    return look


def _compare_hashes(
    connection: sa.Connection, comparison: Comparison, account: str, last: Look | None, look: Look
) -> None:
    """Store what distinguishes all rows of the CRM from those that are kept."""
    values: dict[str, Any] = {
        "account": account,
        "table": str(comparison.name),
        "now": look.seen_until,
        "rehashed": last is not None and last.signature != look.signature,
        "last": None if last is None else last.seen_until,
        "before": look.seen_until - REMEMBERED,
    }
    connection.exec_driver_sql(_ROOM)
    _store_seen(connection, comparison, _CHANGED, values)
    connection.exec_driver_sql(_USUAL_ROOM)
    parts = {"name": comparison.name, "table": literal(comparison.name), "changed": _changed(comparison)}
    connection.exec_driver_sql(_GONE.substitute(parts), values)
    connection.exec_driver_sql(_FORGET, values)


def _store_seen(
    connection: sa.Connection,
    comparison: Comparison,
    changed: Template,
    values: dict[str, Any],
    written: str = "",
) -> None:
    parts = {"name": comparison.name, "table": literal(comparison.name), "changed": _changed(comparison)}
    connection.exec_driver_sql(f"drop table if exists {_changed(comparison)}")
    connection.exec_driver_sql(changed.substitute(parts, rows=_rows(comparison, written)), values)
    connection.exec_driver_sql(f"analyze {_changed(comparison)}")
    seen = connection.exec_driver_sql(_SEEN.substitute(parts), values)
    note_growth(connection, "sync.crm_rows", seen.rowcount)


def _changed(comparison: Comparison) -> str:
    return f"pg_temp.changed_{comparison.name}"


def find_look(
    connection: sa.Connection, comparison: Comparison, account: str, looker: str = _LOOKER
) -> Look | None:
    """Return how far a job has seen the plan's CRM table, None where it never looked."""
    names = {"account": account, "table": str(comparison.name), "looker": looker}
    row = connection.execute(_LOOK, names).first()
    return None if row is None else Look(*row)


def note_look(
    connection: sa.Connection, comparison: Comparison, account: str, look: Look, looker: str = _LOOKER
) -> None:
    """Remember how far a job has seen the plan's CRM table."""
    names = {"account": account, "table": str(comparison.name), "looker": looker}
    connection.execute(_NOTE, {**names, **msgspec.structs.asdict(look)})


def current_look(
    connection: sa.Connection, comparison: Comparison, account: str, now: datetime
) -> Look | None:
    """Return the look that the caller's transaction has without observing; None: nothing was observed yet."""
    if comparison.moved_by is not None:
        return Look(now, signature(comparison), connection.scalar(_FROM_XID))
    if not comparison.keeps_hashes:
        return Look(now, signature(comparison), connection.scalar(_NEXT_XID))
    return find_look(connection, comparison, account)


def still_holds(look: Look | None, comparison: Comparison, now: datetime) -> bool:
    """Return whether all that moved since ``look`` can be told."""
    return look is not None and look.signature == signature(comparison) and look.seen_until > now - REMEMBERED


def since_look(look: Look) -> dict[str, Any]:
    """Return the parameters by which statements find what moved since a look."""
    return {"crm_since": look.seen_until, "crm_from_xid": look.from_xid}


# A row may have changed since it was seen: what it says now was seen only if its hash is the kept one.
_SEEN_AT = Template("""(select max(r.seen_at) from $row sync.crm_rows r
    where r.account = %(account)s and r.table_name = $table and r.gone_at is null
      and r.identity = $identity and r.row_hash = $hash$same)""")

# A row that is not kept either did not move since the first look, or moved since the last one.
_SEEN_OR_UNCHANGED = Template("""(select max(case when r.row_hash = $hash then r.seen_at
        when r.row_hash is null and not ($written) then l.unchanged_since end)
    from $row sync.crm_looks l left join sync.crm_rows r
      on r.account = l.account and r.table_name = l.table_name and r.identity = $identity
    where l.account = %(account)s and l.table_name = $table and l.looker = '$looker'$same)""")


def seen_at(comparison: Comparison, alias: str) -> str:
    """Return when the present content of a CRM row was first seen; null where that is not known.

    It is known of single rows that did not change since the last look; not where a column finds changed rows.
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
    """Return the digest of what a row's hash covers, and how the table's changed rows are found."""
    types = [f"{name} {comparison.live.columns[name].type}" for name in _hashed_columns(comparison)]
    text = ";".join([str(comparison.moved_by), str(comparison.live.heap), _rows(comparison), *types])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _rows(comparison: Comparison, written: str = "") -> str:
    """Return the select of all CRM rows, or of those that ``written`` chooses."""
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
    """Return the columns that are compared, or that decide what becomes of a row."""
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
    """Return what tells a row from all others: a whole number as it is, and anything else as a hash."""
    one_number = comparison.mapping.joined_by_key and [join.type for join in comparison.joins] == ["bigint"]
    if one_number and not comparison.may_be_loose:
        # In the order of both tables: the join of a million rows takes a third less time.
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
    # By the types' own hash functions: as text, a value would depend on the session's zone and date style.
    return f"hash_record_extended(row({', '.join(values)}), 0)"


def _hashable(comparison: Comparison, column: str, value: str) -> str:
    """Return a column's value in a form in which texts are alike letter by letter, or not at all."""
    match comparison.live.columns[column].kind:
        case Kind.TEXT:
            return f'{value}::text collate "C"'
        case Kind.JSON | Kind.OTHER:
            return f"{value}::text"
        case _:
            return value
