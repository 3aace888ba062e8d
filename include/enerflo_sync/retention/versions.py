"""Thins old raw versions: a record's first and last version stay, and versions that a decision refers to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.crm.names import literal
from enerflo_sync.resources.registry import ALL, KINDS
from enerflo_sync.resources.resource import Resource
from enerflo_sync.retention.sweep import Gone, Scope, note

# How many records' versions are thinned in one transaction.
RECORDS = 500

_CANDIDATES = Template("""
/* enerflo-sync prune: $name with versions between their first and their last */
create temporary table prune_records on commit preserve rows as
select v.$id as id from $versions v
where v.account = :account
group by v.$id having count(*) > 2 and count(*) filter (where v.first_seen_at < :before) > 1
""")
_CITED = "create temporary table prune_cited (id bigint, at timestamptz) on commit preserve rows"
_CITE = "insert into prune_cited select s.id, s.at from ({}) s join prune_records r on r.id = s.id"

# The version of a mirror row's ``observed_at`` stays, because it shows since when Enerflo has these values.
_BY_MIRROR = Template("select t.$owner as id, t.observed_at as at from $table t where t.account = :account")
# A check of a change order reads the version of its install just before the signature.
_BY_ORDERS = """select o.install_id as id, o.signed_at - interval '1 microsecond' as at
  from enerflo.change_orders o where o.account = :account and o.signed_at is not null"""
# The versions at the times of decisions about a mapped table, and of its agreed values.
_BY_TABLE = (
    Template("""select $by_key as id, coalesce(l.observed_at, l.recorded_at) as at from sync.ledger l $pair
  where l.account = :account and l.table_name = $name"""),
    Template("""select $by_record as id, m.at from sync.plan_changes l
  cross join lateral (values (l.observed_at), (l.agreed_at)) m (at)
  where l.account = :account and l.table_name = $name and m.at is not null"""),
    Template("""select $by_record as id, l.agreed_at as at from sync.agreed l
  where l.account = :account and l.table_name = $name"""),
)
# If the CRM's key is not the record's id, the agreed pair with that key gives the record.
_PAIR = """left join lateral (
    select a.enerflo_key from sync.agreed a where a.account = l.account and a.table_name = l.table_name
      and a.key = l.key and a.enerflo_key is not null limit 1) a on true"""

_INDEX = "create index on prune_cited (id, at)"
_ANALYZE = "analyze prune_records, prune_cited"
_DROP = "drop table if exists prune_records, prune_cited"
_COUNT = "select count(*) from prune_records"

_NEXT = "select id from prune_records where id > :after order by id limit :most"
# A record whose row another job has locked is being stored; its versions are left to the next run.
_LOCK = Template("""
/* enerflo-sync prune: $name that nobody writes at this moment */
select t.$id from $table t where t.account = :account and t.$id = any(:ids)
for no key update skip locked
""")
_DOOMED = Template("""
select v.id, v.content_hash, v.at, v.size from (
  select v.$id as id, v.content_hash, v.first_seen_at as at, pg_column_size(v.raw) as size,
    min(v.first_seen_at) over (partition by v.$id) as first_at,
    min(v.first_seen_at) over (partition by v.$id order by v.first_seen_at
      groups between 1 following and unbounded following) as next_at
  from $versions v where v.account = :account and v.$id = any(:ids)
) v join $table t on t.account = :account and t.$id = v.id
where v.at < :before and v.at > v.first_at and v.next_at is not null
  and v.content_hash is distinct from t.content_hash
  and not exists (select from prune_cited c where c.id = v.id and c.at >= v.at and c.at < v.next_at)
