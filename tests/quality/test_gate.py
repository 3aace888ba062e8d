"""The gate: what is held, how it is let go, and that a person's decision stands for exactly one content."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.quarantine_items import Selection, select_items
from enerflo_sync.quality.gate import release
from enerflo_sync.quality.render.text import verdict
from enerflo_sync.quality.suite import Suite
from enerflo_sync.warehouse.declared import DeclaredColumn, declare
from tests.quality.conftest import NOW, Orders


def changed(suite: Suite, check: str, **options: object) -> Suite:
    data = suite.model_dump(by_alias=True, exclude_unset=True)
    data["checks"][check] |= options
    found = Suite.model_validate(data)
    found._file = suite.file
    return found


def let_through(orders: Orders, item_id: str, **given: str) -> int:
    said = {"reason": "measured again", "by": "Pat"} | given
    with orders.engine.begin() as connection:
        items = select_items(connection, orders.account, Selection((item_id,)))
        return release(
            connection,
            orders.account,
            items,
            key_column="enerflo_change_order_id",
            now=orders.clock.now(),
            **said,
        )


def test_a_held_order_stands_in_quarantine_with_what_it_fails(orders: Orders) -> None:
    orders.order(10, panel_count_new=2400, battery_new="a big one")
    orders.checked()
    [item] = orders.items()
    assert (item["kind"], item["table_name"], item["key"]) == (
        *("change_order", "change_orders"),
        {"change_order_id": 10},
    )
    assert item["reason"] == "failed_checks at panel_count_range, battery_form"
    payload = json.loads(bytes(item["payload"]))
    assert payload["failing"][0] == {
        "check": "panel_count_range",
        "expected": "at least 1 and at most 200",
        "found": 2400,
    }
    assert payload["change_order"]["panel_count_new"] == 2400
    rows = orders.sql("select * from sync.quality_results order by check_id")
    assert [(row["check_id"], row["passed"], row["severity"], row["found"]) for row in rows] == [
        ("battery_form", False, "hold", "a big one"),
        ("panel_count_range", False, "hold", 2400),
    ]


def test_a_corrected_order_goes_on_and_its_results_say_so(orders: Orders) -> None:
    orders.order(10, panel_count_new=2400)
    orders.checked()
    orders.later(hours=1)
    orders.order(10, panel_count_new=26)
    report = orders.checked()
    assert (report.held, report.failing) == (0, [])
    assert [row["state"] for row in orders.items()] == ["replayed"]
    rows = orders.sql("select * from sync.quality_results order by checked_at")
    assert [(row["check_id"], row["passed"]) for row in rows] == [
        ("panel_count_range", False),
        ("panel_count_range", True),
    ]


def test_an_order_that_is_corrected_into_another_trouble_is_held_by_one_item(orders: Orders) -> None:
    orders.order(10, panel_count_new=2400)
    orders.checked()
    orders.later(hours=1)
    orders.order(10, panel_count_new=0)
    assert orders.checked().held == 1
    assert sorted(row["state"] for row in orders.items()) == ["open", "replayed"]
    orders.later(hours=1)
    orders.order(10, panel_count_new=2400)
    assert orders.checked().held == 1
    assert len(orders.items(state="open")) == 1
    assert len(orders.items()) == 2


def test_a_changed_limit_lets_it_go_and_holds_others(orders: Orders) -> None:
    orders.order(10, panel_count_new=220)
    assert orders.failing() == {10: ["panel_count_range"]}
    orders.suite = changed(orders.suite, "panel_count_range", at_most=300)
    orders.later(hours=1)
    assert orders.checked().held == 0
    orders.suite = changed(orders.suite, "panel_count_range", at_most=100)
    orders.later(hours=1)
    assert orders.failing() == {10: ["panel_count_range"]}


def test_other_words_check_nothing_again(orders: Orders) -> None:
    orders.order(10, panel_count_new=220)
    orders.checked()
    orders.suite = changed(orders.suite, "panel_count_range", reason="Too many.")
    orders.later(hours=1)
    assert orders.checked().checked == 0


def test_an_order_that_contradicts_another_stays_held_while_nothing_moves(orders: Orders) -> None:
    """It is looked at again in every run, and then together with the order that it contradicts."""
    orders.order(9, signed_at=NOW - timedelta(days=3), panel_count_new=28)
    orders.order(10, panel_count_new=30)
    first = orders.failing()
    assert "no_contradiction" in first[10]
    for _ in range(2):
        orders.later(hours=1)
        assert orders.failing() == first
    assert orders.checked().held == 1


def test_a_person_lets_exactly_this_content_through(orders: Orders) -> None:
    orders.order(10, panel_count_new=220)
    orders.checked()
    [item] = orders.items()
    assert let_through(orders, item["item_id"][:8]) == 1
    orders.later(hours=1)
    # Its reference data changes, and what is wrong with it is the same.
    orders.install(1, created_at=orders.clock.now() - timedelta(days=70))
    report = orders.checked()
    assert (report.checked, report.held, report.released) == (1, 0, 1)
    assert (report.failing[0].state, report.failing[0].decided_by) == ("released", "Pat")
    [row] = orders.sql("select * from sync.ledger")
    assert (row["decision"], row["decided_by"], row["key"]) == (
        *("released", "Pat"),
        {"enerflo_change_order_id": 10},
    )
    assert "measured again" in row["reason"]
    orders.later(hours=1)
    orders.order(10, panel_count_new=230)
    report = orders.checked()
    assert (report.held, report.released) == (1, 0)


def test_a_dismissed_order_stays_held_and_asks_nobody(orders: Orders) -> None:
    orders.order(10, panel_count_new=220)
    orders.checked()
    orders.sql("update sync.quarantine set state = 'dismissed', decided_by = 'Pat'")
    orders.later(hours=1)
    report = orders.checked(full=True)
    assert (report.held, report.failing[0].state) == (0, "dismissed")
    assert not report.needs_a_person
    assert (
        verdict(report) == "1 of 1 change order is held back from the CRM, 1 of them dismissed by a person."
    )
    [item] = orders.items()
    assert let_through(orders, item["item_id"]) == 1


@pytest.mark.parametrize("given", [{"reason": " "}, {"by": ""}])
def test_a_release_needs_a_reason_and_a_name(orders: Orders, given: dict[str, str]) -> None:
    orders.order(10, panel_count_new=220)
    orders.checked()
    [item] = orders.items()
    with pytest.raises(ConfigurationError, match="needs a reason and a name"):
        let_through(orders, item["item_id"], **given)


def test_only_change_orders_that_are_held_are_released(orders: Orders) -> None:
    orders.order(10, panel_count_new=220)
    orders.checked()
    [item] = orders.items()
    let_through(orders, item["item_id"])
    with pytest.raises(
        ConfigurationError, match=r"change order 10 was let through by .* at 2026-03-02 12:00 UTC"
    ):
        let_through(orders, item["item_id"])


def test_a_deleted_order_holds_nothing(orders: Orders) -> None:
    orders.order(10, panel_count_new=220)
    orders.checked()
    orders.later(hours=1)
    orders.gone(10)
    report = orders.checked()
    assert (report.orders, report.held) == (0, 0)
    assert [row["state"] for row in orders.items()] == ["replayed"]


def test_a_warning_holds_nothing(orders: Orders) -> None:
    orders.order(10, status="pending")
    report = orders.checked()
    assert (report.held, report.warned, report.failing[0].state) == (0, 1, "shown")
    assert orders.items() == []


def test_accounts_do_not_know_of_each_other(orders: Orders) -> None:
    orders.order(10, panel_count_new=220)
    other = Orders(orders.engine, account="west")
    other.install(1)
    other.order(10)
    assert orders.checked().held == 1
    assert other.checked().held == 0
    assert orders.checked(full=True).held == 1


def test_a_release_and_a_dismissal_are_of_the_adders_too(orders: Orders) -> None:
    for number in (10, 11):
        orders.order(number, panel_count_new=220, adders=adders_of("Trenching"), install_id=number - 9)
        orders.adder(number)
    orders.checked()
    first, second = (item["item_id"] for item in orders.items())
    let_through(orders, first)
    orders.sql("update sync.quarantine set state = 'dismissed' where item_id = :id", id=second)
    orders.later(hours=3)
    report = orders.checked(full=True)
    assert (report.held, report.released) == (0, 1)
    # Another adder for the same money.
    for number in (10, 11):
        orders.order(number, panel_count_new=220, adders=adders_of("New roof"), install_id=number - 9)
        orders.adder(number, name="New roof")
    report = orders.checked()
    assert (report.held, report.released) == (2, 0)
    assert [
        (item["state"], json.loads(bytes(item["payload"]))["change_order"]["adders"][0]["name"])
        for item in orders.items(state="open")
    ] == [("open", "New roof")] * 2


def test_a_release_is_of_a_declared_column_too(orders: Orders) -> None:
    column = DeclaredColumn("change_orders", "financier", ("financier",), "text", 100)
    with orders.engine.begin() as connection:
        declare(connection, orders.account, [column])
    orders.order(10, panel_count_new=220, financier="Sun Bank")
    orders.checked()
    let_through(orders, orders.items()[0]["item_id"])
    orders.later(hours=3)
    assert orders.checked(full=True).released == 1
    orders.order(10, panel_count_new=220, financier="Moon Bank")
    assert orders.checked().held == 1


def adders_of(name: str) -> str:
    return json.dumps([{"name": name, "cost": 300, "quantity": 1}])
