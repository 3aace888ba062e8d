"""The pages in a real browser: nothing that a screen reader or a narrow screen stumbles over, in either theme."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.airflow_fixtures import warehouse_connection
from tests.conftest import fresh_database
from tests.pages.company import PageCompany
from tests.pages.look import PATHS, WIDTHS
from tests.pages.served import served_pages, token_of

CHROMIUM = shutil.which("chromium")
REQUIRED = bool(os.environ.get("ENERFLO_REQUIRE_BROWSER"))
HIGHEST, LARGEST = 3_000, 60_000
# The stored report is kept as it was designed, with a section for each table.
LONG = {"reports/default/latest"}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.airflow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        CHROMIUM is None and not REQUIRED,
        reason="THE PAGES ARE NOT TESTED IN A BROWSER: there is no chromium on this machine (apt-get install chromium)",
    ),
]


@pytest.fixture(scope="module")
def origin(told_company: PageCompany, postgres_url: str) -> Iterator[str]:
    """The address of Airflow's API server with the company's pages."""
    with fresh_database(postgres_url, "told_pages") as address, pytest.MonkeyPatch.context() as patch:
        for name, value in told_company.environ.items():
            patch.setenv(name, value)
        patch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", warehouse_connection(address))
        with served_pages() as found:
            yield found


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser, origin: str) -> Iterator[Page]:
    """A browser in which Airflow's switch stands on one theme, and the computer's own on the other."""
    other = {"light": "dark", "dark": "light"}[request.param]
    context = browser.new_context(color_scheme=other)  # type: ignore[arg-type]
    context.add_cookies([{"name": "_token", "value": token_of("ADMIN"), "url": origin}])
    context.add_init_script(f'localStorage.setItem("theme", "{request.param}")')
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("path", PATHS)
def test_a_page_fits_every_screen_and_reads_well(page: Page, origin: str, path: str) -> None:
    answer = page.goto(f"{origin}/enerflo/{path}")
    assert answer is not None
    assert answer.status == 200
    size = len(answer.body())
    assert path in LONG or size < LARGEST, size
    for width in WIDTHS.values():
        page.set_viewport_size({"width": width, "height": 900})
        too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert too_wide <= 0, f"{too_wide} px too wide at {width}"
        height = page.evaluate("document.documentElement.scrollHeight")
        assert path in LONG or width < 1440 or height < HIGHEST, height
        found = Axe().run(page).response["violations"]
        grave = [
            (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0].get("failureSummary", "")[:300])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert grave == [], f"at {width}"


def test_the_hash_of_a_plan_stands_in_one_line(page: Page, origin: str) -> None:
    page.goto(f"{origin}/enerflo/plans/default")
    link = page.locator('td[data-label="Plan"] a').first
    for width in WIDTHS.values():
        page.set_viewport_size({"width": width, "height": 900})
        assert link.evaluate("one => one.getClientRects().length") == 1, width


def test_the_example_in_the_form_of_a_decision_is_shown_whole(page: Page, origin: str) -> None:
    page.goto(f"{origin}/enerflo/plans/default")
    page.locator('td[data-label="Plan"] a').first.click()
    field = page.locator('input[name="also"]').first
    for width in WIDTHS.values():
        page.set_viewport_size({"width": width, "height": 900})
        # A browser measures a text that is typed, and no placeholder.
        field.fill(str(field.get_attribute("placeholder")))
        assert field.evaluate("one => one.scrollWidth <= one.clientWidth"), width


def test_the_theme_follows_the_switch_of_airflow(page: Page, origin: str) -> None:
    page.goto(f"{origin}/enerflo/differences/default")
    theme = page.evaluate("document.documentElement.dataset.theme")
    surface = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (theme, surface) in {("light", "rgb(246, 247, 245)"), ("dark", "rgb(18, 22, 26)")}
    switched = {"light": "dark", "dark": "light"}[theme]
    # Another document of Airflow's switches: the event comes to this one.
    page.evaluate(
        "t => { localStorage.setItem('theme', t); dispatchEvent(new StorageEvent('storage', {key: 'theme'})); }",
        switched,
    )
    assert page.evaluate("document.documentElement.dataset.theme") == switched
