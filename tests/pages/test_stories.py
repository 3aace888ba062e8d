"""What a data team does, by clicks alone from Airflow's home, in a real browser: at most five of them each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from playwright.sync_api import Browser, FrameLocator, Locator, Page

from tests.pages.conftest import Visitor
from tests.pages.known_dags import known, ran, runs_of
from tests.pages.served import enter, token_of
from tests.wide_pages import needs_chromium

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.timeout(300), needs_chromium]
MOST = 5


@dataclass
class Person:
    """Somebody who clicks, and how often."""

    page: Page
    visitor: Visitor
    clicks: int = 0

    @property
    def frame(self) -> FrameLocator:
        """Our pages, as they stand in Airflow."""
        return self.page.frame_locator('iframe[title="Enerflo"]')

    def click(self, found: Locator) -> None:
        self.clicks += 1
        assert self.clicks <= MOST, "more than five clicks"
        found.click()

    def enters(self) -> None:
        """Open our pages by the entry of Airflow's navigation."""
        self.clicks += 1
        enter(self.page)

    def goes_to(self, name: str) -> None:
        """Follow an entry of the bar."""
        self.click(self.frame.get_by_label("Pages", exact=True).get_by_role("link", name=name))
        self.frame.locator('nav a[aria-current="page"]', has_text=name).wait_for()

    def heading(self, part: str) -> str:
        """Return the page's heading, once it holds a text."""
        found = self.frame.get_by_role("heading", level=1).filter(has_text=part)
        found.wait_for()
        return found.inner_text()

    def notice(self) -> str:
        """Return what the page says was done."""
        return self.frame.get_by_role("status").inner_text()

    def sql(self, statement: str) -> list[dict[str, object]]:
        return [dict(row) for row in self.visitor.sql(statement)]


@pytest.fixture
def pat(visitor: Callable[..., Visitor], airflow_home: str, browser: Browser) -> Iterator[Person]:
    """An administrator in front of Airflow's home."""
    found = visitor("ADMIN")
    with browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True) as context:
        context.add_cookies([{"name": "_token", "value": token_of("ADMIN"), "url": airflow_home}])
        page = context.new_page()
        page.goto(f"{airflow_home}/")
        yield Person(page, found)


def test_whether_the_account_is_in_agreement_and_the_worst_cause(pat: Person) -> None:
    card = pat.page.frame_locator('iframe[title="Enerflo and CRM"]')
    card.get_by_text("differences are unexplained").wait_for()
    pat.click(card.get_by_role("link", name="default", exact=True))
    pat.heading("are unexplained, 0 allowed")
    pat.frame.get_by_role("heading", name="The worst cause: Unexplained").wait_for()


def test_one_install_is_found_by_name_and_why_it_differs(pat: Person) -> None:
    (install,) = pat.sql(
        "select i.install_id, i.customer_name from sync.differences d join enerflo.installs i"
        " on i.install_id = (d.key ->> 'enerflo_install_id')::bigint"
        " where d.table_name = 'installs' and d.field = 'panel_count' and d.cause = 'unexplained' limit 1"
    )
    pat.enters()
    field = pat.frame.get_by_role("searchbox")
    field.fill(str(install["customer_name"]))
    pat.clicks += 1
    field.press("Enter")
    # The overview may name the install as well.
    pat.heading("found")
    pat.click(pat.frame.get_by_role("link", name=str(install["install_id"])).first)
    pat.heading(str(install["install_id"]))
    first = pat.frame.get_by_role("table").first.locator("tbody tr").first.inner_text()
    assert "panel_count" in first
    assert "Unexplained" in first


def test_a_plan_is_approved_without_one_record_which_stays_open(pat: Person) -> None:
    known("approve")
    pat.enters()
    pat.goes_to("Plans")
    pat.click(pat.frame.get_by_role("table").get_by_role("link").first)
    left_out = pat.frame.get_by_role("checkbox", name=re.compile("Choose installs:")).first
    name = left_out.get_attribute("value")
    pat.click(left_out)
    pat.click(pat.frame.get_by_role("button", name="Approve all but what is checked"))
    pat.frame.get_by_text("enerflo_approve").first.wait_for()
    assert len(runs_of("approve")) == 1
    (plan,) = pat.sql(
        "select plan_hash, state, decided_by from sync.plans order by decided_at desc nulls last limit 1"
    )
    assert (plan["state"], plan["decided_by"]) == ("approved", "pat")
    states = pat.sql(
        "select state, count(*) as n, min(key ->> 'enerflo_install_id') as install from sync.plan_changes"
        f" where plan_hash = '{plan['plan_hash']}' and table_name = 'installs' and state = 'left_out' group by 1"
    )
    assert [row["install"] for row in states] == [str(name).partition(":")[2].partition(".")[0]]
    assert pat.sql("select * from sync.refusals") == []


