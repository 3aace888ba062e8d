"""Where both sides moved, the side stands that changed later: by its own time, not by when we saw it or wrote."""

from __future__ import annotations

import time
from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan import make as planning
from tests.writes.conftest import Desk
from tests.writes.kept import brought


@pytest.fixture
def keyed(desk: Desk) -> Desk:
    """The same, where the CRM's installs have a unique key: when the content of a row was seen is known."""
    brought(desk, _with_key)
    return desk


def _with_key(desk: Desk) -> None:
    desk.sql("alter table crm.installs add primary key (enerflo_install_id)")
    desk.switched_on("both")
    desk.carried()


def crm_status(desk: Desk, install: int, value: str, at: str = "now()") -> None:
    desk.sql(
        f"update crm.installs set status = :v, updated_at = {at} where enerflo_install_id = :i",
        v=value,
        i=install,
    )


def mirror_status(desk: Desk, install: int, value: str, at: str) -> None:
    """Let the mirror say that the status was changed at a time, as of a read made now."""
    desk.sql(
        f"update enerflo.installs set status_name = :v, updated_at = {at}, observed_at = now()"
        " where install_id = :i",
        v=value,
        i=install,
    )


def written_beside(desk: Desk, install: int, panel: str) -> None:
    """Let a plan of ours write another column of an install's row, and nothing else."""
    desk.sql(
        "update enerflo.installs set panel_type = :panel, observed_at = now() where install_id = :i",
        panel=panel,
        i=install,
    )
    plan = desk.plan()
    assert [change.field for change in desk.changes(plan)] == ["panel_type"]
    assert run_apply(desk.context, plan.plan_hash, approved_by="Pat").applied == 1


def direction(desk: Desk, field: str = "status") -> list[str]:
    return [change.direction for change in desk.changes(desk.plan(), field=field)]


def a_milestone(desk: Desk) -> tuple[int, int]:
    install = desk.a_site().install_id
    return install, desk.one(
        "select min(milestone_id) from crm.milestones where enerflo_install_id = :i and due_at is not null",
        i=install,
    )


@pytest.mark.parametrize("later", ["the CRM", "Enerflo"])
def test_what_both_seemed_to_agree_on_while_enerflo_had_moved_on_unseen(agreed: Desk, later: str) -> None:
    """A person sets the CRM to what the mirror shows, and Enerflo says something else by then."""
    install = agreed.a_site().install_id
    agreed.world.set_status(install, 4)
    run_poll(agreed.context)

    def moves_on() -> None:
        # Enerflo tells whole seconds.
        time.sleep(1.1)
        agreed.world.set_status(install, 1304)
        time.sleep(1.1)

    if later == "the CRM":
        moves_on()
    crm_status(agreed, install, "On Hold")
    assert direction(agreed) == []
    if later == "Enerflo":
        moves_on()
    run_poll(agreed.context)
    plan = agreed.plan()
    written = [change.direction for change in agreed.changes(plan, field="status")]
    asked = [one.reason for one in agreed.undecided(plan) if one.field == "status"]
    if later == "Enerflo":
        assert (written, asked) == (["to_crm"], [])
    else:
        assert written == []
        assert len(asked) == 1
        assert "both seemed to agree when Enerflo had changed it again unseen" in str(asked[0])


@pytest.mark.parametrize(("enerflo", "crm", "winner"), [("3", "2", "to_enerflo"), ("2", "3", "to_crm")])
def test_a_milestone_changed_when_its_install_says_and_not_when_we_saw_it(
    agreed: Desk, enerflo: str, crm: str, winner: str
) -> None:
    install, milestone = a_milestone(agreed)
    agreed.sql(
        "update enerflo.milestones set due_at = '2031-01-01', observed_at = now()"
        " where install_id = :i and milestone_id = :m",
        i=install,
        m=milestone,
    )
    agreed.sql(
        f"update enerflo.installs set updated_at = now() - interval '{enerflo} hours' where install_id = :i",
        i=install,
    )
    agreed.sql(
        f"update crm.milestones set due_at = '2032-01-01', updated_at = now() - interval '{crm} hours'"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=install,
        m=milestone,
    )
    assert direction(agreed, "due_at") == [winner]


def test_a_time_of_enerflo_after_we_saw_it_counts_no_later_than_that(agreed: Desk) -> None:
    install = agreed.a_site().install_id
    mirror_status(agreed, install, "Completed", "now() + interval '1 day'")
    agreed.sql(
        "update enerflo.installs set observed_at = now() - interval '4 minutes' where install_id = :i",
        i=install,
    )
    crm_status(agreed, install, "On Hold", "now() - interval '2 minutes'")
    assert direction(agreed) == ["to_enerflo"]


