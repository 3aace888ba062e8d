"""``sync.own_writes``: the modification times that our own writes gave to records.

Our write of one field sets the modification time of the whole CRM row or of the whole record at Enerflo. To
tell which side a person changed later, the last modification time before our write is needed
(:mod:`enerflo_sync.reconcile.changed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from string import Template
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from enerflo_sync.agreed.written import of_key
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.changed import needs_own_times, record_digest, times_record
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.observation import seen_at

_OLD_TIMES = Template("""
/* enerflo-sync apply $name: when the rows were changed before */
create temporary table $into on commit drop as
select p.key, $changed as changed_at,
       case when $changed is not null then least($changed, $seen_at, now()) end as others_at
from (
  select distinct key from sync.plan_changes
  where account = %(account)s and plan_hash = %(plan_hash)s and table_name = $table and op = 'update'
    and direction = 'to_crm' and position between %(first)s and %(until)s
) p join $crm t on $on $lock
""")

# A row whose modification time did not change was not written, or its column stores only the day.
_LEFT = Template("""
/* enerflo-sync apply $name: what our writes left as the rows' time of change */
insert into sync.own_writes (account, side, table_name, key, others_at, over_at, left_at)
select distinct on (b.key) %(account)s, 'crm', $table, b.key,
       case when w.left_at = b.changed_at then w.others_at else b.others_at end,
       b.changed_at, $changed
from $into b join $crm t on $on
left join lateral (
  select w.left_at, w.others_at from sync.own_writes w
  where w.account = %(account)s and w.side = 'crm' and w.table_name in ($tables) and w.key = b.key
    and w.left_at = b.changed_at
  order by w.others_at nulls first limit 1
) w on true
where $changed is distinct from b.changed_at
on conflict (account, side, table_name, key) do update
set others_at = excluded.others_at, over_at = excluded.over_at, left_at = excluded.left_at
""")

_MADE = Template("""
/* enerflo-sync apply $name: rows that nobody but we has written */
insert into sync.own_writes (account, side, table_name, key, others_at, left_at)
select distinct on (p.key) %(account)s, 'crm', $table, p.key, null::timestamptz, $changed
from sync.plan_changes p join $crm t on $on
where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = $table and p.op = 'insert'
  and p.direction = 'to_crm' and p.position between %(first)s and %(until)s and p.state = 'applied'
  and p.done_at = %(now)s
on conflict (account, side, table_name, key) do update
set others_at = excluded.others_at, over_at = null, left_at = excluded.left_at
""")

# The row has the value that was to be written, but nobody read its time before and after the write. So the
# time may come from that write, ours or a tool's, or from a person's edit.
_UNSEEN = Template("""
/* enerflo-sync apply $name: rows that were written and not read back */
insert into sync.own_writes (account, side, table_name, key, others_at, left_at)
select distinct on (w.key) %(account)s, 'crm', $table, w.key, '-infinity'::timestamptz, $changed
from $looked l join sync.crm_changes w on w.account = %(account)s and w.number = l.number
join $crm t on $on
where l.seen = 'arrived' and w.op = 'update' and $changed is not null$was_written
  and not exists (select from sync.own_writes o where o.account = w.account and o.side = 'crm'
    and o.table_name in ($tables) and o.key = w.key and o.left_at = $changed)
on conflict (account, side, table_name, key) do update
set others_at = excluded.others_at, over_at = null, left_at = excluded.left_at
""")

# If an earlier request was never read back, the time noted before it counts: the present time may already be
# the result of that request, and is noted as well.
_SENDING = Template("""
/* enerflo-sync push: when a record of $mirror was changed before our request */
insert into sync.own_writes as w (account, side, table_name, key, sent_others_at)
select :account, 'enerflo', '$mirror', jsonb_build_object('$id', e.$id), e.updated_at
from enerflo.$mirror e where e.account = :account and e.$id = any(:ids)
on conflict (account, side, table_name, key) do update
set over_at = case when w.sent_others_at is not null then greatest(w.over_at, excluded.sent_others_at)
      when w.left_at = excluded.sent_others_at then w.over_at end,
    sent_others_at = coalesce(w.sent_others_at,
      case when w.left_at = excluded.sent_others_at then w.others_at else excluded.sent_others_at end)
""")
# The request had no effect, so the time that the record has now is not ours. It may be that of an earlier
# request, of which ``over_at`` tells then.
_UNSENT = Template("""
/* enerflo-sync push: a request of a record of $mirror that had no effect */
update sync.own_writes w set sent_others_at = null from enerflo.$mirror e
where w.account = :account and w.side = 'enerflo' and w.table_name = '$mirror'
  and w.key = jsonb_build_object('$id', e.$id) and e.account = w.account and e.$id = any(:ids)
  and (w.over_at is null or w.left_at = e.updated_at)
""")
_WRITTEN = Template("""
/* enerflo-sync push: what our write left as a record's time of change in $mirror */
insert into sync.own_writes as w (account, side, table_name, key, left_at, left_seen_at, left_digest)
select :account, 'enerflo', '$mirror', jsonb_build_object('$id', e.$id), e.updated_at, e.observed_at, $digest
from enerflo.$mirror e where e.account = :account and e.$id = any(:ids)
on conflict (account, side, table_name, key) do update
set left_at = excluded.left_at, left_seen_at = excluded.left_seen_at, left_digest = excluded.left_digest,
    others_at = coalesce(w.sent_others_at, w.others_at), sent_others_at = null
