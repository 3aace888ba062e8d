"""A CRM table that passes over a write, or lets no such statement through, is told and not asked each round."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk

ON_HOLD = 4
PASSES_OVER = "the CRM's table passes over the write, by a trigger, rule or policy of its own"
RULE = "the CRM's table has a rule (CREATE RULE) that such a write cannot pass: use a trigger instead"
_NOTHING = """create function crm.nothing() returns trigger language plpgsql as $$ begin
  {does} return null; end $$;
create trigger nothing before {event} on crm.{table} for each row {when} execute function crm.nothing()"""


def put_on_hold(desk: Desk) -> int:
    install = desk.a_site().install_id
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    return install


def test_a_value_that_a_trigger_passes_over_is_parked_and_not_planned_each_round(agreeing: Desk) -> None:
    agreeing.sql(_NOTHING.format(does="", event="update", table="installs", when=""))
    install = put_on_hold(agreeing)
    report = run_apply(agreeing.context, agreeing.plan().plan_hash, approved_by="Pat")
    assert (report.applied, report.moved, report.reasons["parked"]) == (0, 0, {PASSES_OVER: 1})
    later = agreeing.plan()
    assert later.change_count == 0
    assert PASSES_OVER in agreeing.undecided(later)[0].reason
    agreeing.sql("drop trigger nothing on crm.installs")
    agreeing.sql("update sync.ledger set recorded_at = recorded_at - interval '1 day'")
    agreeing.carried()
    assert agreeing.crm("installs", enerflo_install_id=install)["status"] == "On Hold"
    agreeing.settled()


def test_what_a_trigger_lets_through_is_written_beside_what_it_passes_over(agreeing: Desk) -> None:
    first, second = (
        row["enerflo_install_id"]
        for row in agreeing.sql("select enerflo_install_id from crm.installs order by 1 limit 2")
    )
    agreeing.sql(
        "update crm.installs set panel_count = 99, updated_at = now() where enerflo_install_id in (:a, :b)",
        a=first,
        b=second,
    )
    when = f"when (old.enerflo_install_id = {first})"
    plan = agreeing.plan()
    agreeing.sql(_NOTHING.format(does="", event="update", table="installs", when=when))
    report = run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved, report.parked) == (1, 0, 1)
    assert agreeing.crm("installs", enerflo_install_id=first)["panel_count"] == 99
    assert agreeing.crm("installs", enerflo_install_id=second)["panel_count"] != 99


def test_an_edit_since_the_plan_is_moved_also_where_a_trigger_passes_over_writes(agreeing: Desk) -> None:
    install = put_on_hold(agreeing)
    plan = agreeing.plan()
    agreeing.sql("update crm.installs set status = 'Cancelled' where enerflo_install_id = :i", i=install)
    agreeing.sql(_NOTHING.format(does="", event="update", table="installs", when=""))
    report = run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved, report.parked) == (0, 1, 0)


def test_a_new_row_that_a_trigger_passes_over_is_parked_and_not_planned_each_round(agreeing: Desk) -> None:
    agreeing.sql(_NOTHING.format(does="", event="insert", table="installs", when=""))
    install = agreeing.world.create_install()
    run_poll(agreeing.context)
    plan = agreeing.plan()
    wanted = agreeing.changes(plan, table_name="installs", op="insert")
    report = run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    assert report.reasons["parked"] == {PASSES_OVER: len(wanted)}
    later = agreeing.plan()
    assert agreeing.changes(later, table_name="installs", key={"enerflo_install_id": install}) == []


def test_a_new_row_that_a_trigger_puts_into_a_table_below_is_there_once(agreeing: Desk) -> None:
    agreeing.sql("create table crm.more () inherits (crm.installs)")
    does = "insert into crm.more select new.*;"
    agreeing.sql(_NOTHING.format(does=does, event="insert", table="installs", when=""))
    install = agreeing.world.create_install()
    run_poll(agreeing.context)
    report = run_apply(agreeing.context, agreeing.plan().plan_hash, approved_by="Pat")
    assert report.parked == 0
    rows = "select count(*) from crm.installs where enerflo_install_id = :i"
    assert agreeing.one(rows, i=install) == 1
    agreeing.settled()


@pytest.mark.parametrize(
    "does", ["", "update crm.notes set body = 'deleted' where note_id = old.note_id;"], ids=["kept", "marked"]
)
def test_a_deletion_that_a_trigger_passes_over_is_parked_where_the_row_is_as_before(
    agreeing: Desk, does: str
) -> None:
    install = agreeing.a_site().install_id
    agreeing.world.add_note(install, "Call first")
    run_poll(agreeing.context)
    plan = agreeing.plan()
    run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    undo = run_undo(agreeing.context, plan.plan_hash)
    assert agreeing.changes(undo, op="delete")
    agreeing.sql(_NOTHING.format(does=does, event="delete", table="notes", when=""))
    report = run_apply(agreeing.context, undo.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved + report.parked) == (0, 1)
    assert report.parked == (0 if does else 1)


@pytest.mark.parametrize(
    "rule",
    [
        "on update to crm.installs do instead nothing",
        "on update to crm.installs do also insert into crm.seen values (new.enerflo_install_id)",
    ],
)
def test_a_rule_that_no_statement_of_ours_can_pass_parks_and_stops_nothing_else(
    agreeing: Desk, rule: str
) -> None:
    agreeing.sql("create table crm.seen (id bigint)")
    install = put_on_hold(agreeing)
    note = agreeing.world.add_note(install, "Call first")
    run_poll(agreeing.context)
    plan = agreeing.plan()
    agreeing.sql(f"create rule r as {rule}")
    report = run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    assert report.reasons["parked"] == {RULE: 1}
    assert agreeing.one("select count(*) from crm.notes where enerflo_note_id = :n", n=note) == 1
    assert agreeing.plan().change_count == 0


def test_a_number_is_written_to_a_column_of_type_oid(agreeing: Desk) -> None:
    agreeing.sql("alter table crm.installs alter panel_count type oid using panel_count::bigint::oid")
    install = agreeing.a_site().install_id
    was = agreeing.crm("installs", enerflo_install_id=install)["panel_count"]
    agreeing.sql(
        "update crm.installs set panel_count = 1, updated_at = now() where enerflo_install_id = :i", i=install
    )
    agreeing.carried()
    assert agreeing.crm("installs", enerflo_install_id=install)["panel_count"] == was
    agreeing.settled()


_SAYS_SO = """create function crm.says_so() returns trigger language plpgsql as $$ begin
  if tg_op = 'DELETE' then return old; end if; return new; end $$;
