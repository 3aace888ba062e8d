"""What an incremental run has to compare so that its result is the one of a full run.

A difference can appear or vanish only where a row changed, and a stored difference can get another cause. So
the wanted keys are:

- mirror rows that were observed or deleted since the previous run, with a lookback for transactions that were
  open then;
- CRM rows that changed or vanished since then (:mod:`enerflo_sync.reconcile.observation`);
- keys that differed in the previous run, unless the difference keeps its cause
  (:mod:`enerflo_sync.reconcile.carried_over`).

Unless hashes of all CRM rows are kept, a deletion in the CRM leaves no trace. The run notices it because the
digests of the remaining keys of both sides then differ, and compares the keys themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from string import Template
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.keys import fitting
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.carried_over import can_carry, lasting_causes, one_sided_keys, rejudged_keys
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.counts import Sizes
from enerflo_sync.reconcile.looks import Look, since_look
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side
from enerflo_sync.reconcile.observation import WRITTEN_SINCE as _WRITTEN_SINCE
from enerflo_sync.reconcile.wide import install_moved
from enerflo_sync.warehouse.set_back import RECONCILED, is_noted

# A job that has been writing for longer than this is assumed to be dead.
LONGEST_RUN = timedelta(days=1)


@dataclass(frozen=True)
class Previous:
    """The previous reconciliation, whose result an incremental run updates."""

    reconciliation_id: str
    compared_until: datetime
    since: datetime
    looks: Mapping[str, Look]


@dataclass(frozen=True)
class Basis:
    """The previous reconciliation to update, or the reason why everything is compared instead."""

    previous: Previous | None
    reason: str = ""


_LATEST = sa.text("""
/* enerflo-sync reconcile: the run that an incremental one stands on */
select r.reconciliation_id, r.compared_until, r.config_hash, r.differences, r.report->>'live' as live,
       r.summary is null as of_older_version,
       r.report->'looks' as looks,
       (select count(*) from sync.differences d
        where d.account = r.account and d.reconciliation_id = r.reconciliation_id) as kept
from sync.reconciliations r
where r.account = :account and r.reconciliation_id <> :reconciliation_id and r.finished_at is not null
order by r.compared_until desc, r.started_at desc limit 1
""")

# A job stamps rows with the time at which it saw them, which can be long before the job's commit.
_OPEN_RUNS = sa.text("""
/* enerflo-sync reconcile: jobs that were writing at that time */
select min(started_at) from sync.runs
where account = :account and started_at > :earliest and started_at < :until
  and (finished_at is null or finished_at >= :until)
""")


def find_basis(
    connection: sa.Connection,
    account: str,
    reconciliation_id: str,
    *,
    config_hash: str,
    live: str,
    lookback_minutes: int,
) -> Basis:
    """Return the newest finished reconciliation if this run can update it, else the reason why not.

    :param live: digest of the live column types. With other types the values compare otherwise.
    """
    row = connection.execute(_LATEST, {"account": account, "reconciliation_id": reconciliation_id}).first()
    if row is None:
        return Basis(None, "Compared in full: this is the first reconciliation.")
    if is_noted(connection, account, RECONCILED):
        return Basis(None, "Compared in full: the database's clock was set back since the last one.")
    if row.of_older_version:
        return Basis(None, "Compared in full: the last reconciliation was made by an older version.")
    if row.config_hash != config_hash:
        return Basis(None, "Compared in full: the mapping changed since the last reconciliation.")
    if row.live != live:
        return Basis(None, "Compared in full: the CRM tables' columns changed since the last reconciliation.")
    if row.kept != row.differences:
        return Basis(None, "Compared in full: the last reconciliation's differences are no longer stored.")
    until = row.compared_until
    since = looking_back(connection, account, until, lookback_minutes)
    looks = msgspec.convert(row.looks or {}, dict[str, Look])
    return Basis(Previous(row.reconciliation_id, until, since, looks))


def looking_back(connection: sa.Connection, account: str, until: datetime, minutes: int) -> datetime:
    """Return the time since which rows may have changed unseen by a look at ``until``."""
    started = connection.scalar(
        _OPEN_RUNS, {"account": account, "until": until, "earliest": until - LONGEST_RUN}
    )
    return min(until, started or until) - timedelta(minutes=minutes)


_MOVED = Template("""
/* enerflo-sync reconcile $name: rows of the $side that moved */
create temporary table $into on commit drop as
$rows and ($moved)
""")

_WANTED = Template("""
/* enerflo-sync reconcile $name: keys to look at */
create temporary table $wanted on commit drop as
select $joins from (
  $moved
  $before
) k group by $joins order by $joins
""")

_BEFORE = Template("""
  union all
  select $keys from sync.differences d
  where d.account = %(account)s and d.reconciliation_id = %(previous)s and d.table_name = $table $which
