"""Which rows are checked again, and that Great Expectations finds what the judgement finds."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ContractDriftError
from enerflo_sync.quality.suite import load_suite
from enerflo_sync.warehouse.runs import start_run
from tests.quality.conftest import CONFIG, NOW, QCELLS, REC, SUITE, Orders


def checked(orders: Orders) -> int | None:
    orders.later(hours=1)
    return orders.checked().checked


def checked_as_in_full(orders: Orders) -> None:
    """An incremental check leaves nothing that a full one finds."""
    orders.checked()
    facts = "select digest, failing from sync.change_order_facts order by change_order_id"
    incremental = orders.sql(facts)
    orders.later(minutes=1)
    assert orders.checked(full=True).checked == 0
    assert orders.sql(facts) == incremental


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


def test_an_order_of_a_poll_that_was_long_under_way_is_checked_although_it_was_seen_before(
    orders: Orders,
) -> None:
    """A page is stored a while after it was asked for: nobody else would ever check the order."""
    asked_at = orders.clock.now()
    with orders.engine.begin() as connection:
        start_run(connection, orders.account, "poll", "poll-1", asked_at)
    orders.later(hours=1)
    assert orders.checked().checked == 0
    checked_at, orders.clock.moment = orders.clock.moment, asked_at
    orders.order(10, total_change=900_000_000)
    orders.clock.moment = checked_at
    report = orders.checked()
    assert (report.checked, report.held) == (1, 1)


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
    orders.gone(2, "installs", "install_id")
    assert "install_known" in orders.failing()[10]


@pytest.mark.parametrize(
    ("number", "table", "key"),
    [
        (10, "change_orders", "change_order_id"),
        (11, "change_order_adders", "change_order_id"),
        (1, "installs", "install_id"),
    ],
)
def test_what_was_deleted_has_the_orders_checked_again_that_are_checked_against_it(
    orders: Orders, number: int, table: str, key: str
) -> None:
    orders.version(1, NOW - timedelta(days=4), panel_count=24, status_id=1)
    orders.order(10, signed_at=NOW - timedelta(days=3), panel_count_new=30)
    orders.order(11, panel_count_old=30, panel_count_new=32, total_change=300)
    for order_id, install_id in ((12, 2), (13, 3)):
        orders.order(order_id, install_id=install_id, total_change=300)
    for order_id in (11, 12, 13):
        orders.adder(order_id)
    orders.install(1, panel_count=32, system_size_kw=12.96)
    for _ in range(2):
        # What fails is looked at in every run, and what was seen since the run before.
        assert orders.failing() == {}
        orders.later(hours=3)
    orders.gone(number, table, key)
    checked_as_in_full(orders)


def test_an_order_that_moves_to_another_install_has_those_of_the_install_before_checked_again(
    orders: Orders,
) -> None:
    orders.version(1, NOW - timedelta(days=4), panel_count=24, status_id=1)
    orders.order(10, signed_at=NOW - timedelta(days=3), panel_count_new=30)
    orders.order(11, panel_count_old=30, panel_count_new=32)
    orders.install(1, panel_count=32, system_size_kw=12.96)
    for _ in range(2):
        assert orders.failing() == {}
        orders.later(hours=3)
    orders.order(10, signed_at=NOW - timedelta(days=3), panel_count_new=30, install_id=2)
    checked_as_in_full(orders)


def test_a_status_that_counts_as_voided_now_has_the_orders_of_its_installs_checked_again(
    orders: Orders, tmp_path: Path
) -> None:
    orders.install(1, status_id=9, status_name="Cancelled")
    orders.order(10)
    for _ in range(3):
        assert orders.failing() == {}
        orders.later(hours=3)
    text = (CONFIG / "sync.yaml").read_text()
    assert "voided: [Voided]" in text
    (tmp_path / "sync.yaml").write_text(text.replace("voided: [Voided]", "voided: [Voided, Cancelled]"))
    orders.config = load_config(tmp_path / "sync.yaml", {})
    assert orders.failing() == {10: ["install_not_voided"]}
    assert checked(orders) == 0


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


def test_an_order_that_changes_during_the_check_is_not_held_for_a_panel_type_looked_up_before(
    orders: Orders,
) -> None:
    """The statement that judges sees the order's new panel type, which was not looked up; the next run does."""
    orders.order(10)
    silfab, arrived = "Silfab SIL-430 QD", []

    def arrive(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "quality: known panel types" in statement and not arrived:
            arrived.append(True)
            orders.order(10, panel_type_old=REC, panel_type_new=silfab)

    sa.event.listen(orders.engine, "after_cursor_execute", arrive)
    try:
        assert orders.failing() == {}
    finally:
        sa.event.remove(orders.engine, "after_cursor_execute", arrive)
    known = "select panel_type_new, panel_type_known from sync.change_order_facts"
    assert [(row["panel_type_new"], row["panel_type_known"]) for row in orders.sql(known)] == [(silfab, None)]
    orders.later(minutes=1)
    assert orders.failing() == {}
    assert [row["panel_type_known"] for row in orders.sql(known)] == [True]


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
        "import sys, enerflo_sync.jobs.quality, enerflo_sync.quality.check_orders;"
        "print([n for n in sys.modules if n.startswith(('great_expectations', 'pandas'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_great_expectations_is_imported_without_the_clients_of_other_databases() -> None:
    code = (
        "import sys; from enerflo_sync.quality.validate import load_great_expectations;"
        "load_great_expectations(); print('boto3' in sys.modules); import boto3; print(boto3.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "boto3"]


def test_a_percent_sign_in_a_rule_and_in_its_reason_is_one_sign(orders: Orders, tmp_path: Path) -> None:
    text = SUITE.read_text()
    pattern = next(line for line in text.splitlines() if "matches:" in line)
    reason = "It cannot be told how many of which battery are meant."
    assert reason in text
    changed = text.replace(pattern, '    matches: "^[0-9]+% .+$"').replace(reason, "Not 100 % sure.")
    (tmp_path / "change_orders.yaml").write_text(changed)
    orders.suite = load_suite(tmp_path / "change_orders.yaml", {})
    orders.order(10, battery_new="50% x Powerwall")
    orders.order(11, install_id=2, battery_new="50 x Powerwall")
    orders.install(2)
    assert orders.checked(expectations=True).not_validated == 0
    failed = orders.sql(
        "select change_order_id, reason from sync.quality_results where check_id = 'battery_form'"
    )
    assert [tuple(row.values()) for row in failed] == [(11, "Not 100 % sure.")]


def test_great_expectations_says_nothing_of_its_own_while_all_is_well(
    orders: Orders, caplog: pytest.LogCaptureFixture
) -> None:
    # One of its modules sets a level for itself when it is imported.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.INFO)
    orders.order(10)
    with caplog.at_level(logging.INFO):
        orders.checked(expectations=True)
    assert [record.name for record in caplog.records if record.name.startswith("great_expectations")] == []


def test_great_expectations_counts_in_the_warehouse_and_fetches_no_orders(orders: Orders) -> None:
    for order_id in range(10, 40):
        orders.order(order_id, install_id=order_id)
        orders.install(order_id)
    orders.checked()
    fetched: list[int] = []

    def count(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if statement.lower().startswith("select"):
            fetched.append(cursor.rowcount)

    sa.event.listen(sa.Engine, "after_cursor_execute", count)
    try:
        assert orders.checked(expectations=True).not_validated == 0
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", count)
    assert len(fetched) > 10
    assert max(fetched) < 30


def test_orders_that_are_gone_are_counted_no_more(orders: Orders) -> None:
    orders.order(10, panel_count_new=2400)
    orders.order(11, install_id=2)
    orders.install(2)
    assert (orders.checked().orders, orders.checked().held) == (2, 1)
    orders.gone(10)
    orders.later(hours=1)
    report = orders.checked()
    assert (report.checked, report.orders, report.held) == (0, 1, 0)
    assert sum(check.failed for check in report.checks) == 0
