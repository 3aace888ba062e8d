"""The backfill DAG's runs in the demo: what they are asked for, an answer by a click, what they have done."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page

from enerflo_demo.story import Demo

BACKFILL = "enerflo_backfill"
ASK = "ask_a_person"

_FULL_MONTHS = """
select cast(date_trunc('month', created_at at time zone 'UTC') as date) as first, count(*) as installs
from enerflo.installs
where account = 'default' and deleted_at is null and absent_since is null
  and created_at < date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'
group by 1 order by 2 desc, 1 limit 3
"""
_STORED = """
select b.state, b.window_from, b.window_to,
  coalesce((i ->> 'applied')::int + (i ->> 'unchanged')::int, 0) as installs
from sync.backfills b
left join sync.runs r on r.run_id = b.backfill_id
left join lateral (select r.resources -> 'installs' as i) as resource on true
where b.backfill_id = :id
"""


@dataclass(frozen=True)
class Window:
    """Days of creation, and the installs that were created in them."""

    first: date
    last: date
    installs: int


def full_months(demo: Demo) -> list[Window]:
    """Return three months of UTC in which many installs were created."""
    with demo.engine.connect() as warehouse:
        rows = warehouse.execute(sa.text(_FULL_MONTHS)).all()
    return [Window(row.first, _month_after(row.first) - timedelta(days=1), row.installs) for row in rows]


def _month_after(first: date) -> date:
    return (first + timedelta(days=31)).replace(day=1)


def run_ids(demo: Demo) -> set[str]:
    """Return the runs there are."""
    return {run["dag_run_id"] for run in demo.api.runs(BACKFILL)}


def new_run(demo: Demo, known: set[str], seconds: float = 60) -> dict[str, Any]:
    """Return the run that is not among ``known``, as soon as there is one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        new = [run for run in demo.api.runs(BACKFILL) if run["dag_run_id"] not in known]
        if new:
            assert len(new) == 1, "the clock started a run beside the one that was asked for"
            return new[0]
        time.sleep(0.5)
    pytest.fail("nothing was started")


def answer(demo: Demo, page: Page, origin: str, run_id: str, option: str) -> str:
    """Answer by a click as often as the run asks, and return the backfill's id once the run has ended well."""
    asked: list[str] = []

    def click() -> None:
        asked.append(demo.api.xcom(BACKFILL, run_id, "estimate")["backfill_id"])
        page.goto(f"{origin}/dags/{BACKFILL}/runs/{run_id}/tasks/{ASK}/required_actions")
        page.get_by_text(asked[-1]).first.wait_for()
        with page.expect_response(lambda response: response.request.method == "PATCH"):
            page.get_by_role("button", name=option).first.click()

    demo.api.answer_as_often_as_asked(BACKFILL, run_id, ASK, click)
    assert asked, "nobody was asked"
    return asked[-1]


def stored(demo: Demo, backfill_id: str) -> tuple[str, Window]:
    """Return the state of a backfill, and its window with the installs that it read into the mirror."""
    with demo.engine.connect() as warehouse:
        row = warehouse.execute(sa.text(_STORED), {"id": backfill_id}).one()
    last = (row.window_to - timedelta(days=1)).date()
    return row.state, Window(row.window_from.date(), last, row.installs)
