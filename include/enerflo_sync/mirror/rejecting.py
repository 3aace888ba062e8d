"""A record that cannot be ingested: what of it is kept in quarantine."""

from __future__ import annotations

import logging

import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError
from enerflo_sync.mirror.batch import Batch
from enerflo_sync.mirror.quarantine import Rejected
from enerflo_sync.resources.fingerprint import raw_hash

log = logging.getLogger(__name__)

_OWNERS = ("customer_id", "install_id", "deal_id")


def reject(
    connection: sa.Connection, batch: Batch, stable: bytes, error: BadRecordError, record_id: int | None
) -> None:
    """Count a record of ``batch`` as quarantined, with its reason; storing the batch stores the item.

    Nothing of the record is kept if it is, or may be, of somebody who was forgotten: whose it is cannot be
    read from it.

    :param connection: looks up whose record the mirror says it is, where somebody was forgotten.
    """
    resource = batch.resource
    is_theirs = _may_be_of_somebody_forgotten(connection, batch, stable, record_id)
    mark = str(record_id) if record_id is not None else raw_hash(stable).hex()
    item = Rejected(
        kind="record",
        reason=error.what,
        field=error.field,
        payload=b"" if is_theirs else stable,
        mark=mark if is_theirs else "",
        evidence_uri=batch.observation.evidence,
        table_name=resource.table.name,
        key=None if record_id is None else resource.key(record_id),
    )
    batch.rejected.append(item)
    batch.tally.quarantined += 1
    batch.tally.because("quarantined", item.described)
    log.warning("record_quarantined resource=%s id=%s", resource.name, record_id)


def _may_be_of_somebody_forgotten(
    connection: sa.Connection, batch: Batch, stable: bytes, record_id: int | None
) -> bool:
    forgotten, resource = batch.forgotten, batch.resource
    if not forgotten:
        return False
    if forgotten.owns({resource.id_column: record_id}) or forgotten.is_named_in(stable):
        return True
    owners = [name for name in _OWNERS if name in resource.table.c and name != resource.id_column]
    if record_id is None or not owners:
        return False
    columns = resource.table.c
    row = connection.execute(
        sa.select(*(columns[name] for name in owners)).where(
            columns.account == batch.observation.account, columns[resource.id_column] == record_id
        )
    ).first()
    return row is not None and forgotten.owns(dict(row._mapping))
