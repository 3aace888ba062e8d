"""A database whose clock was ahead for a while and was set back: nothing freezes, and nothing is overlooked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from enerflo_sandbox.spelling import Spelling
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.retry import run_retry
from enerflo_sync.plan.report import PlanState
from enerflo_sync.plan.retry import RetrySelection
from tests.writes.conftest import Desk
from tests.writes.sending import cut_off_after_the_request, due, lost_after_the_post, note, posts, spelling
from tests.writes.test_apply import installs, spoiled

# Functions in a schema before ``pg_catalog`` stand for the server's own.
_TIME = (
    "create schema simulation",
    "create table simulation.ahead as select interval '0' as by",
    "create function simulation.now() returns timestamptz language sql stable"
    " as 'select pg_catalog.now() + by from simulation.ahead'",
    "create function simulation.clock_timestamp() returns timestamptz language sql volatile"
    " as 'select pg_catalog.clock_timestamp() + by from simulation.ahead'",
)


@pytest.fixture
def ahead(agreed: Desk) -> Desk:
    """An account whose sides agree, beside a database whose clock is ahead by a year since its last jobs."""
    for statement in _TIME:
        agreed.sql(statement)
    name = agreed.engine.url.database
    agreed.sql(f'alter database "{name}" set search_path = simulation, pg_catalog, public')
    clock_is(agreed, "1 year")
    return agreed


def clock_is(desk: Desk, ahead: str) -> None:
    """Set the database's clock, and begin with processes of their own afterwards."""
    desk.sql("update simulation.ahead set by = cast(:by as interval)", by=ahead)
    desk.context.close()
    context = desk.context
    desk.context = type(context)(context.account, context.config, context.config_path, context.credentials)


def status(desk: Desk, install: int) -> str:
    return str(desk.crm("installs", enerflo_install_id=install)["status"])


def test_a_record_that_was_read_meanwhile_is_read_again(ahead: Desk) -> None:
    install = ahead.a_site().install_id
    ahead.world.set_status(install, 4)
    run_poll(ahead.context)
    ahead.carried()
    clock_is(ahead, "0")
    ahead.world.set_status(install, 1304)
    run_poll(ahead.context)
    ahead.carried()
    assert status(ahead, install) == "Cancelled"


def test_what_does_not_change_afterwards_stays_as_it_is(ahead: Desk) -> None:
    living = "select count(*) from enerflo.installs where deleted_at is null and absent_since is null"
    before = ahead.one(living)
    ahead.world.set_status(ahead.a_site().install_id, 4)
    run_poll(ahead.context)
    clock_is(ahead, "0")
    # A run that reads nothing.
    run_ingest(ahead.context)
    assert ahead.one(living) == before
    assert ahead.one("select count(*) from enerflo.installs where observed_at > now()") == 0


@pytest.mark.parametrize("late", [False, True])
def test_what_comes_afterwards_is_compared(ahead: Desk, late: bool) -> None:
    clock_is(ahead, "1 hour")
    run_poll(ahead.context)
    run_reconcile(ahead.context)
    clock_is(ahead, "0")
    install = ahead.a_site().install_id
    ahead.world.set_status(install, 4)
    run_poll(ahead.context)
    if late:
        clock_is(ahead, "70 minutes")
    report = run_reconcile(ahead.context)
    assert [table.differing_rows for table in report.tables if table.table_name == "installs"] == [1]
    # It is the newest one.
    newest = "select reconciliation_id from sync.reconciliations order by compared_until desc, started_at desc limit 1"
    assert ahead.one(newest) == report.reconciliation_id
    assert run_reconcile(ahead.context).scope == "incremental"
    ahead.carried()
    assert status(ahead, install) == "On Hold"


def test_new_notes_are_read(ahead: Desk) -> None:
    install = ahead.a_site().install_id
    run_poll(ahead.context)
    clock_is(ahead, "0")
    ahead.world.add_note(install, "Call me")
    run_poll(ahead.context)
    ahead.carried()
    assert ahead.one("select count(*) from crm.notes where body = 'Call me'") == 1


def test_requests_are_not_held_up(ahead: Desk) -> None:
    run_poll(ahead.context)
    ahead.sql("update sync.request_slots set used_at = now()")
    ahead.sql(
        "update sync.request_budgets set blocked_until = now() + interval '1 minute', updated_at = now()"
    )
    clock_is(ahead, "0")
    ahead.sql("update sync.request_slots set used_at = pg_catalog.now() - interval '1 hour' where slot = 0")
    assert run_poll(ahead.context).state == "ok"


@pytest.mark.parametrize("ahead_of_enerflo", ["1 hour", "-1 hour"])
def test_new_notes_are_read_beside_a_clock_that_is_another_than_enerflos(
    ahead: Desk, ahead_of_enerflo: str
) -> None:
    clock_is(ahead, ahead_of_enerflo)
    run_poll(ahead.context)
    ahead.world.add_note(ahead.a_site().install_id, "Call me")
    run_poll(ahead.context)
    ahead.carried()
    assert ahead.one("select count(*) from crm.notes where body = 'Call me'") == 1


