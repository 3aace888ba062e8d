"""``enerflo-sync budget``: seen and opened as a person does it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from enerflo_sync.clock import SystemClock
from enerflo_sync.errors import RetriableError
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget
from tests.cli.conftest import Run


@pytest.fixture
def engine(warehouse_url: str) -> sa.Engine:
    return warehouse_engine(warehouse_url)


def budget(engine: sa.Engine, account: str = "default") -> WarehouseRequestBudget:
    return WarehouseRequestBudget(engine, account, "0123456789abcdef", SystemClock(), max_wait_seconds=1)


def block(engine: sa.Engine, account: str = "default") -> None:
    one = budget(engine, account)
    one.acquire()
    one.observe(300, 0, datetime.now(UTC) + timedelta(hours=1), 3_600.0, True)


def test_nothing_is_known_before_a_request(run: Run) -> None:
    assert "No request was ever made" in run("budget", "show").out
    assert run("budget", "reset").code == 2


def test_a_blocked_budget_is_shown_and_opened(engine: sa.Engine, run: Run) -> None:
    block(engine)
    block(engine, "other")
    with pytest.raises(RetriableError):
        budget(engine).acquire()
    shown = run("budget", "show")
    assert shown.code == 0
    assert "key 0123456789abcdef: blocked for 3,6" in shown.out
    (one,) = json.loads(run("budget", "show", "--json").out)
    assert one["blocked_seconds"] > 3_500
    assert one["used_in_last_minute"] == 1
    assert run("budget", "reset", "--key", "ffff").code == 2
    assert run("budget", "reset", "--json").json == {"account": "default", "opened": 1}
    assert "1 budget of account default opened" in run("budget", "reset").out
    budget(engine).acquire()
    assert "open; limit 300 a minute, 2 sent in the last minute" in run("budget", "show").out
    # Of the named account alone.
    with pytest.raises(RetriableError):
        budget(engine, "other").acquire()
