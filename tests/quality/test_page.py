"""The page of the checks: what a person decides about, escaped, and no other host."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.quality.render.html import render_quality
from enerflo_sync.quality.render.text import quality_text
from tests.quality.conftest import QCELLS, Orders
from tests.wide_pages import needs_chromium, too_wide


def test_the_page_tells_what_is_held_and_how_it_was_before(orders: Orders) -> None:
    orders.order(10)
    orders.checked()
    orders.later(hours=1)
    orders.order(11, install_id=2, battery_new="<b>one</b>", status="pending")
    report = orders.checked()
    page = render_quality(report)
    assert "1 of 2 change orders is held back from the CRM." in page
    assert "&lt;b&gt;one&lt;/b&gt;" in page
    assert "<b>one" not in page
    assert page.count("<time") >= 2
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "quarantine release" in page


def test_before_the_first_order_both_say_so(orders: Orders) -> None:
    report = orders.checked()
    assert "There is no change order yet." in render_quality(report)
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
    assert too_wide({"quality": render_quality(orders.checked())}, tmp_path) == []
