"""Pictures of the pages, to be looked at: ``python -m tests.pages.look FOLDER [PATH …]``.

Each page light and dark, wide and narrow; and its height and size on the standard output. With ``--tour``
before the folder: the pictures of the docs (``make pictures``).
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests import airflow_environment  # isort: skip
from tests.conftest import copy_database, embedded_for_tests
from tests.pages.company import page_company

PATHS = (
    "accounts",
    "overview/default",
    "overview/default/backfill",
    "card",
    "inbox/default",
    "differences/default",
    "record/default/installs/enerflo:4400002",
    "search/default?q=1",
    "search/default?q=ma",
    "plans/default",
    "quality/default",
    "freshness/default",
    "reports/default",
    "reports/default?day=2026-01-01",
    "reports/default/latest",
)
WIDTHS = {"wide": 1440, "middle": 900, "narrow": 390}


# The pictures of docs/tour.md and README.md, by name: where a reader gets by the links that are named.
TOUR: dict[str, tuple[str, ...]] = {
    "overview": ("overview/default",),
    "inbox": ("inbox/default",),
    "differences": ("differences/default",),
    "record": ("record/default/installs/enerflo:4400002",),
    "plan": ("plans/default", "table a"),
    "checks": ("quality/default",),
    "freshness": ("freshness/default",),
}


@contextmanager
def browser_on_pages() -> Iterator[tuple[Browser, str]]:
    """Yield a browser, and the address of Airflow's API server with the company's pages."""
    airflow_environment.migrated_metadata()
    from tests.pages.served import served_pages

    with (
        embedded_for_tests() as server,
        tempfile.TemporaryDirectory() as home,
        page_company(copy_database(server, "pages", "migrated"), Path(home)),
        served_pages() as origin,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser, origin
        browser.close()


def signed_in(browser: Browser, origin: str, theme: str, width: int) -> BrowserContext:
    """Return a window of an administrator's browser."""
    from tests.pages.served import token_of

    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
    context.add_cookies([{"name": "_token", "value": token_of("ADMIN"), "url": origin}])
    return context


def look(folder: Path, paths: tuple[str, ...]) -> None:
    """Write pictures of whole pages in both themes and all widths, and tell their sizes."""
    with browser_on_pages() as (browser, origin):
        for theme in ("light", "dark"):
            for name, width in WIDTHS.items():
                context = signed_in(browser, origin, theme, width)
                page = context.new_page()
                for path in paths:
                    answer = page.goto(f"{origin}/enerflo/{path}")
                    assert answer is not None
                    height = page.evaluate("document.documentElement.scrollHeight")
                    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    label = re.sub(r"\W+", "-", path)
                    page.screenshot(path=str(folder / f"{label}-{name}-{theme}.png"), full_page=True)
                    print(
                        f"{path} {name} {theme}: {answer.status}, {height} px high, {wider} px too wide,"
                        f" {len(answer.body()):,} bytes",
                        flush=True,
                    )
                context.close()


def tour(folder: Path) -> None:
    """Write the pictures of the docs: what a window shows of each page, the overview in both themes."""
    with browser_on_pages() as (browser, origin):
        for theme in ("light", "dark"):
            page = signed_in(browser, origin, theme, 1240).new_page()
            for name, (path, *links) in TOUR.items():
                if theme == "light" or name == "overview":
                    page.goto(f"{origin}/enerflo/{path}")
                    for link in links:
                        page.locator(link).first.click()
                        page.wait_for_load_state()
                    page.screenshot(path=str(folder / f"{name}{'' if theme == 'light' else '-dark'}.png"))


if __name__ == "__main__":
    chosen = Path(sys.argv[-1] if sys.argv[1] == "--tour" else sys.argv[1])
    chosen.mkdir(parents=True, exist_ok=True)
    if sys.argv[1] == "--tour":
        tour(chosen)
    else:
        look(chosen, tuple(sys.argv[2:]) or PATHS)
