"""Values of which a trigger of the CRM's table makes other ones: written and agreed on, and never called equal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk

ON_HOLD = 4
NOT_IN_FLIGHT = ("in_flight_minutes: 30", "in_flight_minutes: 0")
_TRIGGER = """create function crm.says() returns trigger language plpgsql as $$ begin {does}; return new; end $$;
create trigger says before {event} on crm.installs for each row execute function crm.says()"""


def causes(desk: Desk) -> dict[str, str]:
    """Return the cause of each field of installs that differs, by a report over all rows."""
    desk.switched_on("crm", NOT_IN_FLIGHT)
    report = run_reconcile(desk.context)
    (table,) = [one for one in report.tables if one.table_name == "installs"]
    return {one.field: ", ".join(map(str, one.by_cause)) for one in table.by_field}


def reviewed(desk: Desk) -> int:
    """Put an install on hold that a trigger of the CRM's table lets stand in review."""
    does = "if new.status = 'On Hold' then new.status := 'Review'; end if"
    desk.sql(_TRIGGER.format(event="update", does=does))
    install = desk.a_site().install_id
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    desk.carried()
    return install


def test_a_value_of_which_a_trigger_makes_another_one_is_not_called_equal(agreeing: Desk) -> None:
    install = reviewed(agreeing)
    assert agreeing.crm("installs", enerflo_install_id=install)["status"] == "Review"
    agreeing.settled()
    assert causes(agreeing) == {"status": "left_apart"}
    told = " ".join(render_explanation(run_explain(agreeing.context, "install", str(install))).split())
    assert "a trigger, rule or default of the CRM's table made another" in told


def test_nor_is_one_of_a_new_row(agreeing: Desk) -> None:
    agreeing.sql(_TRIGGER.format(event="insert", does="new.contract_amount := 1000; new.status := 'New'"))
    install = agreeing.world.create_install()
    run_poll(agreeing.context)
    agreeing.carried()
    assert agreeing.crm("installs", enerflo_install_id=install)["contract_amount"] == 1000
    agreeing.settled()
    assert causes(agreeing) == {"contract_amount": "left_apart", "status": "left_apart"}


def test_a_number_that_the_column_rounds_beside_a_trigger_is_equal_as_written(agreeing: Desk) -> None:
    agreeing.sql("alter table crm.installs alter contract_amount type numeric(14, 0)")
    agreeing.sql(_TRIGGER.format(event="update or insert", does="new.updated_at := clock_timestamp()"))
    agreeing.world.create_install()
    run_poll(agreeing.context)
    agreeing.carried()
    agreeing.settled()
    assert causes(agreeing) == {"contract_amount": "equal_after_normalisation"}


def test_a_value_that_the_table_takes_later_is_agreed_on_as_any_other(agreeing: Desk) -> None:
    install = reviewed(agreeing)
    agreeing.sql("drop trigger says on crm.installs")
    agreeing.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :i",
        i=install,
    )
    agreeing.settled()
    assert causes(agreeing) == {}
    assert agreeing.agreed("installs", "status", enerflo_install_id=install) == "On Hold"


_FILLED = [
    "alter table crm.milestones alter started_at set default now(), alter due_at set default now()",
    """create function crm.fills() returns trigger language plpgsql as $$ begin
      new.started_at := coalesce(new.started_at, now()); new.due_at := coalesce(new.due_at, now());
      return new; end $$;
    create trigger fills before insert on crm.milestones for each row execute function crm.fills()""",
]


@pytest.mark.parametrize("fills", _FILLED, ids=["default", "trigger"])
def test_what_a_table_fills_in_by_itself_in_a_new_row_is_nobodys_edit(agreed: Desk, fills: str) -> None:
    agreed.sql(fills)
    install = agreed.world.create_install()
    run_poll(agreed.context)
    agreed.carried()
    filled = "select count(*) from crm.milestones where enerflo_install_id = :i and due_at is not null"
    assert agreed.one(filled, i=install) == 6
    agreed.settled()
    # What a person says is one, and so is what Enerflo says.
    first, last = agreed.sql(
        "select milestone_id as id from enerflo.milestones"
        " where install_id = :i order by milestone_id limit 2",
        i=install,
    )
    due = datetime(2027, 3, 1, 12, tzinfo=UTC)
    agreed.sql(
        "update crm.milestones set due_at = :due, updated_at = now()"
        " where (enerflo_install_id, milestone_id) = (:i, :m)",
        due=due,
        i=install,
        m=first["id"],
    )
    agreed.world.set_milestone(install, last["id"], {"due": due})
    run_poll(agreed.context)
    plans = run_plan(agreed.context)
    changes = [one for plan in plans for one in agreed.changes(plan)]
    told = {(one.direction, one.key["milestone_id"], one.field) for one in changes}
    assert told == {("to_enerflo", first["id"], "due_at"), ("to_crm", last["id"], "due_at")}
