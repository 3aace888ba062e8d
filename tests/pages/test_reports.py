"""All reports by day, a day's runs, and where the report itself leads."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from enerflo_sync.pages import reports
from tests.pages.conftest import Visitor

pytestmark = pytest.mark.airflow
PAGE = "reports/default"
_RUNS = """
insert into sync.reconciliations (account, reconciliation_id, started_at, finished_at, scope, config_hash,
  compared_until, differences, unexplained, report, summary)
select r.account, 'run-' || to_char(t, 'YYYYMMDDHH24MI'), t, t + interval '20 seconds', 'incremental', r.config_hash, t,
  n, 0, '{}', r.summary || jsonb_build_object('differences', n, 'unexplained', 0, 'tone', 'good',
    'headline', to_char(t, 'DD HH24:MI') || ' found ' || n)
from (select * from sync.reconciliations order by started_at desc limit 1) r,
  lateral (select t, extract(hour from t)::int as n from generate_series(cast(:start as timestamptz),
    cast(:until as timestamptz), cast(:every as interval)) t) s
"""


def fill(pat: Visitor, days: int, every: str = "6 hours", until: datetime | None = None) -> datetime:
    """Store a history of reconciliations that ends with a whole day, and return that day."""
    last = (until or datetime.now(UTC)).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    end = last + timedelta(hours=23, minutes=59)
    pat.sql(_RUNS, start=last - timedelta(days=days - 1), until=end, every=every)
    return last


def days_of(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><i class="tone \w+"></i>(\d{4}-\d\d-\d\d)</th>', text)


def following(text: str) -> str | None:
    found = re.search(r'href="/enerflo/([^"]+)" rel="next"', text)
    return html.unescape(found[1]) if found else None


def test_each_day_has_the_verdict_of_its_last_run_and_its_number_of_runs(
    visitor: Callable[..., Visitor],
) -> None:
    pat = visitor("VIEWER")
    last = fill(pat, 3)
    text = pat.text(PAGE)
    assert len(days_of(text)) == 4
    for back in range(3):
        day = last - timedelta(days=back)
        assert f"{day:%d} 18:00 found 18" in text
        assert f'aria-label="4 runs of {day:%Y-%m-%d}"' in text
    assert "12:00 found 12" not in text


def test_every_day_stands_on_exactly_one_page(
    visitor: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("VIEWER")
    fill(pat, 20, every="8 hours")
    monkeypatch.setattr(reports, "DAYS", 6)
    path: str | None = PAGE
    seen: list[str] = []
    while path:
        text = pat.text(path)
        seen += days_of(text)
        path = following(text)
    assert len(seen) == 21
    assert seen == sorted(set(seen), reverse=True)


def test_a_day_opens_its_runs_page_by_page_and_each_leads_to_its_report(
    visitor: Callable[..., Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    pat = visitor("VIEWER")
    day = fill(pat, 1, every="15 minutes")
    path: str | None = f"{PAGE}?day={day:%Y-%m-%d}"
    seen: list[str] = []
    while path:
        text = pat.text(path)
        seen += re.findall(r'href="/enerflo/reports/default/(run-\d+)"', text)
        path = following(text)
    assert len(seen) == 96
    assert seen == sorted(set(seen), reverse=True)


def test_two_years_of_96_runs_a_day_stay_quick(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("VIEWER")
    last = fill(pat, 730, every="15 minutes")
    pat.sql("analyze sync.reconciliations")
    for path in (PAGE, f"{PAGE}?before={last - timedelta(days=600):%Y-%m-%d}", f"{PAGE}?day={last:%Y-%m-%d}"):
        pat.text(path)
        began = time.perf_counter()
        text = pat.text(path)
        assert time.perf_counter() - began < 1
        assert len(text.encode()) < 60_000
    assert len(days_of(pat.text(f"{PAGE}?before={last - timedelta(days=600):%Y-%m-%d}"))) == 30
    began = time.perf_counter()
    pat.text("overview/default")
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "query",
    ["before=x", "before=9999-12-31", "day=2026-02-30", "day=2026-01-01&after=x", "before=" + "9" * 10_000],
)
def test_an_address_that_cannot_be_read_is_said_so(visitor: Callable[..., Visitor], query: str) -> None:
    answer = visitor("VIEWER").get(f"{PAGE}?{query}")
    assert answer.status_code == 400
    assert "This address leads nowhere" in answer.text
    assert 'href="/enerflo/overview/default"' in answer.text


@pytest.mark.parametrize("query", ["before=1999-01-01", "day=1999-01-01"])
def test_where_nothing_is_the_page_says_what_to_do(visitor: Callable[..., Visitor], query: str) -> None:
    text = visitor("VIEWER").text(f"{PAGE}?{query}")
    assert re.search(r'class="nothing">[^<]*(Go back|Choose another day)', text)


def test_the_reports_figures_lead_to_exactly_the_differences_that_they_count(
    visitor: Callable[..., Visitor],
) -> None:
    pat = visitor("VIEWER")
    text = pat.text("reports/default/latest")
    links = re.findall(
        r'<a href="/enerflo/(differences/default\?[^"]+)"><span class="badge"[^>]*>.*?</i><span class="num">'
        r"([\d,]+)</span>",
        text,
    )
    assert len(links) > 5
    for address, count in links:
        shown = pat.text(html.unescape(address))
        noun = "difference" if count == "1" else "differences"
        assert f"<h1>{count} {noun}</h1>" in shown
    fields = re.findall(
        r'<th scope="row" class="(?:mono|whole)"><a href="/enerflo/(differences[^"]+)">', text
    )
    assert fields
    for address in fields:
        assert pat.get(html.unescape(address)).status_code == 200
