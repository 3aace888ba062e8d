"""Backfills yield: live work goes first, and the key's whole budget is used while there is none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from bisect import bisect_left
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.sandbox.throttle import FixedWindow
from enerflo_sync.sandbox.virtual_clock import VirtualClock
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget
from enerflo_sync.warehouse.request_lanes import Lane, backfill_rate, reserve_of
from tests.mirror.conftest import START

INCLUDE = Path(__file__).resolve().parents[2] / "include"


class Key:
    """One key's two lanes on one clock, and the vendor's own count of what was sent with it."""

    def __init__(self, warehouse: sa.Engine, limit: int = 300) -> None:
        self.clock = VirtualClock(START)
        self.vendor = FixedWindow(limit)
        self.budgets = {
            lane: WarehouseRequestBudget(warehouse, "default", "ab", self.clock, limit, lane=lane)
            for lane in Lane
        }
        self.sent: dict[Lane, list[float]] = {lane: [] for lane in Lane}

    def send(self, lane: Lane) -> float:
        """Send one request and return how long it had to wait."""
        asked = self.clock.monotonic()
        self.budgets[lane].acquire()
        at = self.clock.monotonic()
        assert self.vendor.admit("key", at).allowed, "a 429 that we caused"
        self.sent[lane].append(at)
        return at - asked

    def backfill_for(self, seconds: float) -> int:
        """Send as many backfill requests as the lane allows for so long, and return how many that were."""
        until, count = self.clock.monotonic() + seconds, 0
        while self.clock.monotonic() < until:
            self.send(Lane.BACKFILL)
            count += 1
        return count


def most_in(moments: list[float], window: float) -> int:
    ordered = sorted(moments)
    return max(bisect_left(ordered, moment + window) - index for index, moment in enumerate(ordered))


@pytest.fixture
def key(warehouse: sa.Engine) -> Key:
    return Key(warehouse)


def test_a_backfill_alone_uses_95_percent_of_the_vendors_limit_and_causes_no_429(key: Key) -> None:
    key.backfill_for(62.0)
    assert key.backfill_for(600.0) >= 0.95 * 300 * 10
    assert most_in(key.sent[Lane.BACKFILL], 62.0) <= 300 - reserve_of(300)


def test_a_live_request_out_of_the_blue_waits_for_nothing(key: Key) -> None:
    key.backfill_for(130.0)
    for _ in range(reserve_of(300)):
        assert key.send(Lane.LIVE) == 0.0


def test_after_the_reserve_live_work_gets_each_slot_that_grows_old_and_the_backfill_none(key: Key) -> None:
    key.backfill_for(130.0)
    before = len(key.sent[Lane.BACKFILL])
    waits = [key.send(Lane.LIVE) for _ in range(60)]
    assert max(waits) < 2.5
    assert sum(waits) < 60 * 0.25
    assert len(key.sent[Lane.BACKFILL]) == before


def test_a_backfill_waits_as_long_as_a_live_request_does(key: Key) -> None:
    for _ in range(300):
        key.send(Lane.LIVE)
    key.budgets[Lane.LIVE]._say_that_live_work_waits(40.0)
    assert key.send(Lane.BACKFILL) >= 40.0


def test_beside_live_work_a_backfill_uses_half_and_live_work_never_waits(key: Key) -> None:
    key.send(Lane.LIVE)
    waits = []
    for _ in range(120):
        key.backfill_for(5.0)
        waits += [key.send(Lane.LIVE) for _ in range(10)]
    assert most_in(key.sent[Lane.BACKFILL], 60.0) <= 150
    assert len(key.sent[Lane.BACKFILL]) >= 0.9 * backfill_rate(300, 62.0, beside_live=True) * 600
    assert max(waits) == 0.0


def test_when_live_work_has_been_quiet_for_a_window_the_backfill_gets_all_again(key: Key) -> None:
    key.send(Lane.LIVE)
    key.backfill_for(62.0)
    assert len(key.sent[Lane.BACKFILL]) <= 155
    key.backfill_for(62.0)
    assert key.backfill_for(60.0) >= 285


@pytest.mark.parametrize("limit", [1, 2, 12, 60, 1000])
def test_every_limit_leaves_the_backfill_something_and_is_kept(warehouse: sa.Engine, limit: int) -> None:
    key = Key(warehouse, limit)
    sent = key.backfill_for(300.0)
    assert sent >= 4
    assert sent >= 0.9 * backfill_rate(limit, 62.0, beside_live=False) * 300 - 1


def test_what_the_vendor_says_is_left_is_kept_for_live_work(key: Key) -> None:
    key.send(Lane.BACKFILL)
    key.budgets[Lane.BACKFILL].observe(None, reserve_of(300), None, None, False)
    assert key.send(Lane.LIVE) == 0.0
    assert key.send(Lane.BACKFILL) > 50.0


PROCESS = """
import json, sys, threading, time
sys.path.insert(0, sys.argv[1])
from enerflo_sync.clock import SystemClock
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget
from enerflo_sync.warehouse.request_lanes import Lane
url, lane, seconds, pause, threads = sys.argv[2], Lane(sys.argv[3]), *map(float, sys.argv[4:7])
budget = WarehouseRequestBudget(
    warehouse_engine(url), "default", "ab", SystemClock(), 120, 3.0, margin_seconds=0.2, lane=lane)
end, waits = time.monotonic() + seconds, []
def work():
    while time.monotonic() < end:
        asked = time.monotonic()
        budget.acquire()
        waits.append((time.time(), time.monotonic() - asked))
        time.sleep(pause)
workers = [threading.Thread(target=work) for _ in range(int(threads))]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
print(json.dumps(waits))
"""


def test_two_processes_share_the_key_and_the_live_one_goes_first(
    warehouse: sa.Engine, warehouse_url: str
) -> None:
    def start(lane: Lane, seconds: float, pause: float, threads: int) -> subprocess.Popen[bytes]:
        words = [INCLUDE, warehouse_url, lane, seconds, pause, threads]
        command = [sys.executable, "-c", PROCESS, *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.PIPE)

    backfills = [start(Lane.BACKFILL, 13, 0, 2) for _ in range(2)]
    time.sleep(5)
    # Alone until now; from here on something live asks ten times a second.
    live = start(Lane.LIVE, 6, 0.1, 1)
    told = [json.loads(process.communicate(timeout=60)[0]) for process in (live, *backfills)]
    live_at = [at for at, _ in told[0]]
    grants = sorted(at for one in told[1:] for at, _ in one)
    assert most_in([*grants, *live_at], 3.0) <= 120
    alone = [at for at in grants if at < live_at[0] - 0.1]
    # How much of the rate is used is tested on a virtual clock; here the processes may have to wait for the CPU.
    assert len(alone) >= 0.5 * backfill_rate(120, 3.2, beside_live=False) * (alone[-1] - alone[0])
    beside = [at for at in grants if live_at[0] + 3.3 < at < live_at[-1]]
    assert beside
    assert most_in(beside, 3.0) <= 60
    waits = sorted(wait for _, wait in told[0])
    # Behind the backfill a live request would wait for a window.
    assert waits[len(waits) // 2] < 0.5
    assert waits[-1] < 3.0
