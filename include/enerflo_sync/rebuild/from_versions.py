"""Derives records again from their stored raw versions (:attr:`Resource.versions`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from string import Template
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.mirror.declared import with_declared
from enerflo_sync.mirror.quarantine import Rejected
from enerflo_sync.rebuild.condition import Condition
from enerflo_sync.rebuild.records import Derived, Records
from enerflo_sync.rebuild.shape import id_array
from enerflo_sync.rebuild.source import Chunk, Portion
from enerflo_sync.resources.resource import Resource, Row
from enerflo_sync.warehouse.bulk import driver_connection

# How many records' rows are in memory at once; with read-ahead, twice as many.
CHUNK = 500

# Records that have a row in the mirror, a stored version, or both.
_PAGE = """
/* enerflo-sync rebuild: next $name */
select id from (
  (select $id as id from $table
   where account = %(account)s and $id > %(after)s order by 1 limit %(most)s)
  union
  (select distinct $id from $versions
   where account = %(account)s and $id > %(after)s order by 1 limit %(most)s)
) u order by 1 limit %(most)s
"""

_PAGE_WHERE = """
/* enerflo-sync rebuild: next $name that fit --where */
select i.$id from $table i
where i.account = %(account)s and i.$id > %(after)s and $condition order by 1 limit %(most)s
"""

_COUNT = """
/* enerflo-sync rebuild: how many $name */
select count(*) from $table i where i.account = %(account)s and $condition
"""

_VERSIONS = """
/* enerflo-sync rebuild: versions that the rows of $name come from */
select u.id, i.$id is not null, i.content_hash, v.content_hash, v.raw::text, v.observed_by, v.evidence
from unnest(%(ids)s::bigint[]) u(id)
left join $table i on i.account = %(account)s and i.$id = u.id
left join $versions v
  on v.account = i.account and v.$id = i.$id and v.content_hash = i.content_hash
"""

# For records without a row, and for records whose row names a version that is not stored any more.
_NEWEST = """
/* enerflo-sync rebuild: newest versions of $name */
select u.id, n.content_hash, n.raw::text, n.observed_by, n.evidence
from unnest(%(ids)s::bigint[]) u(id)
cross join lateral (
  select w.content_hash, w.raw, w.observed_by, w.evidence from $versions w
  where w.account = %(account)s and w.$id = u.id
  order by w.first_seen_at desc, w.content_hash limit 1
) n
"""

_PRESENT = """
/* enerflo-sync rebuild: present rows of $name and their versions */
select u.id, i.$id is not null, i.content_hash, i.deleted_at, $read_later
from unnest(%(ids)s::bigint[]) u(id)
left join $table i on i.account = %(account)s and i.$id = u.id
"""

NO_VERSION = "no raw version is kept of it"
DELETED = "deleted, and its last version cannot be read"
UNTOLD = "the version does not tell the {name}"
READ_LATER = "{name} read from the record itself, of which no raw copy is kept"


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One record's version as it was read, and the state of the row for which it was chosen.

    :param known: whether the mirror has the record's row.
    :param points_at: the version that the row names.
    :param version: the version that was read; None if none is stored.
    :param contents: the rows in the version; None if it cannot be read.
    :param trouble: the reason why it cannot be read.
    :param data: the bytes of a version that cannot be read.
    """

    record_id: int
    known: bool
    points_at: str | None
    version: str | None = None
    observed_by: str = ""
    evidence: str = ""
    contents: Sequence[Sequence[Row] | None] | None = None
    trouble: BadRecordError | None = None
    data: bytes = b""


