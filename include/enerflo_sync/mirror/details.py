"""Data that the install list omits: milestones, read from each install directly, changed installs first.

It is unknown whether the vendor's list rows contain milestones (REFERENCE §6.1, §8). If they do, this module
makes no requests. If they do not, a poll reads some installs directly: first those whose row changed, then
the others in rotation, so that each install's milestones are read again after installs / limit polls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.enerflo.installs import read_install
from enerflo_sync.errors import (
    BadRecordError,
    ContractDriftError,
    FatalError,
    NotFoundError,
    RetriableError,
    bad_record,
)
from enerflo_sync.mirror import quarantine
from enerflo_sync.mirror.after_merge import merge_part
from enerflo_sync.mirror.batch import Batch, Observation
from enerflo_sync.mirror.forgotten import forgotten_of, without_personal_data
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.rejecting import reject
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.fingerprint import decode, stable_bytes
from enerflo_sync.warehouse.bulk import encode
from enerflo_sync.warehouse.refused import refuses_a_row
from enerflo_sync.warehouse.schema import installs

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

log = logging.getLogger(__name__)

DUE = datetime(1970, 1, 1, tzinfo=UTC)
# Marks an install whose direct read failed: its milestones are still unread.
UNREADABLE = datetime(1970, 1, 2, tzinfo=UTC)
# Such installs get one sixth of a poll's direct reads while others wait.
_SHARE = 6

# An install's newest milestone row gives the earliest time at which its milestones were read.
_LOOKS = sa.text("""
/* enerflo-sync: last read of milestones that the list omits */
select min(looked_at) as oldest, count(*) filter (where waits) as waiting,
  count(*) filter (where looked_at is null) as never, min(observed_at) filter (where waits) as since,
  count(*) filter (where detail_read_at = :unreadable) as failed
