"""An administrator gives a status of Enerflo another name, which sync.yaml does not know yet."""

from __future__ import annotations

import pytest

from enerflo_sandbox import catalogue
from enerflo_sync.crm.doctor import check_mapping
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.kept import brought

QUICK = ("in_flight_minutes: 30", "in_flight_minutes: 0")
STATUS = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest"
LABELS = (STATUS, STATUS + ', values: {"completed ": Closed Won, In progress: Open}')
FINAL = 3907


@pytest.fixture
def labelled(agreed: Desk) -> Desk:
    """Both sides agree; the CRM says two statuses by labels of its own."""
    brought(agreed, _labelled)
    return agreed


def _labelled(desk: Desk) -> None:
    desk.switched_on("both", QUICK, LABELS)
    desk.carried()
    desk.carried()


def renamed(desk: Desk, monkeypatch: pytest.MonkeyPatch, status: int, name: str) -> None:
    monkeypatch.setitem(catalogue.STATUSES, status, name)
    run_poll(desk.context)


def of_status(desk: Desk, word: str) -> int:
    return int(desk.one("select min(enerflo_install_id) from crm.installs where status = :w", w=word))


def edited(desk: Desk, site: int, word: str) -> None:
    desk.sql(
        "update crm.installs set status = :w, updated_at = now() where enerflo_install_id = :s",
        w=word,
        s=site,
    )


def warned(desk: Desk) -> dict[str, str]:
    with desk.engine.connect() as connection:
        findings = check_mapping(connection, desk.context.config, "default", desk.context.config_path)
    return {one.what: one.found for one in findings if "status" in one.what}


def test_a_renamed_status_does_not_go_over_its_label(labelled: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    won = labelled.one("select count(*) from crm.installs where status = 'Closed Won'")
    assert won > 10
    assert warned(labelled) == {}
    renamed(labelled, monkeypatch, catalogue.COMPLETED, "Complete")
    plan = labelled.plan()
    assert labelled.changes(plan) == []
    ((reason, rows),) = plan.undecided.items()
    assert "values" in reason
    assert "completed" in reason
    assert rows == won
    assert (
        "a label for completed, and the company has no such status"
        in warned(labelled)["tables.installs.fields.status.values"]
    )
    # A status that has a label goes on, and one that has none as ever once the map is right.
    labelled.world.set_status(of_status(labelled, "Cancelled"), catalogue.IN_PROGRESS)
    run_poll(labelled.context)
    assert [one.after for one in labelled.changes(labelled.plan())] == ["Open"]
    labelled.switched_on(
        "both", QUICK, (STATUS, STATUS + ", values: {Complete: Closed Won, In progress: Open}")
    )
    assert [one.after for one in labelled.changes(labelled.plan())] == ["Open"]


def test_a_new_row_gets_no_status_without_a_label_either(
    labelled: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = of_status(labelled, "Closed Won")
    labelled.sql("delete from crm.installs where enerflo_install_id = :s", s=site)
    labelled.sql(
        "delete from sync.agreed where table_name = 'installs' and key ->> 'enerflo_install_id' = :s",
        s=str(site),
    )
    renamed(labelled, monkeypatch, catalogue.COMPLETED, "Complete")
    plan = labelled.plan()
    made = labelled.changes(plan, op="insert", table_name="installs")
    assert {one.key["enerflo_install_id"] for one in made} == {site}
    assert "status" not in {one.field for one in made}
    for one in run_plan(labelled.context):
        assert run_apply(labelled.context, one.plan_hash, approved_by="Pat").waiting == 0
    assert labelled.crm("installs", enerflo_install_id=site)["status"] is None
    # It is asked about like all others, and written with its label in the end.
    assert labelled.changes(labelled.plan()) == []
    labelled.switched_on(
        "both", QUICK, (STATUS, STATUS + ", values: {Complete: Closed Won, In progress: Open}")
    )
    assert [one.after for one in labelled.changes(labelled.plan())] == ["Closed Won"]


def test_while_only_some_installs_were_read_the_label_of_neither_name_is_lost(
    labelled: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = of_status(labelled, "Closed Won")
    renamed(labelled, monkeypatch, catalogue.COMPLETED, "Complete")
    labelled.sql(
        "update enerflo.installs set status_name = 'Completed' where install_id <> :s and status_id = :c",
        s=site, c=catalogue.COMPLETED,
    )  # fmt: skip
    plan = labelled.plan()
    assert labelled.changes(plan) == []
    assert list(plan.undecided.values()) == [1]


def test_a_status_that_the_list_leaves_out_is_not_taken_for_a_renamed_one(
    labelled: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = of_status(labelled, "Cancelled")
    labelled.sql(
        "update enerflo.installs set status_id = 99999, status_name = 'Awaiting Moon Phase' where install_id = :s",
        s=site,
    )  # fmt: skip
    labelled.switched_on(
        "both", QUICK, (STATUS, STATUS + ", values: {Completed: Closed Won, Awaiting Moon Phase: Waiting}")
    )
    labelled.sql("update enerflo.installs set status_name = 'On Hold', status_id = 4 where install_id = :o",
                 o=of_status(labelled, "Open"))  # fmt: skip
    plan = run_plan(labelled.context)[-1]
    assert plan.undecided == {}
    assert warned(labelled) == {}
    assert "Waiting" in [one.after for one in labelled.changes(plan)]


def test_no_install_is_voided_by_a_name_that_statuses_voided_does_not_know(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed.switched_on("both", QUICK)
    renamed(agreed, monkeypatch, catalogue.VOIDED, "Void")
    edited(agreed, of_status(agreed, "In progress"), "Void")
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    ((reason, rows),) = plan.undecided.items()
    assert "correct statuses.voided" in reason
    assert rows == 1
    # Once the name is right, it is known as one that voids; a company without one says so.
    agreed.switched_on("both", QUICK, ("voided: [Voided]", "voided: [Void]"))
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert plan.kept["Enerflo's may not be voided (void_in)"] == 1
    agreed.switched_on("both", QUICK, ("voided: [Voided]", "voided: []"))
    assert [one.after for one in agreed.changes(agreed.plan())] == ["Void"]


@pytest.mark.parametrize("needs", ["final", "all"])
def test_the_last_milestone_waits_while_no_status_completes_its_install(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, needs: str
) -> None:
    wanted = ("completed_needs: final", f"completed_needs: {needs}")
    agreed.switched_on("both", QUICK, wanted)
    renamed(agreed, monkeypatch, catalogue.COMPLETED, "Complete")
    agreed.carried()
    site = of_status(agreed, "In progress")
    agreed.sql(
        "update crm.milestones set completed_at = now() - interval '1 minute', updated_at = now()"
        " where enerflo_install_id = :s and completed_at is null",
        s=site,
    )
    final = {"enerflo_install_id": site, "milestone_id": FINAL}
    plan = agreed.plan()
    assert agreed.changes(plan, key=final, field="completed_at") == []
    assert agreed.changes(plan, table_name="installs") == []
    assert any("correct statuses.completed" in reason for reason in plan.undecided)
    # Nothing is lost: both are written once the name is right.
    agreed.switched_on("both", QUICK, wanted, ("completed: Completed", "completed: Complete"))
    plan = agreed.plan()
    assert len(agreed.changes(plan, key=final, field="completed_at")) == 1
    assert [one.after for one in agreed.changes(plan, table_name="installs")] == ["Complete"]
    agreed.carried()
    assert agreed.one("select status_name from enerflo.installs where install_id = :s", s=site) == "Complete"
