"""Many accounts are measured, and each is checked; nothing here is timed."""

from __future__ import annotations

import pytest

from benchmarks import accounts
from benchmarks.account_section import account_section
from benchmarks.accounts import AccountRuns, Round, Step, measure_accounts
from benchmarks.warehouse import Warehouse


def quiet(_text: str) -> None:
    return None


def test_every_account_is_polled_reconciled_and_planned(postgres_url: str) -> None:
    result = measure_accounts(Warehouse(postgres_url), 2, 200, quiet)
    assert result.failures == []
    assert {key: len(runs) for key, runs in result.runs.items()} == {
        (round_, step): 2 for round_ in Round for step in Step
    }
    # Of smaller accounts nothing is promised but the memory.
    (memory,) = account_section(result).targets
    assert memory.reached is True


def test_the_time_of_many_accounts_is_computed_from_the_cpu_of_a_few() -> None:
    result = AccountRuns(10, 5_000, at_once=2)
    result.seconds = dict.fromkeys(Round, 500.0)
    result.cpu_seconds = {Round.FIRST: 80.0, Round.AGAIN: 100.0}
    section = account_section(result)
    assert [target.reached for target in section.targets] == [True, False, None]
    assert section.targets[0].measured == "13.3 minutes"
    assert "10 accounts were measured" in section.notes[-1]
    assert "Each line is of 10 processes" in section.notes[-2]


def test_an_account_that_plans_something_else_is_a_failure(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "DIFFERS_PER", 50)
    monkeypatch.setattr(accounts, "_CRM", accounts._CRM[:-1])
    result = measure_accounts(Warehouse(postgres_url), 1, 200, quiet)
    assert "planned changes: found 0, expected 4" in result.failures[0]
    assert account_section(result).targets[0].reached is None
