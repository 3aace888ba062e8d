"""The shared request budget: never more than the limit in any window, and everybody stops on a 429."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.clock import SystemClock
from enerflo_sync.enerflo.budget import RequestBudget
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget

INCLUDE = Path(__file__).resolve().parents[2] / "include"


class JumpingClock:
    """Stands still, except that sleeping moves it at once."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._now = datetime(2026, 3, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


def most_in_a_window(moments: list[float], window: float) -> int:
    """Return the largest number of ``moments`` in any half-open stretch of ``window`` seconds."""
    ordered = sorted(moments)
    return max(bisect_left(ordered, moment + window) - index for index, moment in enumerate(ordered))


def test_it_is_what_the_client_asks_for(warehouse: sa.Engine, clock: JumpingClock) -> None:
    budget: RequestBudget = WarehouseRequestBudget(warehouse, "default", "ab", clock)
    budget.acquire()
    assert clock.slept == []


def test_no_window_ever_holds_more_than_the_limit(warehouse: sa.Engine, clock: JumpingClock) -> None:
    budget = WarehouseRequestBudget(warehouse, "default", "ab", clock, 7, 10.0, margin_seconds=0.0)
    sent = []
    for pause in itertools.islice(itertools.cycle([0.0, 0.0, 0.3, 0.0, 4.1]), 100):
        clock.sleep(pause)
        budget.acquire()
        sent.append(clock.monotonic())
    assert most_in_a_window(sent, 10.0) == 7


def test_the_margin_keeps_late_requests_out_of_a_full_window(
    warehouse: sa.Engine, clock: JumpingClock
) -> None:
    budget = WarehouseRequestBudget(warehouse, "default", "ab", clock, 3, 10.0, margin_seconds=2.0)
    for _ in range(4):
        budget.acquire()
    assert sum(clock.slept) >= 12.0


