"""The job that deletes data older than ``retention`` in sync.yaml, in batches that block no other job."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from types import MappingProxyType

import msgspec
import sqlalchemy as sa

from enerflo_sync.clock import Clock, days_apart
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.kept_days import option_of
from enerflo_sync.crm.retention import Kept
from enerflo_sync.drop.drop import Drop
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.retention.archive import ArchiveSweep
from enerflo_sync.retention.bodies import BodiesSweep
from enerflo_sync.retention.ledger import LedgerSweep
from enerflo_sync.retention.plans import PlansSweep, refuse_shorter_than_pending
from enerflo_sync.retention.report import PrunedKind, PruneReport
from enerflo_sync.retention.reports import DifferencesSweep, ReportsSweep
from enerflo_sync.retention.rows import LooksSweep, RunsSweep
from enerflo_sync.retention.sweep import Scope, Sweep
from enerflo_sync.retention.versions import VersionsSweep
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors

JOB = "prune"
NO_DROP = "not looked at: nothing says where the drop is (webhook_drop_uri)"
Progress = Callable[[str, int, int | None], None]
# The kinds of data that a waiting plan needs.
_NEEDED_BY_PLANS = (Kept.PLANS, Kept.DIFFERENCES, Kept.REPORTS)


def prune(
    engine: sa.Engine,
    config: SyncConfig,
    account: str,
    drop: Callable[[], Drop | None],
    *,
    former: Mapping[str, Callable[[], Drop]] = MappingProxyType({}),
    clock: Clock,
    rng: random.Random,
    dry: bool,
    run_id: str | None = None,
    progress: Progress | None = None,
) -> PruneReport:
    """Delete data that is older than ``retention`` in sync.yaml and that nothing needs (docs/retention.md).

    Each batch is one short transaction that also records in ``sync.prunings`` what it deleted. So the run may
    be killed at any time and repeated. Rows that another job is writing at the moment are left to the next
    run.

    :param drop: opens the account's drop; it returns None if the account has no drop.
    :param former: opens each archive that the account had before; its files are named, and never deleted.
    :param dry: whether to count only; then nothing is deleted and no run is recorded.
    :param progress: called with a kind of data and the number of its rows that are done.
    :raises ConfigurationError: a waiting plan is older than a limit, the drop cannot be used, or the clocks
        of database and machine are more than a day apart.
    :raises RetriableError: another prune of the account is running, another job holds a lock for too long, or
        the warehouse is away. The batches before were deleted completely.
    """
    tell = progress or (lambda *_: None)
    _require_equal_clocks(clock, account)
    with warehouse_errors(JOB), engine.connect() as connection, ExitStack() as whole:
        run = None
        if not dry:
            whole.enter_context(alone(connection, account, JOB))
            run = Run(connection, account, JOB, clock, rng, run_id=run_id)
        started_at = run.started_at if run else clock.now()
        scopes = _scopes(config, account, started_at, run.run_id if run else None)
        with connection.begin():
            for kind in _NEEDED_BY_PLANS:
                if kind in scopes:
                    refuse_shorter_than_pending(connection, scopes[kind])
        if run is not None:
            whole.enter_context(run.recording(CallCounter()))
        sweeps = _sweeps(config, account, drop)
        kinds = [_go(connection, config, kind, scopes.get(kind), sweeps[kind], run, tell) for kind in Kept]
    if Kept.ARCHIVE in scopes and drop() is None:
        # Nobody looked, so no count says that there is no such file.
        kinds = [
            msgspec.structs.replace(one, not_read=NO_DROP) if one.kind is Kept.ARCHIVE else one
            for one in kinds
        ]
    return PruneReport(
        account=account,
        run_id=run.run_id if run else None,
        started_at=started_at,
        finished_at=clock.now(),
        kinds=kinds,
        left=[place for place, opens in former.items() if _has_old_files(opens, scopes.get(Kept.ARCHIVE))],
    )


def _has_old_files(opens: Callable[[], Drop], scope: Scope | None) -> bool:
    """Return whether an archive has files that are older than the limit, or cannot be looked into."""
    if scope is None:
        return False
    try:
        return next(iter(opens().archived(scope.before)), None) is not None
    except (EnerfloSyncError, OSError):
        return True


def _require_equal_clocks(clock: Clock, account: str) -> None:
    """Refuse to prune by a wrong clock: rows are deleted by their age, and cannot be brought back.

    :raises ConfigurationError: the two clocks are more than a day apart.
    """
    with warehouse_errors(JOB):
        days = days_apart(clock)
    if days is not None:
        raise ConfigurationError(
            f"the database's clock and this machine's are {days:,.0f} days apart; one of them is wrong, and"
            " nothing was deleted.",
            where=f"account {account}",
            next_step="Set the clock that is wrong (chrony, NTP), then prune again.",
        )


def _scopes(config: SyncConfig, account: str, at: datetime, run_id: str | None) -> dict[Kept, Scope]:
    found = {}
    for kind in Kept:
        option, days = option_of(config, kind)
        if days is not None:
            before = at - timedelta(days=days)
            found[kind] = Scope(account, kind, before, f"{option}: {days}", at, run_id)
    return found


def _sweeps(config: SyncConfig, account: str, drop: Callable[[], Drop | None]) -> Mapping[Kept, Sweep]:
    tables = config.tables_for(account)
    return {
        Kept.PLANS: PlansSweep(),
        Kept.LEDGER: LedgerSweep(),
        Kept.DIFFERENCES: DifferencesSweep(),
        Kept.REPORTS: ReportsSweep(),
        Kept.VERSIONS: VersionsSweep(tables),
        Kept.WEBHOOK_BODIES: BodiesSweep(),
        Kept.ARCHIVE: ArchiveSweep(drop),
        Kept.RUNS: RunsSweep(),
        Kept.LOOKS: LooksSweep(tables),
    }


def _go(
    connection: sa.Connection,
    config: SyncConfig,
    kind: Kept,
    scope: Scope | None,
    sweep: Sweep,
    run: Run | None,
    tell: Progress,
) -> PrunedKind:
    option, days = option_of(config, kind)
    if scope is None:
        return PrunedKind(kind=kind, option=option, days=days, before=None)
    rows = size = 0
    moments: list[datetime] = []
    for gone in sweep.batches(connection, scope):
        rows, size = rows + gone.rows, size + gone.size
        moments = [at for at in (*moments[:1], *moments[-1:], gone.oldest, gone.newest) if at is not None]
        moments = [min(moments), max(moments)] if moments else []
        if run is not None:
            run.count(str(kind), Tally(read=gone.rows, applied=gone.rows))
        tell(str(kind), rows, None)
    return PrunedKind(
        kind=kind,
        option=option,
        days=days,
        before=scope.before,
        rows=rows,
        size=size,
        oldest=moments[0] if moments else None,
        newest=moments[-1] if moments else None,
    )
