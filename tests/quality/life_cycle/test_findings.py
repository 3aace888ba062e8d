"""Each kind of finding: what it takes, what it says, and what is none."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.quality.conftest import NOW
from tests.quality.life_cycle.conftest import CHECKS, Histories, days


def test_a_step_that_was_completed_before_what_must_precede_it(histories: Histories) -> None:
    histories.completed(survey=50, design=40, permit=45, utility=30, build=20)
    finding = histories.one()
    assert (finding.install_id, finding.step, finding.milestone_id, finding.title) == (
        1,
        "permit",
        3,
        "Permit",
    )
    assert (finding.failing.check, str(finding.failing.severity)) == ("step_out_of_order", "warn")
    assert finding.failing.reason == "Out of order."
    assert finding.failing.expected == "not before design, 2026-01-21 12:00 UTC"
    assert finding.failing.found == "completed 2026-01-16 12:00 UTC"


def test_all_that_comes_too_late_is_named_in_one_finding(histories: Histories) -> None:
    histories.completed(survey=50, design=40, permit=20, utility=25, build=30)
    assert histories.one().failing.expected == (
        "not before permit, 2026-02-10 12:00 UTC and not before utility, 2026-02-05 12:00 UTC"
    )


@pytest.mark.parametrize(("hours", "found"), [(23, 0), (25, 1)])
def test_times_within_the_tolerance_have_no_order(histories: Histories, hours: int, found: int) -> None:
    histories.completed(survey=50)
    histories.milestone("Design", completed=days(50) - timedelta(hours=hours))
    histories.milestone("Permit", started=days(40), completed=days(40) - timedelta(hours=hours))
    assert len(histories.judged().findings) == 2 * found


def test_a_step_that_was_completed_without_what_must_precede_it(histories: Histories) -> None:
    histories.completed(survey=30, design=25, permit=None, utility=20, build=10)
    finding = histories.one()
    assert (finding.step, finding.failing.check) == ("build", "step_skipped")
    assert finding.failing.expected == "permit completed first"
    assert finding.failing.found == "completed 2026-02-20 12:00 UTC"


def test_what_may_be_skipped_is_looked_through(histories: Histories) -> None:
    histories.completed(survey=50, design=None, permit=40)
    assert histories.found() == set()
    histories.later(hours=1)
    histories.completed(survey=None, design=None, permit=40)
    assert histories.found() == {(1, "survey", "step_reopened")}
    histories.completed(2, survey=None, design=None, permit=40)
    histories.completed(3, survey=30, design=None, permit=40)
    assert histories.found() == {
        (1, "survey", "step_reopened"),
        (2, "permit", "step_skipped"),
        (3, "permit", "step_out_of_order"),
    }


def test_what_an_install_does_not_have_is_looked_through(histories: Histories) -> None:
    histories.completed(design=None, build=40)
    histories.completed(2, survey=30, build=40)
    histories.completed(3, build=40)
    assert histories.found() == {(2, "build", "step_out_of_order")}


def test_a_milestone_of_another_title_is_not_judged(histories: Histories) -> None:
    histories.install()
    histories.milestone("Roof", completed=days(9), milestone_id=70)
    histories.milestone("Party", started=days(900), milestone_id=71)
    histories.install(2)
    histories.milestone("Roof", 2, completed=days(9), milestone_id=70)
    histories.milestone("  pERMIT ", 2, completed=days(900), started=days(1), milestone_id=72)
    report = histories.judged()
    assert [(one.install_id, one.milestone_id) for one in report.findings] == [(2, 72)]
    assert (report.installs, report.not_covered, report.looked_at) == (1, 1, 2)
    assert [(one.title, one.installs) for one in report.not_judged] == [("Roof", 2), ("Party", 1)]


def test_a_completed_step_that_is_open_again(histories: Histories) -> None:
    histories.completed(survey=25, permit=20)
    assert histories.found() == set()
    histories.later(hours=1)
    histories.milestone("Permit")
    finding = histories.one()
    assert (finding.step, finding.failing.check, finding.milestone_id) == ("permit", "step_reopened", 3)
    assert (finding.failing.expected, finding.failing.found) == (
        "completed, as on 2026-02-10 12:00 UTC",
        "open",
    )
    histories.later(days=1)
    histories.milestone("Permit", completed=days(0))
    assert histories.judged().findings == []


def test_a_step_that_may_be_opened_again_was_completed_for_what_comes_after(histories: Histories) -> None:
    histories.completed(survey=50, design=45, permit=42, utility=40, build=30)
    histories.judged()
    histories.later(hours=1)
    histories.milestone("Utility")
    assert histories.found() == set()
    histories.later(days=1)
    histories.milestone("Utility", completed=days(0))
    assert histories.found() == set()
    histories.completed(2, survey=50, design=45, permit=42, utility=10, build=30)
    assert histories.found() == {(2, "build", "step_out_of_order")}


def test_a_step_that_was_completed_before_its_start(histories: Histories) -> None:
    histories.install()
    histories.milestone("Permit", started=days(10), completed=days(12))
    finding = histories.one()
    assert finding.failing.check == "completed_before_started"
    assert finding.failing.expected == "not before the start, 2026-02-20 12:00 UTC"
    assert finding.failing.found == "completed 2026-02-18 12:00 UTC"


def test_an_open_step_over_its_limit(histories: Histories) -> None:
    histories.completed(survey=50)
    histories.milestone("Permit", started=days(31))
    histories.milestone("Build", started=days(19))
    finding = histories.one()
    assert (finding.step, finding.failing.check) == ("permit", "step_overdue")
    assert finding.failing.expected == "completed within 30 days, by 2026-03-01 12:00 UTC"
    assert finding.failing.found == "open since 2026-01-30 12:00 UTC"


def test_without_a_start_the_time_counts_from_what_comes_before(histories: Histories) -> None:
    histories.completed(survey=50, design=40, permit=21, utility=35, build=None)
    assert histories.one().failing.found == "open since 2026-02-09 12:00 UTC"
    histories.later(hours=1)
    # What comes before is not completed, though it may be skipped: nobody knows yet whether it will be.
    histories.completed(2, survey=50, design=None, permit=None)
    histories.completed(3, survey=50, design=40, permit=21, utility=None, build=None)
    histories.completed(4, survey=50, permit=None)
    assert histories.found() == {
        (1, "build", "step_overdue"),
        (2, "design", "step_overdue"),
        (4, "permit", "step_overdue"),
    }


def test_a_first_step_that_never_started_is_not_counted(histories: Histories) -> None:
    histories.text = histories.text.replace("{titles: [Survey]}", "{titles: [Survey], within_days: 0}")
    histories.completed(survey=None)
    assert histories.found() == set()
    histories.later(hours=1)
    histories.milestone("Survey", started=days(0))
    assert histories.found() == {(1, "survey", "step_overdue")}


def test_a_completed_step_that_took_too_long(histories: Histories) -> None:
    histories.install()
    histories.milestone("Permit", started=days(60), completed=days(20))
    finding = histories.one()
    assert (finding.step, finding.failing.check) == ("permit", "step_completed_late")
    assert finding.failing.expected == "completed within 30 days, by 2026-01-31 12:00 UTC"
    assert finding.failing.found == "completed 2026-02-10 12:00 UTC"


@pytest.mark.parametrize(
    ("status", "left"),
    [
        ("in PROGRESS", {"step_overdue", "step_completed_late", "step_out_of_order"}),
        (" on hold", {"step_out_of_order"}),
        ("Completed", {"step_out_of_order"}),
        ("Voided", set()),
    ],
)
def test_what_is_judged_of_an_install_depends_on_its_status(
    histories: Histories, status: str, left: set[str]
) -> None:
    histories.install(status=status)
    histories.milestone("Survey", completed=days(80))
    histories.milestone("Permit", started=days(99), completed=days(30))
    histories.milestone("Build", started=days(60))
    histories.milestone("Utility", completed=days(90))
    assert {check for _, _, check in histories.found()} == left


def test_a_deleted_install_has_no_findings_and_is_forgotten(histories: Histories) -> None:
    histories.completed(survey=50, permit=60)
    assert len(histories.judged().findings) == 1
    histories.later(hours=1)
    histories.install(deleted_at=histories.clock.now())
    for title in ("Survey", "Permit"):
        histories.remove(title)
    report = histories.judged()
    assert (report.findings, report.gone, report.installs) == ([], 1, 0)
    assert histories.sql("select * from sync.life_cycle_installs") == []
    histories.later(hours=1)
    assert histories.judged().looked_at == 0


def test_several_milestones_of_one_step_must_all_be_completed(histories: Histories) -> None:
    histories.completed(survey=50, design=45)
    histories.milestone("Re-design", started=days(60))
    finding = histories.one()
    assert (finding.step, finding.milestone_id) == ("design", 6)
    histories.later(hours=1)
    histories.milestone("Re-design", started=days(60), completed=days(20))
    histories.milestone("Permit", completed=days(30))
    assert histories.found() == {(1, "permit", "step_out_of_order"), (1, "design", "step_completed_late")}


def test_only_the_declared_checks_are_made(histories: Histories) -> None:
    histories.completed(survey=50, permit=60)
    histories.milestone("Build", started=days(90))
    assert {check for _, _, check in histories.found()} == {"step_out_of_order", "step_overdue"}
    histories.text = histories.text.replace(CHECKS, "checks:\n" + CHECKS.splitlines()[3] + "\n")
    histories.later(hours=1)
    report = histories.judged()
    assert (report.findings, report.gone) == ([], 2)
    [row] = histories.sql("select next_due_at from sync.life_cycle_installs")
    assert row["next_due_at"] is None


def test_accounts_are_judged_each_for_itself(histories: Histories) -> None:
    histories.completed(survey=50, permit=60)
    histories.account = "other"
    assert histories.checked().life_cycle is None
    histories.completed(survey=60, permit=50)
    assert histories.judged().findings == []
    histories.account = "default"
    assert len(histories.judged().findings) == 1
    assert histories.clock.now() == NOW
