"""Deletion by evidence: which records a complete walk did not list, and when absence means deletion."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.mirror import quarantine
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.bulk import driver_connection

# The shrink guard also counts the deletions of this period.
GUARDED = timedelta(days=1)
_SAMPLES = 5
# Ids converted to Python objects at a time.
_AT_ONCE = 10_000


class ShrunkSourceError(EnerfloSyncError):
    """Enerflo suddenly returns far fewer records than the mirror has: no deletion on such evidence."""


def most_missing(known: int, guard: float, floor: int = 1) -> int:
    """Return how many of ``known`` records may vanish at once: at least one, and never all of several.

    :param guard: the permitted share, 0 to 1.
    """
    return max(floor, int(guard * known)) if known > 1 else 0


@dataclass(frozen=True)
class Gone:
    """Records that a finished sweep missed for the first time (``absent``) or the second (``deleted``)."""

    absent: int
    deleted: int


class Sweep:
    """The ids that one walk over a whole resource lists, kept in eight bytes each.

    A record missing from a complete walk becomes absent. It is deleted if a complete walk that began after
    that does not list it either, so two concurrent walks count as one. Tombstones keep the last known
    values. A walk with a row whose id is unreadable makes no record absent, because that row may be any
    record.

    :param guard: maximum share, 0 to 1, of the mirror's live records that may be missing or were tombstoned
        within :data:`GUARDED`; above it the sweep is refused. ``None`` if a person confirmed that the source
        shrank. Only missing known records count, whatever else the walk lists.
    :param floor: number that may be missing whatever the share.
    """

    def __init__(
        self,
        connection: sa.Connection,
        resource: Resource,
        account: str,
        guard: float | None,
        *,
        floor: int = 1,
    ) -> None:
        self.resource = resource
        self.account = account
        self.guard = guard
        self.floor = floor
        self._connection = connection
        self._seen = array("q")
        self._nameless = 0
        with connection.begin():
            self.known = self._live()

    def _live(self) -> int:
        """Return the mirror's number of live records, without those of deleted installs."""
        cursor = driver_connection(self._connection).execute(
            f"/* enerflo-sync: living {self.resource.table.name} */"  # noqa: S608 - names of the declared schema
            f" select count(*) from {self.resource.table.fullname} t"
            f" where account = %s and deleted_at is null and not {self._explained}",
            (self.account,),
        )
        ((found,),) = cursor.fetchall()
        return int(found)

    def check(self, total: int) -> None:
        """Return if ``total`` records are plausible compared with the mirror.

        :raises ShrunkSourceError: they are not.
        """
        missing = self.known - total
        if self.guard is None or missing <= 0:
            return
        if missing > most_missing(self.known, self.guard, self.floor) or not total:
            raise self._shrunk(
                f"Enerflo lists {total:,} {self.resource.name} where the mirror holds {self.known:,}."
            )

    def _check_missing(self, missing: int, some: Sequence[int], now: datetime) -> None:
        """Return if it is plausible that these known records are gone, given recent deletions.

        :raises ShrunkSourceError: it is not plausible.
        """
        if self.guard is None or not missing:
            return
        recent = self._gone_lately(now)
        most = most_missing(self.known + recent, self.guard, self.floor)
        if missing + recent <= most and missing < self.known:
            return
        ids = ", ".join(map(str, some))
        lately = f", and {recent:,} were found gone within a day" if recent else ""
        raise self._shrunk(
            f"{missing:,} of the {self.known:,} known {self.resource.name} are missing from Enerflo's list"
            f" (such as {ids}){lately}."
        )

    def _shrunk(self, what: str) -> ShrunkSourceError:
        return ShrunkSourceError(
            what,
            where=f"account {self.account}, sweep of {self.resource.name}",
            next_step="Nothing was deleted. Check the key's rights; if the records are really gone,"
            " run enerflo-sync poll --accept-shrink once.",
        )

    def _gone_lately(self, now: datetime) -> int:
        table = self.resource.table
        cursor = driver_connection(self._connection).execute(
            f"/* enerflo-sync: {table.name} found gone lately */"  # noqa: S608 - names of the declared schema
            f" select count(*) from {table.fullname} t where account = %(account)s"
            f" and absent_since is not null and deleted_at >= %(since)s and deleted_at < %(now)s"
            f" and not {self._explained}",
            {"account": self.account, "since": now - GUARDED, "now": now},
        )
        ((found,),) = cursor.fetchall()
        return int(found)

    @property
    def _explained(self) -> str:
        """Return the SQL condition that a missing record belongs to a deleted or absent install."""
        if "install_id" not in self.resource.table.c or self.resource.id_column == "install_id":
            return "false"
        return (
            "exists (select from enerflo.installs i"
            " where i.account = t.account and i.install_id = t.install_id"
            " and (i.absent_since is not null or i.deleted_at is not null))"
        )

    def note(self, ids: Sequence[int], nameless: int = 0) -> None:
        """Remember the ids of a page, and how many of its rows had no readable id."""
        self._seen.extend(ids)
        self._nameless += nameless

    def conclude(self, now: datetime, *, started_at: datetime) -> Gone:
        """Mark what the complete walk did not list, in the caller's transaction, which an error rolls back.

        Records observed after ``started_at`` stay unchanged, because that observation is newer.

        :raises ShrunkSourceError: too many of the mirror's records are missing.
        """
        if self._nameless:
            return Gone(0, 0)
        table, column = self.resource.table, self.resource.id_column
        # Force set operations and key lookups: after a first load there are no statistics, and a join would
        # compare every row with every id.
        found = driver_connection(self._connection).execute(
            f"""
            /* enerflo-sync: conclude sweep of {table.name} */
            with seen as materialized (
                select distinct id from unnest(%(seen)s::bigint[]) as u(id)
            ), missing as materialized (
                select {column} as id from {table.fullname}
                where account = %(account)s and deleted_at is null and observed_at <= %(started)s
                except select id from seen
            ), doubtful as materialized (
                select m.id from missing m
                join {table.fullname} t on t.account = %(account)s and t.{column} = m.id
                where not {self._explained}
            ), gone as (
                update {table.fullname} t
                set absent_since = coalesce(absent_since, %(now)s),
                    deleted_at = case when absent_since <= %(started)s then %(now)s::timestamptz end
                from missing m
                where t.account = %(account)s and t.{column} = m.id and t.deleted_at is null
                  and t.observed_at <= %(started)s
                returning t.deleted_at
            )
            select (select count(*) from doubtful),
              array(select id from doubtful order by id desc limit {_SAMPLES}),
              count(*) filter (where deleted_at is null), count(deleted_at)
            from gone
            """,  # noqa: S608 - names of the declared schema
            {"now": now, "account": self.account, "started": started_at, "seen": self._as_array()},
        )
        ((missing, some, absent, deleted),) = found.fetchall()
        self._check_missing(missing, some, now)
        _tombstone_contents(self._connection, self.resource, self.account, now)
        return Gone(absent, deleted)

    def _as_array(self) -> str:
        """Return the ids in PostgreSQL's array format: eight bytes each, without Python objects."""
        some = (self._seen[at : at + _AT_ONCE] for at in range(0, len(self._seen), _AT_ONCE))
        return f"{{{','.join(','.join(map(str, ids)) for ids in some)}}}"

    def tombstone(self, record_id: int, now: datetime) -> int:
        """Tombstone one record (:func:`tombstone`)."""
        return tombstone(self._connection, self.resource, self.account, record_id, now)

    def absentees(self, now: datetime, most: int) -> list[int]:
        """Return up to ``most`` ids that are absent for the first time in this sweep."""
        table, column = self.resource.table, self.resource.id_column
        cursor = driver_connection(self._connection).execute(
            f"select {column} from {table.fullname}"  # noqa: S608 - names of the declared schema
            f" where account = %s and absent_since = %s and deleted_at is null order by 1 limit %s",
            (self.account, now, most),
        )
        return [record_id for (record_id,) in cursor.fetchall()]


