"""Whether Enerflo was read when it was due, so that the mirror may be called up to date."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.gaps import schedule
from enerflo_sync.gaps.looks import first_and_last
from enerflo_sync.gaps.stretches import is_missed
from enerflo_sync.mirror.details import milestone_looks
from enerflo_sync.reconcile.remarks import LATER


def is_overdue(
    config: SyncConfig, account: str, kind: str, polled: Mapping[str, datetime], now: datetime
) -> bool:
    """Return whether two polls were due since Enerflo's list was read, the second at least an hour ago.

    Milestones that the list lacks are read in parts, some in each poll: see also :func:`unreadable_installs`.
    """
    listed = polled.get(RecordKind.INSTALLS if kind == RecordKind.MILESTONES else kind)
    return listed is not None and _is_missed(config, account, listed, now)


def unreadable_installs(
    connection: sa.Connection, config: SyncConfig, account: str, kind: str, now: datetime
) -> int:
    """Return how many installs have milestones that the list omits and whose direct reads fail for too long.

    Too long means the same as for a list: two polls were due since the last poll whose reads all succeeded.
    """
    failed = milestone_looks(connection, account).failed if kind == RecordKind.MILESTONES else 0
    if not failed:
        return 0
    first, last = first_and_last(connection, account, "poll", RecordKind.MILESTONES, now)
    since = last or first
    return failed if since is None or _is_missed(config, account, since, now) else 0


def _is_missed(config: SyncConfig, account: str, since: datetime, now: datetime) -> bool:
    times = config.account(account).schedule
    return is_missed(since, now - LATER, schedule.cron(times.poll, times.time_zone))
