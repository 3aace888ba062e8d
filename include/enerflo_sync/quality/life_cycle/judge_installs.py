"""The life cycle as one step of the job: judge installs that changed or are due, store the findings."""

from __future__ import annotations

import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.quality.life_cycle.findings import keep_findings
from enerflo_sync.quality.life_cycle.graph import LifeCycle
from enerflo_sync.quality.life_cycle.histories import make_histories
from enerflo_sync.quality.life_cycle.state import keep_state
from enerflo_sync.quality.life_cycle.store import Judged, keep_run, newest_config
from enerflo_sync.reconcile.incremental import looking_back
from enerflo_sync.warehouse.watermarks import move_watermark, read_watermark

WATERMARK = "life_cycle"


def judge_life_cycle(
    connection: sa.Connection,
    config: SyncConfig,
    life_cycle: LifeCycle,
    account: str,
    *,
    clock: Clock,
    run_id: str,
    full: bool,
) -> Judged:
    """Judge histories that changed or passed a time limit, in the caller's transaction.

    The result equals that of judging all: findings depend only on an install's own milestones, its status,
    its steps once seen completed, the configuration, and the time.

    :param full: judge all installs.
    """
    now = clock.now()
    config_hash = life_cycle.hash(config.statuses)
    changed = newest_config(connection, account) not in (None, config_hash)
    watermark = read_watermark(connection, account, WATERMARK)
    since = None
    if watermark is not None and not full and not changed:
        since = looking_back(connection, account, watermark, config.reconcile.lookback_minutes)
    looked_at = make_histories(connection, life_cycle, config.statuses, account, since=since, now=now)
    judged = Judged(looked_at, 0, 0)
    if looked_at:
        changes = keep_findings(connection, life_cycle, account, run_id, now)
        keep_state(connection, life_cycle, account, now)
        judged = Judged(looked_at, changes.found, changes.resolved)
    if looked_at or changed:
        keep_run(
            connection,
            account,
            judged,
            config_hash=config_hash,
            run_id=run_id,
            started_at=now,
            finished_at=clock.now(),
        )
    move_watermark(connection, account, WATERMARK, now, run_id=run_id, now=now)
    return judged
