"""Airflow's Trigger dialog as a person uses it: the form of a single run, and that of a backfill."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

from playwright.sync_api import Locator, Page, expect

# Airflow's UI asks its server for each part of a page; a busy machine takes its time.
expect.set_options(timeout=30_000)


def open_dialog(page: Page, origin: str, dag_id: str) -> Locator:
    """Open a DAG's dialog from its page, and return it."""
    page.goto(f"{origin}/dags/{dag_id}")
    page.get_by_test_id("trigger-dag-button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("radio", name=re.compile("^Backfill"))).to_be_attached()
    return dialog


def fill_form(dialog: Locator, choice: str, fields: Mapping[str, str]) -> None:
    """Fill the fields of the form of a single run.

    :param choice: what the list *Which installs* shows.
    :param fields: by the name of the parameter.
    """
    dialog.locator("#element_choice").click()
    dialog.page.get_by_role("option", name=choice).click()
    for name, value in fields.items():
        dialog.locator(f"[name=element_{name}]").fill(value)
        dialog.page.keyboard.press("Tab")


def trigger(dialog: Locator) -> None:
    """Trigger the run, and the DAG with it where it is paused."""
    dialog.get_by_test_id("trigger-dag-submit").click()
    expect(dialog).to_be_hidden()


def choose_backfill(dialog: Locator) -> None:
    """Choose a backfill instead of a single run; a DAG that has none greys the choice out."""
    radio = dialog.get_by_role("radio", name=re.compile("^Backfill"))
    expect(radio).to_be_enabled()
    dialog.get_by_text("Run this Dag for a range of dates").click()
    expect(radio).to_be_checked()


def fill_dates(dialog: Locator, first: date, last: date) -> None:
    """Fill the days from and to which runs are wanted."""
    for at, day in enumerate((first, last)):
        picker = dialog.get_by_test_id("datetime-input").nth(at)
        picker.click()
        typed = dialog.page.get_by_placeholder("YYYY/MM/DD")
        typed.fill(f"{day:%Y/%m/%d}")
        picker.click()
        expect(picker).to_contain_text(f"{day:%b %d, %Y}")
        expect(typed).to_have_count(0)


def run_backfill(dialog: Locator) -> None:
    """Start the backfill."""
    dialog.get_by_role("button", name="Run Backfill").click()
    expect(dialog).to_be_hidden()
