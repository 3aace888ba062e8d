"""The benchmark's targets and ratios, and what it says of a figure that is missing or wrong."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

from benchmarks import compares, loads
from benchmarks.loads import Stage
from benchmarks.measure import Measurement
from benchmarks.page import document, machine, part, render, versions
from benchmarks.results import Report, WrongResultError, at_least, at_most
from benchmarks.runs import Run
from benchmarks.sections import compare_section, load_section


@pytest.mark.parametrize(
    ("ratio", "reached"), [(8.0, True), (7.9, False), (None, None)], ids=["reached", "missed", "unknown"]
)
def test_a_target_says_whether_it_was_reached(ratio: float | None, reached: bool | None) -> None:
    assert at_least("dlt", 8, ratio).reached is reached


def test_a_memory_target_is_an_upper_bound() -> None:
    assert at_most("memory", 150, 149.9, "MB").reached is True
    assert at_most("memory", 150, 150.1, "MB").reached is False


def measurement(seconds: float) -> Measurement:
    return Measurement(seconds, seconds + 1, seconds, 0.0, 80.0, 20, {})


def test_ratios_are_of_medians_and_stand_beside_the_targets() -> None:
    result = loads.LoadRuns()
    result.runs[Stage.FIRST, loads.OURS.key] = [measurement(one) for one in (1.0, 2.0, 9.0)]
    result.runs[Stage.FIRST, loads.DLT.key] = [measurement(one) for one in (16.0, 17.0, 99.0)]
    section = load_section(Stage.FIRST, result, 10_000)
    dlt, hook, memory = section.targets
    assert (dlt.measured, dlt.reached) == ("8.5 x", True)
    assert hook.reached is None
    assert memory.reached is True
    text = render(Report([section], []))
    assert "1.00 / **2.00** / 9.00" in text
    assert "| 8.5 x | yes |" in text


def test_the_page_names_failures_and_no_host() -> None:
    section = compare_section(compares.CompareRuns(), 1_000_000)
    run = Run(
        section="reconcile",
        command="python -m benchmarks",
        size="full",
        samples="3 rounds",
        ended=datetime(2026, 11, 29, tzinfo=UTC),
        minutes=4.0,
        machine=machine(),
        load=(0.1, 2.0),
        versions=versions(),
        server={"fsync": "on"},
    )
    written = part(Report([section], ["reladiff, join mode: boom"]), run)
    text = document({"reconcile": written}, ["reconcile"])
    assert "reladiff, join mode: boom" in text
    assert "not measured" in written
    assert os.uname().nodename not in text


def test_an_unexpected_value_is_told_with_both_sides() -> None:
    with pytest.raises(WrongResultError, match="found 1, expected 2"):
        loads.expect("ours", "rows", 1, 2)
