"""Installs and milestones from the raw versions that every new content of an install left behind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
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
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.resource import Resource, Row
from enerflo_sync.warehouse.bulk import driver_connection

# Records whose bytes are in memory at once, twice so many with those that are read ahead.
CHUNK = 500

# An install that stands in the mirror, or left a version behind, or both.
_PAGE = """
/* enerflo-sync rebuild: next installs */
select install_id from (
  (select install_id from enerflo.installs
   where account = %(account)s and install_id > %(after)s order by 1 limit %(most)s)
  union
  (select distinct install_id from enerflo.install_versions
   where account = %(account)s and install_id > %(after)s order by 1 limit %(most)s)
) u order by 1 limit %(most)s
"""

_PAGE_WHERE = """
/* enerflo-sync rebuild: next installs that fit --where */
select i.install_id from enerflo.installs i
where i.account = %(account)s and i.install_id > %(after)s and {condition} order by 1 limit %(most)s
"""

_COUNT = """
/* enerflo-sync rebuild: how many installs */
select count(*) from enerflo.installs i where i.account = %(account)s and {condition}
"""

_VERSIONS = """
/* enerflo-sync rebuild: versions that installs stand on */
select u.id, i.install_id is not null, i.content_hash, v.content_hash, v.raw::text, v.observed_by, v.evidence
from unnest(%(ids)s::bigint[]) u(id)
left join enerflo.installs i on i.account = %(account)s and i.install_id = u.id
left join enerflo.install_versions v
  on v.account = i.account and v.install_id = i.install_id and v.content_hash = i.content_hash
"""

# Of those without a row, and of those whose row names a version that is not kept.
_NEWEST = """
/* enerflo-sync rebuild: newest versions of installs */
select u.id, n.content_hash, n.raw::text, n.observed_by, n.evidence
from unnest(%(ids)s::bigint[]) u(id)
cross join lateral (
  select w.content_hash, w.raw, w.observed_by, w.evidence from enerflo.install_versions w
  where w.account = %(account)s and w.install_id = u.id
  order by w.first_seen_at desc, w.content_hash limit 1
) n
"""

_STANDING = """
/* enerflo-sync rebuild: what installs stand on now */
select u.id, i.install_id is not null, i.content_hash, i.deleted_at,
  coalesce(i.detail_read_at > i.observed_at, false)
from unnest(%(ids)s::bigint[]) u(id)
left join enerflo.installs i on i.account = %(account)s and i.install_id = u.id
"""

NO_VERSION = "no raw version is kept of it"
DELETED = "deleted, and its last version cannot be read"
UNTOLD = "the version does not tell the milestones"
READ_LATER = "milestones read from the install itself, of which no raw copy is kept"


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What one install's version says, and by what that version was chosen.

    :param known: whether the mirror has its row; ``points_at`` is the version that the row names.
    :param version: None where none is kept.
    :param contents: its rows; None where it cannot be read.
    :param trouble: why not; ``data`` are the bytes in question.
    """

    install_id: int
    known: bool
    points_at: str | None
    version: str | None = None
    observed_by: str = ""
    evidence: str = ""
    contents: Sequence[Sequence[Row] | None] | None = None
    trouble: BadRecordError | None = None
    data: bytes = b""


