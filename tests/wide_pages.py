"""Which pages do not fit the windows in which people read them: phones, and the frame of Airflow."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from enerflo_sync.reconcile.render.html import style_sheet

WIDTHS = (360, 420, 800, 1200)
needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")


def too_wide(pages: Mapping[str, str], folder: Path) -> list[tuple[str, int, int]]:
    """Return each page that is wider than a window, with the window's width and the pixels beyond it."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for width in WIDTHS:
            tab = browser.new_page(viewport={"width": width, "height": 800})
            for name, html in pages.items():
                file = folder / f"{name}.html"
                # Pages in Airflow share one file that says how they look.
                whole = re.sub(r'<link rel="stylesheet"[^>]*>', f"<style>{style_sheet()}</style>", html)
                file.write_text(whole, encoding="utf-8")
                tab.goto(file.as_uri())
                beyond = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
                if beyond > 0:
                    found.append((name, width, beyond))
            tab.close()
        browser.close()
    return found