""")

_BEFORE_BY_CRM_KEY = Template("""
  union all
  select $theirs from sync.differences d join $crm t on $on
  where d.account = %(account)s and d.reconciliation_id = %(previous)s and d.table_name = $table and $known
""")

# A stored key with an empty part finds no row, so these rows are looked at each time.
_WITHOUT_KEY = Template("""
  union all
  select $theirs from $crm t where ($empty) and $known
""")


def wanted_parameters(
    comparison: Comparison, previous: Previous, account: str, causes: dict[str, Any]
) -> dict[str, Any]:
    """Return the parameters of an incremental run's statements."""
    return {
        "account": account,
        "since": previous.since,
        **since_look(previous.looks[comparison.name]),
        "previous": previous.reconciliation_id,
        "lasting": lasting_causes(comparison),
        **causes,
    }


def moved_rows_statements(comparison: Comparison) -> list[str]:
    """Return the statements that copy the rows that changed; they take :func:`wanted_parameters`.

    There is one for the CRM's side only if the rows themselves show that they changed.
    """
    rows = {"mirror": mirror_side(comparison)}
    moved = {"mirror": _mirror_moved(comparison)}
    if not comparison.keeps_hashes:
        rows["crm"] = f"{crm_side(comparison)} where {comparison.crm_key_known}"
        moved["crm"] = _crm_moved(comparison)
    return [
        _MOVED.substitute(
            name=comparison.name, side=side, into=comparison.moved(side), rows=rows[side], moved=moved[side]
        )
        for side in rows
    ]


def wanted_statement(comparison: Comparison) -> str:
    """Return the statement that collects the wanted join keys; takes :func:`wanted_parameters`.

    It reads the changed rows from the tables that :func:`moved_rows_statements` made.
    """
    keys = ", ".join(f"j{n}::{j.type} as j{n}" for n, j in enumerate(comparison.joins, 1))
    return _WANTED.substitute(
        name=comparison.name,
        wanted=comparison.wanted,
        joins=comparison.join_names(),
        moved=" union all ".join(
            [f"select {keys} from {comparison.moved('mirror')}", *_crm_keys(comparison, keys)]  # noqa: S608
        ),
        before=rejudged_keys(comparison) if can_carry(comparison) else differing_keys(comparison),
    )


def _crm_keys(comparison: Comparison, keys: str) -> list[str]:
    """Return the selects of the join keys of changed CRM rows, deleted rows included.

    :param keys: the join key, with the column names of the tables of changed rows.
    """
    if comparison.keeps_hashes:
        return [_kept_keys(comparison)]
    found = [f"select {keys} from {comparison.moved('crm')}"]  # noqa: S608 - names of ours
    if comparison.counts("t") != "true":
        found.append(f"{_column_keys(comparison)} and not ({comparison.counts('t')})")
    return found


_KEPT_KEYS = Template("""select $links from sync.crm_rows r
  where r.account = %(account)s and r.table_name = $table and r.$time > %(crm_since)s and $known""")


