"""A write that a trigger of the CRM's own database passes over is parked as such, and not made for ever."""

from __future__ import annotations

import pytest

from enerflo_sync.agreed.refusals import PASSED_OVER
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.copies.conftest import Elsewhere
from tests.writes.conftest import Desk

ON_HOLD = 4
TRIGGER = (
    "create function crm.nothing() returns trigger language plpgsql as $$ begin return null; end $$",
    "create trigger nothing before {event} on crm.installs for each row when ({when})"
    " execute function crm.nothing()",
)


@pytest.mark.parametrize("elsewhere", ["postgresql"], indirect=True)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("event", "when"), [("update", "new.status = 'On Hold'"), ("insert", "true")])
def test_it_is_parked_and_not_tried_again(
    away: Desk, elsewhere: Elsewhere, event: str, when: str, rows: int
) -> None:
    for statement in TRIGGER:
        with elsewhere.engine.begin() as connection:
            connection.exec_driver_sql(statement.format(event=event, when=when))
    for number in range(rows):
        if event == "insert":
            away.world.create_install()
        else:
            install = away.sql(
                "select install_id from enerflo.installs order by 1 offset :n limit 1", n=number
            )
            away.world.set_status(install[0]["install_id"], ON_HOLD)
    run_poll(away.context)
    plan = away.plan()
    report = run_apply(away.context, plan.plan_hash, approved_by="Pat")
    assert (report.moved, set(report.reasons["parked"])) == (0, {PASSED_OVER})
    again = run_apply(away.context, away.plan().plan_hash, approved_by="Pat")
    assert (again.handed_over, again.applied, again.moved, again.parked) == (0, 0, 0, 0)
