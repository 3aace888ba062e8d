"""The pairs of values on which both sides agree: what came of a write, and nothing that came since."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk


def status(desk: Desk, install: int, value: str) -> None:
    desk.sql(
        "update crm.installs set status = :v, updated_at = now() where enerflo_install_id = :i",
        v=value,
        i=install,
    )


def of_enerflo(desk: Desk, install: int) -> str:
    found = desk.world.truth.install(install)
    assert found is not None
    return found.status_name


def some_install(desk: Desk) -> int:
    row = next(row for row in desk.world.truth.installs() if row.status_name == "In progress")
    return row.install_id


def test_what_the_crm_says_since_the_plan_is_carried_by_the_next_one(agreed: Desk) -> None:
    install = some_install(agreed)
    status(agreed, install, "On Hold")
    plan = agreed.plan()
    status(agreed, install, "Cancelled")
    # What the CRM no longer says is not sent.
    assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").moved == 1
    assert of_enerflo(agreed, install) == "In progress"
    agreed.carried()
    assert of_enerflo(agreed, install) == "Cancelled"
    assert agreed.crm("installs", enerflo_install_id=install)["status"] == "Cancelled"


def test_what_enerflo_says_since_the_plan_is_carried_by_the_next_one(agreed: Desk) -> None:
    install = some_install(agreed)
    agreed.world.set_status(install, 4)
    run_poll(agreed.context)
    plan = agreed.plan()
    agreed.world.set_status(install, 1304)
    run_poll(agreed.context)
    assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 1
    assert agreed.crm("installs", enerflo_install_id=install)["status"] == "On Hold"
    agreed.carried()
    assert agreed.crm("installs", enerflo_install_id=install)["status"] == "Cancelled"


def test_so_is_what_enerflo_says_of_an_install_that_was_being_created(agreed: Desk) -> None:
    install = agreed.world.create_install()
    run_poll(agreed.context)
    plan = agreed.plan()
    agreed.world.set_status(install, 4)
    run_poll(agreed.context)
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert agreed.crm("installs", enerflo_install_id=install)["status"] == "In progress"
    agreed.carried()
    assert agreed.crm("installs", enerflo_install_id=install)["status"] == "On Hold"


def test_a_pair_that_was_never_agreed_on_is_remembered_beside_one_that_was(agreed: Desk) -> None:
    known, new = [row.install_id for row in agreed.world.truth.installs()][:2]
    agreed.sql(
        "delete from sync.agreed where field = 'panel_count' and key ->> 'enerflo_install_id' = :i",
        i=str(new),
    )
    agreed.sql(
        "update crm.installs set panel_count = 99, updated_at = now() where enerflo_install_id = any(:ids)",
        ids=[known, new],
    )
    plan = agreed.plan()
    assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 2
    for install in (known, new):
        base = agreed.agreed("installs", "panel_count", enerflo_install_id=install)
        assert base == agreed.crm("installs", enerflo_install_id=install)["panel_count"] != 99
    assert agreed.plan().change_count == 0


@pytest.mark.parametrize(
    "elsewhere",
    [
        "vacuum full sync.agreed",
        "update sync.plan_changes set agreed_row = null",
        # A place where another pair stands by now.
        "update sync.plan_changes c set agreed_row = a.ctid::text from sync.agreed a"
        " where a.table_name = c.table_name and a.field = 'status'",
    ],
)
def test_a_pair_that_stands_elsewhere_than_when_the_plan_was_made_is_remembered(
    agreed: Desk, elsewhere: str
) -> None:
    first, second = [row.install_id for row in agreed.world.truth.installs()][:2]
    statuses = "select value from sync.agreed where field = 'status' order by key::text"
    before = agreed.sql(statuses)
    agreed.sql(
        "update crm.installs set panel_count = 99, updated_at = now() where enerflo_install_id = any(:ids)",
        ids=[first, second],
    )
    plan = agreed.plan()
    with agreed.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(elsewhere)
    assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 2
    for install in (first, second):
        base = agreed.agreed("installs", "panel_count", enerflo_install_id=install)
        assert base == agreed.crm("installs", enerflo_install_id=install)["panel_count"] != 99
    assert agreed.sql(statuses) == before
    assert agreed.plan().change_count == 0


_ROUNDING = """
create function crm.round_up() returns trigger language plpgsql as $$
begin
    update crm.installs set panel_count = new.panel_count + 1
    where enerflo_install_id = new.enerflo_install_id;
    return null;
end $$;
create trigger round_up after update of panel_count on crm.installs
    for each row when (pg_trigger_depth() = 0) execute function crm.round_up();
"""
_PAIR = """
select value, crm_value from sync.agreed
where field = 'panel_count' and key ->> 'enerflo_install_id' = :i
"""


def test_what_a_table_makes_of_a_value_after_it_was_written_is_what_is_agreed_on(agreed: Desk) -> None:
    install = next(row for row in agreed.world.truth.installs() if row.panel_count)
    agreed.sql(
        "update crm.installs set panel_count = 99, updated_at = now() where enerflo_install_id = :i",
        i=install.install_id,
    )
    plan = agreed.plan()
    agreed.sql(_ROUNDING)
    try:
        assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 1
    finally:
        agreed.sql("drop function crm.round_up cascade")
    count = install.panel_count
    assert count is not None
    assert agreed.crm("installs", enerflo_install_id=install.install_id)["panel_count"] == count + 1
    assert agreed.sql(_PAIR, i=str(install.install_id)) == [{"value": count, "crm_value": count + 1}]
    assert agreed.plan().change_count == 0


def test_a_back_dated_pair_is_agreed_on(agreed: Desk) -> None:
    install = some_install(agreed)
    agreed.settled()
    long_ago = "timestamptz '2020-02-02 00:00:00+00'"
    # Both sides came to the same value, and neither says that it moved: the CRM's row arrived late.
    # The mirror's row was observed before the lookback, which would have all rows looked at.
    agreed.sql(
        "update enerflo.installs set panel_count = 77, observed_at = now() - interval '1 day'"
        " where install_id = :id",
        id=install,
    )
    agreed.sql(
        f"update crm.installs set panel_count = 77, updated_at = {long_ago} where enerflo_install_id = :id",
        id=install,
    )
    assert agreed.plan().change_count == 0
    assert agreed.agreed("installs", "panel_count", enerflo_install_id=install) == 77
