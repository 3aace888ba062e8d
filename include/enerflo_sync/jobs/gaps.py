"""Gaps and witnesses: periods not observed completely, and which witness saw which change."""

from __future__ import annotations

from enerflo_sync.gaps import schedule
from enerflo_sync.gaps.find import find_gaps
from enerflo_sync.gaps.report import GapReport
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.mirror.poll import PollOptions
from enerflo_sync.mirror.witness_report import DAYS, WitnessReport, witness_report
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def read_gaps(context: AccountContext, *, every: float | None = None, days: int = DAYS) -> GapReport:
    """Return the periods that were not observed completely; reads only the warehouse.

    :param every: minutes between due polls and ingests; None uses ``schedule`` in sync.yaml.
    :param days: how far back closed holes are reported, 1 to 90.
    """
    require_migrated(context.engine, reads_only=True)
    times = context.settings.schedule
    with warehouse_errors("gaps"), context.engine.connect() as connection:
        return find_gaps(
            connection,
            context.account,
            context.clock.now(),
            lists=context.config.poll.resources,
            poll_due=schedule.every(every) if every else schedule.cron(times.poll, times.time_zone),
            ingest_due=schedule.every(every) if every else schedule.cron(times.webhooks, times.time_zone),
            sweep_every=PollOptions().notes_sweep_every,
            days=days,
            awaits_webhooks=context.settings.has_drop,
        )


def read_witnesses(context: AccountContext, *, days: int = DAYS) -> WitnessReport:
    """Return which changes of the last ``days`` days poll and webhooks saw; reads only the warehouse.

    :param days: calendar days in UTC including today, 1 to 90.
    """
    require_migrated(context.engine, reads_only=True)
    with warehouse_errors("witnesses"), context.engine.connect() as connection:
        return witness_report(connection, context.account, context.clock.now(), days=days)
