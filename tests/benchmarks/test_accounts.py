"""Many accounts are measured, and each is checked; nothing here is timed."""

from __future__ import annotations

import pytest

from benchmarks import accounts
from benchmarks.account_section import account_section
from benchmarks.accounts import Round, Step, measure_accounts
from benchmarks.warehouse import Warehouse


def quiet(_text: str) -> None:
    return None


def test_every_account_is_polled_reconciled_and_planned(postgres_url: str) -> None:
    result = measure_accounts(Warehouse(postgres_url), 2, 200, quiet)
    assert result.failures == []
    assert {key: len(runs) for key, runs in result.runs.items()} == {
        (round_, step): 2 for round_ in Round for step in Step
    }
    section = account_section(result)
    assert [target.reached is None for target in section.targets] == [False] * 3
    assert section.targets[-1].reached is True
    assert "2 accounts were measured" in section.notes[-1]


def test_an_account_that_plans_something_else_is_a_failure(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "DIFFERS_PER", 50)
    monkeypatch.setattr(accounts, "_CRM", accounts._CRM[:-1])
    result = measure_accounts(Warehouse(postgres_url), 1, 200, quiet)
    assert "planned changes: found 0, expected 4" in result.failures[0]
    assert account_section(result).targets[0].reached is None