def test_a_plan_is_rejected_with_a_reason(pat: Person) -> None:
    pat.enters()
    pat.goes_to("Plans")
    pat.click(pat.frame.get_by_role("table").get_by_role("link").first)
    pat.frame.get_by_label("Reason, for a no").fill("the CRM is being cleaned")
    pat.click(pat.frame.get_by_role("button", name="Reject all but what is checked"))
    pat.frame.get_by_text("the CRM is being cleaned").first.wait_for()
    (plan,) = pat.sql(
        "select state, decided_by, decision_reason from sync.plans where decided_at is not null"
    )
    assert plan == {"state": "rejected", "decided_by": "pat", "decision_reason": "the CRM is being cleaned"}


def test_enter_in_a_field_decides_nothing(pat: Person) -> None:
    pat.enters()
    pat.goes_to("Plans")
    pat.click(pat.frame.get_by_role("table").get_by_role("link").first)
    for label in ("Reason, for a no", "Checked as well"):
        field = pat.frame.get_by_label(label)
        field.fill("no, the CRM is right")
        field.press("Enter")
    pat.goes_to("Inbox")
    entry = pat.frame.get_by_role("group").filter(has_text="change order held back").first
    pat.click(entry.locator("summary"))
    field = entry.get_by_label(re.compile("^Reason")).first
    field.fill("not yet")
    field.press("Enter")
    pat.page.wait_for_timeout(500)
    pat.frame.get_by_role("heading", level=1).filter(has_text="to resolve").wait_for()
    assert pat.sql("select * from sync.plans where decided_by is not null") == []
    assert pat.sql("select * from sync.quarantine where decided_by is not null") == []


def test_a_held_order_is_released(pat: Person) -> None:
    pat.enters()
    pat.goes_to("Inbox")
    entry = pat.frame.get_by_role("group").filter(has_text="change order held back").first
    pat.click(entry.locator("summary"))
    entry.get_by_label(re.compile("^Reason")).first.fill("asked the customer")
    pat.click(entry.get_by_role("button", name=re.compile("Release")).first)
    assert "released" in pat.notice().lower() or "let through" in pat.notice().lower()
    (item,) = pat.sql("select decided_by, decision_reason from sync.quarantine where decided_by = 'pat'")
    assert item["decision_reason"] == "asked the customer"


def test_a_group_of_quarantined_input_is_settled(pat: Person) -> None:
    pat.enters()
    pat.goes_to("Inbox")
    entry = pat.frame.get_by_role("group").filter(has_text="records not ingested").first
    pat.click(entry.locator("summary"))
    entry.get_by_label(re.compile("^Reason")).first.fill("test records of the vendor")
    pat.click(entry.get_by_role("button", name=re.compile("Dismiss")).first)
    assert "dismissed" in pat.notice().lower()
    items = pat.sql("select state from sync.quarantine where decided_by = 'pat'")
    assert [item["state"] for item in items] == ["dismissed", "dismissed"]


def test_a_backfill_of_last_march_begins_with_its_estimate(pat: Person) -> None:
    known("backfill")
    pat.enters()
    pat.click(pat.frame.get_by_role("link", name="Backfill…"))
    pat.frame.get_by_label("Created from").fill("2026-03-01")
    pat.frame.get_by_label("Created to").fill("2026-03-31")
    pat.click(pat.frame.get_by_role("button", name="Estimate"))
    pat.frame.get_by_text("enerflo_backfill").first.wait_for()
    (run,) = runs_of("backfill")
    assert run.triggering_user_name == "pat"
    assert "2026-03-01" in str(run.conf)


def test_why_a_run_failed(pat: Person) -> None:
    pat.sql("alter table crm.installs rename to installs_elsewhere")
    ran("reconcile")
    pat.enters()
    pat.click(pat.frame.get_by_role("link", name="See why"))
    pat.heading("Reconciliation failed")
    told = pat.frame.locator("main").inner_text()
    assert "no table crm.installs in the database" in told
    assert "Compare the mirror with the CRM" in told


def test_how_fresh_the_mirror_is_and_how_much_budget_is_left(pat: Person) -> None:
    pat.enters()
    pat.goes_to("Freshness")
    told = pat.frame.locator("main").inner_text()
    for words in ("Requests in the last minute", "Lists of Enerflo", "installs", "Last webhook"):
        assert words in told


def test_a_filtered_list_goes_to_a_colleague_as_xlsx(pat: Person, tmp_path: Path) -> None:
    pat.enters()
    pat.goes_to("Differences")
    pat.frame.locator("select[name=cause]").select_option("unexplained")
    pat.click(pat.frame.get_by_role("button", name="Show"))
    pat.frame.get_by_role("link", name="All", exact=True).wait_for()
    shown = int(pat.heading("differences").split()[0])
    with pat.page.expect_download() as started:
        pat.click(pat.frame.get_by_role("link", name="Export XLSX"))
    file = tmp_path / started.value.suggested_filename
    started.value.save_as(file)
    sheets = pd.read_excel(file, sheet_name=None)
    rows = [sheet for sheet in sheets.values() if "cause" in sheet.columns]
    assert sum(map(len, rows)) == shown > 0
