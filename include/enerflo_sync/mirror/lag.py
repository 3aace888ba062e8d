"""A list that lags: which of its records are older than what the mirror has from a direct read.

Direct reads show the present; a list may show what was some time ago. Enerflo's own ``updated_at`` orders
the versions of a record, to the second. A listed version that is older than the mirror's, or one of the same
second that the mirror knows to be replaced, is held: the row stays, and the record counts as seen. A poll
then asks for held installs directly, and believes that answer whatever it says. After :data:`LONGEST` the
list's word counts again, so that no row stays as it is for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from enerflo_sync.enerflo.times import parse_time
from enerflo_sync.mirror.resource import Resource, Row
from enerflo_sync.warehouse.bulk import driver_connection

# No list lags longer. The mirror's version is older than this by the time at which it was observed.
LONGEST = timedelta(days=1)
# Who reads a record by itself.
_DIRECT = ("push", "webhook")

_REPLACED = """
/* enerflo-sync: whether a version of an install was replaced by a later one */
select exists (
  select from enerflo.install_versions v
  where v.account = %(account)s and v.install_id = %(id)s and v.content_hash = %(version)s
    and v.first_seen_at < %(observed_at)s)
"""


@dataclass(frozen=True)
class Standing:
    """What the mirror has of one record, and since when."""

    updated_at: datetime | None
    observed_at: datetime
    observed_by: str
    deleted_at: datetime | None
    absent_since: datetime | None
    digest: bytes | None
    version: str | None


class Lag:
    """Tells which listed records are to be held, for one page of one resource.

    :param asked_at: when the page was asked for.
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
        """Return whether a listed record is older than what the mirror has.

        :param own_row: the record's own row, as the resource reads it.
        :param version: digest of its content; None where versions are not kept.
        """
        standing = self._standing.get(record_id)
        if standing is None or self._at is None:
            return False
        if standing.deleted_at is not None and standing.absent_since is not None:
            # Found gone by a direct read: a list that says what it said before is no news.
            same = digest == standing.digest and self._resource.keeps_versions
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
        row = driver_connection(self._connection).execute(_REPLACED, values).fetchone()
        return bool(row and row[0])

    def _read(self, ids: Collection[int]) -> Mapping[int, Standing]:
        table, column = self._resource.table, self._resource.id_column
        version = "content_hash" if self._resource.keeps_versions else "null"
        cursor = driver_connection(self._connection).execute(
            f"/* enerflo-sync: standing {table.name} */"  # noqa: S608 - names of the declared schema
            f" select k.* from unnest(%(ids)s::bigint[]) as u(id) cross join lateral ("
            f" select {column}, updated_at, observed_at, observed_by, deleted_at, absent_since, raw_hash,"
            f" {version} from {table.fullname}"
            f" where account = %(account)s and {column} = u.id offset 0) as k",
            {"ids": list(ids), "account": self._account},
        )
        return {record_id: Standing(*rest) for record_id, *rest in cursor.fetchall()}