def _kept_keys(comparison: Comparison) -> str:
    """Return the select of the join keys of rows that an observation saw change or vanish."""
    numbers = range(1, len(comparison.joins) + 1)
    parts = {
        "links": ", ".join(f"r.link[{n}]::{j.type} as j{n}" for n, j in enumerate(comparison.joins, 1)),
        "known": " and ".join(f"r.link[{n}] is not null" for n in numbers),
        "table": literal(comparison.name),
    }
    return " union all ".join(_KEPT_KEYS.substitute(parts, time=time) for time in ("seen_at", "gone_at"))


def _column_keys(comparison: Comparison) -> str:
    """Return the select of the join keys of rows whose column or transaction shows that they changed."""
    known, moved = comparison.crm_key_known, _crm_moved(comparison)
    return f"select {comparison.select_join('crm')} from {comparison.crm} t where {known} and ({moved})"  # noqa: S608


_KEYS_OF_MOVED = Template("""select $mine from $mirror e where $rows and ($mirror_moved)
  union all
  $theirs""")


def moved_statement(comparison: Comparison, into: str) -> str:
    """Return the statement that collects the join keys of rows that changed.

    Takes ``account``, ``since`` and :func:`since_look`.

    :param into: the temporary table to make.
    """
    moved = _KEYS_OF_MOVED.substitute(
        mine=comparison.select_join("mirror"),
        theirs=_kept_keys(comparison) if comparison.keeps_hashes else _column_keys(comparison),
        mirror=comparison.mirror,
        rows=comparison.mirror_rows,
        mirror_moved=_mirror_moved(comparison),
    )
    return _WANTED.substitute(
        name=comparison.name, wanted=into, joins=comparison.join_names(), moved=moved, before=""
    )


def differing_keys(comparison: Comparison) -> str:
    """Return ``union all select …`` of the keys that differed in a run; takes ``account``, ``previous``."""
    first = comparison.joins[0].crm_name
    before = _BEFORE.substitute(
        keys=", ".join(j.of_stored(f"d.key->>{literal(j.crm_name)}") for j in comparison.joins),
        table=literal(comparison.name),
        which="" if comparison.mapping.joined_by_key else f"and jsonb_exists(d.key, {literal(first)})",
    )
    if not comparison.mapping.joined_by_key:
        columns = {name: comparison.live.columns[name] for name in comparison.mapping.key_columns}
        before += _BEFORE_BY_CRM_KEY.substitute(
            theirs=comparison.select_join("crm"),
            crm=comparison.crm,
            known=comparison.crm_key_known,
            table=literal(comparison.name),
            on=" and ".join(
                f"t.{quoted(name)} = {fitting(live, f'd.key->>{literal(name)}')}"
                for name, live in columns.items()
            ),
        )
        if empty := [f"t.{quoted(name)} is null" for name in comparison.empty_key_columns]:
            before += _WITHOUT_KEY.substitute(
                theirs=comparison.select_join("crm"),
                crm=comparison.crm,
                empty=" or ".join(empty),
                known=comparison.crm_key_known,
            )
    return before


# Two conditions, so that PostgreSQL can use the index of each column.
_MIRROR_MOVED = "e.observed_at > %(since)s or e.deleted_at > %(since)s"


def _mirror_moved(comparison: Comparison) -> str:
    """Return the condition that a row ``e`` of the mirror changed."""
    return install_moved("e", _MIRROR_MOVED) if comparison.is_wide else _MIRROR_MOVED


# The earliest local time after ``since``: when summer time ends, clocks go back within two hours.
_SINCE_BY_CLOCK = Template("""least(%(since)s::timestamptz at time zone $zone,
    (%(since)s::timestamptz + interval '2 hours') at time zone $zone - interval '2 hours')""")


