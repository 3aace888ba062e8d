"""Exchanges 4.1 and 3.1: status and milestones."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from enerflo_sandbox.spelling import Spelling
from enerflo_sandbox.truth import InstallRow, MilestoneRow
from enerflo_sync.apply.enerflo.push_run import PushOutcome, PushRun
from tests.writes.push.conftest import NewOutbox, Outbox


def test_4_1_a_status_is_written_by_the_companys_own_id_and_read_back(outbox: Outbox) -> None:
    install = outbox.install()
    outbox.status(install, " on hold ")
    report = outbox.push()
    assert (report.applied, report.total) == (1, 1)
    after = outbox.world.truth.install(install.install_id)
    assert after is not None
    assert after.status_name == "On Hold"
    (one,) = outbox.received()
    assert (one.method, one.path, one.body) == (
        "PUT",
        f"/api/v3/installs/{install.install_id}",
        {"status_id": 4},
    )
    assert outbox.ledger() == [
        ("installs", "status", install.status_name, " on hold ", "applied", "Jane Doe", "push:run-1", "run-1")
    ]
    seen = outbox.rows(
        "select status_name, observed_by from enerflo.installs where install_id = :i", i=install.install_id
    )
    assert seen == [("On Hold", "push")]
    outbox.push()
    assert len(outbox.received()) == 1


def test_4_1_what_was_written_is_agreed_on_unless_another_field_decided_it(outbox: Outbox) -> None:
    first, second = outbox.install(0), outbox.install(1)
    outbox.status(first, "On Hold")
    outbox.status(second, "Completed", rule="last_milestone")
    assert outbox.push().applied == 2
    agreed = outbox.rows("select key, field, value, agreed_by from sync.agreed")
    assert agreed == [({"enerflo_install_id": first.install_id}, "status", "On Hold", "push")]


def test_3_1_dates_of_one_milestone_go_in_one_request(outbox: Outbox) -> None:
    install = outbox.install()
    row = outbox.milestones(install.install_id)[2]
    outbox.milestone(row, "due_at", "2026-03-05T10:00:00.700+02:00")
    outbox.milestone(row, "completed_at", "2026-03-04T09:30:00Z")
    outbox.milestone(outbox.milestones(install.install_id)[0], "due_at", None)
    outbox.status(install, "On Hold")
    assert outbox.push().applied == 4
    after = outbox.milestones(install.install_id)
    assert after[2].due_at == datetime(2026, 3, 5, 8, tzinfo=UTC)
    assert after[2].completed_at == datetime(2026, 3, 4, 9, 30, tzinfo=UTC)
    assert after[0].due_at is None
    bodies = [one.body for one in outbox.received()]
    assert {"due_at": "2026-03-05T08:00:00Z", "completed_at": "2026-03-04T09:30:00Z"} in bodies
    assert outbox.asked("GET", f"/api/v3/installs/{install.install_id}") == 2


def test_a_value_that_moved_since_the_plan_is_left_alone(outbox: Outbox) -> None:
    install, row = outbox.install(), outbox.milestones(outbox.install().install_id)[1]
    outbox.status(install, "On Hold")
    outbox.milestone(row, "due_at", "2026-03-05T10:00:00Z")
    outbox.world.set_status(install.install_id, 323)
    assert outbox.push().moved == 1
    assert outbox.states() == ["moved", "applied"]
    assert (
        outbox.one("select status_name from enerflo.installs where install_id = :i", i=install.install_id)
        == "Pending KCA"
    )
    assert [one.path for one in outbox.received()] == [
        f"/api/v3/installs/{install.install_id}/milestones/{row.milestone_id}"
    ]


def test_a_value_that_is_there_already_is_not_written(outbox: Outbox) -> None:
    install = outbox.install()
    outbox.status(install, install.status_name.upper(), before="Anything")
    assert outbox.push().applied == 1
    assert outbox.reasons() == ["was already so"]
    assert outbox.received() == []


def test_a_status_that_the_company_does_not_have_is_refused_with_those_it_has(outbox: Outbox) -> None:
    outbox.status(outbox.install(), "Done")
    assert outbox.push().refused == 1
    (reason,) = outbox.reasons()
    assert reason is not None
    assert "Cancelled, Completed, In progress, On Hold" in reason
    assert "Done" not in reason


def another_status(outbox: Outbox, status_id: int, name: str) -> None:
    outbox.sql(
        "insert into enerflo.install_statuses (account, status_id, name, observed_at, observed_by)"
        " values ('default', :id, :name, now(), 'poll')",
        id=status_id,
        name=name,
    )


def test_4_1_of_statuses_that_differ_in_case_the_very_name_counts(outbox: Outbox) -> None:
    install = next(one for one in outbox.world.truth.installs() if one.status_name == "In progress")
    another_status(outbox, 1, "ON HOLD")
    outbox.status(install, "On Hold")
    assert outbox.push().applied == 1
    assert [one.body for one in outbox.received()] == [{"status_id": 4}]


@pytest.mark.parametrize("asked", ["On Hold", "on hold"])
def test_4_1_where_several_statuses_have_the_name_none_is_written(outbox: Outbox, asked: str) -> None:
    another_status(outbox, 1, "ON HOLD" if asked == "on hold" else asked)
    outbox.status(outbox.install(), asked)
    assert outbox.push().refused == 1
    (reason,) = outbox.reasons()
    assert reason is not None
    assert "several statuses of this name (1, 4)" in reason
    assert outbox.received() == []


@pytest.mark.parametrize(
    ("table", "field", "op"),
    [
        ("installs", "panel_count", "update"),
        ("installs", "no_such_column", "update"),
        ("installs", None, "delete"),
        ("milestones", "title", "update"),
        ("notes", "body", "update"),
        ("change_orders", "status", "insert"),
    ],
)
def test_what_enerflo_has_no_call_for_is_refused(
    outbox: Outbox, table: str, field: str | None, op: str
) -> None:
    known = {"install_id": outbox.install().install_id, "milestone_id": 3902}
    outbox.change(table, {"enerflo_install_id": known["install_id"]}, field, "x", enerflo_key=known, op=op)
    assert outbox.push().refused == 1
    assert (outbox.reasons()[0] or "").startswith("Enerflo has no call that")


@pytest.mark.parametrize("status", [403, 404, 422, 409])
def test_one_refused_write_parks_its_changes_and_the_others_go_on(outbox: Outbox, status: int) -> None:
    first, second = outbox.install(0), outbox.install(1)
    row = outbox.milestones(first.install_id)[0]
    outbox.status(first, "On Hold")
    outbox.milestone(row, "due_at", "2026-03-05T10:00:00Z")
    outbox.status(second, "On Hold")
    outbox.answering("PUT", f"/api/v3/installs/{first.install_id}", status)
    assert outbox.push().as_dict() | {"reasons": 0} == {
        **{"applied": 2, "moved": 0, "parked": 1, "refused": 0, "waiting": 0, "stopped": None, "reasons": 0}
    }
    assert outbox.states() == ["parked", "applied", "applied"]
    assert str(status) in (outbox.reasons()[0] or "")


def test_an_install_and_a_milestone_that_are_not_there_are_parked(outbox: Outbox) -> None:
    gone, install = outbox.install(0), outbox.install(1)
    outbox.status(gone, "On Hold")
    row = outbox.milestones(install.install_id)[0]._replace(milestone_id=777)
    outbox.sql(
        "insert into crm.milestones (enerflo_install_id, milestone_id, updated_at) values (:i, 777, now())",
        i=install.install_id,
    )
    outbox.milestone(row, "due_at", "2026-03-05T10:00:00Z")
    outbox.world.delete_install(gone.install_id)
    assert outbox.push().parked == 2
    assert [reason[:9] for reason in outbox.reasons() if reason] == ["not there"] * 2
    deleted = outbox.rows("select deleted_at from enerflo.installs where install_id = :i", i=gone.install_id)
    assert deleted == [(None,)]


def test_a_record_that_cannot_be_read_is_parked(outbox: Outbox) -> None:
    from enerflo_sandbox.bad_records import HOPELESS

    bad, good = outbox.install(0), outbox.install(1)
    outbox.status(bad, "On Hold")
    outbox.status(good, "On Hold")
    outbox.world.plant_bad(bad.install_id, HOPELESS[0])
    outbox.push()
    assert outbox.states() == ["parked", "applied"]
    assert "cannot be read" in (outbox.reasons()[0] or "")


def test_a_value_that_is_no_moment_is_parked(outbox: Outbox) -> None:
    row = outbox.milestones(outbox.install().install_id)[0]
    outbox.milestone(row, "due_at", "next week")
    assert outbox.push().parked == 1
    assert "next week" not in (outbox.reasons()[0] or "")


def test_accepted_but_not_kept_names_the_option_to_check(new_outbox: NewOutbox) -> None:
    outbox = new_outbox(writes={"milestone": {"due_at": "due_date"}})
    row = outbox.milestones(outbox.install().install_id)[0]
    outbox.milestone(row, "due_at", "2026-03-05T10:00:00Z")
    outbox.milestone(row, "completed_at", "2026-03-05T10:00:00Z")
    outbox.push()
    assert outbox.states() == ["parked", "applied"]
    assert "did not keep it" in (outbox.reasons()[0] or "")
    assert len(outbox.received()) == 1


@pytest.mark.parametrize("fault", ["answer_lost", "cut_body", "html_page", "success_false", "slow"])
def test_a_lost_answer_is_settled_by_reading(outbox: Outbox, fault: str) -> None:
    install = outbox.install()
    outbox.status(install, "On Hold")
    outbox.api.faults.slow_seconds = 100
    outbox.fault(fault, f"/api/v3/installs/{install.install_id}", method="PUT")
    assert outbox.push().applied == 1
    assert len(outbox.received()) == 1


def test_a_day_in_a_zone_that_nobody_declared_is_ours_also_where_the_answer_was_lost(outbox: Outbox) -> None:
    install = outbox.install()
    outbox.api.spelling = Spelling(days=True, zone="America/Denver")
    row = outbox.milestones(install.install_id)[-1]
    outbox.milestone(row, "due_at", "2026-05-20T00:50:03Z")
    path = f"/api/v3/installs/{install.install_id}/milestones/{row.milestone_id}"
    outbox.fault("answer_lost", path, method="PUT")
    outbox.push()
    assert outbox.states() == ["applied"]
    assert len(outbox.received()) == 1


@pytest.mark.parametrize("fault", ["504", "500", "dropped"])
def test_a_write_that_did_not_arrive_is_sent_again_three_times_at_most(outbox: Outbox, fault: str) -> None:
    install = outbox.install()
    outbox.status(install, "On Hold")
    path = f"/api/v3/installs/{install.install_id}"
    outbox.fault(fault, path, 1, 3, "PUT")
    report = outbox.push()
    assert (report.waiting, report.applied) == (1, 0)
    assert outbox.states() == ["sent"]
    assert outbox.asked("PUT", path) == 3
    assert outbox.push().applied == 1
    assert len(outbox.received()) == 1


@pytest.mark.parametrize(
    ("options", "after", "sent"),
    [
        ({"precision": "microsecond"}, "2026-03-05T10:00:00.700000Z", "2026-03-05T10:00:00Z"),
        ({"time_zone": "America/Denver"}, "2026-03-05T10:00:00", "2026-03-05T17:00:00Z"),
        ({"precision": "day"}, "2026-03-05", "2026-03-05T00:00:00Z"),
    ],
)
def test_3_1_a_moment_counts_as_it_can_be_sent(
    new_outbox: NewOutbox, options: dict[str, str], after: str, sent: str
) -> None:
    outbox = new_outbox(milestones=options)
    outbox.milestone(outbox.milestones(outbox.install().install_id)[0], "due_at", after)
    assert outbox.push().applied == 1
    assert [one.body for one in outbox.received()] == [{"due_at": sent}]


@pytest.mark.parametrize("after", ["0026-03-05T10:00:00Z", "1989-12-31T23:59:59Z", "2101-01-01"])
def test_3_1_a_moment_with_which_no_record_can_be_read_is_parked_and_not_sent(
    outbox: Outbox, after: str
) -> None:
    outbox.milestone(outbox.milestones(outbox.install().install_id)[0], "due_at", after)
    assert outbox.push().parked == 1
    assert outbox.reasons() == ["a moment lies outside the years 1990 to 2100."]
    assert outbox.received() == []


def test_3_1_within_the_declared_precision_it_is_so_already(new_outbox: NewOutbox) -> None:
    outbox = new_outbox(milestones={"precision": "day"})
    install = outbox.install().install_id
    outbox.world.set_milestone(install, 3902, {"due": datetime(2026, 3, 5, 8, tzinfo=UTC)})
    outbox.milestone(
        outbox.milestones(install)[0], "due_at", "2026-03-05T23:00:00Z", before="2026-03-04T00:00:00Z"
    )
    assert outbox.push().applied == 1
    assert outbox.received() == []


@pytest.mark.parametrize(
    ("last", "how"), [(True, "moved"), (True, "refused"), (False, "refused"), (True, "made")]
)
def test_4_1_the_install_is_completed_only_with_its_last_milestone(
    outbox: Outbox, last: bool, how: str
) -> None:
    install = next(one for one in outbox.world.truth.installs() if one.status_name == "In progress")
    outbox.status(install, "Completed", rule="last_milestone")
    rows = outbox.milestones(install.install_id)
    for row in (rows[0], rows[-1]):
        outbox.milestone(row, "completed_at", "2026-03-01T10:00:00Z")
    row = rows[-1 if last else 0]
    path = f"/api/v3/installs/{install.install_id}/milestones/{row.milestone_id}"
    if how == "moved":
        moment = datetime(2026, 2, 1, tzinfo=UTC)
        outbox.world.set_milestone(install.install_id, row.milestone_id, {"completed": moment})
    elif how == "refused":
        outbox.answering("PUT", path, 422)
    outbox.push()
    completed = how == "made" or not last
    assert outbox.states()[0] == ("applied" if completed else "moved" if how == "moved" else "parked")
    writes = [one.path for one in outbox.received()]
    assert (f"/api/v3/installs/{install.install_id}" in writes) == completed
    assert not completed or writes[-1] == f"/api/v3/installs/{install.install_id}"


def completing(outbox: Outbox, moment: str = "2026-03-01T10:00:00Z") -> tuple[InstallRow, MilestoneRow]:
    """Plan an install's last milestone and its completion; return both."""
    install = next(one for one in outbox.world.truth.installs() if one.status_name == "In progress")
    outbox.status(install, "Completed", rule="last_milestone")
    last = outbox.milestones(install.install_id)[-1]
    outbox.milestone(last, "completed_at", moment)
    return install, last


