"""Whole processes that find nothing to do: each is checked, and judged by the median of the clock on the wall."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import starts
from benchmarks.results import WrongResultError
from benchmarks.start_section import start_section
from benchmarks.starts import (
    AIRFLOW,
    HELP,
    POLL,
    POLL_TASK,
    RECONCILE,
    STARTS,
    Process,
    Start,
    StartRuns,
    check,
    measure_starts,
)
from benchmarks.warehouse import Warehouse

INSTALLS = 60


def test_each_kind_of_process_is_measured(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "PROCESSES_A_ROUND", 1)
    result = measure_starts(Warehouse(postgres_url), INSTALLS, 1, lambda _: None)
    assert result.failures == []
    assert {start.name: len(result.of(start)) for start in STARTS} == {start.name: 1 for start in STARTS}
    section = start_section(result, INSTALLS)
    assert len(section.rows) == len(STARTS)
    assert [target.wanted for target in section.targets] == ["≤ 0.3 s", *["≤ 0.8 s"] * 4]
    assert None not in [target.reached for target in section.targets]


@pytest.mark.parametrize(
    ("start", "told"),
    [(POLL, '{"unchanged": 59}'), (RECONCILE, '{"scope": "full"}')],
    ids=["poll", "reconcile"],
)
def test_a_process_that_did_other_work_is_not_shown(tmp_path: Path, start: Start, told: str) -> None:
    output = tmp_path / "output"
    output.write_text(told)
    with pytest.raises(WrongResultError):
        check(start, output, INSTALLS)


def test_a_target_is_for_the_median_and_one_that_is_missed_says_so() -> None:
    result = StartRuns()
    for start, seconds in (
        (HELP, (0.2, 0.25, 0.9)),
        (POLL, (0.7, 0.9, 1.0)),
        (AIRFLOW, (1.4,)),
        (POLL_TASK, (1.9,)),
    ):
        result.runs[start] = [Process(one, one) for one in seconds]
    targets = {target.what: target.reached for target in start_section(result, INSTALLS).targets}
    assert targets[HELP.name] is True
    assert targets[POLL.name] is False
    assert targets[RECONCILE.name] is None
    assert targets[f"{POLL_TASK.name}: above Airflow's"] is True
