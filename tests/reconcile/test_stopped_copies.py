"""A copy of which no row arrives any more says what the CRM said then, and the report says since when."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.render.verdict import Tone, Verdict, is_all_clear, verdict_of, verdict_text
from enerflo_sync.reconcile.report import ReconciliationReport
from enerflo_sync.reconcile.store import load_report
from tests.reconcile.conftest import NOW, TwoSides


@pytest.mark.parametrize(
    ("option", "column", "kind"),
    [
        ("arrived_at: loaded", "loaded", "timestamptz"),
        ("arrived_at: loaded", "loaded", "timestamp"),
        # Nobody declared it: the tool's own column tells.
        ("unlinked: ignore", "_fivetran_synced", "timestamptz"),
    ],
)
def test_a_report_says_since_when_no_row_of_a_copy_arrived(
    sides: TwoSides, tmp_path: Path, option: str, column: str, kind: str
) -> None:
    sides.sql(f"alter table crm.installs add {column} {kind}")
    sides.config.file.write_text(
        sides.config.file.read_text().replace(
            "    updated_at: updated_at\n", f"    updated_at: updated_at\n    {option}\n", 1
        )
    )
    sides.with_config(sides.config.file.read_text(), tmp_path)
    for number, arrived in enumerate((NOW - timedelta(days=2), NOW + timedelta(hours=2)), 1):
        sides.install(number)
        sides.sql(
            f"update crm.installs set {column} = :at where enerflo_install_id = :id", at=arrived, id=number
        )

    def said(now: datetime) -> list[str]:
        remarks = sides.reconcile(now, full=True).tables[0].remarks
        return [one for one in remarks if "arrived since" in one]

    (remark,) = said(NOW)
    day = f"{NOW - timedelta(days=2):%Y-%m-%d %H:%M}"
    assert remark.startswith(
        f"No row of crm.installs arrived since {day} UTC ({column}): the table may be a copy"
    )
    assert said(NOW + timedelta(hours=3)) == []


def expected_within(sides: TwoSides, folder: Path, hours: str, *more: str) -> None:
    """Say in the mapping of installs within how many hours a row of the copy arrives."""
    lines = "".join(f"    {line}\n" for line in (f"arrives_within_hours: {hours}", *more))
    text = sides.config.file.read_text()
    sides.with_config(
        text.replace("    updated_at: updated_at\n", f"    updated_at: updated_at\n{lines}", 1), folder
    )


def polled_now(sides: TwoSides) -> None:
    sides.polled()
    sides.sql("update sync.watermarks set value = :now, recorded_at = :now", now=NOW + timedelta(hours=1))


def silences(report: ReconciliationReport) -> list[str]:
    return [one for one in report.tables[0].remarks if "arrived since" in one]


def arrived(sides: TwoSides, ago: timedelta | None, number: int) -> None:
    sides.install(number)
    at = None if ago is None else NOW - ago
    sides.sql("update crm.installs set loaded = :at where enerflo_install_id = :id", at=at, id=number)


@pytest.mark.parametrize("full", [True, False])
def test_a_copy_that_got_no_row_in_time_is_no_all_clear_where_the_mapping_says_so(
    sides: TwoSides, tmp_path: Path, full: bool
) -> None:
    sides.sql("alter table crm.installs add loaded timestamptz")
    expected_within(sides, tmp_path, "6", "arrived_at: loaded")
    polled_now(sides)
    arrived(sides, timedelta(hours=5), 1)
    in_time = sides.reconcile(NOW)
    assert (verdict_of(in_time), is_all_clear(in_time)) == (Verdict.AGREED, True)
    assert silences(in_time) == []
    late = sides.reconcile(NOW + timedelta(hours=2), full=full)
    words = verdict_text(late)
    assert (words.verdict, words.tone, is_all_clear(late)) == (Verdict.COPY_OVERDUE, Tone.UNSURE, False)
    assert words.headline == "No row of crm.installs arrived in time before the comparison"
    assert "crm.installs got its newest row 2025-06-01 07:00 UTC (6 h allowed)" in words.detail
    assert "arrives_within_hours" in words.next_step
    assert load_report(sides.engine, "default").late_copies == late.late_copies
    arrived(sides, timedelta(hours=-1), 2)
    assert is_all_clear(sides.reconcile(NOW + timedelta(hours=2), full=full))


def test_a_copy_of_which_no_row_says_when_it_arrived_is_late(sides: TwoSides, tmp_path: Path) -> None:
    sides.sql("alter table crm.installs add loaded timestamptz")
    expected_within(sides, tmp_path, "6", "arrived_at: loaded")
    polled_now(sides)
    arrived(sides, None, 1)
    arrived(sides, timedelta(hours=-30), 2)
    report = sides.reconcile(NOW)
    assert not is_all_clear(report)
    assert "at a time that no row says" in verdict_text(report).detail


def test_unexplained_differences_come_first_and_the_late_copy_is_said_beside_them(
    sides: TwoSides, tmp_path: Path
) -> None:
    sides.sql("alter table crm.installs add loaded timestamptz")
    expected_within(sides, tmp_path, "6", "arrived_at: loaded")
    polled_now(sides)
    arrived(sides, timedelta(hours=7), 1)
    sides.sql("update crm.installs set panel_count = 3")
    words = verdict_text(sides.reconcile(NOW))
    assert words.verdict is Verdict.OVER_BUDGET
    assert "What the CRM says by now was not compared" in words.detail


def test_a_longer_time_than_usual_says_nothing_before_it_is_over(sides: TwoSides, tmp_path: Path) -> None:
    sides.sql("alter table crm.installs add loaded timestamptz")
    expected_within(sides, tmp_path, "72", "arrived_at: loaded")
    polled_now(sides)
    arrived(sides, timedelta(hours=71), 1)
    report = sides.reconcile(NOW)
    assert (is_all_clear(report), silences(report)) == (True, [])
    assert not is_all_clear(sides.reconcile(NOW + timedelta(hours=1)))


def test_the_copy_tools_own_column_tells_too(sides: TwoSides, tmp_path: Path) -> None:
    sides.sql("alter table crm.installs add _fivetran_synced timestamp")
    expected_within(sides, tmp_path, "1.5")
    polled_now(sides)
    sides.install(1)
    sides.sql("update crm.installs set _fivetran_synced = :at", at=NOW - timedelta(hours=2))
    assert verdict_of(sides.reconcile(NOW)) is Verdict.COPY_OVERDUE


@pytest.mark.parametrize("more", [(), ("arrived_at: loaded",)])
def test_where_no_column_tells_arrivals_nothing_is_compared(
    sides: TwoSides, tmp_path: Path, more: tuple[str, ...]
) -> None:
    sides.sql("alter table crm.installs add loaded text")
    expected_within(sides, tmp_path, "6", *more)
    with pytest.raises(ConfigurationError, match=r"arrives_within_hours: found no column of crm.installs"):
        sides.reconcile(NOW)


@pytest.mark.parametrize("hours", ["0", "-1", ".inf", ".nan", "soon", "true"])
def test_hours_that_are_none_are_said_with_their_line(sides: TwoSides, tmp_path: Path, hours: str) -> None:
    with pytest.raises(ConfigurationError, match=r"sync.yaml:\d+: tables.installs.arrives_within_hours"):
        expected_within(sides, tmp_path, hours)


def test_the_option_alone_is_no_other_mapping(sides: TwoSides, tmp_path: Path) -> None:
    before = sides.config.tables_for("default")["installs"].content("installs")
    expected_within(sides, tmp_path, "6")
    assert sides.config.tables_for("default")["installs"].content("installs") == before
