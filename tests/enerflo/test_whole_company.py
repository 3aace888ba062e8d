"""The client reads a simulated company whole, through every fault, within the vendor's limit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import requests
import sqlalchemy as sa

from enerflo_sandbox.adapter import SandboxAdapter
from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.faults import FaultKind, Faults
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.enerflo.budget import RequestBudget, UnlimitedBudget
from enerflo_sync.enerflo.client import EnerfloClient, RetryPolicy
from enerflo_sync.enerflo.installs import find_install, read_install
from enerflo_sync.enerflo.notes import read_install_notes
from enerflo_sync.enerflo.pages import PageWalk
from enerflo_sync.enerflo.statuses import read_statuses
from enerflo_sync.resources.change_orders import ORDER_LIST
from enerflo_sync.resources.customers import CUSTOMER_LIST
from enerflo_sync.resources.installs import INSTALL_LIST
from enerflo_sync.resources.notes import NOTE_LIST
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
INSTALLS = 400


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(START)


@pytest.fixture
def company(clock: VirtualClock) -> Callable[..., SandboxApi]:
    return lambda **parts: SandboxApi(World(INSTALLS, 3, clock=clock), clock=clock, **parts)


def client_of(api: SandboxApi, budget: RequestBudget | None = None, **parts: object) -> EnerfloClient:
    session = requests.Session()
    session.mount("https://enerflo.io", SandboxAdapter(api))
    given = {"budget": budget or UnlimitedBudget(), "clock": api.clock, "rng": random.Random(1), **parts}
    return EnerfloClient(session, "https://enerflo.io", DEFAULT_KEY, **given)  # type: ignore[arg-type]


def rows_of(walk: PageWalk) -> list[dict[str, object]]:
    rows = [json.loads(bytes(record)) for page in walk for record in page.records]
    assert walk.complete
    return rows


def test_every_list_of_a_company_is_read_whole(company: Callable[..., SandboxApi]) -> None:
    client = client_of(company())
    client.check()
    installs = rows_of(INSTALL_LIST.walk(client, per_page=90))
    assert len({row["id"] for row in installs}) == INSTALLS
    assert len(read_statuses(client)) > 3
    assert rows_of(CUSTOMER_LIST.walk(client))
    assert rows_of(ORDER_LIST.walk(client))
    notes = rows_of(NOTE_LIST.walk(client))
    assert len({row["note_id"] for row in notes}) == len(notes) > 0
    some = notes[0]
    beside = [json.loads(bytes(row)) for row in read_install_notes(client, str(some["epc_install_id"]))]
    assert some["note_id"] in {row["note_id"] for row in beside}
    with_deal = next(row for row in installs if row.get("v2_survey_id"))
    found = json.loads(find_install(client, str(with_deal["v2_survey_id"])))
    assert found["id"] == json.loads(read_install(client, str(with_deal["id"])))["id"] == with_deal["id"]


@pytest.mark.parametrize("seed", range(6))
def test_every_install_is_read_through_every_passing_fault(
    company: Callable[..., SandboxApi], seed: int
) -> None:
    passing = [
        FaultKind.TOO_MANY_REQUESTS,
        FaultKind.SERVER_ERROR,
        FaultKind.UNAVAILABLE,
        FaultKind.GATEWAY_TIMEOUT,
        FaultKind.DROPPED,
        FaultKind.SLOW,
        FaultKind.HTML_PAGE,
        FaultKind.TRUNCATED_JSON,
        FaultKind.CUT_BODY,
        FaultKind.PAGE_SHIFT,
    ]
    api = company(faults=Faults(rates=dict.fromkeys(passing, 0.03), seed=seed))
    before = {
        json.loads(bytes(row))["id"]
        for page in INSTALL_LIST.walk(client_of(company()))
        for row in page.records
    }
    patient = RetryPolicy(attempts=10, unreadable_attempts=10, total_seconds=3600)
    rows = rows_of(INSTALL_LIST.walk(client_of(api, retry=patient), per_page=40, floor=10))
    assert {row["id"] for row in rows} >= before
    assert api.faults.happened


def test_a_page_too_large_for_the_gateway_is_asked_for_in_smaller_ones(
    company: Callable[..., SandboxApi],
) -> None:
    api = company(largest_page=60)
    walk = INSTALL_LIST.walk(client_of(api), per_page=400)
    assert len({row["id"] for row in rows_of(walk)}) == INSTALLS
    assert walk.requests < 20


def test_the_shared_budget_meets_no_429_even_when_something_else_uses_the_key(
    company: Callable[..., SandboxApi], warehouse: sa.Engine, clock: VirtualClock
) -> None:
    api = company(rate_limit=40)
    stranger = client_of(api)
    budgets = [WarehouseRequestBudget(warehouse, "default", "ab", clock, 40) for _ in range(2)]
    ours = [client_of(api, budget) for budget in budgets]
    for turn in range(120):
        ours[turn % 2].get("/api/v3/install-statuses")
        clock.advance(0.2)
        if turn % 10 == 0:
            stranger.get("/api/v3/install-statuses")
    usage = api.usage[DEFAULT_KEY]
    assert usage.refused == 0
    assert usage.most_in_a_window <= 40
    assert clock.now().timestamp() - START.timestamp() < 5 * 62


def test_a_429_met_by_one_process_is_waited_out_by_all(
    company: Callable[..., SandboxApi], warehouse: sa.Engine, clock: VirtualClock
) -> None:
    api = company(rate_limit=20)
    stranger = client_of(api)
    for _ in range(20):
        stranger.get("/api/v3/install-statuses")
    budgets = [WarehouseRequestBudget(warehouse, "default", "ab", clock, 20) for _ in range(2)]
    ours = [client_of(api, budget) for budget in budgets]
    for turn in range(10):
        ours[turn % 2].get("/api/v3/install-statuses")
    assert api.usage[DEFAULT_KEY].refused == 1
