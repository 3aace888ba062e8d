"""Which rows are checked again, and that Great Expectations finds what the judgement finds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import ContractDriftError
from tests.quality.conftest import NOW, QCELLS, REC, Orders


def checked(orders: Orders) -> int | None:
    orders.later(hours=1)
    return orders.checked().checked


def test_a_row_is_checked_once_and_again_when_it_changes(orders: Orders) -> None:
    orders.order(10)
    orders.order(11, install_id=2)
    assert orders.checked().checked == 2
    assert checked(orders) == 0
    orders.order(10, panel_count_new=27)
    assert checked(orders) == 1
    # Written again with the same content: nothing to check, and nothing unchecked either.
    orders.order(10, panel_count_new=27)
    assert checked(orders) == 0
    [row] = orders.sql(
        "select o.observed_at = f.observed_at as same from enerflo.change_orders o"
        " join sync.change_order_facts f using (account, change_order_id) where change_order_id = 10"
    )
    assert row["same"]


def test_reference_data_that_changes_has_the_row_checked_again(orders: Orders) -> None:
    orders.order(10, panel_type_old=REC, panel_type_new="Moon 900", install_id=2)
    assert orders.failing() == {10: ["panel_type_known"]}
    orders.later(hours=1)
    orders.install(3, panel_type="Moon 900", system_size_kw=9.6)
    assert orders.failing() == {}
    orders.later(hours=1)
    orders.adder(10, cost=60_000)
    orders.adder(10, side="old", cost=60_000)
    assert orders.failing() == {10: ["adder_cost_not_too_high", "adders_known"]}
    orders.later(hours=1)
    orders.install(2, deleted_at=orders.clock.now())
    orders.sql("update enerflo.installs set deleted_at = observed_at where install_id = 2")
    assert "install_known" in orders.failing()[10]


def test_an_order_of_the_same_install_has_the_others_checked_again(orders: Orders) -> None:
    orders.order(10)
    orders.order(11, install_id=2)
    orders.checked()
    orders.later(hours=1)
    orders.order(9, signed_at=NOW.replace(day=1), panel_count_new=25)
    assert orders.failing() == {9: ["panel_count_old_agrees", "no_contradiction"]}


def test_what_was_there_before_is_not_forgotten_when_the_install_moves_on(orders: Orders) -> None:
    orders.order(10, panel_count_old=20)
    assert orders.failing() == {10: ["panel_count_old_agrees"]}
    orders.later(hours=1)
    orders.install(1, panel_count=26, system_size_kw=10.53, updated_at=orders.clock.now())
    assert orders.failing() == {10: ["panel_count_old_agrees"]}


def test_great_expectations_counts_what_the_judgement_finds(orders: Orders) -> None:
    orders.order(10, panel_count_new=2400, battery_new="5% x? :a 'big' one")
    orders.order(11, install_id=2, status="lost")
    orders.order(12, install_id=3, panel_type_old=QCELLS, panel_type_new="Moon 900")
    report = orders.checked(expectations=True)
    assert (report.checked, report.held, report.not_validated) == (3, 3, 0)
    [run] = orders.sql("select * from sync.quality_runs")
    assert (run["checked"], run["held"], run["validated"], run["orders"]) == (3, 3, 3, 3)
    counted = {
        one["expectation_config"]["meta"]["check"]: one["result"]["unexpected_count"]
        for one in run["expectations"]["results"]
    }
    assert list(counted) == list(orders.suite.checks)
    failing = {name: count for name, count in counted.items() if count}
    assert failing == {
        name: run["checks"][name]["failed"] for name in run["checks"] if run["checks"][name]["failed"]
    }
    assert failing == {
        "panel_count_range": 1,
        "battery_form": 1,
        "status_known": 1,
        "panel_type_known": 1,
    }
    # No value of a row is in what is kept.
    assert "big" not in json.dumps(run["expectations"])
    orders.later(hours=1)
    orders.checked(expectations=True)
    assert len(orders.sql("select * from sync.quality_runs")) == 1


def test_what_a_plan_judged_is_validated_by_the_next_run(orders: Orders) -> None:
    orders.order(10)
    assert orders.checked().not_validated == 1
    orders.later(hours=1)
    report = orders.checked(expectations=True)
    assert (report.checked, report.not_validated) == (0, 0)


def test_a_disagreement_is_said_and_validates_nothing(
    orders: Orders, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders.order(10, panel_count_new=2400)
    orders.checked()
    orders.sql("update sync.change_order_facts set failing = '{}'")
    with pytest.raises(ContractDriftError, match=r"counts 1 orders that fail panel_count_range.* 0\."):
        orders.checked(expectations=True)
    assert orders.checked().not_validated == 1


def test_every_failing_key_is_kept_not_a_sample(orders: Orders, warehouse: sa.Engine) -> None:
    orders.order(1, panel_count_new=2400)
    orders.sql(
        "insert into enerflo.change_orders (account, change_order_id, install_id, status, signed_at,"
        " panel_count_old, panel_count_new, observed_at, observed_by)"
        " select account, i, null, status, signed_at, 24, 2400, observed_at, observed_by"
        " from enerflo.change_orders, generate_series(2, 3000) i"
    )
    report = orders.checked()
    assert (report.held, len(report.failing)) == (3000, 1000)
    [row] = orders.sql(
        "select count(*) as n from sync.quality_results where check_id = 'panel_count_range' and not passed"
    )
    assert row["n"] == 3000
    assert len(orders.items(state="open")) == 3000


def test_great_expectations_is_imported_only_where_there_is_something_to_check() -> None:
    code = (
        "import sys, enerflo_sync.jobs, enerflo_sync.quality.run;"
        "print([n for n in sys.modules if n.startswith(('great_expectations', 'pandas'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
