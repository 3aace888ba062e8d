"""Applying a plan to the CRM: exactly what it says, where nothing moved, in one transaction."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.apply import crm as apply_crm
from enerflo_sync.apply import crm_pages
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.jobs.apply import run_apply, run_verify
from enerflo_sync.jobs.approval import run_approve, run_reject
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.plan.report import PlanState
from enerflo_sync.warehouse.alone import alone
from tests.writes.conftest import Desk

INSTALLS = "select enerflo_install_id from crm.installs order by 1 limit {}"


def installs(desk: Desk, count: int) -> list[int]:
    return [row["enerflo_install_id"] for row in desk.sql(INSTALLS.format(count))]


def spoiled(desk: Desk, *ids: int, count: int = 99) -> None:
    desk.sql(
        "update crm.installs set panel_count = :n, updated_at = now() where enerflo_install_id = any(:ids)",
        n=count,
        ids=list(ids),
    )


def counts(desk: Desk, *ids: int) -> list[int | None]:
    return [desk.crm("installs", enerflo_install_id=one)["panel_count"] for one in ids]


def true_counts(desk: Desk, *ids: int) -> list[int | None]:
    truth = {row.install_id: row.panel_count for row in desk.world.truth.installs()}
    return [truth[one] for one in ids]


def test_what_moved_since_the_plan_is_left_alone_and_stands_in_the_next_one(agreeing: Desk) -> None:
    first, second = installs(agreeing, 2)
    spoiled(agreeing, first, second)
    plan = agreeing.plan()
    spoiled(agreeing, second, count=77)
    report = run_apply(agreeing.context, plan.plan_hash)
    assert (report.applied, report.moved, report.state) == (1, 1, PlanState.APPLIED)
    assert counts(agreeing, first, second) == [*true_counts(agreeing, first), 77]
    assert report.needs_a_person
    (moved,) = agreeing.ledger(decision="moved")
    assert moved["key"] == {"enerflo_install_id": second}
    assert [change.before for change in agreeing.changes(agreeing.plan())] == [77]


def test_every_decision_is_in_the_ledger_with_the_value_that_lost(agreeing: Desk) -> None:
    (install,) = installs(agreeing, 1)
    spoiled(agreeing, install)
    plan = agreeing.plan()
    run_apply(agreeing.context, plan.plan_hash, approved_by="Pat Jones")
    (row,) = agreeing.ledger(plan_hash=plan.plan_hash)
    assert (row["old_value"], row["new_value"], row["losing_value"]) == (
        99,
        *true_counts(agreeing, install),
        99,
    )
    assert (row["decision"], row["decided_by"], row["direction"], row["rule"]) == (
        *("applied", "Pat Jones"),
        *("to_crm", "source_of_truth"),
    )
    assert row["changed_at"] <= row["recorded_at"]
    assert row["observed_at"] is not None
    assert row["evidence"] == f"sync:{plan.stands_on}"
    assert agreeing.agreed("installs", "panel_count", enerflo_install_id=install) == row["new_value"]


def test_applying_again_writes_nothing(agreeing: Desk) -> None:
    spoiled(agreeing, *installs(agreeing, 3))
    plan = agreeing.plan()
    run_apply(agreeing.context, plan.plan_hash)
    before = agreeing.sql("select xmin::text, * from crm.installs order by enerflo_install_id")
    ledger = len(agreeing.ledger())
    report = run_apply(agreeing.context, plan.plan_hash)
    assert report.applied == 3
    assert agreeing.sql("select xmin::text, * from crm.installs order by enerflo_install_id") == before
    assert len(agreeing.ledger()) == ledger


def test_what_the_table_refuses_is_parked_and_the_rest_goes_on(agreeing: Desk) -> None:
    ids = installs(agreeing, 9)
    spoiled(agreeing, *ids)
    bad = ids[4]
    agreeing.sql(
        f"alter table crm.installs add constraint few check (enerflo_install_id <> {bad} or panel_count > 90)"
    )
    report = agreeing.carried()
    assert (report.applied, report.parked) == (8, 1)
    assert list(report.reasons["parked"]) == ["the CRM's table refuses it: CheckViolation (few)"]
    good = [one for one in ids if one != bad]
    assert counts(agreeing, *good) == true_counts(agreeing, *good)
    assert counts(agreeing, bad) == [99]
    assert [row["key"] for row in agreeing.ledger(decision="parked")] == [{"enerflo_install_id": bad}]


def test_a_parked_change_is_a_question_for_a_day_and_then_tried_again(agreeing: Desk) -> None:
    (install,) = installs(agreeing, 1)
    spoiled(agreeing, install)
    agreeing.sql("alter table crm.installs add constraint few check (panel_count > 90) not valid")
    first = agreeing.plan()
    assert run_apply(agreeing.context, first.plan_hash).parked == 1
    agreeing.sql("alter table crm.installs drop constraint few")
    plan = agreeing.plan()
    assert plan.change_count == 0
    (question,) = agreeing.undecided(plan)
    assert question.reason.startswith("it could not be made, and is tried again after a day: the CRM's table")
    agreeing.sql(
        "update sync.ledger set recorded_at = recorded_at - interval '1 day' where decision = 'parked'"
    )
    again = agreeing.plan()
    assert again.plan_hash != first.plan_hash
    assert again.state is PlanState.OPEN
    assert run_apply(agreeing.context, again.plan_hash).applied == 1
    assert counts(agreeing, install) == true_counts(agreeing, install)


def test_a_plan_that_a_later_one_replaced_may_become_due_again(agreeing: Desk) -> None:
    first, second = installs(agreeing, 2)
    spoiled(agreeing, first)
    plan = agreeing.plan()
    run_approve(agreeing.context, plan.plan_hash, by="Pat")
    spoiled(agreeing, second)
    agreeing.plan()
    agreeing.sql(
        "update crm.installs set panel_count = :n where enerflo_install_id = :i",
        n=true_counts(agreeing, second)[0],
        i=second,
    )
    again = agreeing.plan()
    assert again.plan_hash != plan.plan_hash
    assert (again.state, again.decided_by) == (PlanState.OPEN, None)
    assert run_apply(agreeing.context, again.plan_hash).applied == 1
    assert counts(agreeing, first) == true_counts(agreeing, first)


def test_a_text_that_is_too_long_is_parked_and_never_cut(agreeing: Desk) -> None:
    (install,) = installs(agreeing, 1)
    agreeing.sql("update crm.installs set panel_type = left(panel_type, 5)")
    agreeing.sql("alter table crm.installs alter column panel_type type varchar(5)")
    report = run_apply(agreeing.context, agreeing.plan().plan_hash, approved_by="Pat")
    assert report.applied == 0
    assert report.parked > 0
    assert len(agreeing.crm("installs", enerflo_install_id=install)["panel_type"]) == 5


@pytest.mark.parametrize("base", ["varchar(24)", "char(24)"])
def test_a_text_that_a_domain_would_cut_is_parked(agreeing: Desk, base: str) -> None:
    agreeing.sql(f"create domain crm.short as {base}")
    agreeing.sql("update crm.installs set panel_type = left(panel_type, 24)")
    agreeing.sql("alter table crm.installs alter panel_type type crm.short")
    agreeing.carried()
    install = agreeing.one("select min(enerflo_install_id) from crm.installs")
    before = agreeing.crm("installs", enerflo_install_id=install)["panel_type"]
    agreeing.sql(
        "update enerflo.installs set panel_type = 'A panel of more than 24 letters', observed_at = now()"
        " where install_id = :id",
        id=install,
    )
    report = agreeing.carried()
    assert (report.parked, report.applied) == (1, 0)
    assert agreeing.crm("installs", enerflo_install_id=install)["panel_type"] == before


def test_a_json_null_of_the_crm_is_written_over(agreeing: Desk) -> None:
    order = agreeing.one(
        "select min(enerflo_change_order_id) from crm.change_orders where jsonb_array_length(adders) > 0"
    )
    agreeing.sql(
        "update crm.change_orders set adders = 'null', updated_at = now() where enerflo_change_order_id = :i",
        i=order,
    )
    report = agreeing.carried()
    assert (report.applied, report.moved) == (1, 0)
    assert agreeing.crm("change_orders", enerflo_change_order_id=order)["adders"]
    assert agreeing.plan().change_count == 0


def test_a_json_of_the_crm_that_no_text_can_hold_stops_nothing_and_is_written_over(agreeing: Desk) -> None:
    agreeing.sql(
        "alter table crm.change_orders alter adders drop default, alter adders type json using adders::json"
    )
    order = agreeing.one("select min(enerflo_change_order_id) from crm.change_orders")
    before = agreeing.crm("change_orders", enerflo_change_order_id=order)["adders"]
    agreeing.sql(
        "update crm.change_orders set adders = cast(:v as json) where enerflo_change_order_id = :i",
        i=order,
        v=r'[{"name": "a\u0000b"}]',
    )
    report = agreeing.carried()
    assert (report.applied, report.moved) == (1, 0)
    assert agreeing.crm("change_orders", enerflo_change_order_id=order)["adders"] == before
    agreeing.settled()


def test_a_new_row_gets_the_tables_own_defaults(agreeing: Desk) -> None:
    agreeing.sql("alter table crm.installs add column owner text not null default 'operations'")
    install = agreeing.world.create_install()
    run_poll(agreeing.context)
    agreeing.carried()
    row = agreeing.crm("installs", enerflo_install_id=install)
    assert row["owner"] == "operations"
    assert row["updated_at"] is not None


def test_a_row_that_appeared_since_is_left_alone(agreeing: Desk) -> None:
    install = agreeing.world.create_install()
    run_poll(agreeing.context)
    plan = agreeing.plan()
    agreeing.sql(
        "insert into crm.installs (enerflo_install_id, status, updated_at) values (:i, 'Mine', now())",
        i=install,
    )
    report = run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    assert report.moved > 0
    assert agreeing.crm("installs", enerflo_install_id=install)["status"] == "Mine"


def test_a_column_that_was_dropped_since_is_said_and_nothing_is_written(agreeing: Desk) -> None:
    spoiled(agreeing, *installs(agreeing, 2))
    plan = agreeing.plan()
    agreeing.sql("alter table crm.installs drop column contract_amount")
    with pytest.raises(ConfigurationError, match="contract_amount"):
        run_apply(agreeing.context, plan.plan_hash)
    assert counts(agreeing, *installs(agreeing, 2)) == [99, 99]
    assert agreeing.ledger(plan_hash=plan.plan_hash) == []
    assert (
        agreeing.one("select state from sync.runs where job = 'apply' order by started_at desc limit 1")
        == "failed"
    )


def test_all_of_it_or_nothing_when_the_database_goes_away(
    agreeing: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = installs(agreeing, 3)
    spoiled(agreeing, *ids)
    plan = agreeing.plan()
    whole = apply_crm._Job.write

    def cut(job: Any) -> None:
        whole(job)
        job._connection.exec_driver_sql("select pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(apply_crm._Job, "write", cut)
    with pytest.raises(RetriableError):
        run_apply(agreeing.context, plan.plan_hash)
    assert counts(agreeing, *ids) == [99, 99, 99]
    monkeypatch.undo()
    assert run_apply(agreeing.context, plan.plan_hash).applied == 3
    assert counts(agreeing, *ids) == true_counts(agreeing, *ids)


def test_an_edit_that_waits_for_its_commit_is_not_overwritten(agreeing: Desk) -> None:
    (install,) = installs(agreeing, 1)
    spoiled(agreeing, install)
    plan = agreeing.plan()
    with agreeing.engine.connect() as other:
        other.execute(
            sa.text("update crm.installs set panel_count = 55 where enerflo_install_id = :i"), {"i": install}
        )
        thread = threading.Thread(target=run_apply, args=(agreeing.context, plan.plan_hash))
        thread.start()
        thread.join(1)
        assert thread.is_alive()
        other.commit()
        thread.join(20)
    assert counts(agreeing, install) == [55]
    assert [row["decision"] for row in agreeing.ledger(plan_hash=plan.plan_hash)] == ["moved"]


def test_only_one_applies_at_a_time(agreeing: Desk) -> None:
    spoiled(agreeing, *installs(agreeing, 1))
    plan = agreeing.plan()
    with (
        agreeing.engine.connect() as other,
        alone(other, "default"),
        pytest.raises(RetriableError, match="another plan or apply"),
    ):
        run_apply(agreeing.context, plan.plan_hash)
    assert run_apply(agreeing.context, plan.plan_hash).applied == 1


def test_a_rejected_plan_is_not_applied_and_the_ledger_knows_who_said_no(agreeing: Desk) -> None:
    (install,) = installs(agreeing, 1)
    spoiled(agreeing, install)
    plan = agreeing.plan()
    run_reject(agreeing.context, plan.plan_hash, by="Sam")
    with pytest.raises(ConfigurationError, match=r"it was rejected \(Sam\)"):
        run_apply(agreeing.context, plan.plan_hash)
    (row,) = agreeing.ledger(plan_hash=plan.plan_hash)
    assert (row["decision"], row["decided_by"]) == ("refused", "Sam")
    assert agreeing.plan().change_count == 0
    assert run_apply(agreeing.context, plan.plan_hash, approved_by="Pat").applied == 1
    assert counts(agreeing, install) == true_counts(agreeing, install)


def test_what_we_wrote_is_no_difference_afterwards(agreeing: Desk) -> None:
    spoiled(agreeing, *installs(agreeing, 3))
    agreeing.carried()
    report = run_reconcile(agreeing.context)
    assert report.differences == 0
    agreeing.settled()


@pytest.mark.parametrize("page", [12, 25])
def test_a_plan_of_many_pages_is_applied_whole_and_no_record_is_torn(
    agreeing: Desk, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(crm_pages, "PAGE", page)
    agreeing.switched_on("both", ("percent: 10", "percent: 100"))
    ids = installs(agreeing, 9)
    spoiled(agreeing, *ids)
    agreeing.sql("update crm.installs set panel_type = 'Other 410' where panel_count = 99")
    made = [agreeing.world.create_install() for _ in range(3)]
    run_poll(agreeing.context)
    bad = made[1]
    agreeing.sql(f"alter table crm.installs add constraint few check (enerflo_install_id <> {bad})")
    plan = agreeing.plan()
    new = agreeing.changes(plan, op="insert", table_name="installs")
    assert {change.key["enerflo_install_id"] for change in new} == set(made)
    of_bad = [change for change in new if change.key["enerflo_install_id"] == bad]
    report = run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked, report.moved) == (plan.change_count - len(of_bad), len(of_bad), 0)
    parked = agreeing.changes(plan, state="parked")
    assert [change.position for change in parked] == [change.position for change in of_bad]
    assert counts(agreeing, *ids) == true_counts(agreeing, *ids)
    assert agreeing.agreed("installs", "panel_type", enerflo_install_id=ids[0]) != "Other 410"
    for one in (made[0], made[2]):
        row = agreeing.crm("installs", enerflo_install_id=one)
        assert agreeing.agreed("installs", "status", enerflo_install_id=one) == row["status"]
    ledger = agreeing.ledger(plan_hash=plan.plan_hash)
    assert len(ledger) == plan.change_count
    assert sum(row["decision"] == "applied" for row in ledger) == report.applied
    agreeing.sql("alter table crm.installs drop constraint few")
    agreeing.sql("update sync.ledger set recorded_at = recorded_at - interval '1 day'")
    agreeing.carried()
    agreeing.settled()


def test_a_new_row_whose_key_is_too_long_for_its_column_is_parked_and_never_cut(agreeing: Desk) -> None:
    install = agreeing.one("select max(install_id) from enerflo.installs")
    agreeing.sql(f"alter table crm.installs alter enerflo_install_id type varchar({len(str(install))})")
    rows = agreeing.one("select count(*) from crm.installs")
    agreeing.sql(
        "insert into enerflo.installs (account, install_id, status_name, observed_at, observed_by)"
        " values ('default', :id, 'In progress', now() - interval '2 hours', 'poll')",
        id=install * 10 + 1,
    )
    plan = agreeing.plan()
    changes = agreeing.changes(plan, table_name="installs")
    assert {change.op for change in changes} == {"insert"}
    report = run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    assert (report.parked, report.moved) == (len(changes), 0)
    assert agreeing.one("select count(*) from crm.installs") == rows


_KEEPS = """create function crm.keep() returns trigger language plpgsql as $$ begin
  if pg_trigger_depth() = 1 then {does} end if; return new; end $$;