def _crm_moved(comparison: Comparison) -> str:
    """Return the condition that a CRM row changed, by its column or by its transaction.

    A row with null in the column may have changed. Rows of transactions that were open at the last look are
    found by their transaction as well.
    """
    if comparison.moved_by is None:
        return _WRITTEN_SINCE
    column = f"t.{quoted(comparison.moved_by)}"
    by_clock = _SINCE_BY_CLOCK.substitute(zone=literal(comparison.mapping.time_zone))
    match comparison.live.columns[comparison.moved_by].kind:
        case Kind.TIMESTAMPTZ:
            since = f"{column} > %(since)s"
        case Kind.TIMESTAMP:
            since = f"{column} > {by_clock}"
        case _:
            since = f"{column} >= ({by_clock})::date"
    # Rows of views and of other servers have no transaction.
    late = "" if comparison.live.view else f" or {_WRITTEN_SINCE}"
    return f"{since} or {column} is null{late}"


def _typed(expression: str, kind: str) -> str:
    return f"{expression}::text" if kind == "text" else expression


# Tombstones are removed after the join, so that the join only reads the two keys' indexes. If a live record
# may have a tombstone's key, the join excludes tombstones instead.
_GONE = Template("except select $mine from $mirror e where $rows and e.deleted_at is not null")
_LOST = Template("""
/* enerflo-sync reconcile $name: keys that stand on one side only */
create temporary table $lost on commit drop as
((
  select $either from (select $mine from $mirror e where $rows) m
  full join (select $theirs from $crm t where $known) c on $on
  where m.j1 is null or c.j1 is null
  $gone
) $before)
except select $joins from $wanted
""")


def lost_statement(comparison: Comparison) -> str:
    """Return the statement that finds keys that only one side has or had, and that are not wanted yet.

    A record that only one side had may be deleted there, too.
    """
    mirror = {
        "mine": ", ".join(f"{_typed(j.mirror, j.type)} as j{n}" for n, j in enumerate(comparison.joins, 1)),
        "mirror": comparison.mirror,
        "rows": comparison.mirror_rows
        if comparison.mirror_unique
        else f"{comparison.mirror_rows} and e.deleted_at is null",
    }
    return _LOST.substitute(
        mirror,
        name=comparison.name,
        lost=comparison.lost,
        wanted=comparison.wanted,
        joins=comparison.join_names(),
        either=", ".join(
            f"coalesce(m.j{n}, c.j{n})::{j.type} as j{n}" for n, j in enumerate(comparison.joins, 1)
        ),
        gone=_GONE.substitute(mirror) if comparison.mirror_unique else "",
        theirs=", ".join(f"{_typed(j.crm, j.type)} as j{n}" for n, j in enumerate(comparison.joins, 1)),
        crm=comparison.crm_rows,
        known=comparison.crm_key_known,
        on=comparison.on("m", "c"),
        before=one_sided_keys(comparison) if can_carry(comparison) else "",
    )


def pairs_off(sizes: Sizes, mismatched: Mapping[str, Any], unmoved: Mapping[str, Any]) -> bool:
    """Return whether the rows outside the wanted keys have the same keys on both sides.

    Such rows did not change, and both sides had them when the previous run ended, except for those known to
    be on one side only. So an inequality means that a row was deleted without a trace.

    :param mismatched: numbers of each side's rows of the wanted keys, and sums of their keys' hashes.
    :param unmoved: the same of records outside the wanted keys that are known to be on one side only.
    """
    mirror = sizes.enerflo - mismatched["in_enerflo"] - unmoved["only_enerflo"]
    crm = sizes.crm - mismatched["in_crm"] - unmoved["only_crm"]
    mine, theirs = (
        sizes.enerflo_keys - mismatched["enerflo_keys"] - unmoved["enerflo_keys"],
        sizes.crm_keys - mismatched["crm_keys"] - unmoved["crm_keys"],
    )
    return (mirror, mine) == (crm, theirs)