@pytest.mark.parametrize("writes", [1, 2])
def test_our_write_of_another_field_does_not_make_the_crm_the_later_side(agreed: Desk, writes: int) -> None:
    install = agreed.a_site().install_id
    for number in range(writes):
        agreed.sql(
            "update crm.installs set panel_count = :n, updated_at = now() - interval '3 hours'"
            " where enerflo_install_id = :i"
            if number == 0
            else "update enerflo.installs set panel_count = :n, observed_at = now() where install_id = :i",
            n=90 + number,
            i=install,
        )
        plan = agreed.plan()
        assert [change.field for change in agreed.changes(plan)] == ["panel_count"]
        if number == 0:
            # What people do between the plan and its application: Enerflo's change is the later one.
            crm_status(agreed, install, "On Hold", "now() - interval '2 hours'")
        if number == writes - 1:
            mirror_status(agreed, install, "Completed", "now() - interval '1 hour'")
        elif number == 0:
            # Not to be planned yet.
            agreed.sql(
                "update sync.agreed set crm_value = '\"On Hold\"', agreed_by = 'undo' where field = 'status'"
                " and key ->> 'enerflo_install_id' = :i",
                i=str(install),
            )
        assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 1
    if writes > 1:
        agreed.sql(
            "update sync.agreed set crm_value = null, agreed_by = 'comparison',"
            " crm_time = now() - interval '3 hours'"
            " where field = 'status' and key ->> 'enerflo_install_id' = :i",
            i=str(install),
        )
    assert direction(agreed) == ["to_crm"]


def test_an_edit_after_our_write_is_the_later_one_again(agreed: Desk) -> None:
    install = agreed.a_site().install_id
    agreed.sql(
        "update crm.installs set panel_count = 99, updated_at = now() where enerflo_install_id = :i",
        i=install,
    )
    agreed.carried()
    mirror_status(agreed, install, "Completed", "now() - interval '1 hour'")
    crm_status(agreed, install, "On Hold")
    assert direction(agreed) == ["to_enerflo"]


def test_what_we_send_does_not_make_enerflo_the_later_side(agreed: Desk) -> None:
    install, milestone = a_milestone(agreed)
    agreed.sql(
        "update crm.milestones set due_at = '2032-01-01', updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=install,
        m=milestone,
    )
    plan = agreed.plan()
    agreed.world.set_status(install, 4)
    # Enerflo says its times in whole seconds.
    time.sleep(1.1)
    crm_status(agreed, install, "Cancelled")
    time.sleep(1.1)
    seen = agreed.one("select updated_at from enerflo.installs where install_id = :i", i=install)
    assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 1
    assert agreed.one("select updated_at from enerflo.installs where install_id = :i", i=install) > seen
    assert direction(agreed) == ["to_enerflo"]


def test_a_change_at_enerflo_after_what_we_sent_is_the_later_one(agreed: Desk) -> None:
    install, milestone = a_milestone(agreed)
    agreed.sql(
        "update crm.milestones set due_at = '2032-01-01', updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=install,
        m=milestone,
    )
    agreed.carried()
    # Enerflo says its times in whole seconds.
    crm_status(agreed, install, "Cancelled", "now() - interval '5 seconds'")
    agreed.world.set_status(install, 4)
    run_poll(agreed.context)
    assert direction(agreed) == ["to_crm"]


@pytest.mark.parametrize("account", ["agreed", "keyed"])
def test_a_time_of_the_crm_after_we_saw_it_counts_no_later_than_that(
    request: pytest.FixtureRequest, account: str
) -> None:
    agreed: Desk = request.getfixturevalue(account)
    install = agreed.a_site().install_id
    crm_status(agreed, install, "On Hold", "now() + interval '1 day'")
    assert direction(agreed) == ["to_enerflo"]
    time.sleep(1.1)
    mirror_status(agreed, install, "Completed", "date_trunc('second', now())")
    # Where the rows have no unique key nobody knows since when a row is as it is, and a person is asked.
    assert direction(agreed) == (["to_crm"] if account == "keyed" else [])


