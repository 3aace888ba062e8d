"""The checks as one job: judge change orders, hold failing ones, validate, judge life cycles, report."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.mirror.reading_run import new_run_id
from enerflo_sync.quality.facts import find_facts
from enerflo_sync.quality.gate import close_passed, held_count, hold
from enerflo_sync.quality.judge import forget, judge
from enerflo_sync.quality.life_cycle.graph import LifeCycle
from enerflo_sync.quality.life_cycle.judge_installs import judge_life_cycle
from enerflo_sync.quality.life_cycle.store import read_life_cycle
from enerflo_sync.quality.report import QualityReport
from enerflo_sync.quality.store import SHOWN, keep_run, keep_validation, newest_suite, read_report
from enerflo_sync.quality.suite import Suite
from enerflo_sync.quality.validate import not_validated, validate
from enerflo_sync.reconcile.conditions import cause_parameters
from enerflo_sync.reconcile.incremental import looking_back
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.watermarks import move_watermark, read_watermark

JOB = "quality"


def check_change_orders(
    engine: sa.Engine,
    config: SyncConfig,
    suite: Suite,
    account: str,
    *,
    clock: Clock,
    rng: random.Random,
    life_cycle: LifeCycle | None = None,
    with_expectations: bool = True,
    full: bool = False,
    run_id: str | None = None,
) -> QualityReport:
    """Check change orders that are new, or whose own or reference data changed; return the state of all.

    May be killed at any point and repeated. Reads only the warehouse. Orders are held and released in the
    transaction that judges them.

    :param life_cycle: also judge the histories of installs by it; None skips them.
    :param with_expectations: let Great Expectations count what it has not counted yet; it is imported only
        if needed. Without it, the orders wait for the next run that has it.
    :param full: derive the facts of all orders again, check those whose facts differ, and judge the
        histories of all installs again.
    :raises ConfigurationError: Great Expectations is requested but not installed.
    :raises ContractDriftError: Great Expectations counts differently from the judgement.
    """
    started = clock.now()
    run_id = run_id or new_run_id(JOB, started, rng)
    with (
        warehouse_errors(JOB),
        engine.connect() as connection,
        alone(connection, account, "check of change orders", wait=True),
    ):
        with connection.begin():
            checked, gone = _judge(connection, config, suite, account, run_id, started, full)
            if checked or gone or (with_expectations and not_validated(connection, account)):
                keep_run(
                    connection,
                    suite,
                    account,
                    suite_hash=suite.hash(config.statuses),
                    run_id=run_id,
                    started_at=started,
                    finished_at=clock.now(),
                    checked=checked,
                    held=held_count(connection, account),
                )
        histories = None
        if life_cycle is not None:
            with connection.begin():
                judged = judge_life_cycle(
                    connection, config, life_cycle, account, clock=clock, run_id=run_id, full=full
                )
                histories = read_life_cycle(connection, life_cycle, account, judged, most=SHOWN)
        if with_expectations:
            _validate(connection, engine, suite, account, clock=clock, run_id=run_id)
        with connection.begin():
            report = read_report(connection, suite, account, run_id=run_id, checked=checked)
        return msgspec.structs.replace(report, life_cycle=histories)


def _judge(
    connection: sa.Connection,
    config: SyncConfig,
    suite: Suite,
    account: str,
    run_id: str,
    now: datetime,
    full: bool,
) -> tuple[int, int]:
    """Return the number of checked orders, and of deleted ones."""
    watermark = read_watermark(connection, account, JOB)
    suite_hash = suite.hash(config.statuses)
    changed_suite = newest_suite(connection, account) not in (None, suite_hash)
    since = None
    if watermark is not None and not full and not changed_suite:
        since = looking_back(connection, account, watermark, config.reconcile.lookback_minutes)
    gone = forget(connection, account, all_of_them=since is None)
    facts = find_facts(connection, suite, account, since=since, now=now, statuses=_statuses(config, now))
    checked = judge(connection, suite, account, suite_hash=suite_hash, facts=facts, run_id=run_id, now=now)
    if checked:
        hold(connection, suite, account, run_id, now)
    close_passed(connection, account)
    move_watermark(connection, account, JOB, now, run_id=run_id, now=now)
    return checked, gone


def _validate(
    connection: sa.Connection, engine: sa.Engine, suite: Suite, account: str, *, clock: Clock, run_id: str
) -> None:
    with connection.begin():
        orders = not_validated(connection, account)
    if not orders:
        return
    expectations = validate(engine, suite, account)
    with connection.begin():
        keep_validation(
            connection,
            account,
            run_id=run_id,
            finished_at=clock.now(),
            validated=orders,
            expectations=expectations,
        )


def _statuses(config: SyncConfig, now: datetime) -> Mapping[str, Any]:
    return cause_parameters(config.statuses, now, config.reconcile.in_flight_minutes)