def test_4_1_a_last_milestone_that_cannot_be_sent_completes_no_install(outbox: Outbox) -> None:
    completing(outbox, "infinity")
    assert outbox.push().parked == 2
    assert outbox.received() == []


def test_4_1_a_last_milestone_that_is_gone_at_enerflo_completes_no_install(outbox: Outbox) -> None:
    install, last = completing(outbox)
    gone = "jsonb_set({}, '{{milestone_id}}', '999')"
    key, record = gone.format("key"), gone.format("enerflo_key")
    outbox.sql(f"update sync.plan_changes set key = {key}, enerflo_key = {record} where position = 2")
    outbox.sql(
        "update crm.milestones set milestone_id = 999 where enerflo_install_id = :i and milestone_id = :m",
        i=install.install_id,
        m=last.milestone_id,
    )
    assert outbox.push().parked == 2
    assert outbox.received() == []


@pytest.mark.parametrize("answer", [b'{"success": false}', b'{"success": true}'])
def test_4_1_a_last_milestone_that_enerflo_does_not_keep_completes_no_install(
    outbox: Outbox, answer: bytes
) -> None:
    install, last = completing(outbox)
    path = f"/api/v3/installs/{install.install_id}/milestones/{last.milestone_id}"
    outbox.answering("PUT", path, 200, answer)
    assert outbox.push().parked == 2
    assert outbox.received() == []


