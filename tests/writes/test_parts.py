"""Parts of a plan: what a person chooses is applied or refused, and the rest stays open or is refused."""

from __future__ import annotations

import pytest

from enerflo_sync.addresses import Addresses
from enerflo_sync.errors import ConfigurationError, ConflictError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import read_refusals, run_approve, run_reject
from enerflo_sync.jobs.plan import read_stored_plan
from enerflo_sync.pages.record import read_record_page
from enerflo_sync.pages.record_history import Happened
from enerflo_sync.plan.parts import Part, Rest
from enerflo_sync.plan.render import plan_lines
from enerflo_sync.plan.render.shown_plan import show_plan
from enerflo_sync.plan.report import PlanReport, PlanState
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_completion import finished
from tests.writes.test_refused import edit, installs


@pytest.fixture
def three(agreed: Desk) -> tuple[Desk, PlanReport, list[int]]:
    """A plan of three changes: of one install its panels and its status, of another its panels."""
    return agreed, *brought(agreed, _three)


def _three(agreed: Desk) -> tuple[PlanReport, list[int]]:
    agreed.switched_on("both", ("first_to_enerflo: true", "first_to_enerflo: false"))
    first, second = installs(agreed)[:2]
    edit(agreed, first, panel_count=99, status="On Hold")
    edit(agreed, second, panel_count=98)
    return agreed.plan(), [first, second]


def ends(desk: Desk, plan: PlanReport) -> dict[tuple[int, str], str]:
    rows = desk.sql("select key, field, state from sync.plan_changes where plan_hash = :h", h=plan.plan_hash)
    return {(row["key"]["enerflo_install_id"], row["field"]): row["state"] for row in rows}


@pytest.mark.parametrize(
    ("part", "applied"),
    [
        (Part(only=["installs.status"]), {(0, "status")}),
        (Part(only=["installs:{0}"]), {(0, "status"), (0, "panel_count")}),
        (Part(only=["installs:{0}.panel_count", "installs:{1}"]), {(0, "panel_count"), (1, "panel_count")}),
        (Part(without=["installs.status"]), {(0, "panel_count"), (1, "panel_count")}),
        (Part(only=["installs"], without=["installs:{0}"]), {(1, "panel_count")}),
    ],
)
def test_what_is_chosen_is_applied_and_the_rest_stays_open(
    three: tuple[Desk, PlanReport, list[int]], part: Part, applied: set[tuple[int, str]]
) -> None:
    desk, plan, ids = three
    part = Part([one.format(*ids) for one in part.only], [one.format(*ids) for one in part.without])
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat", part=part)
    assert (report.applied, report.left_open, report.waiting) == (len(applied), 3 - len(applied), 0)
    assert report.needs_a_person
    chosen = {(ids[number], field) for number, field in applied}
    assert {change: state for change, state in ends(desk, plan).items() if change in chosen} == dict.fromkeys(
        chosen, "applied"
    )
    assert {state for change, state in ends(desk, plan).items() if change not in chosen} == {"planned"}
    assert read_stored_plan(desk.context, plan.plan_hash).state is PlanState.OPEN
    assert read_refusals(desk.context) == []
    # The rest can be approved by somebody else under the same hash.
    rest = run_apply(desk.context, plan.plan_hash, approved_by="Kim")
    assert (rest.applied, rest.state) == (3, PlanState.APPLIED)
    assert {row["decided_by"] for row in desk.ledger(plan_hash=plan.plan_hash)} == {"Pat", "Kim"}
    desk.settled()


def test_the_rest_may_be_found_by_the_next_plan(three: tuple[Desk, PlanReport, list[int]]) -> None:
    desk, plan, _ = three
    run_apply(desk.context, plan.plan_hash, approved_by="Pat", part=Part(only=["installs.status"]))
    later = desk.plan()
    assert [change.field for change in desk.changes(later)] == ["panel_count", "panel_count"]
    assert read_stored_plan(desk.context, plan.plan_hash).state is PlanState.SUPERSEDED
    assert {row["decision"] for row in desk.ledger(plan_hash=plan.plan_hash)} == {"applied"}


