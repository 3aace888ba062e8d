"""Gaps and witnesses: what was not seen whole, and who saw which change."""

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
    """Return the stretches of time that were not seen whole; reads the warehouse only.

    :param every: minutes after which a poll and an ingest are due; by ``schedule`` in sync.yaml if None.
    :param days: how far back closed ones are told, 1 to 90.
    """
    require_migrated(context.engine)
    times = context.settings.schedule
    with warehouse_errors("gaps"), context.engine.connect() as connection:
        return find_gaps(
            connection,
            context.account,
            context.clock.now(),
            lists=context.config.poll.resources,
            poll_due=schedule.every(every) if every else schedule.cron(times.poll),
            ingest_due=schedule.every(every) if every else schedule.cron(times.webhooks),
            sweep_every=PollOptions().notes_sweep_every,
            days=days,
        )


def read_witnesses(context: AccountContext, *, days: int = DAYS) -> WitnessReport:
    """Return which changes of the last ``days`` days poll and webhooks saw; reads the warehouse only.

    :param days: calendar days in UTC, 1 to 90; today is one of them.
    """
    require_migrated(context.engine)
    with warehouse_errors("witnesses"), context.engine.connect() as connection:
        return witness_report(connection, context.account, context.clock.now(), days=days)
