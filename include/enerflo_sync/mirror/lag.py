"""A lagging list: find listed records that are older than what a direct read stored in the mirror.

Direct reads show the present; a list may show the past. Enerflo's ``updated_at`` orders the versions of a
record to the second. A listed version is held if it is older than the mirror's, or if it has the same second
and the mirror knows that it was replaced: the row stays, and the record counts as seen. The poll then reads
held installs directly and believes that answer. After :data:`LONGEST` the list counts again, so that no row
stays outdated for ever.

A direct read may be stored while a page waits, and a page while a direct read is under way. So a page whose
records changed after its preparation is prepared again (:func:`is_overtaken`). If a direct read has a newer
``updated_at`` than a list requested later, it counts as observed when that list was
(:func:`listed_since`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from string import Template

import sqlalchemy as sa

from enerflo_sync.enerflo.times import parse_time
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.resources.fingerprint import stable_bytes
from enerflo_sync.resources.resource import Resource, Row
from enerflo_sync.warehouse.bulk import driver_connection

# The longest lag assumed, measured from the ``observed_at`` of the mirror's version.
LONGEST = timedelta(days=1)
# Values of ``observed_by`` for direct reads.
_DIRECT = ("push", "webhook")

_REPLACED = Template("""
/* enerflo-sync: whether a version of $name was replaced by a later one */
select exists (
  select from $versions v
  where v.account = %(account)s and v.$id = %(id)s and v.content_hash = %(version)s
    and v.first_seen_at < %(observed_at)s)
""")


# Force primary-key lookups, independent of statistics. Rows stay locked until the page is stored.
_OBSERVED = Template("""
/* enerflo-sync: $name that changed since their page was prepared */
select k.* from unnest(%(ids)s::bigint[]) as u(id) cross join lateral (
  select $id, observed_at from $table
  where account = %(account)s and $id = u.id offset 0 for no key update) as k
""")

_LISTED = Template("""
/* enerflo-sync: $name that a list brought since they were asked for directly */
select observed_at, updated_at from $table
where account = %(account)s and $id = %(id)s and observed_at > %(asked_at)s
  and observed_by not in ('push', 'webhook') and absent_since is null and updated_at is not null
for no key update
""")


@dataclass(frozen=True)
class Standing:
    """The mirror's version of one record, and when it was observed."""

    updated_at: datetime | None
    observed_at: datetime
    observed_by: str
    deleted_at: datetime | None
    absent_since: datetime | None
    digest: bytes | None
    version: str | None


class Lag:
    """Decides, for one page of one resource, which listed records to hold.

    :param asked_at: when the page was requested.
    """

    def __init__(
        self,
        connection: sa.Connection,
        resource: Resource,
        account: str,
        ids: Collection[int],
        asked_at: datetime,
    ) -> None:
        self._connection = connection
        self._resource = resource
        self._account = account
        self._asked_at = asked_at
        columns = resource.parts[0].columns
        self._at = columns.index("updated_at") if "updated_at" in columns else None
        self._standing: Mapping[int, Standing] = self._read(ids) if ids and self._at is not None else {}

    def holds(self, record_id: int, own_row: Row, digest: bytes, version: str | None) -> bool:
        """Return whether a listed record is older than the mirror's version.

        :param own_row: the record's own row, as the resource reads it.
        :param version: digest of its content; None if the resource keeps no versions.
        """
        standing = self._standing.get(record_id)
        if standing is None or self._at is None:
            return False
        if standing.deleted_at is not None and standing.absent_since is not None:
            # A direct read found it deleted; a list that repeats the old version is no evidence against that.
            same = digest == standing.digest and self._resource.versions is not None
            return same and self._asked_at - standing.deleted_at < LONGEST
        if self._asked_at - standing.observed_at >= LONGEST or standing.updated_at is None:
            return False
        said = parse_time(own_row[self._at])
        if said is None or said > standing.updated_at:
            return False
        return said < standing.updated_at or self._is_replaced(record_id, standing, version)

    def _is_replaced(self, record_id: int, standing: Standing, version: str | None) -> bool:
        if version is None or version == standing.version or standing.observed_by not in _DIRECT:
            return False
        values = {
            "account": self._account,
            "id": record_id,
            "version": version,
            "observed_at": standing.observed_at,
        }
        statement = _REPLACED.substitute(self._resource.names)
        row = driver_connection(self._connection).execute(statement, values).fetchone()
        return bool(row and row[0])

    def _read(self, ids: Collection[int]) -> Mapping[int, Standing]:
        table, column = self._resource.table, self._resource.id_column
        version = "null" if self._resource.versions is None else "content_hash"
        cursor = driver_connection(self._connection).execute(
            f"/* enerflo-sync: standing {table.name} */"  # noqa: S608 - names of the declared schema
            f" select k.* from unnest(%(ids)s::bigint[]) as u(id) cross join lateral ("
            f" select {column}, updated_at, observed_at, observed_by, deleted_at, absent_since, raw_hash,"
            f" {version} from {table.fullname}"
            f" where account = %(account)s and {column} = u.id offset 0) as k",
            {"ids": list(ids), "account": self._account},
        )
        return {record_id: Standing(*rest) for record_id, *rest in cursor.fetchall()}

    def observed(self, ids: Iterable[int]) -> dict[int, datetime | None]:
        """Return ``observed_at`` of the mirror's row per record; None for a record without a row.

        Empty if Enerflo sends no ``updated_at`` for this resource.
        """
        if self._at is None:
            return {}
        return {i: one.observed_at if (one := self._standing.get(i)) else None for i in ids}


def is_overtaken(
    connection: sa.Connection, resource: Resource, account: str, observed: Mapping[int, datetime | None]
) -> bool:
    """Return whether rows were observed again after their page was prepared, and lock them.

    :param observed: per changed record, ``observed_at`` of its row when the page was prepared.
    """
    cursor = driver_connection(connection).execute(
        _OBSERVED.substitute(resource.names), {"ids": list(observed), "account": account}
    )
    return any(observed[record_id] != at for record_id, at in cursor.fetchall())


def listed_since(
    connection: sa.Connection, resource: Resource, raw: bytes | memoryview, seen: Observation
) -> datetime | None:
    """Return when the list was requested that overwrote the row with an older version; None without one.

    :param raw: the direct read's record, known to be readable.
    :param seen: when the record was requested, and of which account.
    """
    columns, (own, *_) = resource.parts[0].columns, resource.rows_of(stable_bytes(raw))
    if "updated_at" not in columns or not own:
        return None
    said = parse_time(own[0][columns.index("updated_at")])
    values = {"account": seen.account, "id": resource.record_id(raw), "asked_at": seen.observed_at}
    found = driver_connection(connection).execute(_LISTED.substitute(resource.names), values).fetchone()
    return found[0] if found is not None and said is not None and found[1] < said else None