create trigger says_so instead of insert or update or delete on crm.{view} for each row
  execute function crm.says_so()"""


def behind_a_view(desk: Desk, table: str) -> None:
    """Let a view stand in the table's place whose trigger returns each row and writes none."""
    desk.sql(f"alter table crm.{table} rename to kept_{table}")
    desk.sql(f"create view crm.{table} as select * from crm.kept_{table}")
    desk.sql(_SAYS_SO.format(view=table))


def test_a_view_whose_trigger_says_that_it_wrote_and_did_not_is_parked(agreeing: Desk) -> None:
    install = put_on_hold(agreeing)
    plan = agreeing.plan()
    behind_a_view(agreeing, "installs")
    report = run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    kept = "the CRM's table keeps the value from before, by a trigger or rule of its own"
    assert (report.applied, report.reasons["parked"]) == (0, {kept: 1})
    assert agreeing.crm("installs", enerflo_install_id=install)["status"] != "On Hold"
    assert agreeing.ledger(plan_hash=plan.plan_hash, decision="applied") == []
    assert agreeing.plan().change_count == 0


def test_nor_is_a_row_called_deleted_that_is_there_still(agreeing: Desk) -> None:
    agreeing.world.add_note(agreeing.a_site().install_id, "Call first")
    run_poll(agreeing.context)
    plan = agreeing.plan()
    run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    undo = run_undo(agreeing.context, plan.plan_hash)
    behind_a_view(agreeing, "notes")
    report = run_apply(agreeing.context, undo.plan_hash, approved_by="Pat")
    assert (report.applied, report.reasons["parked"]) == (0, {PASSES_OVER: 1})


@pytest.mark.parametrize("kind", ['"char"', "name"])
def test_a_column_that_would_cut_a_text_without_an_error_is_not_written(agreeing: Desk, kind: str) -> None:
    agreeing.sql(f"alter table crm.installs alter customer_name type {kind}")
    install = agreeing.a_site().install_id
    before = agreeing.crm("installs", enerflo_install_id=install)["customer_name"]
    agreeing.sql(
        "update enerflo.installs set customer_name = :name where install_id = :i", name="Bo" * 40, i=install
    )
    plan = agreeing.plan()
    assert agreeing.changes(plan, field="customer_name") == []
    assert agreeing.crm("installs", enerflo_install_id=install)["customer_name"] == before