class InstallVersions:
    """The installs of one account, by their raw versions.

    A version never changes. So the next ones are read while the last ones are compared; whether an install
    still stands on the version that was read for it is looked up in the transaction that compares.

    :param tables: names of the tables to derive: ``installs``, ``milestones``.
    :param condition: which installs of the mirror; all, and those that only left versions, where None.
    :param at: when the rebuild began.
    """

    name = str(INSTALLS.table.name)

    def __init__(
        self,
        connection: sa.Connection,
        account: str,
        tables: Collection[str],
        condition: Condition | None,
        at: datetime,
        *,
        write: bool,
        fills: bool = False,
    ) -> None:
        self._connection = connection
        self._account = account
        self._condition = condition
        self._resource = with_declared(connection, INSTALLS, account)
        self._records = Records(connection, account, self._resource, tables, at, write=write, fills=fills)

    def begin(self) -> int:
        """Return how many installs fit."""
        condition = self._condition.sql if self._condition else "true"
        found = driver_connection(self._connection).execute(
            _COUNT.format(condition=condition), {"account": self._account}
        )
        return int((found.fetchone() or (0,))[0])

    def portions(self) -> Iterator[Portion]:
        """Yield the installs, ascending by id, with what their versions say; on a connection of its own."""
        page = _PAGE_WHERE.format(condition=self._condition.sql) if self._condition else _PAGE
        after = 0
        with self._connection.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as ahead:
            while True:
                values = {"account": self._account, "after": after, "most": CHUNK}
                found = driver_connection(ahead).execute(page, values).fetchall()
                if not found:
                    return
                ids = [install_id for (install_id,) in found]
                yield Portion(ids, self._read(ahead, ids))
                after = ids[-1]

    def work(self, portion: Portion, *, refuse: BadRecordError | None = None) -> Chunk:
        """Derive some installs; see :class:`enerflo_sync.rebuild.source.Source`."""
        chunk = Chunk(len(portion.keys))
        values = {"account": self._account, "ids": id_array(portion.keys)}
        standing = driver_connection(self._connection).execute(_STANDING, values).fetchall()
        readings: dict[int, Reading] = portion.ready or {}
        stale = [
            install_id
            for install_id, known, points_at, *_ in standing
            if (found := readings.get(install_id)) is None
            or (found.known, found.points_at) != (known, points_at)
        ]
        if stale:
            readings = readings | self._read(self._connection, stale, refuse=refuse)
        derived = [
            one
            for install_id, _, _, dead_since, read_later in standing
            if (one := self._derive(readings[install_id], dead_since, read_later, chunk)) is not None
        ]
        chunk.outcomes = self._records.take(derived)
        return chunk

    def _read(
        self, connection: sa.Connection, ids: Sequence[int], *, refuse: BadRecordError | None = None
    ) -> dict[int, Reading]:
        driver = driver_connection(connection)
        rows = driver.execute(_VERSIONS, {"account": self._account, "ids": id_array(ids)}).fetchall()
        lost = [row[0] for row in rows if row[3] is None]
        if lost:
            found = driver.execute(_NEWEST, {"account": self._account, "ids": id_array(lost)}).fetchall()
            newest = {row[0]: row[1:] for row in found}
            rows = [row if row[3] is not None else (*row[:3], *newest.get(row[0], row[3:])) for row in rows]
        return {row[0]: _reading(self._resource, row, refuse=refuse) for row in rows}

    def _derive(
        self, reading: Reading, dead_since: datetime | None, read_later: bool, chunk: Chunk
    ) -> Derived | None:
        if reading.version is None:
            chunk.leave(self.name, NO_VERSION)
            return None
        contents = reading.contents
        if contents is None:
            if dead_since is not None:
                # Nothing is left that could be corrected.
                chunk.leave(self.name, DELETED)
            else:
                chunk.rejected.append(_rejected(reading))
            return None
        if contents[1] is None or read_later:
            chunk.leave("milestones", UNTOLD if contents[1] is None else READ_LATER)
            contents = contents[0], None
        return Derived(
            reading.install_id, contents, reading.observed_by, reading.version, reading.known, dead_since
        )

    def left(self, known: int) -> Mapping[tuple[str, str], int]:
        """Return nothing: each install of the mirror is in a portion."""
        return {}


def _reading(resource: Resource, row: Row, *, refuse: BadRecordError | None) -> Reading:
    """Return what a version says.

    :param refuse: why its rows cannot be written.
    """
    install_id, known, points_at, version, raw, observed_by, evidence = row
    if version is None:
        return Reading(install_id, known, points_at)
    data = raw.encode()
    try:
        if refuse is not None:
            raise refuse
        contents = resource.rows_of(data)
        if contents[0] is None or contents[0][0][0] != install_id:
            raise BadRecordError("two_ids", field=INSTALLS.id_field)
    except Exception as error:
        # Without its traceback, which would keep the whole portion.
        bad = bad_record(error).with_traceback(None)
        return Reading(install_id, known, points_at, version, observed_by, evidence, None, bad, data)
    return Reading(install_id, known, points_at, version, observed_by, evidence, contents)


def _rejected(reading: Reading) -> Rejected:
    trouble = reading.trouble or BadRecordError("")
    key: dict[str, Any] = {INSTALLS.id_column: reading.install_id}
    return Rejected(
        "record", trouble.what, trouble.field, reading.data, reading.evidence, INSTALLS.table.name, key
    )
