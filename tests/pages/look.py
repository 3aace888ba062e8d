"""Pictures of the pages, to be looked at: ``python -m tests.pages.look FOLDER [PATH …]``.

Each page light and dark, wide and narrow; and its height and size on the standard output.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests import airflow_environment  # isort: skip
from tests.conftest import copy_database, embedded_for_tests
from tests.pages.company import page_company

PATHS = (
    "accounts",
    "overview/default",
    "inbox/default",
    "differences/default",
    "record/default/installs/enerflo:4400002",
    "search/default?q=1",
    "search/default?q=ma",
    "plans/default",
    "quality/default",
    "freshness/default",
    "reports/default",
    "reports/default/latest",
)
WIDTHS = {"wide": 1440, "middle": 900, "narrow": 390}


def main(folder: Path, paths: tuple[str, ...]) -> None:
    """Write the pictures."""
    airflow_environment.migrated_metadata()
    from tests.pages.served import served_pages, token_of

    folder.mkdir(parents=True, exist_ok=True)
    with (
        embedded_for_tests() as server,
        tempfile.TemporaryDirectory() as home,
        page_company(copy_database(server, "pages", "migrated"), Path(home)),
        served_pages() as origin,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for theme in ("light", "dark"):
            for name, width in WIDTHS.items():
                context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
                context.add_cookies([{"name": "_token", "value": token_of("ADMIN"), "url": origin}])
                page = context.new_page()
                for path in paths:
                    answer = page.goto(f"{origin}/enerflo/{path}")
                    assert answer is not None
                    height = page.evaluate("document.documentElement.scrollHeight")
                    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    label = path.partition("?")[0].replace("/", "-")
                    page.screenshot(path=str(folder / f"{label}-{name}-{theme}.png"), full_page=True)
                    print(
                        f"{path} {name} {theme}: {answer.status}, {height} px high, {wider} px too wide,"
                        f" {len(answer.body()):,} bytes",
                        flush=True,
                    )
                context.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(sys.argv[2:]) or PATHS)
