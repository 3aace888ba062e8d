"""A value that a trigger of another database made of our write is nobody's edit, also where Enerflo goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from tests.copies.conftest import CRM, Elsewhere
from tests.writes.conftest import Desk
from tests.writes.test_changes import AT_ONCE

DUE = "due_at: {enerflo: due_at, type: timestamp, precision: second, source_of_truth: newest}"
FIRST, SECOND = datetime(2027, 1, 2, 9, 30, tzinfo=UTC), datetime(2027, 3, 2, 9, 30, tzinfo=UTC)
FUNCTION = (
    "create function crm.postponed() returns trigger language plpgsql as $$ begin"
    " new.due_at = new.due_at + interval '1 day'; return new; end $$",
    "create trigger postponed before update on crm.milestones for each row execute function crm.postponed()",
)
TRIGGER = {
    "postgresql": FUNCTION,
    "mysql": (
        "create trigger crm.postponed before update on crm.milestones for each row"
        " set new.due_at = date_add(new.due_at, interval 1 day)",
    ),
}


def due(desk: Desk, key: tuple[int, int], moment: datetime) -> None:
    desk.world.set_milestone(*key, {"due": moment})
    run_poll(desk.context)


def sent_and_asked(desk: Desk) -> tuple[list[str], list[str]]:
    plans = run_plan(desk.context)
    sent = [str(one.after) for plan in plans for one in desk.changes(plan, direction="to_enerflo")]
    return sent, [one.reason for plan in plans for one in desk.undecided(plan)]


@pytest.fixture(params=["newest", "review"])
def rewritten(
    away: Desk, elsewhere: Elsewhere, request: pytest.FixtureRequest
) -> tuple[Desk, tuple[int, int]]:
    """An account of which a trigger of the CRM postponed a day of Enerflo's by one when we wrote it."""
    away.switched_on("both", CRM, AT_ONCE, (DUE, DUE.replace("newest", request.param)))
    install = away.a_site().install_id
    key = (
        install,
        int(away.one("select max(milestone_id) from enerflo.milestones where install_id = :i", i=install)),
    )
    due(away, key, FIRST)
    away.carried()
    for statement in TRIGGER[elsewhere.engine.dialect.name]:
        with elsewhere.engine.begin() as connection:
            connection.exec_driver_sql(statement)
    due(away, key, SECOND)
    assert away.carried().parked == 1
    return away, key


@pytest.mark.parametrize("elsewhere", ["mariadb", "postgresql"], indirect=True)
def test_where_enerflo_goes_back_it_is_not_sent_there(rewritten: tuple[Desk, tuple[int, int]]) -> None:
    desk, key = rewritten
    due(desk, key, FIRST)
    for _ in range(2):
        sent, (asked,) = sent_and_asked(desk)
        assert sent == []
        assert "our write" in asked


@pytest.mark.parametrize("elsewhere", ["mariadb", "postgresql"], indirect=True)
def test_a_later_edit_of_the_row_is_one(
    rewritten: tuple[Desk, tuple[int, int]], elsewhere: Elsewhere
) -> None:
    desk, key = rewritten
    due(desk, key, FIRST)
    # Long after our write.
    desk.sql("update sync.ledger set recorded_at = recorded_at - interval '1 hour' where decision = 'parked'")
    elsewhere.sql(
        "update crm.milestones set due_at = :due, updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        due=SECOND + timedelta(days=30),
        i=key[0],
        m=key[1],
    )
    sent, asked = sent_and_asked(desk)
    assert (len(sent), asked) == (1, [])
