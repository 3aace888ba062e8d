"""When a table was last compared for agreed values, so that the next run reads only changed rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.fields import SourceOfTruth
from enerflo_sync.reconcile.changed import keeps_times
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.incremental import looking_back
from enerflo_sync.reconcile.looks import Look, find_looks, since_look
from enerflo_sync.reconcile.observation import still_holds
from enerflo_sync.warehouse.watermarks import read_watermarks


def last_looks(
    connection: sa.Connection,
    comparisons: Sequence[Comparison],
    account: str,
    config_hash: str,
    now: datetime,
) -> dict[str, tuple[datetime, Look]]:
    """Return when each table's last run was and how far it saw the CRM's rows.

    A table of which :func:`.agree.agree_moved` has to compare all rows is left out.

    :param now: the caller's transaction's time.
    """
    names = {comparison.name: watermark_name(comparison, config_hash) for comparison in comparisons}
    until = read_watermarks(connection, account, [*names.values()])
    looks = find_looks(connection, account, names)
    found = {}
    for comparison in comparisons:
        last, look = until.get(names[comparison.name]), looks.get(comparison.name)
        if last is not None and look is not None and still_holds(look, comparison, now):
            found[str(comparison.name)] = last, look
    return found


def since_last_looks(
    connection: sa.Connection,
    comparisons: Sequence[Comparison],
    account: str,
    config_hash: str,
    lookback_minutes: int,
    now: datetime,
) -> dict[str, dict[str, Any]]:
    """Return for each table the parameters that select the rows changed since its last run.

    A table of which all rows must be compared is left out.
    """
    lasts = last_looks(connection, comparisons, account, config_hash, now)
    moments = {until for until, _ in lasts.values()}
    since = {until: looking_back(connection, account, until, lookback_minutes) for until in moments}
    return {name: {"since": since[until], **since_look(look)} for name, (until, look) in lasts.items()}


def watermark_name(comparison: Comparison, config_hash: str) -> str:
    """Return the name of the watermark: it has the mapping's hash, so another mapping compares all rows.

    A table whose pairs store times has a name of its own: when they began to, the next run had to compare all
    its rows once. They began with fields of ``newest``, and those of ``review`` followed.
    """
    times = "/times" if comparison.goes_by_time else ""
    if keeps_times(comparison) and comparison.mapping.has_policy(SourceOfTruth.REVIEW):
        times += "/review"
    return f"agreed/{comparison.name}/{config_hash[:16]}{times}"