class StoredVersions:
    """The records of one resource and account, by their raw versions.

    A stored version never changes, so the next portion is read while the last one is compared. The comparing
    transaction checks that each row still names the version that was read for it.

    :param resource: a resource whose versions are stored.
    :param tables: names of the tables to derive, among those that the resource fills.
    :param condition: the installs to rebuild, with the records that belong to them; None means all records,
        including those that have only versions.
    :param at: when the rebuild began.
    """

    def __init__(
        self,
        connection: sa.Connection,
        account: str,
        resource: Resource,
        tables: Collection[str],
        condition: Condition | None,
        at: datetime,
        *,
        write: bool,
        fills: bool = False,
    ) -> None:
        self.name = str(resource.table.name)
        self._connection = connection
        self._account = account
        self._is_partial = condition is not None
        has_details = "detail_read_at" in resource.table.c
        self._names = {
            **resource.names,
            "condition": condition.of(resource) if condition else "true",
            "read_later": "coalesce(i.detail_read_at > i.observed_at, false)" if has_details else "false",
        }
        self._resource = with_declared(connection, resource, account)
        self._records = Records(connection, account, self._resource, tables, at, write=write, fills=fills)

    def _statement(self, template: str) -> str:
        return Template(template).substitute(self._names)

    def begin(self) -> int:
        """Return the number of records in the mirror that meet the condition."""
        found = driver_connection(self._connection).execute(
            self._statement(_COUNT), {"account": self._account}
        )
        return int((found.fetchone() or (0,))[0])

    def portions(self) -> Iterator[Portion]:
        """Yield the records in the order of their ids, with their versions read on a separate connection."""
        page = self._statement(_PAGE_WHERE if self._is_partial else _PAGE)
        after = 0
        with self._connection.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as ahead:
            while True:
                values = {"account": self._account, "after": after, "most": CHUNK}
                found = driver_connection(ahead).execute(page, values).fetchall()
                if not found:
                    return
                ids = [record_id for (record_id,) in found]
                yield Portion(ids, self._read(ahead, ids))
                after = ids[-1]

    def work(self, portion: Portion, *, refuse: BadRecordError | None = None) -> Chunk:
        """Derive some records; see :class:`enerflo_sync.rebuild.source.Source`."""
        chunk = Chunk(len(portion.keys))
        values = {"account": self._account, "ids": id_array(portion.keys)}
        present = driver_connection(self._connection).execute(self._statement(_PRESENT), values).fetchall()
        readings: dict[int, Reading] = portion.ready or {}
        stale = [
            record_id
            for record_id, known, points_at, *_ in present
            if (found := readings.get(record_id)) is None
            or (found.known, found.points_at) != (known, points_at)
        ]
        if stale:
            readings = readings | self._read(self._connection, stale, refuse=refuse)
        derived = [
            one
            for record_id, _, _, dead_since, read_later in present
            if (one := self._derive(readings[record_id], dead_since, read_later, chunk)) is not None
        ]
        chunk.outcomes = self._records.compare(derived)
        return chunk

    def _read(
        self, connection: sa.Connection, ids: Sequence[int], *, refuse: BadRecordError | None = None
    ) -> dict[int, Reading]:
        driver = driver_connection(connection)
        values = {"account": self._account, "ids": id_array(ids)}
        readings, lost = {}, {}
        # The rows are decoded one by one, so that only one record's text is in memory beside the server's
        # result.
        for row in driver.execute(self._statement(_VERSIONS), values):
            if row[3] is None:
                lost[row[0]] = row
            else:
                readings[row[0]] = _reading(self._resource, row, refuse=refuse)
        if lost:
            values["ids"] = id_array(lost)
            for record_id, *newest in driver.execute(self._statement(_NEWEST), values):
                row = (*lost.pop(record_id)[:3], *newest)
                readings[record_id] = _reading(self._resource, row, refuse=refuse)
        return readings | {row[0]: _reading(self._resource, row, refuse=refuse) for row in lost.values()}

    def _derive(
        self, reading: Reading, dead_since: datetime | None, read_later: bool, chunk: Chunk
    ) -> Derived | None:
        if reading.version is None:
            chunk.leave(self.name, NO_VERSION)
            return None
        contents = reading.contents
        if contents is None:
            if dead_since is not None:
                # A deleted record cannot be read again, so a quarantine item would be useless.
                chunk.leave(self.name, DELETED)
            else:
                chunk.rejected.append(self._rejected(reading))
            return None
        own, *parts = contents
        for part, rows in zip(self._resource.parts[1:], parts, strict=True):
            if rows is None or read_later:
                name = str(part.table.name)
                chunk.leave(name, (UNTOLD if rows is None else READ_LATER).format(name=name))
        contents = own, *((None,) * len(parts) if read_later else parts)
        return Derived(
            reading.record_id, contents, reading.observed_by, reading.version, reading.known, dead_since
        )

    def _rejected(self, reading: Reading) -> Rejected:
        trouble = reading.trouble or BadRecordError("")
        key: dict[str, Any] = {self._resource.id_column: reading.record_id}
        return Rejected("record", trouble.what, trouble.field, reading.data, reading.evidence, self.name, key)

    def left(self, known: int) -> Mapping[tuple[str, str], int]:
        """Return an empty mapping, because every record of the mirror is in a portion."""
        return {}


def _reading(resource: Resource, row: Row, *, refuse: BadRecordError | None) -> Reading:
    """Return a version as it was read.

    :param refuse: the reason if it is already known that its rows cannot be written.
    """
    record_id, known, points_at, version, raw, observed_by, evidence = row
    if version is None:
        return Reading(record_id, known, points_at)
    data = raw.encode()
    try:
        if refuse is not None:
            raise refuse
        contents = resource.rows_of(data)
        if contents[0] is None or contents[0][0][0] != record_id:
            raise BadRecordError("two_ids", field=resource.id_field)
    except Exception as error:
        # The traceback is removed, because it would keep the whole portion in memory.
        bad = bad_record(error).with_traceback(None)
        return Reading(record_id, known, points_at, version, observed_by, evidence, None, bad, data)
    return Reading(record_id, known, points_at, version, observed_by, evidence, contents)
