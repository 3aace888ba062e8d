from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import msgspec
import pytest

from enerflo_sync.reconcile.render import (
    PageLinks,
    Tone,
    render_html,
    render_message,
    render_no_report,
    verdict_text,
)
from enerflo_sync.reconcile.render.html import page_environment
from enerflo_sync.reconcile.report import Cause, Difference
from tests.reconcile.render.sample_reports import HOSTILE, LONG, REPORTS, every_cause, typical
from tests.wide_pages import needs_chromium, too_wide

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """A parsed page; parsing fails where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data

    def all(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(name)) is not None]


def _words(page: Page) -> str:
    return " ".join(page.text.split())


def _pages() -> Iterator[tuple[str, str]]:
    links = PageLinks("/list", lambda i: f"/list/{i}", {"CSV": "/list/x.csv"})
    for name, report in REPORTS.items():
        yield name, render_html(report(), links)
    yield "no_report", render_no_report()
    yield "error", render_message("Gone", "It is gone.", tone=Tone.BAD)


PAGES = dict(_pages())


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed_stands_alone_and_runs_nothing(name: str) -> None:
    page = Page(PAGES[name])
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?:|@import|url\(", PAGES[name])
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    assert {part for value in page.all("aria-labelledby") for part in value.split()} <= set(ids)
    assert {href[1:] for href in page.all("href") if href.startswith("#")} <= set(ids)
    assert not any(attribute.startswith("on") for _, attrs in page.tags for attribute in attrs)


@pytest.mark.parametrize("name", REPORTS)
def test_the_banner_is_green_only_for_good_news(name: str) -> None:
    page = Page(PAGES[name])
    banners = [value for value in page.all("class") if value.startswith("banner")]
    assert banners == [f"banner {verdict_text(REPORTS[name]()).tone}"]


@pytest.mark.parametrize("name", REPORTS)
def test_every_drawing_has_a_title_and_a_description(name: str) -> None:
    drawings = [attrs for tag, attrs in Page(PAGES[name]).tags if tag == "svg"]
    assert drawings
    for attrs in drawings:
        assert attrs.get("aria-hidden") == "true" or len((attrs["aria-labelledby"] or "").split()) == 2


def test_markup_in_values_names_and_remarks_stays_text() -> None:
    hostile = Difference(HOSTILE, {HOSTILE: HOSTILE}, HOSTILE, HOSTILE, f"{HOSTILE} 2", Cause.UNEXPLAINED)
    table = msgspec.structs.replace(
        typical().tables[0], table_name=HOSTILE, crm_table=HOSTILE, remarks=[HOSTILE], samples=[hostile]
    )
    report = msgspec.structs.replace(
        typical(), tables=[table], account=HOSTILE, reconciliation_id=HOSTILE, config_hash=HOSTILE
    )
    page = Page(render_html(report))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(HOSTILE) >= 8


def test_a_long_value_is_cut_and_its_title_is_whole() -> None:
    page = Page(PAGES["typical"])
    assert f"{LONG}Gate code follows." in page.all("title")
    assert f"{LONG}Gate code follows." not in page.text
    assert "Gate code follows." in page.text


def test_masked_values_say_so_and_others_do_not() -> None:
    assert PAGES["typical"].count(">masked</span>") == 4
    assert PAGES["every_cause"].count(">masked</span>") == 0


def test_every_cause_has_its_colour_in_light_and_in_dark_and_its_words() -> None:
    words = _words(Page(render_html(every_cause())))
    for cause in Cause:
        colours = rf"--{cause}: light-dark\(#[0-9a-f]{{6}}, #[0-9a-f]{{6}}\);"
        assert len(re.findall(colours, PAGES["every_cause"])) == 1
        assert f'swatch c-{cause}"' in PAGES["every_cause"]
    assert words.count("Equal after normalisation") >= 4


def test_times_are_in_utc_and_machine_readable() -> None:
    times = [attrs for tag, attrs in Page(PAGES["typical"]).tags if tag == "time"]
    assert {"datetime": "2025-03-03T14:05:09Z", "title": "2025-03-03T14:05:09Z"} in times


def test_no_link_asks_for_a_new_window_since_the_frame_of_airflow_forbids_them() -> None:
    anchors = [attrs for tag, attrs in Page(PAGES["typical"]).tags if tag == "a"]
    download = next(a for a in anchors if a["href"] == "/list/x.csv")
    assert "download" in download
    assert not [a for a in anchors if "target" in a]
    assert any((a["href"] or "").startswith("/list/run-") for a in anchors)


def test_where_nothing_was_compared_the_page_says_what_to_run() -> None:
    words = _words(Page(render_no_report(account="east", dag_id="enerflo_reconcile__east")))
    assert "No reconciliation yet" in words
    assert "enerflo-sync reconcile --account east" in words


def test_a_name_that_a_template_was_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        page_environment().get_template("message.html.j2").render(title="x")


@pytest.mark.browser
@needs_chromium
def test_no_page_is_wider_than_a_phone_or_the_frame_of_airflow(tmp_path: Path) -> None:
    assert too_wide(PAGES, tmp_path) == []