from (
  select i.observed_at, i.detail_read_at, i.detail_read_at <= :unreadable as waits,
    case when i.detail_read_at > :unreadable then i.detail_read_at else (
      select max(m.observed_at) from enerflo.milestones m
      where m.account = i.account and m.install_id = i.install_id) end as looked_at
  from enerflo.installs i
  where i.account = :account and i.detail_read_at is not null and i.deleted_at is null
) l
""")


@dataclass(frozen=True)
class MilestoneLooks:
    """When milestones that the list omits were last read.

    :param oldest: all milestones ever read were read after this time; None if none was read, or if the list
        contains them.
    :param waiting: installs that changed since, or could not be read: their milestones are unknown.
    :param never: those of ``waiting`` whose milestones were never read.
    :param since: when the first of ``waiting`` changed.
    :param failed: those of ``waiting`` whose last read failed.
    """

    oldest: datetime | None
    waiting: int
    never: int
    since: datetime | None
    failed: int


def read_directly(client: EnerfloClient, install_id: int, unreadable: Callable[[str], None]) -> bytes | None:
    """Return one install; None if it cannot be read at the moment.

    :param unreadable: called with a text that names the install and the reason.
    :raises NotFoundError: the install does not exist.
    :raises AuthenticationError: the key is no longer accepted.
    """
    try:
        return read_install(client, install_id)
    except (NotFoundError, AuthenticationError):
        raise
    except (BadRecordError, FatalError, ContractDriftError, RetriableError) as error:
        log.warning("direct_read_failed install=%s error=%s", install_id, type(error).__name__)
        unreadable(f"{install_id}: {error}")
        return None


def take_detail(
    connection: sa.Connection,
    intake: Intake,
    raw: bytes | None,
    observation: Observation,
    install_id: int,
) -> Tally:
    """Store an install's child rows from its direct read, in the caller's transaction.

    Whatever the read returned (``raw`` is None if it failed), the other installs get their turn next.
    """
    read_at = UNREADABLE if raw is None else observation.observed_at
    mark_read(connection, observation.account, install_id, read_at)
    return Tally() if raw is None else _store_contents(connection, intake, raw, observation, install_id)


def _store_contents(
    connection: sa.Connection, intake: Intake, raw: bytes, observation: Observation, install_id: int
) -> Tally:
    """Store only the child rows of one install from its direct read, and return what changed.

    The install's own row stays as the list wrote it, because a direct read may have another form. An
    unreadable or refused answer is quarantined, and the other installs continue.
    """
    resource = intake.resource_now(connection, observation.account)
    parts = resource.parts[1:]
    try:
        record, data = decode(stable_bytes(raw))
        forgotten = forgotten_of(connection, observation.account)
        (_, *contents), _ = without_personal_data(resource, resource.read(record), data, forgotten)
        blocks = [
            (part, encode(connection, [(*row, *observation.columns) for row in rows]))
            for part, rows in zip(parts, contents, strict=True)
            if rows is not None
        ]
    except Exception as error:
        return _reject_contents(connection, intake, raw, observation, install_id, bad_record(error))
    account, told = observation.account, {install_id: observation.observed_at}
    try:
        with connection.begin_nested():
            written = sum(
                merge_part(connection, resource, part, block, told, account) for part, block in blocks
            )
    except psycopg.Error as error:
        if not refuses_a_row(error):
            raise
        refused = BadRecordError("refused_by_the_warehouse")
        return _reject_contents(connection, intake, raw, observation, install_id, refused)
    quarantine.close_items(connection, account, parts[0].table.name, [intake.resource.key(install_id)])
    return Tally(read=1, applied=1) if written else Tally(read=1, unchanged=1)


def _reject_contents(
    connection: sa.Connection,
    intake: Intake,
    raw: bytes,
    observation: Observation,
    install_id: int,
    error: BadRecordError,
) -> Tally:
    batch = Batch(observation, intake.resource, tally=Tally(read=1))
    batch.forgotten = forgotten_of(connection, observation.account)
    reject(connection, batch, stable_bytes(raw), error, install_id)
    # Quarantine under the child table: the install's own row from the list may be right.
    items = [replace(item, table_name=intake.resource.parts[1].table.name) for item in batch.rejected]
    quarantine.add_to_quarantine(connection, observation.account, items, observation.observed_at)
    return batch.tally


def mark_due(connection: sa.Connection, account: str, install_ids: Sequence[int]) -> None:
    """Mark installs whose row changed in a list without milestones."""
    if install_ids:
        _set(connection, account, install_ids, DUE)


def all_due(connection: sa.Connection, account: str) -> None:
    """Mark for a direct read every install whose milestones the list omits."""
    connection.execute(
        sa.update(installs)
        .where(installs.c.account == account, installs.c.detail_read_at.is_not(None))
        .values(detail_read_at=DUE)
    )


def mark_read(connection: sa.Connection, account: str, install_id: int, at: datetime) -> None:
    """Store when an install was read directly, or that the read failed (:data:`UNREADABLE`)."""
    _set(connection, account, [install_id], at)


def next_due(connection: sa.Connection, account: str, limit: int, now: datetime) -> list[int]:
    """Return up to ``limit`` installs to read directly: due installs first, then the longest unread.

    Installs whose last read failed get a bounded share, in a changing order, so that they delay no other.
    """
    query = sa.select(installs.c.install_id).where(
        installs.c.account == account, installs.c.detail_read_at.is_not(None), installs.c.deleted_at.is_(None)
    )
    others = query.where(installs.c.detail_read_at != UNREADABLE)
    others = others.order_by(installs.c.detail_read_at, installs.c.install_id.desc()).limit(limit)
    drawn = sa.func.md5(sa.cast(installs.c.install_id, sa.Text) + now.isoformat())
    failed = query.where(installs.c.detail_read_at == UNREADABLE).order_by(drawn).limit(limit)
    due, again = list(connection.scalars(others)), list(connection.scalars(failed))
    again = again[: max(limit // _SHARE, limit - len(due))]
    return [*due[: limit - len(again)], *again]


def milestone_looks(connection: sa.Connection, account: str) -> MilestoneLooks:
    """Return when the milestones that the list omits were last read."""
    row = connection.execute(_LOOKS, {"account": account, "unreadable": UNREADABLE}).one()
    return MilestoneLooks(row.oldest, row.waiting, row.never, row.since, row.failed)


def _set(connection: sa.Connection, account: str, install_ids: Sequence[int], at: datetime) -> None:
    connection.execute(
        sa.update(installs)
        .where(installs.c.account == account, installs.c.install_id.in_(install_ids))
        .values(detail_read_at=at)
    )
