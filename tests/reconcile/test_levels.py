"""Rows of a CRM table that go all at once: when they are in doubt, and when they are believed to be deleted."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from enerflo_sync.reconcile.levels import Level, is_sudden, next_level
from enerflo_sync.reconcile.render import Tone, Verdict, verdict_text
from enerflo_sync.reconcile.render.verdict import is_all_clear
from enerflo_sync.reconcile.report import ReconciliationReport
from tests.reconcile.conftest import NOW, TwoSides

MARK = "deleted_when: {is_deleted: true}"
ROWS = 40


def seen(*looks: tuple[int, int], guard: int = 20) -> list[bool]:
    """Return whether the table is in doubt after each look: minutes since the first, and its rows then."""
    level: Level | None = None
    found = []
    for minutes, rows in looks:
        level = next_level(level, "s", rows, NOW + timedelta(minutes=minutes), guard)
        found.append(level.in_doubt)
    return found


@pytest.mark.parametrize(
    ("before", "rows", "guard", "sudden"),
    [
        (100, 79, 20, True),
        (100, 80, 20, False),
        (10, 0, 20, True),
        (9, 0, 20, False),
        (49, 39, 20, True),
        (50, 40, 20, False),
        (100, 130, 20, False),
        (100, 0, 100, False),
        (100, 49, 50, True),
    ],
)
def test_more_than_the_guard_and_ten_rows_are_sudden(
    before: int, rows: int, guard: int, sudden: bool
) -> None:
    assert is_sudden(before, rows, guard) is sudden


@pytest.mark.parametrize(
    ("looks", "in_doubt"),
    [
        # The second look an hour later still shows it.
        ([(0, 100), (15, 10), (60, 10), (74, 10), (75, 10), (90, 10)], ".###.."),
        # The rows come back.
        ([(0, 100), (15, 10), (30, 95), (200, 95)], ".#.."),
        # They go on going, or come back one after the other: each step starts the hour anew.
        ([(0, 100), (15, 60), (70, 30), (80, 30), (130, 30)], ".###."),
        ([(0, 100), (15, 0), (60, 20), (100, 40), (159, 40), (160, 40)], ".####."),
        # In small steps within an hour they go at once, too.
        ([(0, 100), (15, 85), (30, 70), (45, 70), (90, 70)], "..##."),
        # What goes slowly is what people delete.
        ([(0, 100), (70, 85), (140, 71), (210, 60)], "...."),
        # An hour later a little less is believed, and as many rows as before are believed anew.
        ([(0, 100), (60, 85), (75, 70)], "..."),
        ([(0, 100), (59, 85), (74, 70)], "..#"),
        ([(0, 100), (30, 100), (70, 85), (85, 75)], "...#"),
        # The database's clock was ahead by a day at the second look, and was set back.
        ([(0, 100), (1455, 10), (30, 10), (89, 10), (90, 10)], ".###."),
        # The first look knows nothing, and a table that grows is in no doubt.
        ([(0, 5), (15, 500), (30, 390)], "..#"),
    ],
)
def test_a_fall_is_believed_once_the_table_stays_so_for_an_hour(
    looks: list[tuple[int, int]], in_doubt: str
) -> None:
    assert "".join("#" if one else "." for one in seen(*looks)) == in_doubt


def test_what_our_own_plans_deleted_is_no_fall() -> None:
    before = Level("s", 100, 100, NOW)
    assert next_level(before, "s", 60, NOW, 20).in_doubt
    assert not next_level(before, "s", 60, NOW, 20, own_deletions=40).in_doubt
    assert next_level(before, "s", 60, NOW, 20, own_deletions=10).in_doubt
    # Without any of ours it is the fall alone that counts.
    assert next_level(Level("s", 49, 49, NOW), "s", 39, NOW, 20).in_doubt
    assert not next_level(Level("s", 50, 50, NOW), "s", 40, NOW, 20).in_doubt


def test_counts_of_other_rows_are_not_compared() -> None:
    assert not next_level(Level("s", 100, 100, NOW), "other", 5, NOW, 20).in_doubt


@pytest.fixture
def copy(sides: TwoSides, tmp_path: Path) -> TwoSides:
    """Both sides with forty installs, on which they agree, in a CRM that marks deleted rows."""
    sides.sql("alter table crm.installs add is_deleted boolean")
    text = sides.config.file.read_text().replace(
        "    updated_at: updated_at\n", f"    updated_at: updated_at\n    {MARK}\n", 1
    )
    sides.with_config(text, tmp_path)
    for number in range(1, ROWS + 1):
        sides.install(number)
    sides.polled()
    sides.sql("update sync.watermarks set value = :at", at=NOW)
    return sides


def at(minutes: int) -> dict[str, object]:
    return {"now": NOW + timedelta(minutes=minutes)}


def causes(sides: TwoSides, report: ReconciliationReport) -> set[str]:
    return {cause for *_, cause in sides.causes(report)}


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("gone", ["update crm.installs set is_deleted = true", "delete from crm.installs"])
def test_rows_that_go_all_at_once_are_no_deletions_by_people(copy: TwoSides, gone: str, full: bool) -> None:
    assert is_all_clear(copy.reconcile(NOW))
    copy.sql(f"{gone} where enerflo_install_id > 10")
    report = copy.reconcile(**at(15), full=full)
    assert causes(copy, report) == {"gone_at_once"}
    words = verdict_text(report)
    assert (words.verdict, words.tone, is_all_clear(report)) == (Verdict.GONE_AT_ONCE, Tone.UNSURE, False)
    assert words.headline == (
        "30 rows of installs are gone or marked as deleted since 2025-06-01 12:00 UTC:"
        " a copy that is being re-synced?"
    )
    assert report.tables[0].remarks[0] == words.headline
    assert report.gone_at_once[0].marked == (30 if "update" in gone else 0)
    # A table that stays so for an hour lost its rows to people.
    assert causes(copy, copy.reconcile(**at(60), full=full)) == {"gone_at_once"}
    believed = copy.reconcile(**at(80), full=full)
    expected = {"deleted_in_crm"} if "update" in gone else {"missing_in_crm"}
    assert (causes(copy, believed), believed.gone_at_once) == (expected, [])
    assert verdict_text(believed).verdict is not Verdict.GONE_AT_ONCE


@pytest.mark.parametrize("full", [True, False])
def test_flags_that_come_back_leave_nothing_behind(copy: TwoSides, full: bool) -> None:
    copy.reconcile(NOW)
    copy.sql("update crm.installs set is_deleted = true")
    assert not is_all_clear(copy.reconcile(**at(15), full=full))
    copy.sql("update crm.installs set is_deleted = false")
    report = copy.reconcile(**at(30), full=full)
    assert (copy.causes(report), is_all_clear(report)) == ([], True)


def test_nine_rows_of_ten_are_what_a_person_deletes_in_a_small_table(copy: TwoSides) -> None:
    copy.sql("delete from crm.installs where enerflo_install_id > 10")
    copy.sql("delete from enerflo.installs where install_id > 10")
    copy.reconcile(NOW)
    copy.sql("update crm.installs set is_deleted = true where enerflo_install_id > 1")
    assert causes(copy, copy.reconcile(**at(15))) == {"deleted_in_crm"}


@pytest.mark.parametrize(("guard", "in_doubt"), [(70, True), (75, False), (100, False)])
def test_the_guard_is_an_option(copy: TwoSides, tmp_path: Path, guard: int, in_doubt: bool) -> None:
    text = copy.config.file.read_text()
    copy.with_config(f"{text}\nreconcile: {{shrink_guard_percent: {guard}}}\n", tmp_path)
    copy.reconcile(NOW)
    copy.sql("update crm.installs set is_deleted = true where enerflo_install_id > 10")
    assert bool(copy.reconcile(**at(15)).gone_at_once) is in_doubt


def test_a_mapping_that_counts_other_rows_starts_anew(copy: TwoSides, tmp_path: Path) -> None:
    copy.sql("update crm.installs set is_deleted = true where enerflo_install_id > 10")
    text = copy.config.file.read_text()
    copy.with_config(text.replace(f"    {MARK}\n", ""), tmp_path)
    assert copy.reconcile(NOW).tables[0].crm_rows == ROWS
    copy.with_config(text, tmp_path)
    report = copy.reconcile(**at(15))
    assert (report.tables[0].crm_rows, report.gone_at_once) == (10, [])


def test_a_run_that_is_tried_again_compares_with_the_one_before_it(copy: TwoSides) -> None:
    copy.reconcile(NOW)
    copy.sql("update crm.installs set is_deleted = true where enerflo_install_id > 10")
    for _ in range(2):
        report = copy.reconcile(**at(15), reconciliation_id="again")
        assert causes(copy, report) == {"gone_at_once"}


def test_another_account_s_tables_have_their_own_levels(copy: TwoSides) -> None:
    from enerflo_sync.reconcile.reconciliation import reconcile

    copy.reconcile(NOW)
    copy.sql("update crm.installs set is_deleted = true where enerflo_install_id > 10")
    assert not reconcile(copy.engine, copy.config, "other", now=NOW + timedelta(minutes=15)).gone_at_once


def test_a_table_that_is_not_compared_is_looked_at_as_well(copy: TwoSides, tmp_path: Path) -> None:
    text = copy.config.file.read_text().replace(f"    {MARK}\n", f"    {MARK}\n    reconcile: false\n")
    copy.with_config(text, tmp_path)
    copy.reconcile(NOW)
    copy.sql("update crm.installs set is_deleted = true where enerflo_install_id > 10")
    report = copy.reconcile(**at(15))
    assert [(one.table_name, one.gone) for one in report.gone_at_once] == [("installs", 30)]
    assert verdict_text(report).verdict is Verdict.GONE_AT_ONCE
    # A table that the mapping does not fit is no matter of a reconciliation that does not compare it.
    copy.sql("drop table crm.installs")
    assert copy.reconcile(**at(30)).gone_at_once == []


def test_the_stored_report_says_it(copy: TwoSides) -> None:
    copy.reconcile(NOW)
    copy.sql("update crm.installs set is_deleted = true where enerflo_install_id > 10")
    report = copy.reconcile(**at(15))
    with copy.engine.connect() as connection:
        found = connection.exec_driver_sql(
            "select report->'gone_at_once' from sync.reconciliations where reconciliation_id = %(id)s",
            {"id": report.reconciliation_id},
        ).scalar_one()
    assert json.loads(json.dumps(found))[0]["gone"] == 30
