"""Airflow's own UI in a real browser: the card on its home, and the entry in its navigation."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.pages.conftest import Visitor
from tests.pages.served import enter, served_pages, token_of
from tests.wide_pages import needs_chromium

pytestmark = [pytest.mark.airflow, pytest.mark.browser, needs_chromium]


@pytest.fixture
def home(visitor: Callable[..., Visitor]) -> Iterator[Page]:
    """Airflow's home in a browser, as who may only read sees it."""
    visitor("VIEWER")
    with served_pages() as origin, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        context.add_cookies([{"name": "_token", "value": token_of("VIEWER"), "url": origin}])
        page = context.new_page()
        page.goto(f"{origin}/")
        yield page
        browser.close()


def test_the_card_on_the_home_leads_to_the_accounts_overview_within_airflow(home: Page) -> None:
    card = home.frame_locator('iframe[title="Enerflo and CRM"]')
    card.get_by_text("differences are unexplained").wait_for()
    card.get_by_role("link", name="default", exact=True).click()
    home.wait_for_url("**/plugin/enerflo-reports/enerflo/overview/default")
    home.frame_locator('iframe[title="Enerflo"]').get_by_role("heading", level=1).wait_for()


def test_the_entry_in_the_navigation_leads_to_the_accounts(home: Page) -> None:
    enter(home)