def test_two_processes_and_their_threads_share_one_limit(warehouse: sa.Engine, warehouse_url: str) -> None:
    log_every_grant(warehouse)
    program = f"""
import sys, threading
sys.path.insert(0, {str(INCLUDE)!r})
from enerflo_sync.clock import SystemClock
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget
budget = WarehouseRequestBudget(
    warehouse_engine({warehouse_url!r}), "default", "ab", SystemClock(), 10, 0.5, margin_seconds=0.1)
def work():
    for _ in range(10):
        budget.acquire()
threads = [threading.Thread(target=work) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    workers = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0]
    with warehouse.connect() as connection:
        granted = [float(row[0]) for row in connection.execute(sa.text("select at from granted"))]
    assert len(granted) == 40
    assert most_in_a_window(granted, 0.6) <= 10
    assert max(granted) - min(granted) < 10


def log_every_grant(warehouse: sa.Engine) -> None:
    """Make the warehouse itself write down when each slot was taken, by its own clock."""
    with warehouse.begin() as connection:
        connection.execute(
            sa.text("""
                create table granted (at double precision);
                create function note_grant() returns trigger language plpgsql as $$
                begin
                    insert into granted values (extract(epoch from new.used_at));
                    return null;
                end $$;
                create trigger note_grant after update on sync.request_slots
                for each row execute function note_grant()
            """)
        )


def test_a_user_that_died_loses_no_capacity(warehouse: sa.Engine, clock: JumpingClock) -> None:
    dead = WarehouseRequestBudget(warehouse, "default", "ab", clock, 2, 10.0, margin_seconds=0.0)
    dead.acquire()
    dead.acquire()
    clock.sleep(10.0)
    alive = WarehouseRequestBudget(warehouse, "default", "ab", clock, 2, 10.0, margin_seconds=0.0)
    clock.slept.clear()
    alive.acquire()
    alive.acquire()
    assert clock.slept == []


def test_accounts_and_keys_do_not_hold_each_other(warehouse: sa.Engine, clock: JumpingClock) -> None:
    for account, key in [("default", "ab"), ("default", "cd"), ("other", "ab")]:
        WarehouseRequestBudget(warehouse, account, key, clock, 1, 10.0).acquire()
    assert clock.slept == []


def test_a_429_stops_every_process_until_it_ends(warehouse: sa.Engine, clock: JumpingClock) -> None:
    throttled = WarehouseRequestBudget(warehouse, "default", "ab", clock)
    other = WarehouseRequestBudget(warehouse, "default", "ab", clock)
    throttled.acquire()
    throttled.observe(300, 0, clock.now() + timedelta(seconds=41), 41.0, True)
    other.acquire()
    assert 41.0 <= sum(clock.slept) < 46.0


def test_a_429_without_a_time_stops_everybody_for_a_window(warehouse: sa.Engine, clock: JumpingClock) -> None:
    budget = WarehouseRequestBudget(warehouse, "default", "ab", clock)
    budget.acquire()
    budget.observe(None, None, None, None, True)
    budget.acquire()
    assert 60.0 <= sum(clock.slept) < 65.0


def test_a_stop_longer_than_the_bound_is_an_error_with_its_length(
    warehouse: sa.Engine, clock: JumpingClock
) -> None:
    budget = WarehouseRequestBudget(warehouse, "default", "ab", clock)
    budget.acquire()
    budget.observe(None, 0, None, 7200.0, True)
    with pytest.raises(RetriableError) as raised:
        budget.acquire()
    assert raised.value.retry_after == pytest.approx(7202.0, abs=1)
    assert clock.slept == []


def test_what_something_else_used_of_the_key_is_not_used_again(
    warehouse: sa.Engine, clock: JumpingClock
) -> None:
    budget = WarehouseRequestBudget(warehouse, "default", "ab", clock, 100, 60.0, margin_seconds=0.0)
    budget.acquire()
    budget.observe(None, 3, None, None, False)
    for _ in range(3):
        budget.acquire()
        clock.sleep(0.1)
    clock.slept.clear()
    budget.acquire()
    assert sum(clock.slept) == pytest.approx(59.7, abs=0.1)


def test_an_answer_that_comes_late_does_not_give_back_what_was_sent_since(
    warehouse: sa.Engine, clock: JumpingClock
) -> None:
    slow = WarehouseRequestBudget(warehouse, "default", "ab", clock, 100, 60.0, margin_seconds=0.0)
    quick = WarehouseRequestBudget(warehouse, "default", "ab", clock, 100, 60.0, margin_seconds=0.0)
    slow.acquire()
    for _ in range(2):
        clock.sleep(0.1)
        quick.acquire()
    slow.observe(None, 3, None, None, False)
    quick.acquire()
    clock.slept.clear()
    quick.acquire()
    assert sum(clock.slept) > 50


def test_a_fresh_window_at_the_vendor_lifts_the_steering(warehouse: sa.Engine, clock: JumpingClock) -> None:
    budget = WarehouseRequestBudget(warehouse, "default", "ab", clock, 100, 60.0, margin_seconds=0.0)
    budget.acquire()
    budget.observe(None, 2, None, None, False)
    clock.sleep(1.0)
    budget.acquire()
    budget.observe(None, 99, None, None, False)
    clock.slept.clear()
    for _ in range(50):
        budget.acquire()
    assert clock.slept == []


def test_using_the_whole_limit_alone_costs_no_more_than_the_window(
    warehouse: sa.Engine, clock: JumpingClock
) -> None:
    budget = WarehouseRequestBudget(warehouse, "default", "ab", clock, 20, 60.0, margin_seconds=0.0)
    for left in range(19, -1, -1):
        budget.acquire()
        budget.observe(None, left, None, None, False)
        clock.sleep(0.5)
    clock.slept.clear()
    budget.acquire()
    assert sum(clock.slept) == pytest.approx(50.0, abs=0.1)


def test_a_lower_limit_that_the_vendor_states_is_kept_to(warehouse: sa.Engine, clock: JumpingClock) -> None:
    budget = WarehouseRequestBudget(warehouse, "default", "ab", clock, 100, 60.0, margin_seconds=0.0)
    budget.acquire()
    budget.observe(5, None, None, None, False)
    for _ in range(4):
        budget.acquire()
    assert clock.slept == []
    budget.acquire()
    assert sum(clock.slept) >= 60.0


def test_what_is_known_of_the_limit_is_not_written_again(warehouse: sa.Engine, clock: JumpingClock) -> None:
    budget = WarehouseRequestBudget(warehouse, "default", "ab", clock, 100, 60.0, margin_seconds=0.0)

    def told(limit: int, remaining: int) -> bool:
        clock.sleep(0.1)
        budget.acquire()
        budget.observe(limit, remaining, None, None, False)
        with warehouse.connect() as connection:
            at = connection.scalar(sa.text("select updated_at from sync.request_budgets"))
        return bool(at == clock.now())

    assert told(500, 499)
    assert not told(500, 498)
    assert told(500, 490), "something else uses the key, too"
    assert not told(500, 489)
    assert told(400, 399)


def test_a_wait_is_logged_once_with_its_reason_and_no_key(
    warehouse: sa.Engine, clock: JumpingClock, caplog: pytest.LogCaptureFixture
) -> None:
    budget = WarehouseRequestBudget(warehouse, "default", "abcdef0123456789", clock, 1, 10.0)
    budget.acquire()
    with caplog.at_level(logging.INFO):
        budget.acquire()
    lines = [record.getMessage() for record in caplog.records if "request_budget.wait" in record.getMessage()]
    assert lines == ["request_budget.wait account=default reason=window_full seconds=12.0"]


def test_a_warehouse_without_the_tables_says_to_migrate(
    empty_warehouse_url: str, clock: JumpingClock
) -> None:
    engine = sa.create_engine(empty_warehouse_url)
    with pytest.raises(ConfigurationError, match="migrate"):
        WarehouseRequestBudget(engine, "default", "ab", clock).acquire()
    engine.dispose()


def test_an_unused_slot_is_granted_in_milliseconds_on_the_real_clock(warehouse: sa.Engine) -> None:
    budget = WarehouseRequestBudget(warehouse, "default", "ab", SystemClock())
    began = time.perf_counter()
    threads = [threading.Thread(target=budget.acquire) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.perf_counter() - began < 5
