"""When a table was last compared for agreed values, so that the next run reads only changed rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.fields import SourceOfTruth
from enerflo_sync.reconcile.changed import keeps_times
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.incremental import looking_back
from enerflo_sync.reconcile.observation import Look, find_look, since_look, still_holds
from enerflo_sync.warehouse.watermarks import read_watermark


def looked_before(
    connection: sa.Connection, comparison: Comparison, account: str, config_hash: str, now: datetime
) -> bool:
    """Return whether :func:`.agree.agree_moved` has to compare only rows that changed.

    :param now: the caller's transaction's time.
    """
    return _last_look(connection, comparison, account, config_hash, now) is not None


def _last_look(
    connection: sa.Connection, comparison: Comparison, account: str, config_hash: str, now: datetime
) -> tuple[datetime, Look] | None:
    """Return when the last run was and how far it saw the CRM's rows; None: all rows must be compared."""
    name = watermark_name(comparison, config_hash)
    until = read_watermark(connection, account, name)
    look = None if until is None else find_look(connection, comparison, account, name)
    if until is None or look is None or not still_holds(look, comparison, now):
        return None
    return until, look


def since_last_look(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    config_hash: str,
    lookback_minutes: int,
    now: datetime,
) -> dict[str, Any] | None:
    """Return the parameters that select rows changed since the last run; None: all must be compared."""
    last = _last_look(connection, comparison, account, config_hash, now)
    if last is None:
        return None
    until, look = last
    since = looking_back(connection, account, until, lookback_minutes)
    return {"since": since, **since_look(look)}


def watermark_name(comparison: Comparison, config_hash: str) -> str:
    """Return the name of the watermark: it has the mapping's hash, so another mapping compares all rows.

    A table whose pairs store times has a name of its own: when they began to, the next run had to compare all
    its rows once. They began with fields of ``newest``, and those of ``review`` followed.
    """
    times = "/times" if comparison.goes_by_time else ""
    if keeps_times(comparison) and comparison.mapping.has_policy(SourceOfTruth.REVIEW):
        times += "/review"
    return f"agreed/{comparison.name}/{config_hash[:16]}{times}"
