"""What the install list does not tell: milestones read from the install itself, changed ones first.

It is not known whether the vendor's list rows hold the milestones (REFERENCE §6.1, §8). Where they do,
nothing here costs anything. Where they do not, a poll reads some installs directly: those whose row changed,
then the others in turn, so that each install's milestones are looked at again after installs / limit polls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import sqlalchemy as sa

from enerflo_sync.enerflo.client import EnerfloClient
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
from enerflo_sync.mirror.fingerprint import decode, stable_bytes
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.warehouse.bulk import encode
from enerflo_sync.warehouse.refused import refuses_a_row
from enerflo_sync.warehouse.schema import installs

log = logging.getLogger(__name__)

DUE = datetime(1970, 1, 1, tzinfo=UTC)


def read_directly(client: EnerfloClient, install_id: int, unreadable: Callable[[str], None]) -> bytes | None:
    """Return one install; None where it cannot be read now.

    :param unreadable: told which install it is, and why.
    :raises NotFoundError: there is none.
    :raises AuthenticationError: the key is not accepted any more.
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
    """Store what an install's own answer tells of its contents, in the caller's transaction.

    Whatever came of the read (``raw`` is None where nothing did), the others have their turn first.
    """
    mark_read(connection, observation.account, install_id, observation.observed_at)
    return Tally() if raw is None else _store_contents(connection, intake, raw, observation, install_id)


def _store_contents(
    connection: sa.Connection, intake: Intake, raw: bytes, observation: Observation, install_id: int
) -> Tally:
    """Store only what belongs to one install, from an answer to a direct read, and return what changed.

    The install's own row stays with the list, whose answer may have another form. What cannot be read, or is
    refused by the warehouse, is quarantined, and the other installs go on.
    """
    parts = intake.resource.parts[1:]
    try:
        _, *contents = intake.resource.read(decode(stable_bytes(raw))[0])
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
                merge_part(connection, intake.resource, part, block, told, account) for part, block in blocks
            )
    except psycopg.Error as error:
        if not refuses_a_row(error):
            raise
        refused = BadRecordError("refused_by_the_warehouse")
        return _reject_contents(connection, intake, raw, observation, install_id, refused)
    quarantine.settle(connection, account, parts[0].table.name, [intake.resource.key(install_id)])
    return Tally(read=1, applied=1) if written else Tally(read=1, unchanged=1)


def _reject_contents(
    connection: sa.Connection,
    intake: Intake,
    raw: bytes,
    observation: Observation,
    install_id: int,
    error: BadRecordError,
) -> Tally:
    batch = Batch(observation, tally=Tally(read=1))
    intake.reject(batch, stable_bytes(raw), error, install_id)
    # Under what could not be read: the install's own row in the list may be right.
    items = [replace(item, table_name=intake.resource.parts[1].table.name) for item in batch.rejected]
    quarantine.put_aside(connection, observation.account, items, observation.observed_at)
    return batch.tally


def mark_due(connection: sa.Connection, account: str, install_ids: Sequence[int]) -> None:
    """Note that these installs' rows changed and did not tell their milestones."""
    if install_ids:
        _set(connection, account, install_ids, DUE)


def mark_read(connection: sa.Connection, account: str, install_id: int, at: datetime) -> None:
    """Note that an install was read directly."""
    _set(connection, account, [install_id], at)


def next_due(connection: sa.Connection, account: str, limit: int) -> list[int]:
    """Return up to ``limit`` installs whose milestones were looked at longest ago, due ones first."""
    query = (
        sa.select(installs.c.install_id)
        .where(
            installs.c.account == account,
            installs.c.detail_read_at.is_not(None),
            installs.c.deleted_at.is_(None),
        )
        .order_by(installs.c.detail_read_at, installs.c.install_id.desc())
        .limit(limit)
    )
    return list(connection.scalars(query))


def _set(connection: sa.Connection, account: str, install_ids: Sequence[int], at: datetime) -> None:
    connection.execute(
        sa.update(installs)
        .where(installs.c.account == account, installs.c.install_id.in_(install_ids))
        .values(detail_read_at=at)
    )
