"""Airflow's own UI in a real browser: the card on its home, and the entry in its navigation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.pages.conftest import Visitor
from tests.pages.served import enter, token_of
from tests.wide_pages import needs_chromium

pytestmark = [pytest.mark.airflow, pytest.mark.browser, needs_chromium]


@pytest.fixture
def home(visitor: Callable[..., Visitor], airflow_home: str, browser: Browser) -> Iterator[Page]:
    """Airflow's home in a browser, as who may only read sees it."""
    visitor("VIEWER")
    with browser.new_context(viewport={"width": 1440, "height": 1000}) as context:
        context.add_cookies([{"name": "_token", "value": token_of("VIEWER"), "url": airflow_home}])
        page = context.new_page()
        page.goto(f"{airflow_home}/")
        yield page


def test_the_card_on_the_home_leads_to_the_accounts_overview_within_airflow(home: Page) -> None:
    card = home.frame_locator('iframe[title="Enerflo and CRM"]')
    card.get_by_text("differences are unexplained").wait_for()
    card.get_by_role("link", name="default", exact=True).click()
    home.wait_for_url("**/plugin/enerflo-reports/enerflo/overview/default")
    home.frame_locator('iframe[title="Enerflo"]').get_by_role("heading", level=1).wait_for()


def test_the_entry_in_the_navigation_leads_to_the_accounts(home: Page) -> None:
    enter(home)
