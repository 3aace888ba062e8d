"""The benchmark of the checks does its work: every step finds what it has to, on few orders."""

from __future__ import annotations

import pytest

from benchmarks import checks
from benchmarks.check_sections import check_section
from benchmarks.checks import ChecksBench
from benchmarks.warehouse import Warehouse


@pytest.fixture
def bench(postgres_url: str) -> ChecksBench:
    return ChecksBench(Warehouse(postgres_url), 1_000, lambda _: None)


def test_orders_are_checked_whole_and_by_and_by_beside_the_same_suite_on_pandas(bench: ChecksBench) -> None:
    with bench.planted():
        bench.round()
    assert bench.result.failures == []
    assert [len(bench.result.of(step)) for step in checks.STEPS] == [1] * len(checks.STEPS)
    # One order in a hundred is wrong, and a second order that builds on it may be.
    ((found,), *_) = (bench.result.of(checks.ALL),)
    assert 10 <= found.counts["held"] <= 15
    assert [target.reached is None for target in check_section(bench.result).targets] == [False] * 4


def test_checks_that_count_otherwise_than_on_pandas_are_not_shown(
    bench: ChecksBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_FAILING", "select '{\"status_known\": 99}'::jsonb, 1, 1")
    with bench.planted():
        bench.round()
    assert "failing by check: found" in bench.result.failures[0]
    assert bench.result.of(checks.NOTHING) == []