def test_4_1_a_push_that_is_killed_after_the_milestone_was_refused_completes_no_install_later(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, last = completing(outbox)
    path = f"/api/v3/installs/{install.install_id}/milestones/{last.milestone_id}"
    outbox.answering("PUT", path, 422)
    finish = PushRun.finish

    def killed(run: PushRun, verdicts: Iterable[PushOutcome]) -> None:
        found = list(verdicts)
        finish(run, found)
        if any(verdict.changes for verdict in found):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(PushRun, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            outbox.push()
    assert outbox.states() == ["planned", "parked"]
    assert outbox.push().parked == 1
    assert outbox.received() == []


def test_4_1_while_the_last_milestone_is_in_doubt_the_install_is_not_completed(outbox: Outbox) -> None:
    install = next(one for one in outbox.world.truth.installs() if one.status_name == "In progress")
    outbox.status(install, "Completed", rule="last_milestone")
    row = outbox.milestones(install.install_id)[-1]
    outbox.milestone(row, "completed_at", "2026-03-01T10:00:00Z")
    path = f"/api/v3/installs/{install.install_id}/milestones/{row.milestone_id}"
    outbox.fault("504", path, 1, 3, "PUT")
    assert outbox.push().waiting == 2
    assert outbox.states() == ["planned", "sent"]
    assert outbox.push().applied == 2
    assert [one.path for one in outbox.received()] == [path, f"/api/v3/installs/{install.install_id}"]