def tombstone(
    connection: sa.Connection, resource: Resource, account: str, record_id: int, now: datetime
) -> int:
    """Tombstone one record and its child rows after a direct read answered 404.

    Closes its quarantine items. A record observed after ``now`` stays unchanged.

    :param now: when the direct read was requested.
    :return: number of records tombstoned; 0 if it was deleted before, or never known.
    """
    table, column = resource.table, resource.id_column
    cursor = driver_connection(connection).execute(
        f"update {table.fullname} set deleted_at = %s, absent_since = coalesce(absent_since, %s)"  # noqa: S608
        f" where account = %s and {column} = %s and deleted_at is null and observed_at <= %s",
        (now, now, account, record_id, now),
    )
    _tombstone_contents(connection, resource, account, now, record_id)
    return cursor.rowcount


def _tombstone_contents(
    connection: sa.Connection, resource: Resource, account: str, now: datetime, record_id: int | None = None
) -> None:
    """Tombstone the child rows of deleted records, whoever deleted those; close their quarantine items.

    :param record_id: only this record's child rows; None for all.
    """
    table, column = resource.table, resource.id_column
    only = "" if record_id is None else f"and t.{column} = %(id)s"
    for part in (*resource.parts[1:], *resource.dependents):
        # Force a lookup per record: without statistics, the planner assumes that all records are deleted.
        driver_connection(connection).execute(
            f"""
            /* enerflo-sync: tombstone {part.table.name} of deleted {table.name} */
            with left_over as materialized (
                select p.ctid as id from {table.fullname} t cross join lateral (
                    select ctid from {part.table.fullname} p where p.account = t.account
                      and p.{part.owner} = t.{column} and p.deleted_at is null offset 0
                ) p where t.account = %(account)s and t.deleted_at is not null {only}
            )
            update {part.table.fullname} p
            set deleted_at = %(now)s, absent_since = coalesce(p.absent_since, %(now)s)
            from left_over l where p.ctid = l.id and p.deleted_at is null
            """,  # noqa: S608 - names of the declared schema
            {"account": account, "now": now, "id": record_id},
        )
    # A quarantine item names the record's own table or a child table.
    names = [part.table.name for part in resource.parts]
    quarantine.close_items_of_deleted(connection, account, table, column, names)
    for part in resource.dependents:
        own = next(column.name for column in part.table.primary_key if column.name != "account")
        quarantine.close_items_of_deleted(connection, account, part.table, own, [part.table.name])