@pytest.mark.parametrize("words", ["html", "cut=30"])
def test_a_note_whose_answer_is_lost_is_not_sent_twice_where_our_clock_is_ahead(
    ahead: Desk, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    clock_is(ahead, "1 hour")
    install = ahead.a_site().install_id
    run_poll(ahead.context)
    spelling(ahead, words)
    note(ahead, "N1", install)
    lost_after_the_post(ahead, monkeypatch)
    run_apply(ahead.context, ahead.plan().plan_hash, approved_by="Pat")
    run_poll(ahead.context)
    plan = ahead.plan()
    assert len(posts(ahead)) == 1
    # Neither is it made a second row: a person is asked.
    assert ahead.changes(plan) == []
    (asked,) = ahead.undecided(plan)
    assert asked.key == {"note_id": "N1"}
    assert "Enerflo may have it in another spelling" in str(asked.reason)


def test_a_plan_that_was_applied_meanwhile_is_not_the_last_one_for_a_year(ahead: Desk) -> None:
    first, second = installs(ahead, 2)
    spoiled(ahead, first)
    ahead.carried()
    clock_is(ahead, "0")
    run_poll(ahead.context)
    # Another mapping, of which a person approves the first plan.
    ahead.switched_on("both", ("tolerance: 0.005", "tolerance: 0.004"))
    spoiled(ahead, first)
    plan = ahead.plan()
    assert any("(approval.new_mapping)" in reason for reason in plan.reasons)
    run_apply(ahead.context, plan.plan_hash, approved_by="Pat")
    spoiled(ahead, second)
    assert not ahead.plan().needs_approval


def test_an_approval_of_then_has_no_longer_time_than_others(ahead: Desk) -> None:
    run_poll(ahead.context)
    ahead.switched_on("both", ("tolerance: 0.005", "tolerance: 0.004"))
    spoiled(ahead, *installs(ahead, 1))
    plan = ahead.plan()
    assert run_approve(ahead.context, plan.plan_hash, by="Pat").state == PlanState.APPROVED
    clock_is(ahead, "0")
    run_poll(ahead.context)
    assert ahead.plan().plan_hash == plan.plan_hash
    left = ahead.one("select max(expires_at) - now() from sync.plans where state = 'approved'")
    assert left <= timedelta(hours=24)


def test_a_clock_that_is_behind_by_years_brings_nothing_there(ahead: Desk) -> None:
    clock_is(ahead, "0")
    kept = "select min(observed_at) from enerflo.installs"
    before = ahead.one(kept)
    clock_is(ahead, "-40 years")
    run_ingest(ahead.context)
    assert ahead.one(kept) == before
    assert ahead.one("select count(*) from sync.watermarks where name like 'clock_set_back%'") == 0


def test_a_change_that_was_parked_meanwhile_is_tried_again(ahead: Desk) -> None:
    """Its day of waiting would begin in a year; a change that is parked now still waits for its day."""
    (install,) = installs(ahead, 1)
    spoiled(ahead, install)
    ahead.sql("alter table crm.installs add constraint few check (panel_count > 98) not valid")
    run_poll(ahead.context)
    assert ahead.carried().parked == 1
    assert ahead.plan().change_count == 0
    clock_is(ahead, "0")
    run_poll(ahead.context)
    assert ahead.plan().change_count == 1
    assert ahead.carried().parked == 1
    assert ahead.plan().change_count == 0
    # The page and the command line count what is held back as the plan does.
    assert len(run_retry(ahead.context, RetrySelection(), by="Pat").changes) == 1


def test_a_write_whose_answer_was_lost_meanwhile_is_ours_afterwards(
    ahead: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent in a year, as the clock had it, and is found by what is read now."""
    install = ahead.a_site().install_id
    run_poll(ahead.context)
    assert ahead.api is not None
    ahead.api.spelling = Spelling(days=True)
    milestone = due(ahead, install)
    cut_off_after_the_request(ahead, monkeypatch)
    clock_is(ahead, "0")
    # Another change, so that the plan is another one.
    note(ahead, "N1", install)
    for _ in range(3):
        run_poll(ahead.context)
        ahead.carried()
    now = ahead.crm("milestones", enerflo_install_id=install, milestone_id=milestone)["due_at"]
    assert now.isoformat() == "2026-05-20T14:22:01+00:00"
    assert [one.method for one in ahead.world.received] == ["PUT", "POST"]
    decisions = [row["decision"] for row in ahead.ledger(table_name="milestones", field="due_at")]
    assert decisions[-1] == "applied"


def test_a_write_whose_answer_is_lost_afterwards_is_ours_too(
    ahead: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides agreed in a year, as the clock had it, and the request is of now."""
    customer = ahead.one("select max(enerflo_customer_id) from crm.leads")
    run_poll(ahead.context)
    mobile(ahead, customer, "+1 (512) 555-0123")
    ahead.carried()
    before = len(ahead.world.received)
    clock_is(ahead, "0")
    run_poll(ahead.context)
    ahead.carried()
    mobile(ahead, customer, "+1 (512) 555-0177")
    cut_off_after_the_request(ahead, monkeypatch, nth=before + 1)
    note(ahead, "N1", ahead.a_site().install_id)
    for _ in range(3):
        run_poll(ahead.context)
        ahead.carried()
    assert len(ahead.world.received[before:]) == 2


def mobile(desk: Desk, customer: int, number: str) -> None:
    desk.sql(
        "update crm.leads set mobile = :m, updated_at = now() where enerflo_customer_id = :c",
        m=number,
        c=customer,
    )