@pytest.mark.parametrize("account", ["agreed", "keyed"])
def test_a_row_that_changed_since_it_was_seen_was_not_seen_yet(
    request: pytest.FixtureRequest, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed: Desk = request.getfixturevalue(account)
    install = agreed.a_site().install_id
    agreed.plan()
    time.sleep(1.1)
    mirror_status(agreed, install, "Completed", "date_trunc('second', now())")
    time.sleep(1.1)
    # Between the plan's look at the rows and its decision.
    look = planning.observe

    def too_early(*args: Any) -> Any:
        found = look(*args)
        crm_status(agreed, install, "On Hold")
        return found

    monkeypatch.setattr(planning, "observe", too_early)
    assert direction(agreed) == ["to_enerflo"]


def test_our_write_over_a_time_of_the_future_does_not_make_that_a_later_one(agreed: Desk) -> None:
    install = agreed.a_site().install_id
    agreed.sql("update crm.installs set panel_count = 77 where enerflo_install_id = :i", i=install)
    plan = agreed.plan()
    crm_status(agreed, install, "On Hold", "now() + interval '1 day'")
    assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 1
    time.sleep(1.1)
    mirror_status(agreed, install, "Completed", "date_trunc('second', now())")
    assert direction(agreed) == ["to_crm"]


# What the CRM's column says, and Enerflo's time: a day of Denver, and the hour that comes twice there.
_UNSURE = [
    ("date", "2025-06-03", "2025-06-03 15:00+00", None),
    ("date", "2025-06-03", "2025-06-03 06:00+00", None),
    ("date", "2025-06-03", "2025-06-04 05:59:59+00", None),
    ("date", "2025-06-03", "2025-06-03 05:59:59+00", "to_enerflo"),
    ("date", "2025-06-03", "2025-06-04 06:00+00", "to_crm"),
    ("timestamp", "2025-11-02 01:50", "2025-11-02 08:20+00", None),
    ("timestamp", "2025-11-02 01:50", "2025-11-02 07:50+00", None),
    ("timestamp", "2025-11-02 01:50", "2025-11-02 07:49+00", "to_enerflo"),
    ("timestamp", "2025-11-02 01:50", "2025-11-02 08:50+00", "to_crm"),
    ("timestamp", "2025-11-02 02:10", "2025-11-02 09:00+00", "to_enerflo"),
    ("timestamptz", "2025-11-02 08:50+00", "2025-11-02 08:20+00", "to_enerflo"),
]


def edited_in_denver(desk: Desk, kind: str, crm: str, enerflo: str) -> int:
    """Let both sides change a status at these times; return the install.

    :param kind: type of the column with the CRM's time, which is Denver's.
    """
    desk.sql(f"alter table crm.installs alter updated_at type {kind}")
    table = "    crm_table: crm.installs\n"
    desk.switched_on("both", (table, f"{table}    time_zone: America/Denver\n"))
    install = desk.a_site().install_id
    crm_status(desk, install, "On Hold", f"'{crm}'")
    mirror_status(desk, install, "Completed", f"timestamptz '{enerflo}'")
    return install


@pytest.mark.parametrize(("kind", "crm", "enerflo", "winner"), _UNSURE)
def test_where_the_crms_time_does_not_tell_who_was_later_a_person_is_asked(
    agreed: Desk, kind: str, crm: str, enerflo: str, winner: str | None
) -> None:
    edited_in_denver(agreed, kind, crm, enerflo)
    plan = agreed.plan()
    written = [change.direction for change in agreed.changes(plan, field="status")]
    asked = [one.reason for one in agreed.undecided(plan) if one.field == "status"]
    assert written == ([] if winner is None else [winner])
    assert len(asked) == (1 if winner is None else 0)
    if winner is None:
        assert "does not tell whether the CRM or Enerflo changed it later" in str(asked[0])


@pytest.mark.parametrize("case", [case for case in _UNSURE if case[3] is None])
def test_nor_does_the_time_of_our_own_write_of_another_column_tell(
    agreed: Desk, case: tuple[str, str, str, None]
) -> None:
    kind, crm, enerflo, _ = case
    install = edited_in_denver(agreed, kind, crm, enerflo)
    written_beside(agreed, install, "Silfab")
    assert direction(agreed) == []


@pytest.mark.parametrize("base", ["agreed on", "never agreed on"])
def test_a_row_that_is_dated_in_the_future_is_no_older_one_than_enerflos_record(
    agreed: Desk, base: str
) -> None:
    """As one whose local time is read as that of another zone."""
    install = agreed.a_site().install_id
    if base == "never agreed on":
        agreed.sql("delete from sync.agreed where table_name = 'installs' and field = 'status'")
    mirror_status(agreed, install, "Completed", "now() - interval '1 hour'")
    crm_status(agreed, install, "On Hold", "now() + interval '6 hours'")
    plan = agreed.plan()
    assert agreed.changes(plan, field="status") == []
    (asked,) = [one for one in agreed.undecided(plan) if one.field == "status"]
    assert "one in the future" in str(asked.reason)
    assert agreed.crm("installs", enerflo_install_id=install)["status"] == "On Hold"
