"""Plans, differences and evidence after a prune: what a decision cites stays, and what is gone is said."""

from __future__ import annotations

from datetime import timedelta

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.reconcile.render.html import render_html
from enerflo_sync.reconcile.render.text import render_text
from enerflo_sync.reconcile.store import load_report
from tests.pages.counting import counted_statements
from tests.retention.conftest import counts, kind, pruned_at_desk
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_refused import edit, installs
from tests.writes.test_split import QUARANTINED


def story(desk: Desk, install: int, **more: object) -> str:
    return " ".join(render_explanation(run_explain(desk.context, "install", str(install), **more)).split())  # type: ignore[arg-type]


def counted(desk: Desk, install: int, panels: int) -> None:
    desk.world.resubmit_install(install, panel_count=panels)
    run_poll(desk.context)


def carried(desk: Desk) -> str:
    plan = desk.plan()
    assert plan.change_count
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    return plan.plan_hash


def seen(desk: Desk, install: int) -> list[int]:
    """The panel counts of an install's versions, as they were first seen."""
    rows = desk.sql(
        "select first_seen_at from enerflo.install_versions where install_id = :id order by 1", id=install
    )
    return [row["first_seen_at"] for row in rows]


def test_what_explain_asks_does_not_grow_with_plans_that_were_pruned(agreeing: Desk) -> None:
    install = agreeing.a_site().install_id
    for panels in range(41, 47):
        counted(agreeing, install, panels)
        carried(agreeing)
    with counted_statements() as before:
        assert "The plan was pruned at" not in story(agreeing, install)
    pruned_at_desk(agreeing)
    with counted_statements() as after:
        assert story(agreeing, install).count("The plan was pruned at") > 3
    # One for all plans, and one for what became of versions.
    assert len(after) - len(before) <= 2


@pytest.fixture
def decided(agreeing: Desk) -> tuple[Desk, int, str]:
    """An install with seven versions; a plan was applied at the fourth."""
    return agreeing, *brought(agreeing, _decided)


def _decided(agreeing: Desk) -> tuple[int, str]:
    install = agreeing.a_site().install_id
    for panels in (41, 42, 43):
        counted(agreeing, install, panels)
    plan = carried(agreeing)
    for panels in (44, 45, 46):
        counted(agreeing, install, panels)
    assert len(seen(agreeing, install)) == 7
    return install, plan


def test_versions_are_thinned_to_the_first_the_last_and_those_that_a_decision_cites(
    decided: tuple[Desk, int, str],
) -> None:
    desk, install, _ = decided
    one, _, _, four, _, _, seven = seen(desk, install)
    assert kind(pruned_at_desk(desk), "versions").rows == 4
    assert seen(desk, install) == [one, four, seven]
    ((gone, bound),) = [
        (row["seen_at"], row["bound"])
        for row in desk.sql(
            "select seen_at, bound from sync.pruned_versions where record_id = :id", id=install
        )
    ]
    assert (len(gone), bound) == (4, "retention.versions_days: 365")
    assert kind(pruned_at_desk(desk), "versions").rows == 0


def test_explain_says_of_evidence_that_it_was_pruned_and_by_which_bound(
    decided: tuple[Desk, int, str],
) -> None:
    desk, install, _ = decided
    times = seen(desk, install)
    before = run_explain(desk.context, "install", str(install), field="panel_count")
    pruned_at_desk(desk)
    after = run_explain(desk.context, "install", str(install), field="panel_count")
    (was,), (now,) = before.fields[0].steps, after.fields[0].steps
    assert now.evidence is not None
    assert was.evidence is not None
    assert now.evidence.observed_at == was.evidence.observed_at == times[3]
    text = story(desk, install, field="panel_count")
    by = "by retention.versions_days: 365"
    assert "4 versions of it, first seen between" in text
    assert f"{by}." in text
    assert f"2 versions before it were pruned at {now.evidence.pruned.split('pruned at ')[1][:10]}" in text  # type: ignore[union-attr]
    assert "Enerflo may have said so earlier" in text
    past = story(desk, install, field="panel_count", as_of=times[5] + timedelta(milliseconds=1))
    assert (
        "That is of the last version before it that is kept: 2 versions of that time were pruned at" in past
    )
    assert "what Enerflo said then is not known any more" in past
    # Of a moment about which everything is known nothing is said.
    known = story(desk, install, field="panel_count", as_of=times[3] + timedelta(milliseconds=1))
    assert "is not known any more" not in known


def test_plans_that_ended_go_and_the_ledger_says_what_they_did(decided: tuple[Desk, int, str]) -> None:
    desk, install, plan = decided
    carried(desk)
    ledger = desk.ledger()
    gone = kind(pruned_at_desk(desk), "plans")
    assert gone.rows > 0
    assert desk.one("select count(*) from sync.plans where plan_hash = :plan", plan=plan) == 0
    assert desk.one("select count(*) from sync.plan_changes where plan_hash = :plan", plan=plan) == 0
    assert desk.ledger() == ledger
    text = story(desk, install, field="panel_count")
    assert "approved by Pat. The plan was pruned at " in text
    assert "by retention.plans_days: 365." in text
    with pytest.raises(
        ConfigurationError, match=r"the plan was pruned at .* by retention.plans_days: 365"
    ) as caught:
        run_undo(desk.context, plan)
    assert "the ledger keeps what it did" in str(caught.value)
    with pytest.raises(ConfigurationError, match="there is no such plan"):
        run_undo(desk.context, "0123456789abcdef")
    # The newest plans are what the next one stands on.
    assert desk.one("select count(*) from sync.plans") >= 1
    assert desk.plan().change_count == 0
    assert counts(pruned_at_desk(desk)).keys() <= {"runs", "differences"}


