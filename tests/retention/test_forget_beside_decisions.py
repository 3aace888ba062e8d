"""``enerflo-sync forget`` beside a person who decides about a plan: nothing of who was forgotten is stored by it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.plan import decided_plan
from tests.retention.test_forget import MOBILE, Person, found
from tests.retention.test_forget_events import plain
from tests.writes.test_decided_plan import WAITING

__all__ = ["plain"]


def test_a_no_that_is_being_stored_while_its_customer_is_forgotten_keeps_nothing_of_them(
    plain: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answered in time, so the plan does not hold up the forgetting; then somebody says no after all."""
    desk = plain.desk
    desk.sql(
        "update crm.leads set mobile = :m, updated_at = now() where enerflo_customer_id = :id",
        m=f"{MOBILE}3",
        id=plain.customer,
    )
    plan = desk.plan()
    assert desk.changes(plan, field="mobile")
    run_reject(desk.context, plan.plan_hash, by=None)
    remember, reached, go_on = decided_plan.remember_refused, threading.Event(), threading.Event()

    def slowly(*given: Any, **named: Any) -> None:
        reached.set()
        assert go_on.wait(60)
        remember(*given, **named)

    monkeypatch.setattr(decided_plan, "remember_refused", slowly)
    with ThreadPoolExecutor(2) as pool:
        rejected = pool.submit(run_reject, desk.context, plan.plan_hash, by="Eve")
        assert reached.wait(60)
        forgotten = pool.submit(plain.forget)
        until = time.monotonic() + 60
        while not desk.one(WAITING) and not forgotten.done():
            assert time.monotonic() < until
            time.sleep(0.01)
        go_on.set()
        assert rejected.result().state == "rejected"
        forgotten.result()
    assert found(desk) == {}