create trigger keep {when} update on crm.installs for each row execute function crm.keep()"""
_BEFORE = ("new.panel_count := old.panel_count;", "before")
_AFTER = (
    "update crm.installs set panel_count = old.panel_count"
    " where enerflo_install_id = new.enerflo_install_id;",
    "after",
)


@pytest.mark.parametrize(("does", "when"), [_BEFORE, _AFTER])
def test_a_table_that_puts_back_the_value_from_before_did_not_take_ours(
    agreeing: Desk, does: str, when: str
) -> None:
    (first,) = installs(agreeing, 1)
    spoiled(agreeing, first)
    agreeing.sql(_KEEPS.format(does=does, when=when))
    plan = agreeing.plan()
    report = run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    assert counts(agreeing, first) == [99]
    if when == "before":
        kept = "the CRM's table keeps the value from before, by a trigger or rule of its own"
        assert (report.applied, report.reasons["parked"]) == (0, {kept: 1})
    # Nothing is agreed on that nobody says: it stays a difference, and is said.
    later = agreeing.plan()
    assert later.change_count + sum(later.undecided.values()) == 1
    causes = [one.by_cause for one in run_reconcile(agreeing.context).tables if one.by_cause]
    assert causes
    assert not any("equal_after_normalisation" in by_cause for by_cause in causes)


def test_what_no_reconciliation_compares_is_not_called_verified(desk: Desk) -> None:
    desk.switched_on("crm")
    plan = desk.plan()
    leads = len(desk.changes(plan, table_name="leads"))
    assert 0 < leads <= plan.change_count
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    found = run_verify(desk.context, plan.plan_hash, run_reconcile(desk.context))
    assert (found.applied, found.differing) == (plan.change_count, 0)
    assert found.not_compared >= leads