def test_a_plan_whose_write_is_on_its_way_stays(decided: tuple[Desk, int, str]) -> None:
    desk, _, plan = decided
    carried(desk)
    desk.sql(
        "update sync.plan_changes set state = 'sent', sent_at = now() + interval '1 day' where plan_hash = :plan",
        plan=plan,
    )
    pruned_at_desk(desk)
    assert desk.one("select count(*) from sync.plans where plan_hash = :plan", plan=plan) == 1


def test_a_plan_that_a_standing_refusal_names_stays(decided: tuple[Desk, int, str]) -> None:
    desk, _, plan = decided
    carried(desk)
    desk.sql(
        "insert into sync.refusals (account, table_name, key, op, direction, plan_hash, decided_by, decided_at)"
        " values ('default', 'installs', '{}', 'update', 'to_crm', :plan, 'Pat', now())",
        plan=plan,
    )
    pruned_at_desk(desk)
    assert desk.one("select count(*) from sync.plans where plan_hash = :plan", plan=plan) == 1


def test_a_bound_shorter_than_a_plan_that_waits_is_refused(agreeing: Desk) -> None:
    agreeing.configured(("mode: report", "mode: crm"), ("expires_hours: 24", "expires_hours: 720"))
    counted(agreeing, agreeing.a_site().install_id, 41)
    plan = agreeing.plan()
    assert plan.change_count
    before = agreeing.one("select count(*) from sync.runs")
    for dry in (True, False):
        with pytest.raises(ConfigurationError, match=f"the plan {plan.plan_hash[:12]} of .* waits") as caught:
            pruned_at_desk(agreeing, dry=dry)
        assert "retention.plans_days: 365 is shorter than that" in str(caught.value)
        assert "Apply or reject the plan first, or raise the option." in str(caught.value)
    assert agreeing.one("select count(*) from sync.runs") == before
    run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    pruned_at_desk(agreeing)


def test_a_report_whose_differences_are_gone_still_renders_its_counts(agreeing: Desk) -> None:
    counted(agreeing, agreeing.a_site().install_id, 41)
    old = run_reconcile(agreeing.context)
    counted(agreeing, agreeing.a_site().install_id, 42)
    new = run_reconcile(agreeing.context, full=True)
    assert old.differences > 0
    report = pruned_at_desk(agreeing, timedelta(days=200))
    assert kind(report, "differences").rows == old.differences
    kept = agreeing.sql("select distinct reconciliation_id from sync.differences")
    assert [row["reconciliation_id"] for row in kept] == [new.reconciliation_id]
    again = load_report(agreeing.engine, "default", old.reconciliation_id)
    assert again.differences == old.differences
    assert f"{old.differences}" in render_text(again)
    assert f"{old.differences}" in render_html(again)
    # The newest one is what the next incremental reconciliation stands on.
    assert run_reconcile(agreeing.context).differences == new.differences


def test_old_reports_go_with_the_last_plan_that_stands_on_them(agreeing: Desk) -> None:
    install = agreeing.a_site().install_id
    for panels in (41, 42, 43, 44):
        counted(agreeing, install, panels)
        carried(agreeing)
    before = agreeing.one("select count(*) from sync.reconciliations")
    pruned_at_desk(agreeing)
    stood_on = agreeing.sql(
        "select stands_on from sync.plans where stands_on is not null and kind = 'sync'"
        " and stands_on not in (select reconciliation_id from sync.reconciliations)"
    )
    assert stood_on == []
    assert 0 < agreeing.one("select count(*) from sync.reconciliations") < before


def test_looks_at_tables_that_are_not_mapped_any_more_go(agreeing: Desk) -> None:
    counted(agreeing, agreeing.a_site().install_id, 41)
    run_reconcile(agreeing.context)
    looks = agreeing.one("select count(*) from sync.crm_looks")
    agreeing.sql(
        "insert into sync.crm_looks (account, table_name, looker, seen_until, signature)"
        " values ('default', 'left_the_mapping', 'observation', now(), 'x')"
    )
    assert kind(pruned_at_desk(agreeing), "looks").rows == 1
    assert agreeing.one("select count(*) from sync.crm_looks") == looks


def test_a_change_without_a_base_goes_on_waiting_after_a_prune(desk: Desk) -> None:
    desk.switched_on("crm")
    desk.carried()
    desk.switched_on("crm", ("changes: 500", "changes: 2"), ("new_mapping: true", "new_mapping: false"))
    desk.sql("delete from sync.agreed where table_name = 'installs' and field = 'panel_count'")
    first, *rest = installs(desk)[:3]
    for install in (first, *rest):
        edit(desk, install, panel_count=99)
    (waits,) = run_plan(desk.context)
    assert waits.needs_approval
    assert waits.change_count == 3
    for install in rest:
        desk.sql(QUARANTINED, i=install)
    (between,) = run_plan(desk.context)
    assert between.needs_approval
    desk.sql("update sync.plans set expires_at = now()")
    pruned_at_desk(desk)
    desk.sql("update sync.quarantine set state = 'replayed'")
    assert [(one.needs_approval, one.change_count) for one in run_plan(desk.context)] == [(True, 3)]
