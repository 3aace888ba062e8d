"""The pages of Airflow as they read the warehouse, each as a function to be measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from enerflo_sync.addresses import Addresses
from enerflo_sync.gaps.schedule import cron
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.gaps import read_gaps, read_witnesses
from enerflo_sync.jobs.quality import open_life_cycle, open_suite
from enerflo_sync.pages.differences import DifferenceFilter, read_differences_page
from enerflo_sync.pages.figures import read_figures
from enerflo_sync.pages.freshness import read_freshness
from enerflo_sync.pages.inbox import InboxFilter, read_inbox
from enerflo_sync.pages.overview import read_overview
from enerflo_sync.pages.plans import PlansFilter, read_plan_page, read_plans_page
from enerflo_sync.pages.quality import ChecksFilter, Listing, read_checks_page
from enerflo_sync.pages.record import read_record_page
from enerflo_sync.pages.reports import read_day, read_reports
from enerflo_sync.pages.run_page import RunFacts, read_run
from enerflo_sync.pages.search import search
from enerflo_sync.pages.verdicts import read_newest
from enerflo_sync.reconcile.store import load_report

_PLAN = "select plan_hash from sync.plans order by created_at desc, part limit 1"
_RUN = (
    "select run_id from sync.runs where job = 'poll' and run_id like '%/%' order by started_at desc limit 1"
)

Reader = Callable[[sa.Connection], Any]


def pages_of(context: AccountContext, install: int, name: str) -> dict[str, Callable[[], Any]]:
    """Return what reads each page, by the page's name.

    :param install: the record whose page is read; :param name: a customer's last name to search for.
    """
    config, account, to = context.config, context.account, Addresses()

    def reading(read: Reader) -> Callable[[], Any]:
        def act() -> Any:
            with context.engine.connect() as connection:
                return read(connection)

        return act

    def freshness(connection: sa.Connection) -> Any:
        times = context.settings.schedule
        due = cron(times.poll, times.time_zone)
        gaps, seen = read_gaps(context), read_witnesses(context)
        return read_freshness(connection, account, gaps, seen, polled=config.poll.resources, poll_due=due)

    def differences(connection: sa.Connection) -> Any:
        report = load_report(context.engine, account)
        return read_differences_page(connection, config, account, report, DifferenceFilter())

    def checks(listing: Listing) -> Reader:
        suite, life_cycle = open_suite(context), open_life_cycle(context)
        return lambda connection: read_checks_page(
            connection, suite, life_cycle, account, ChecksFilter(listing=listing)
        )

    def run(connection: sa.Connection) -> Any:
        dag, _, run_id = str(connection.scalar(sa.text(_RUN))).partition("/")
        return read_run(
            connection,
            RunFacts(dag, run_id, "poll", account, "success", None, None, None, ""),
        )

    readers: dict[str, Reader] = {
        "accounts": lambda c: read_newest(c, {account: context.settings.schedule}),
        "overview": lambda c: read_overview(c, config, account),
        "freshness": freshness,
        "differences": differences,
        "report": lambda _: load_report(context.engine, account),
        "reports": lambda c: read_reports(c, account, None),
        "reports of one day": lambda c: read_day(c, account, context.clock.now().date(), None),
        "plans": lambda c: read_plans_page(c, account, PlansFilter()),
        "plan": lambda c: read_plan_page(c, config, account, str(c.scalar(sa.text(_PLAN)))),
        "checks": checks(Listing.CHECKS),
        "failing orders": checks(Listing.ORDERS),
        "findings": checks(Listing.FINDINGS),
        "inbox": lambda c: read_inbox(c, config, account, to, InboxFilter()),
        "record": lambda c: read_record_page(c, config, account, "installs", str(install), to),
        "search by id": lambda c: search(c, config, account, str(install), to),
        "search by name": lambda c: search(c, config, account, name, to),
        "run": run,
        "figures": lambda c: read_figures(c, config, account, context.clock.now()),
    }
    return {page: reading(read) for page, read in readers.items()}
