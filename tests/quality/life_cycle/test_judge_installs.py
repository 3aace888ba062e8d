"""Which installs are judged again, and that it comes to what judging all comes to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enerflo_sync.quality.life_cycle import histories as module
from tests.quality.conftest import NOW
from tests.quality.life_cycle.conftest import IDS, Histories, days


def test_an_account_without_milestones_costs_nothing(histories: Histories) -> None:
    histories.install()
    report = histories.checked()
    assert report.life_cycle is None
    assert histories.sql("select * from sync.life_cycle_runs") == []
    assert histories.sql("select * from sync.life_cycle_installs") == []


def test_a_history_is_judged_once_and_again_when_it_changes(histories: Histories) -> None:
    histories.completed(survey=5)
    histories.completed(2, survey=5)
    assert histories.judged().looked_at == 2
    histories.later(minutes=1)
    # Within the lookback, and nothing moved.
    assert histories.judged().looked_at == 0
    histories.milestone("Survey", completed=days(6))
    assert histories.judged().looked_at == 1
    histories.later(hours=1)
    histories.install(2, status="On Hold")
    assert histories.judged().looked_at == 1
    histories.later(hours=1)
    histories.install(2, status="On Hold", contract_amount=5)
    assert histories.judged().looked_at == 0
    histories.later(hours=1)
    histories.remove("Survey", 2)
    assert histories.judged().looked_at == 1
    histories.later(hours=1)
    assert histories.judged(full=True).looked_at == 1
    assert len(histories.sql("select * from sync.life_cycle_runs")) == 5


def test_a_limit_runs_out_without_any_row_changed(histories: Histories) -> None:
    histories.completed(survey=5)
    histories.milestone("Permit", started=days(0))
    histories.milestone("Build", started=days(-1))
    assert histories.found() == set()
    [row] = histories.sql("select steps, next_due_at from sync.life_cycle_installs")
    assert (row["steps"], row["next_due_at"]) == (["permit", "build"], NOW + timedelta(days=21))
    histories.later(days=20, hours=23)
    assert histories.judged().looked_at == 0
    histories.later(hours=1)
    report = histories.judged()
    assert (report.looked_at, report.new) == (1, 1)
    assert histories.found() == {(1, "build", "step_overdue")}
    histories.later(days=9, minutes=1)
    assert histories.found() == {(1, "build", "step_overdue"), (1, "permit", "step_overdue")}
    histories.later(days=90)
    assert histories.judged().looked_at == 0


def test_a_finding_is_new_once_and_says_when_it_went(histories: Histories) -> None:
    histories.completed(survey=50, permit=60)
    first = histories.judged()
    assert (first.new, first.gone, first.total) == (1, 0, 1)
    [found] = first.findings
    assert (found.since, found.checked_at, found.resolved_at) == (NOW, NOW, None)
    histories.later(hours=2)
    again = histories.judged(full=True)
    assert (again.new, again.gone, again.total) == (0, 0, 1)
    assert (again.findings[0].since, again.findings[0].checked_at) == (NOW, histories.clock.now())
    histories.later(hours=2)
    histories.milestone("Permit", completed=days(40))
    third = histories.judged()
    assert (third.new, third.gone, third.total, third.findings) == (0, 1, 0, [])
    assert [(one.finding_id, one.since, one.resolved_at) for one in third.resolved] == [
        (found.finding_id, NOW, histories.clock.now())
    ]
    histories.later(hours=2)
    histories.milestone("Permit", completed=days(60))
    fourth = histories.judged()
    assert (fourth.new, fourth.findings[0].since) == (1, histories.clock.now())
    assert fourth.findings[0].finding_id != found.finding_id
    assert len(fourth.resolved) == 1


def test_another_life_cycle_has_every_install_judged_again(histories: Histories) -> None:
    histories.completed(survey=50, permit=60)
    assert histories.found() == {(1, "permit", "step_out_of_order")}
    histories.later(hours=1)
    histories.text = histories.text.replace("after: [design], within_days: 30", "within_days: 30")
    report = histories.judged()
    assert (report.looked_at, report.gone) == (1, 1)
    histories.later(hours=1)
    histories.text = histories.text.replace("reason: Out of order.", "reason: In another order.")
    assert histories.judged().looked_at == 0


def test_what_is_in_each_step_is_counted(histories: Histories) -> None:
    histories.completed(survey=40, design=35, permit=None, utility=None)
    histories.completed(2, survey=12, design=2, permit=None)
    histories.completed(3, survey=40, permit=None)
    histories.install(4, status="On Hold")
    histories.milestone("Permit", 4, started=days(50))
    counts = {one.step: (one.level, one.installs, one.overdue) for one in histories.judged().steps}
    assert counts == {
        "survey": (0, 0, 0),
        "design": (1, 0, 0),
        "permit": (2, 3, 2),
        "utility": (2, 1, 0),
        "build": (3, 0, 0),
    }


def test_a_run_that_is_killed_leaves_nothing_behind(
    histories: Histories, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories.completed(survey=50, permit=60)
    with monkeypatch.context() as patch:
        patch.setattr("enerflo_sync.quality.life_cycle.judge_installs.keep_state", _killed)
        with pytest.raises(KeyboardInterrupt):
            histories.checked()
    assert histories.sql("select * from sync.life_cycle_findings") == []
    assert histories.judged().new == 1


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


TITLES = [*IDS, "Elsewhere"]
STATUSES = ["In progress", "In progress", "On Hold", "Completed", "Voided"]
MOMENT = st.one_of(st.none(), st.integers(-3, 45))
SET = st.tuples(st.just("set"), st.integers(1, 3), st.sampled_from(TITLES), MOMENT, MOMENT)
REMOVE = st.tuples(st.just("remove"), st.integers(1, 3), st.sampled_from(TITLES))
STATUS = st.tuples(st.just("status"), st.integers(1, 3), st.sampled_from(STATUSES))
DELETE = st.tuples(st.just("delete"), st.integers(1, 3))
PASS = st.tuples(st.just("pass"), st.sampled_from([0.01, 1.0, 9.0, 30.0]))
EDIT = st.one_of(SET, SET, SET, REMOVE, STATUS, DELETE, PASS)


def change(histories: Histories, edit: tuple[Any, ...]) -> None:
    """Make one edit as the mirror would have it."""
    now = histories.clock.now()
    match edit:
        case ("set", install_id, title, started, completed):
            histories.milestone(
                title,
                install_id,
                started=_ago(now, started),
                completed=_ago(now, completed),
                milestone_id=IDS.get(title, 99),
            )
        case ("remove", install_id, title):
            histories.sql(
                "update enerflo.milestones set deleted_at = :now"
                " where account = :account and install_id = :install and title = :title"
                " and deleted_at is null",
                account=histories.account,
                now=now,
                install=install_id,
                title=title,
            )
        case ("status", install_id, status):
            histories.install(install_id, status=status)
        case ("delete", install_id):
            histories.sql(
                "update enerflo.installs set deleted_at = :now"
                " where account = :account and install_id = :install",
                account=histories.account,
                now=now,
                install=install_id,
            )
        case ("pass", count):
            histories.later(days=count)


def _ago(now: datetime, count: int | None) -> datetime | None:
    return None if count is None else now - timedelta(days=count)


STATE = """
select install_id, state, steps, next_due_at, unknown_ids::text, digest,
  (select array_agg(row(id, at)::text order by id) from unnest(completed_ids, completed_ats) u (id, at)) as known
