"""What a change order that makes no sense gets (issue 5, "Bad input"), from the dropped event to the CRM."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from enerflo_sandbox.seeded import install_id_of
from enerflo_sandbox.state import Adder, ChangeOrderState
from enerflo_sync.addresses import Addresses
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.quality import open_life_cycle, open_suite, read_quality, run_quality
from enerflo_sync.pages.quality import ChecksFilter, Listing, read_checks_page, render_checks
from enerflo_sync.quality.render.text import quality_text
from enerflo_sync.reconcile.render.frame import Frame
from tests.writes.conftest import Desk

Record = dict[str, Any]
FEE = Adder(986, "Customer Concierge Fee", 300, 1)


@pytest.fixture
def both(agreed: Desk) -> Desk:
    """Writing switched on, and both sides agree."""
    agreed.switched_on("both", ("nulling: true", "nulling: false"))
    return agreed


def says(**values: Any) -> Callable[[Record], None]:
    """Return what replaces components of ``change_values``."""
    return lambda record: record["change_values"].update(values)


def is_said(values: Any) -> Callable[[Record], None]:
    """Return what replaces the whole of ``change_values``."""
    return lambda record: record.update(change_values=values)


def adders(**fields: Any) -> Callable[[Record], None]:
    """Return what replaces fields of every new adder."""

    def spoil(record: Record) -> None:
        for adder in record["change_values"]["adders"]["new"].values():
            adder.update(fields)

    return spoil


def failing(desk: Desk, order: ChangeOrderState) -> list[str]:
    """Check, and return the holding checks that the order fails."""
    report = run_quality(desk.context, with_expectations=False)
    found = [one for one in report.failing if one.change_order_id == order.change_order_id]
    return [check.check for one in found for check in one.failing if check.severity == "hold"]


UNREADABLE: dict[str, tuple[Callable[[Record], None], str]] = {
    "change_values is a list": (is_said(["panel"]), "expected_object at change_values"),
    "change_values is a text": (is_said("24 panels"), "expected_object at change_values"),
    "a component is a list": (says(panel_count=[24]), "expected_object at change_values.panel_count"),
    "3.5 panels": (
        says(panel_count={"old": 24, "new": 3.5}),
        "expected_whole_number at change_values.panel_count.new",
    ),
    "thirty panels": (
        says(panel_count={"old": 24, "new": "thirty"}),
        "expected_whole_number at change_values.panel_count.new",
    ),
    "a battery that is a list": (
        says(battery={"old": [2], "new": "2 x Powerwall 3"}),
        "expected_text at change_values.battery.old",
    ),
    "adders that are a number": (
        says(adders={"old": [], "new": 3}),
        "expected_list_of_objects at change_values.adders.new",
    ),
    "an adder without an id": (adders(id=None), "missing_id at change_values.adders.new.id"),
    "a cost in words": (adders(cost="a lot"), "expected_number at change_values.adders.new.cost"),
    "a total in words": (
        says(total_cost={"old": 1, "new": "more"}),
        "expected_number at change_values.total_cost.new",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_order_that_cannot_be_read_is_put_aside_under_the_place_that_is_wrong(
    both: Desk, case: str
) -> None:
    spoil, reason = UNREADABLE[case]
    order = both.signs(adders_new=(FEE,), spoil=spoil)
    assert run_ingest(both.context).state == "partial"
    item = "select reason, state from sync.quarantine where kind = 'record' and table_name = 'change_orders'"
    assert [tuple(row.values()) for row in both.sql(item)] == [(reason, "open")]
    both.kept_out(order)
    order.spoil = None
    run_poll(both.context)
    assert [row["state"] for row in both.sql(item)] == ["replayed"]
    both.carried()
    assert both.order_in_crm(order)["panel_count"] == (order.panel_count or (0, 0))[1]


@pytest.mark.parametrize("nothing", [{}, [], None, ""], ids=repr)
def test_an_order_whose_change_values_are_empty_changes_nothing_and_passes(
    both: Desk, nothing: object
) -> None:
    order = both.signs(spoil=is_said(nothing))
    assert run_ingest(both.context).state == "ok"
    assert failing(both, order) == []
    both.carried()
    row = both.order_in_crm(order)
    said = ("panel_type", "panel_count", "battery_configuration", "adders")
    assert [row[name] for name in said] == [None, None, None, []]
    both.settled()


def test_a_cost_that_is_written_as_text_is_the_number(both: Desk) -> None:
    order = both.signs(adders_new=(FEE,), spoil=adders(cost=" 300.10 ", quantity="2"))
    assert run_ingest(both.context).state == "ok"
    [row] = both.sql(
        "select cost, quantity from enerflo.change_order_adders where change_order_id = :i",
        i=order.change_order_id,
    )
    assert (str(row["cost"]).rstrip("0"), row["quantity"]) == ("300.1", 2)


def test_a_negative_quantity_is_held(both: Desk) -> None:
    order = both.signs(adders_new=(Adder(FEE.adder_id, FEE.name, FEE.cost, quantity=-2),))
    assert run_ingest(both.context).state == "ok"
    assert failing(both, order) == ["adder_quantity_positive"]
    both.kept_out(order)


def test_ten_thousand_adders_are_held_and_the_page_stays_readable(both: Desk) -> None:
    order = both.signs(adders_new=tuple(Adder(10_000 + at, f"A{at}", 1, 1) for at in range(10_000)))
    assert run_ingest(both.context).state == "ok"
    assert failing(both, order) == ["adder_count_range"]
    both.kept_out(order)
    [stored] = both.sql(
        "select count(*) as n from enerflo.change_order_adders where change_order_id = :i",
        i=order.change_order_id,
    )
    assert stored["n"] == 10_000
    report = read_quality(both.context)
    context = both.context
    with context.engine.connect() as connection:
        page = read_checks_page(
            connection,
            open_suite(context),
            open_life_cycle(context),
            context.account,
            ChecksFilter(listing=Listing.ORDERS),
        )
    # 10,000 names alone are 100 KB.
    assert len(render_checks(page, Frame(Addresses(), context.account))) < 60_000
    assert max(map(len, quality_text(report).splitlines())) < 400


def test_adders_beyond_the_size_of_a_record_are_put_aside_unread(both: Desk) -> None:
    order = both.signs(adders_new=tuple(Adder(10_000 + at, "x" * 100, 1, 1) for at in range(10_000)))
    run_ingest(both.context)
    both.kept_out(order)
    [item] = both.sql("select reason from sync.quarantine where table_name = 'change_orders'")
    assert item["reason"] == "record_too_large"


def test_two_orders_of_one_id_are_one_and_what_stands_is_checked(both: Desk) -> None:
    order = both.signs()
    run_ingest(both.context)
    assert failing(both, order) == []
    both.carried()
    # Signed in a later second than the mirror saw what the first one made of the install.
    seen = both.world.moment()
    while both.world.moment() == seen:
        time.sleep(0.02)
    other = both.signs(
        install_number=order.install_number,
        panel_count=(order.panel_count[1], 900),  # type: ignore[index]
        spoil=lambda record: record.update(id=order.change_order_id),
    )
    report = run_ingest(both.context)
    assert "repeated_on_page" in report.reasons["skipped"]
    rows = both.sql(
        "select change_order_id, panel_count_new from enerflo.change_orders"
        " where change_order_id in (:one, :two)",
        one=order.change_order_id,
        two=other.change_order_id,
    )
    assert [tuple(row.values()) for row in rows] == [(order.change_order_id, 900)]
    assert failing(both, order) == ["panel_count_range"]
    # What the CRM has of the id stays until somebody decides.
    both.kept_out(order)
    assert both.order_in_crm(order)["panel_count"] == (order.panel_count or (0, 0))[1]


def test_an_order_for_an_install_that_was_never_seen_is_held_until_it_is(both: Desk) -> None:
    world = both.world
    unseen = install_id_of(world.era.seed, world.installs.total)
    order = both.signs(spoil=lambda record: record.update(epc_install_id=unseen))
    assert run_ingest(both.context).state == "ok"
    assert failing(both, order) == ["install_known"]
    both.kept_out(order)
    assert world.create_install() == unseen
    # It cannot be of a day before its install.
    order.signed = world.moment()
    run_poll(both.context)
    assert failing(both, order) == []
    both.carried()
    row = both.order_in_crm(order)
    assert row["enerflo_install_id"] == unseen