def test_the_rest_may_be_refused(three: tuple[Desk, PlanReport, list[int]]) -> None:
    desk, plan, ids = three
    part = Part(only=["installs.panel_count"], rest=Rest.REFUSE)
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat", part=part)
    assert (report.applied, report.refused, report.state) == (2, 1, PlanState.APPLIED)
    assert not report.needs_a_person
    assert desk.plan().change_count == 0
    (refusal,) = read_refusals(desk.context)
    assert (refusal.key, refusal.field) == ({"enerflo_install_id": ids[0]}, "status")
    assert refusal.decided_by == "Pat"


def test_a_part_may_be_refused_and_the_rest_stays_open(three: tuple[Desk, PlanReport, list[int]]) -> None:
    desk, plan, _ = three
    part = Part(only=["installs.status"])
    left = run_reject(desk.context, plan.plan_hash, by="Sam", reason="no", part=part)
    assert (left.state, left.decided_by) == (PlanState.OPEN, None)
    (row,) = desk.ledger(plan_hash=plan.plan_hash)
    assert (row["field"], row["decision"], row["decided_by"], row["reason"]) == (
        "status",
        "refused",
        "Sam",
        "no",
    )
    later = desk.plan()
    assert [change.field for change in desk.changes(later)] == ["panel_count", "panel_count"]


def test_a_part_that_is_killed_goes_on_where_it_was(three: tuple[Desk, PlanReport, list[int]]) -> None:
    desk, plan, ids = three
    run_approve(desk.context, plan.plan_hash, by="Pat", part=Part(only=["installs.status"]))
    report = run_apply(desk.context, plan.plan_hash)
    assert (report.applied, report.left_open, report.decided_by) == (1, 2, "Pat")
    assert report.needs_a_person
    assert desk.crm("installs", enerflo_install_id=ids[0])["panel_count"] == 99


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        ("instals", "nothing of the plan fits"),
        ("installs.colour", "nothing of the plan fits"),
        ("installs:77", "nothing of the plan fits"),
        ("", "nothing of the plan fits"),
    ],
)
def test_a_selector_that_fits_nothing_is_refused(
    three: tuple[Desk, PlanReport, list[int]], selector: str, problem: str
) -> None:
    desk, plan, _ = three
    with pytest.raises(ConfigurationError, match=problem):
        run_apply(desk.context, plan.plan_hash, approved_by="Pat", part=Part(only=[selector]))
    assert desk.ledger(plan_hash=plan.plan_hash) == []
    assert read_stored_plan(desk.context, plan.plan_hash).state is PlanState.OPEN


def test_the_last_milestone_and_its_install_are_not_separated(agreed: Desk) -> None:
    agreed.switched_on("both", ("first_to_enerflo: true", "first_to_enerflo: false"))
    plan = finished(agreed, agreed.a_site().install_id)
    for part in (Part(only=["milestones"]), Part(only=["installs"])):
        with pytest.raises(ConfigurationError, match="belong together: the last milestone completes"):
            run_apply(agreed.context, plan.plan_hash, approved_by="Pat", part=part)
    both = Part(only=["milestones", "installs.status"])
    assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat", part=both).applied == 2


def test_a_new_row_is_chosen_whole(desk: Desk) -> None:
    desk.switched_on("both")
    plan = desk.plan()
    new = desk.changes(plan, op="insert", table_name="leads")[0]
    (name,) = new.key.values()
    with pytest.raises(ConfigurationError, match="a new row is chosen whole"):
        run_apply(
            desk.context, plan.plan_hash, approved_by="Pat", part=Part(only=[f"leads:{name}.{new.field}"])
        )
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat", part=Part(only=[f"leads:{name}"]))
    assert report.applied == len(desk.changes(plan, op="insert", key=new.key))
    assert desk.one("select count(*) from crm.leads where lead_id = :n", n=name) == 1


def a_new_install(desk: Desk) -> tuple[int, PlanReport]:
    """Return an install that the CRM lacks with its milestones, and the plan that makes them."""
    desk.switched_on("crm")
    desk.carried()
    install = installs(desk)[0]
    for table in ("milestones", "installs"):
        desk.sql(f"delete from crm.{table} where enerflo_install_id = :i", i=install)
    of_it = "where cast(key ->> 'enerflo_install_id' as bigint) = :i"
    desk.sql(f"delete from sync.agreed {of_it}", i=install)
    return install, desk.plan()