from sync.life_cycle_installs where account = :account order by 1
"""
STANDING = """
select install_id, step, check_id, milestone_id, severity, expected, found, reason
from sync.life_cycle_findings where account = :account and resolved_at is null
order by 1, 2, 3
"""
SUMMARY = """
select installs, not_covered, checks, steps, unknown from sync.life_cycle_runs
where account = :account order by started_at desc, run_id desc limit 1
"""


KEPT = [
    f"sync.{name}" for name in ("life_cycle_installs", "life_cycle_findings", "life_cycle_runs", "watermarks")
]


def kept(histories: Histories, *queries: str) -> list[Any]:
    return [[dict(row) for row in histories.sql(query, account=histories.account)] for query in queries]


@given(rounds=st.lists(st.lists(EDIT, min_size=1, max_size=5), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_kept_is_what_judging_all_installs_comes_to(
    histories: Histories, rounds: list[list[tuple[Any, ...]]]
) -> None:
    moved, everything = histories, Histories(histories.engine, histories.folder, account="everything")
    for one in (moved, everything):
        one.clock.moment = NOW
        for table in ("enerflo.installs", "enerflo.milestones", *KEPT):
            one.sql(f"delete from {table} where account = :account", account=one.account)
        for install_id in (1, 2, 3):
            one.install(install_id)
    for edits in rounds:
        for one, full in ((moved, False), (everything, True)):
            for edit in edits:
                change(one, edit)
            one.later(minutes=20)
            one.checked(full=full)
        assert kept(moved, STATE, STANDING, SUMMARY) == kept(everything, STATE, STANDING, SUMMARY)
    _compare_with_a_first_run(moved)


def _compare_with_a_first_run(moved: Histories) -> None:
    """A run from nothing finds the same, but for what only the memory of earlier runs can tell."""
    [before] = kept(moved, STANDING)
    known = {row["install_id"] for row in kept(moved, STATE)[0] if row["known"]}
    for table in KEPT:
        moved.sql(f"delete from {table} where account = :account", account=moved.account)
    moved.checked()
    [after] = kept(moved, STANDING)
    apart = [one for one in before if one not in after] + [one for one in after if one not in before]
    assert {one["check_id"] for one in apart} <= {"step_reopened", "step_skipped", "step_out_of_order"}
    assert {one["install_id"] for one in apart} <= known


def test_the_property_can_fail(histories: Histories, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that misses a tombstone is told apart from one that judges all."""
    histories.completed(survey=50, permit=60)
    for _ in range(2):
        histories.judged()
        histories.later(hours=1)
    histories.remove("Survey")
    with monkeypatch.context() as patch:
        blind = module._MOVED.replace("deleted_at > %(since)s", "false")
        patch.setattr(module, "_MOVED", blind)
        assert len(histories.judged().findings) == 1
    assert histories.judged(full=True).findings == []


def test_only_one_finding_of_a_kind_stands_at_a_time(histories: Histories) -> None:
    histories.completed(survey=50, permit=60)
    histories.judged()
    with pytest.raises(sa.exc.IntegrityError):
        histories.sql(
            "insert into sync.life_cycle_findings (account, install_id, step, milestone_id, check_id, severity,"
            " reason, since, checked_at, run_id) select account, install_id, step, milestone_id, check_id,"
            " severity, reason, now(), now(), 'x' from sync.life_cycle_findings"
        )
