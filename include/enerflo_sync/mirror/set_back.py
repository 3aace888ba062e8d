"""The mirror's records after the database's clock was set back (:mod:`enerflo_sync.warehouse.set_back`)."""

from __future__ import annotations

import logging
from datetime import datetime

import sqlalchemy as sa

from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata
from enerflo_sync.warehouse.set_back import bring_to_present, future_of, was_set_back

log = logging.getLogger(__name__)

_TIMES = ("observed_at", "absent_since", "deleted_at")


def mend_future_times(connection: sa.Connection, account: str, now: datetime, run_id: str) -> None:
    """Bring what earlier runs stored under a time of the future to the present, in the caller's transaction.

    :param now: when the present run began.
    """
    if not was_set_back(connection, account, now):
        return
    log.warning("clock_set_back account=%s run=%s", account, run_id)
    for table in metadata.tables.values():
        if table.schema != MIRROR_SCHEMA or "observed_at" not in table.c:
            continue
        times = [table.c[name] for name in _TIMES if name in table.c]
        connection.execute(
            sa.update(table)
            .where(table.c.account == account, sa.or_(*(time > future_of(now) for time in times)))
            .values({time.name: sa.case((time > now, now), else_=time) for time in times})
        )
    bring_to_present(connection, account, now, run_id)