def test_milestones_are_not_left_without_the_install_that_is_refused(desk: Desk) -> None:
    install, plan = a_new_install(desk)
    with pytest.raises(ConfigurationError, match="the row of the install is made first") as refused:
        run_reject(desk.context, plan.plan_hash, by="Ann", part=Part(only=[f"installs:{install}"]))
    assert f"Choose milestones:{install}/" in str(refused.value)
    assert f"or leave installs:{install} out" in str(refused.value)
    # The milestones alone may be refused: the install may be made without them.
    run_reject(desk.context, plan.plan_hash, by="Ann", part=Part(only=["milestones"]))
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    made = "select count(*) from crm.{} where enerflo_install_id = :i"
    assert desk.one(made.format("installs"), i=install) == 1
    assert desk.one(made.format("milestones"), i=install) == 0


def test_a_no_to_the_rest_of_an_applied_part_names_nobody_as_who_approved_it(
    three: tuple[Desk, PlanReport, list[int]],
) -> None:
    """Pat approves the status, which is written; Sam rejects the rest."""
    desk, plan, _ = three
    applied = run_apply(desk.context, plan.plan_hash, approved_by="Pat", part=Part(only=["installs.status"]))
    assert applied.applied == 1
    rejected = run_reject(desk.context, plan.plan_hash, by="Sam", reason="not yet")
    assert (rejected.state, rejected.states, rejected.rest_rejected) == (
        PlanState.APPLIED,
        {"applied": 1, "refused": 2},
        True,
    )
    with desk.engine.connect() as connection:
        shown = show_plan(connection, desk.context.config, "default", plan.plan_hash)
    text = "\n".join(line.text for line in plan_lines(shown))
    assert "carried out in part, the rest rejected by Sam" in text
    assert "approved by Sam" not in text
    assert "approved by Sam" not in desk.page(plan)
    with pytest.raises(ConflictError, match="carried out in part and its rest rejected already by Sam on 20"):
        run_approve(desk.context, plan.plan_hash, by="Kim", undecided=True)
    again = run_apply(desk.context, plan.plan_hash)
    assert again.message == (
        f"Nothing of plan {plan.plan_hash[:12]} is left to apply: a part was applied, and Sam rejected the rest."
    )


def test_a_plan_whose_time_is_over_is_not_said_to_wait(three: tuple[Desk, PlanReport, list[int]]) -> None:
    """Nothing records that yet: no plan was made since."""
    desk, plan, _ = three
    desk.sql("update sync.plans set needs_approval = true returning plan_hash")
    assert "Waits for a person&#39;s approval" in desk.page(plan)
    assert "Decide in the approval task" in desk.page(plan)
    desk.sql("update sync.plans set expires_at = now() - interval '1 minute' returning plan_hash")
    page = desk.page(plan)
    assert "Expired: its time ran out" in page
    assert "Decide in the approval task" not in page
    with desk.engine.connect() as connection:
        shown = show_plan(connection, desk.context.config, "default", plan.plan_hash)
    assert any(line.text.endswith("expired: its time ran out") for line in plan_lines(shown))


def test_the_history_of_a_record_tells_no_approval_of_which_it_is_no_part(
    three: tuple[Desk, PlanReport, list[int]],
) -> None:
    """Pat approves what is about the first install; nothing is applied before a later plan takes its place."""
    desk, plan, ids = three
    run_approve(desk.context, plan.plan_hash, by="Pat", part=Part(only=[f"installs:{ids[0]}"]))
    assert decisions_of(desk, ids[0]) == [("approved", "Pat")]
    assert decisions_of(desk, ids[1]) == [("approved in part, without this record", "Pat")]


def decisions_of(desk: Desk, install: int) -> list[tuple[str, str]]:
    """Return what the record's page says of decisions, with the person."""
    with desk.engine.connect() as connection:
        page = read_record_page(
            connection, desk.context.config, "default", "installs", str(install), Addresses("")
        )
    return [(one.words, one.by) for one in page.history.happenings if one.kind is Happened.DECISION]
