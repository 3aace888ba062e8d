"""The backfill's measurements do their work and are checked; nothing here is timed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import backfills
from benchmarks.backfill_section import backfill_section
from benchmarks.backfills import (
    BackfillBench,
    BackfillRuns,
    Plan,
    ReadRound,
    Request,
    journal_of,
    most_in_a_minute,
    share_of_limit,
)
from benchmarks.measure import Measurement
from benchmarks.warehouse import Warehouse

SMALL = Plan(installs=300, many=5_000, live_seconds=5.0, per_page=10)


def quiet(_text: str) -> None:
    return None


def test_a_backfill_is_measured_alone_beside_live_polls_and_after_a_kill(postgres_url: str) -> None:
    result = BackfillBench(Warehouse(postgres_url), SMALL, quiet).run(2)
    assert result.failures == []
    assert len(result.searches) == 2 * len(backfills.MONTHS)
    assert len(result.rounds) == 2
    for one in result.rounds:
        assert len(one.reads) >= SMALL.installs // SMALL.per_page
        assert set(one.lives) == {"alone", "beside"}
        assert all(run.counts["waits"] for run in one.lives.values())
        assert one.under_way is not None
    targets = {target.what: target.reached for target in backfill_section(result).targets}
    # Too short for a minute of its own; how long a request waits is the machine's business here.
    assert targets.pop("share of the limit, alone") is None
    targets.pop("longest wait of a live request")
    targets.pop("peak memory of ours")
    assert set(targets.values()) == {True}, (targets, result)


def test_a_backfill_that_loses_installs_is_not_shown(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfills, "_STORED", "select 299")
    result = BackfillBench(Warehouse(postgres_url), SMALL, quiet).run(2)
    assert "installs stored: found (299,), expected (300,)" in result.failures[0]
    assert [one.alone for one in result.rounds] == [None]


def test_the_share_is_that_of_the_time_between_the_first_and_the_last_request() -> None:
    assert share_of_limit([n * 0.2 for n in range(601)]) == pytest.approx(1.0)
    assert share_of_limit([n * 0.4 for n in range(601)]) == pytest.approx(0.5)
    assert share_of_limit([n * 0.1 for n in range(100)]) is None


def test_the_fullest_minute_counts() -> None:
    assert most_in_a_minute([*(n * 1.0 for n in range(100)), *(200 + n * 0.5 for n in range(100))]) == 100
    assert most_in_a_minute([n * 0.5 for n in range(600)]) == 120
    assert most_in_a_minute([]) == 0


def test_a_journal_tells_the_estimate_from_what_was_read_after_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text("1.0 0.1 200 a?page=1\nestimated\n3.0 0.2 200 a?page=2\n2.0 0.2 429 a?page=1\n")
    before, after = journal_of(path)
    assert before == [Request(1.0, 0.1, 200, "a?page=1")]
    assert [one.status for one in after] == [429, 200]


def test_targets_that_are_missed_say_so() -> None:
    reads = [Request(n * 0.4, 0.2, 200, "") for n in range(300)]
    run = Measurement(120.0, 121.0, 9.0, 9.0, 151.0, 300, {"waits": [0.001, 0.9], "polls": [0.1]})
    missed = ReadRound(run, reads, {"beside": run}, beside=151, repeated=3, under_way=2, refused=1)
    result = BackfillRuns(SMALL, [missed], searches=[9, 41])
    assert {target.reached for target in backfill_section(result).targets} == {False}
    assert {target.reached for target in backfill_section(BackfillRuns(replace(SMALL))).targets} == {None}


def test_shares_and_waits_are_judged_by_the_median_of_the_rounds_and_counts_by_the_worst() -> None:
    result = BackfillRuns(SMALL, searches=[9, 41])
    # The middle round is good, and only the last one is refused a request.
    for pause, wait, refused in ((0.2, 0.01, 0), (0.2, 0.1, 0), (0.4, 0.9, 1)):
        reads = [Request(n * pause, 0.2, 200, "") for n in range(601)]
        run = Measurement(120.0, 121.0, 9.0, 9.0, 100.0, 300, {"waits": [0.001, wait], "polls": [0.1]})
        result.rounds.append(ReadRound(run, reads, {"beside": run}, 100, 1, 2, 2, refused))
    section = backfill_section(result)
    assert {target.what: target.measured for target in section.targets if target.reached is False} == {
        "requests answered 429": "1 requests",
        "requests to find a month": "41 requests",
    }
    assert section.rows == [
        [
            "beside a backfill",
            "5.50 / **50.5** / 450.5",
            "10.0 / **100.0** / 900.0",
            "100.0 / **100.0** / 100.0",
            "1 / **1** / 1",
        ]
    ]
    assert section.notes[0].startswith("At the kill of each round 2, 2, 2 parts were read, and 2, 2, 2 ")