""")
_LOOK = Template("""
/* enerflo-sync prune: versions of $name that are not needed */
select count(*) as rows, sum(size) as size, min(at) as oldest, max(at) as newest from ($doomed) d
""")
_DELETE = Template("""
/* enerflo-sync prune: versions of $name that are not needed */
with doomed as materialized ($doomed
), gone as (
  delete from $versions v using doomed d
  where v.account = :account and v.$id = d.id and v.content_hash = d.content_hash
  returning d.id, d.at, d.size
), told as (
  insert into sync.pruned_versions as p (account, table_name, record_id, seen_at, pruned_at, bound)
  select :account, :table, id, array_agg(at order by at), :at, :bound from gone group by id
  on conflict (account, table_name, record_id) do update
  set seen_at = p.seen_at || excluded.seen_at, pruned_at = excluded.pruned_at, bound = excluded.bound
)
select count(*) as rows, sum(size) as size, min(at) as oldest, max(at) as newest from gone
""")


class VersionsSweep:
    """Raw versions of all kinds of records whose versions are stored.

    :param tables: the account's mapped tables.
    """

    def __init__(self, tables: Mapping[str, TableMapping]) -> None:
        self._tables = tables

    def batches(self, connection: sa.Connection, scope: Scope) -> Iterator[Gone]:
        """Yield what each batch deleted, or would (:meth:`enerflo_sync.retention.sweep.Sweep.batches`)."""
        for resource in ALL:
            if resource.versions is not None:
                yield from self._of(connection, scope, resource)

    def _of(self, connection: sa.Connection, scope: Scope, resource: Resource) -> Iterator[Gone]:
        names = dict(resource.names)
        names["doomed"] = _DOOMED.substitute(names)
        with connection.begin():
            connection.execute(sa.text(_DROP))
            connection.execute(sa.text(_CANDIDATES.substitute(names)), scope.values)
            connection.execute(sa.text(_CITED))
            if connection.scalar(sa.text(_COUNT)):
                for source in self._citing(resource):
                    connection.execute(sa.text(_CITE.format(source)), {"account": scope.account})
                connection.execute(sa.text(_INDEX))
                connection.execute(sa.text(_ANALYZE))
        after = 0
        while True:
            with connection.begin():
                named = {"after": after, "most": RECORDS}
                ids = list(connection.scalars(sa.text(_NEXT), named))
                if not ids:
                    connection.execute(sa.text(_DROP))
                    return
                after = ids[-1]
                gone = self._thin(connection, scope, resource, names, ids)
                if gone.rows and scope.writes:
                    note(connection, scope, gone)
            if gone.rows:
                yield gone

    def _thin(
        self,
        connection: sa.Connection,
        scope: Scope,
        resource: Resource,
        names: Mapping[str, str],
        ids: list[int],
    ) -> Gone:
        named = scope.values | {"ids": ids}
        statement = _LOOK
        if scope.writes:
            lock = sa.text(_LOCK.substitute(names))
            named["ids"] = list(connection.scalars(lock, {"account": scope.account, "ids": ids}))
            named |= {"table": str(resource.table.name), "at": scope.at, "bound": scope.bound}
            statement = _DELETE
        row = connection.execute(sa.text(statement.substitute(names)), named).one()
        return Gone(row.rows, int(row.size or 0), row.oldest, row.newest)

    def _citing(self, resource: Resource) -> Iterator[str]:
        """Yield statements that return the records and times whose versions must stay."""
        for part in resource.parts:
            yield _BY_MIRROR.substitute(owner=part.owner or resource.id_column, table=part.table.fullname)
        if resource.name == "installs":
            yield _BY_ORDERS
        for name, mapping in self._tables.items():
            kind = mapping.kind(name)
            if kind in KINDS and KINDS[kind][0] is resource:
                yield from _by_table(name, mapping, resource.id_column)


def _by_table(name: str, mapping: TableMapping, id_column: str) -> Iterator[str]:
    of_record = f"l.enerflo_key ->> {literal(id_column)}"
    in_key = [
        crm
        for crm, mirror in mapping.join_columns.items()
        if mirror == id_column and crm in mapping.key_columns
    ]
    key = f"l.key ->> {literal(in_key[0])}" if in_key else None
    names = {
        "name": literal(name),
        "by_record": _number(f"coalesce({of_record}, {key})" if key else of_record),
        "by_key": _number(key or f"a.enerflo_key ->> {literal(id_column)}"),
        "pair": "" if key else _PAIR,
    }
    for template in _BY_TABLE:
        yield template.substitute(names)


def _number(text: str) -> str:
    """Return SQL that converts a text to an id; null if the text is no id."""
    return f"case when {text} ~ '^[0-9]{{1,18}}$' then ({text})::bigint end"