""")


@contextmanager
def noting_updates(
    connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any], first: int, until: int
) -> Iterator[None]:
    """Store the modification times that the updates inside the ``with`` block give to CRM rows.

    :param values: ``account`` and ``plan_hash``.
    :param first: position of the first change.
    :param until: position of the last change.
    """
    if not needs_own_times(comparison):
        yield
        return
    into = f"pg_temp.written_before_{comparison.name}_{first}"
    parts = _parts(comparison, into=into, lock="" if comparison.live.view else "for update of t")
    named = {**values, "first": first, "until": until}
    connection.exec_driver_sql(f"drop table if exists {into}")
    connection.exec_driver_sql(_OLD_TIMES.substitute(parts, on=of_key(comparison, "p.key")), named)
    yield
    connection.exec_driver_sql(_LEFT.substitute(parts, on=of_key(comparison, "b.key")), named)


def note_made(
    connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any], first: int, until: int
) -> None:
    """Store that only we have written the CRM rows that a plan inserted; ``values`` must have ``now``."""
    if needs_own_times(comparison):
        statement = _MADE.substitute(_parts(comparison), on=of_key(comparison, "p.key"))
        connection.exec_driver_sql(statement, {**values, "first": first, "until": until})


def _parts(comparison: Comparison, **others: str) -> dict[str, str]:
    changed = comparison.changed_at("t")
    named = {
        "name": comparison.name,
        "table": literal(comparison.name),
        "tables": comparison.names_of_table,
        "crm": comparison.crm_rows,
        "changed": changed,
    }
    return {**named, "seen_at": seen_at(comparison, "t"), **others}


@contextmanager
def noting_rows(
    connection: sa.Connection, comparison: Comparison, account: str, keys: Sequence[str]
) -> Iterator[None]:
    """Store the modification times that writes inside the ``with`` block give to the CRM rows of these keys.

    :param keys: keys of the rows, as JSON.
    """
    if not keys or not needs_own_times(comparison):
        yield
        return
    into = f"pg_temp.written_before_{comparison.name}"
    parts = _parts(comparison, into=into)
    changed = comparison.changed_at("t")
    others = f"case when {changed} is not null then least({changed}, {seen_at(comparison, 't')}, now()) end"
    times = f"{changed} as changed_at, {others} as others_at"
    of_keys = (
        f"from unnest(%(keys)s::jsonb[]) p(key) join {comparison.crm_rows} t on {of_key(comparison, 'p.key')}"
    )
    named = {"account": account, "keys": list(keys)}
    connection.exec_driver_sql(f"drop table if exists {into}")
    connection.exec_driver_sql(
        f"/* enerflo-sync apply {comparison.name}: when rows were changed before */"
        f" create temporary table {into} on commit drop as select p.key, {times} {of_keys}",
        named,
    )
    yield
    connection.exec_driver_sql(_LEFT.substitute(parts, on=of_key(comparison, "b.key")), named)


def note_unseen(connection: sa.Connection, comparison: Comparison, account: str, looked: str) -> None:
    """Store that the origin of a row's time is unknown, for written rows that nobody read back.

    :param looked: the temporary table of changes that were handed over, with ``number`` and ``seen``.
    """
    if needs_own_times(comparison):
        # Of our own writes it is known whether they were made. A value that we did not write is a person's.
        written = " and w.acknowledged_at is not null" if comparison.mapping.is_carried else ""
        parts = _parts(comparison, looked=looked, was_written=written)
        statement = _UNSEEN.substitute(parts, on=of_key(comparison, "w.key"))
        connection.exec_driver_sql(statement, {"account": account})


def note_sending(
    connection: sa.Connection,
    account: str,
    keys: Iterable[tuple[str, Mapping[str, Any]]],
) -> None:
    """Store the modification times of Enerflo's records before our request is sent.

    The caller commits them together with the note that the request is sent.

    :param keys: tables of the mapping, each with the mirror key of one of its records.
    """
    _note(connection, account, keys, _SENDING)


def note_unsent(
    connection: sa.Connection, account: str, keys: Iterable[tuple[str, Mapping[str, Any]]]
) -> None:
    """Store that a request certainly had no effect, so that no time of its record may come from it."""
    _note(connection, account, keys, _UNSENT)


def note_written(
    connection: sa.Connection, account: str, keys: Iterable[tuple[str, Mapping[str, Any]]]
) -> None:
    """Store the modification times that our write gave to records of Enerflo, after they were read back."""
    _note(connection, account, keys, _WRITTEN)


def _note(
    connection: sa.Connection,
    account: str,
    keys: Iterable[tuple[str, Mapping[str, Any]]],
    statement: Template,
) -> None:
    ids: dict[tuple[str, str], set[int]] = {}
    for kind, key in keys:
        record = times_record(kind)
        if record is not None and key.get(record[1]) is not None:
            ids.setdefault(record, set()).add(int(key[record[1]]))
    for (mirror, name), some in sorted(ids.items()):
        query = sa.text(statement.substitute(mirror=mirror, id=name, digest=record_digest(mirror)))
        query = query.bindparams(sa.bindparam("ids", type_=ARRAY(sa.BigInteger)))
        connection.execute(query, {"account": account, "ids": sorted(some)})
