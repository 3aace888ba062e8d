"""The page of the checks: what a person decides about, escaped, and no other host."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.addresses import Addresses
from enerflo_sync.pages.quality import ChecksFilter, Listing, read_checks_page, render_checks
from enerflo_sync.quality.life_cycle.graph import load_life_cycle
from enerflo_sync.quality.render.text import quality_text
from enerflo_sync.reconcile.render.frame import Frame
from tests.quality.conftest import QCELLS, Orders
from tests.quality.life_cycle.conftest import SHIPPED
from tests.wide_pages import needs_chromium, too_wide


def shown(orders: Orders, listing: Listing = Listing.CHECKS, *, token: str = "") -> str:
    frame = Frame(Addresses("/enerflo"), orders.account, token=token)
    life_cycle = load_life_cycle(SHIPPED, {})
    with orders.engine.connect() as connection:
        page = read_checks_page(
            connection, orders.suite, life_cycle, orders.account, ChecksFilter(listing=listing)
        )
    return render_checks(page, frame)


def test_the_page_tells_what_is_held_and_how_it_was_before(orders: Orders) -> None:
    orders.order(10)
    orders.checked()
    orders.later(days=1)
    orders.order(11, install_id=2, battery_new="<b>one</b>", status="pending")
    orders.checked()
    page = shown(orders)
    assert "1 of 2 change orders is held back from the CRM." in page
    line = page[page.index("battery_form") :]
    assert line[: line.index("</tr>")].count("polyline") == 1
    rates = page[page.index("install_known") :]
    assert 'aria-label="from 100 % to 100 %; foot 99 %"' in rates[: rates.index("</tr>")]
    listed = shown(orders, Listing.ORDERS, token="t")
    assert "&lt;b&gt;one&lt;/b&gt;" in listed
    assert "<b>one" not in listed
    assert "Let them through" in listed
    assert "Let them through" not in shown(orders, Listing.ORDERS)
    for text in (page, listed):
        assert "http" not in text.replace("http://www.w3.org", "")


def test_orders_that_nobody_checked_are_not_called_none(orders: Orders) -> None:
    """Polled, and the DAG of the checks is switched off."""
    orders.order(10)
    page = shown(orders)
    assert "None of 1 change order was checked yet." in page
    assert '<section class="banner unsure"' in page
    assert "No change order was checked yet." in shown(orders, Listing.ORDERS)


def test_orders_that_came_since_the_last_check_are_not_called_none(orders: Orders) -> None:
    orders.order(10)
    orders.checked()
    assert '<section class="banner good"' in shown(orders)
    orders.order(11, install_id=2)
    page = shown(orders)
    assert "None of 1 change order is held. 1 order came or changed since the last check" in page
    assert '<section class="banner unsure"' in page
    orders.checked()
    assert '<section class="banner good"' in shown(orders)


def test_before_the_first_order_both_say_so(orders: Orders) -> None:
    orders.checked()
    page = shown(orders)
    assert "Change orders were not read whole yet." in page, "an empty mirror says nothing of Enerflo"
    assert '<section class="banner unsure"' in page
    orders.sql(
        "insert into sync.watermarks (account, name, value, recorded_at, run_id)"
        " values ('default', 'change_orders', now(), now(), 'poll')"
    )
    report = orders.checked()
    assert "There is no change order yet." in shown(orders)
    assert '<section class="banner good"' in shown(orders)
    assert "there is nothing to look at here" in shown(orders, Listing.ORDERS)
    assert "No install was judged yet" in shown(orders, Listing.FINDINGS)
    assert quality_text(report).startswith("There is no change order yet.")


def test_rates_are_of_the_orders_that_a_check_concerns(orders: Orders) -> None:
    orders.order(10, battery_new="2 x Powerwall 3")
    orders.order(11, install_id=2, battery_new="a big one")
    orders.order(12, install_id=3)
    counts = {one.check: one for one in orders.checked().checks}
    assert (counts["battery_form"].checked, counts["battery_form"].failed) == (2, 1)
    assert counts["battery_form"].pass_rate == 0.5
    assert counts["signed_after_install"].pass_rate == 1.0


@pytest.mark.browser
@needs_chromium
def test_the_page_is_no_wider_than_a_phone_or_the_frame_of_airflow(orders: Orders, tmp_path: Path) -> None:
    orders.order(10, panel_count_new=2400, battery_new="some batteries", status="complete")
    orders.order(11, panel_type_old=QCELLS, panel_type_new="Moon 900")
    orders.checked()
    pages = {str(listing): shown(orders, listing, token="t") for listing in Listing}
    assert too_wide(pages, tmp_path) == []
