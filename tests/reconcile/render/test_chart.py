from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enerflo_sync.reconcile.render.chart import (
    MINIMUM_WIDTH,
    MOST_BARS,
    MOST_RUNS,
    field_bars,
    field_chart,
    round_up,
    trend_chart,
    trend_points,
)
from enerflo_sync.reconcile.render.summary import FieldLine, field_lines, table_differences
from enerflo_sync.reconcile.report import Cause
from tests.reconcile.render.sample_reports import REPORTS, every_cause, no_tables, trend, typical

counts = st.dictionaries(st.sampled_from(list(Cause)), st.integers(1, 10**12), min_size=1)


@given(st.lists(counts, min_size=1, max_size=20))
def test_bars_stay_in_the_plot_and_every_cause_of_every_bar_can_be_seen(rows: list[dict[Cause, int]]) -> None:
    bars = field_bars(FieldLine("t", f"f{i}", sum(row.values()), row) for i, row in enumerate(rows))
    for bar, row in zip(bars, rows, strict=True):
        assert {s.cause: s.count for s in bar.segments} == row
        assert all(s.length >= MINIMUM_WIDTH - 0.001 for s in bar.segments)
        last = bar.segments[-1]
        assert last.start + last.length <= 100.1
    longest = max(bars, key=lambda bar: bar.line.differences).segments[-1]
    assert longest.start + longest.length == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("name", REPORTS)
def test_the_lines_of_a_table_add_up_to_its_differences(name: str) -> None:
    for table in REPORTS[name]().tables:
        assert sum(line.differences for line in field_lines(table)) == table_differences(table)


def test_records_on_one_side_are_a_line_of_their_own() -> None:
    whole = next(line for line in field_lines(typical().tables[0]) if line.field is None)
    assert whole.differences == 23
    assert whole.by_cause[Cause.MISSING_IN_CRM] == 12
    assert Cause.UNEXPLAINED not in whole.by_cause


def test_what_the_chart_leaves_out_is_counted() -> None:
    chart = field_chart(every_cause())
    assert len(chart.bars) == MOST_BARS
    drawn = sum(bar.line.differences for bar in chart.bars)
    assert drawn + chart.other_differences == every_cause().differences
    assert chart.other_fields == 25 - MOST_BARS


def test_a_report_without_tables_has_no_bars() -> None:
    assert field_chart(no_tables()).bars == []


def test_the_trend_ends_with_this_run_and_has_each_run_once() -> None:
    report = typical()
    points = trend_points(report)
    assert points[-1].reconciliation_id == report.reconciliation_id
    assert len(points) == len({p.reconciliation_id for p in points}) == 23
    chart = trend_chart(points, 0)
    assert chart is not None
    assert [c.count for c in chart.unexplained.columns][-1] == report.unexplained
    assert [c.latest for c in chart.differences.columns].count(True) == 1


def test_many_runs_are_cut_to_the_last_ones_and_the_rest_is_counted() -> None:
    points = trend(100)
    chart = trend_chart(points)
    assert chart is not None
    assert chart.points == points[-MOST_RUNS:]
    assert chart.earlier == 100 - MOST_RUNS


def test_no_run_is_no_chart() -> None:
    assert trend_chart([]) is None


@given(st.integers(1, 10**15))
def test_an_axis_ends_at_or_a_little_above_the_largest_count(value: int) -> None:
    top = round_up(value)
    assert value <= top <= value * 1.34
