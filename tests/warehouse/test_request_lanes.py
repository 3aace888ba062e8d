"""Backfills yield: live work goes first, and the key's whole budget is used while there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from bisect import bisect_left
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sandbox.throttle import FixedWindow
from enerflo_sandbox.virtual_clock import VirtualClock
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


# It sends as many requests as it is told at a moment of the test's own time, until one would have to wait.
PROCESS = """
import json, sys, time
from datetime import timedelta
sys.path.insert(0, sys.argv[1])
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget
from enerflo_sync.warehouse.request_lanes import Lane
from datetime import UTC, datetime

class WaitsError(Exception):
    pass

class Moment:
    seconds = 0.0
    def now(self):
        return datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=self.seconds)
    def monotonic(self):
        return self.seconds
    def sleep(self, seconds):
        if seconds > 0.01:
            raise WaitsError
        # Another process holds the row just now.
        time.sleep(seconds)
        self.seconds += seconds

clock = Moment()
budget = WarehouseRequestBudget(
    warehouse_engine(sys.argv[2]), "default", "ab", clock, 120, 3.0, margin_seconds=0.2, lane=Lane(sys.argv[3]))
for line in sys.stdin:
    clock.seconds, wanted = json.loads(line)
    granted = 0
    try:
        while granted < wanted:
            budget.acquire()
            granted += 1
    except WaitsError:
        pass
    print(granted, flush=True)
"""


class Sender:
    """A process of one lane, in the test's time."""

    def __init__(self, url: str, lane: Lane) -> None:
        command = [sys.executable, "-c", PROCESS, str(INCLUDE), url, lane]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.sent: list[float] = []

    def ask(self, at: float, wanted: int) -> None:
        """Let it ask while others do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([at, wanted]) + "\n")
        self._process.stdin.flush()

    def granted(self, at: float) -> int:
        """Return how many of the requests that it was told to send were let through; the next one waits."""
        assert self._process.stdout is not None
        count = int(self._process.stdout.readline())
        self.sent += [at] * count
        return count

    def end(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)


def test_two_processes_share_the_key_and_the_live_one_goes_first(warehouse_url: str) -> None:
    """Three processes at once, in a time of the test's own: what is granted to whom depends on no machine."""
    live, *backfills = senders = [Sender(warehouse_url, lane) for lane in (Lane.LIVE, *[Lane.BACKFILL] * 2)]
    window, ticks = 3.2, iter(range(10_000))

    def step(live_wants: int) -> tuple[int, int]:
        """Let all ask at once, backfills for as much as they get; return what live work got, and they."""
        # A little more than the turn in which a backfill sends no more than its part.
        at = next(ticks) * 0.11
        asked = [(live, live_wants)] * bool(live_wants) + [(one, 200) for one in backfills]
        for one, wanted in asked:
            one.ask(at, wanted)
        counts = [one.granted(at) for one, _ in asked]
        return (counts[0], sum(counts[1:])) if live_wants else (0, sum(counts))

    try:
        alone = sum(step(0)[1] for _ in range(88))
        assert alone >= 0.9 * backfill_rate(120, window, beside_live=False) * 88 * 0.11
        assert all(one.sent for one in backfills)
        # From here on something live wants more than there is. It gets the reserve at once, then every place
        # that grows old; while it waits the backfills get none.
        of_live, _ = step(100)
        assert of_live >= reserve_of(120)
        missing, waited = 100 - of_live, 0
        while missing and waited < 60:
            of_live, of_backfills = step(missing)
            missing, waited = missing - of_live, waited + 1
            assert of_backfills == 0 or not missing, waited
        assert (missing, waited > 5) == (0, True)
        # Then it asks steadily: half of the key is the backfills', and live work never waits.
        before = [len(one.sent) for one in backfills]
        steady = [step(1) for _ in range(88)]
        assert [of_live for of_live, _ in steady[30:]] == [1] * 58
        assert sum(count for _, count in steady[30:]) >= 0.9 * 60 * 58 * 0.11 / window
    finally:
        for one in senders:
            one.end()
    assert most_in([at for one in senders for at in one.sent], window - 1e-6) <= 120
    beside = [at for one, count in zip(backfills, before, strict=True) for at in one.sent[count:]]
    assert most_in(beside, window - 1e-6) <= 60
