"""A filtered list of differences as a file: what the page counts, masked, with typed cells, streamed."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import openpyxl
import pytest

from tests.pages.conftest import Visitor
from tests.pages.test_differences import total

pytestmark = pytest.mark.airflow
PAGE = "differences/default"


def lines(visitor: Visitor, query: str = "") -> list[dict[str, str]]:
    content = visitor.get(f"{PAGE}/export/csv{query}").content
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def sheets(visitor: Visitor, query: str = "") -> dict[str, list[dict[str, Any]]]:
    book = openpyxl.load_workbook(io.BytesIO(visitor.get(f"{PAGE}/export/xlsx{query}").content))
    found = {}
    for sheet in book.worksheets[1:]:
        header, *rows = sheet.iter_rows(values_only=True)
        found[sheet.title] = [dict(zip(header, row, strict=True)) for row in rows]
    return found


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?table=installs",
        "?cause=unexplained",
        "?field=(record)",
        "?age=0",
        "?q=pending",
        "?table=nowhere",
    ],
)
def test_a_file_holds_exactly_what_the_page_counts(visitor: Callable[..., Visitor], query: str) -> None:
    pat = visitor("VIEWER")
    counted = total(pat.text(f"{PAGE}{query}"))
    rows = lines(pat, query)
    assert len(rows) == counted
    assert sum(map(len, sheets(pat, query).values())) == counted
    if "table=installs" in query:
        assert {row["table_name"] for row in rows} == {"installs"}
        assert all(
            row["enerflo_install_id"].isdigit() for row in rows if row["cause"] != "missing_in_enerflo"
        )


def test_the_button_of_the_page_leads_to_the_file_of_its_filter_and_run(
    visitor: Callable[..., Visitor],
) -> None:
    pat = visitor("VIEWER")
    text = pat.text(f"{PAGE}?field=panel_count")
    address = re.search(r'href="/enerflo/([^"]+/export/csv[^"]+)" download', text)
    assert address
    # A newer reconciliation that found nothing changes nothing about it.
    pat.sql(
        "insert into sync.reconciliations (account, reconciliation_id, started_at, finished_at, scope,"
        " config_hash, compared_until, report) select account, 'newer', now(), now(), scope, config_hash, now(),"
        " report from sync.reconciliations limit 1"
    )
    answer = pat.get(html.unescape(address[1]))
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert len(rows) == total(text) > 0
    assert {row["field"] for row in rows} == {"panel_count"}
    assert "differences-chosen-default-" in answer.headers["content-disposition"]
    assert answer.headers["cache-control"] == "no-store"


def test_no_cell_of_the_csv_holds_json_but_where_a_value_is_json(visitor: Callable[..., Visitor]) -> None:
    rows = lines(visitor("VIEWER"))
    assert not [
        cell for row in rows for cell in row.values() if cell[:1] in "{[" and cell and not _masked(cell)
    ]
    assert {row["cause_label"] for row in rows} > {"Unexplained"}
    assert all(row["since"].endswith("Z") for row in rows)


def _masked(cell: str) -> bool:
    return re.fullmatch(r"\[\d+ characters?\]", cell) is not None


def test_numbers_times_and_days_are_such_in_the_workbook(visitor: Callable[..., Visitor]) -> None:
    found = sheets(visitor("VIEWER"))
    assert set(found) >= {"installs", "milestones", "notes"}
    by_field: dict[str, set[type]] = {}
    for row in (row for rows in found.values() for row in rows):
        for value in (row["enerflo"], row["crm"]):
            if value is not None:
                by_field.setdefault(row["field"], set()).add(type(value))
    assert by_field["panel_count"] == {int}
    assert by_field["contract_amount"] <= {int, float}
    assert by_field["completed_at"] == {datetime}
    assert by_field["status"] == {str}
    assert all(isinstance(row["since"], datetime) for row in found["installs"])


def test_a_file_is_masked_as_the_page_is(visitor: Callable[..., Visitor]) -> None:
    pat = visitor("ADMIN")
    pat.sql("update sync.differences set crm_value = '\"Qcanary calls 555\"' where field = 'body'")
    whole = str(sheets(pat)) + str(lines(pat))
    assert "Qcanary" not in whole
    assert re.search(r"\[\d+ characters\]", whole)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_filter_that_cannot_be_read_is_a_page_in_words(visitor: Callable[..., Visitor], form: str) -> None:
    pat = visitor("VIEWER")
    for query in ("cause=nonsense", "after=[[[", "q=" + "x" * 10_000):
        answer = pat.get(f"{PAGE}/export/{form}?{query}")
        assert answer.status_code == 400
        assert "This address leads nowhere" in answer.text
    gone = pat.get(f"{PAGE}/export/{form}?run=nope")
    assert gone.status_code == 404
    assert "No such reconciliation" in gone.text


@pytest.mark.parametrize("form", ["pdf", "%2e%2e", "'\"%25"])
def test_another_form_is_said_to_be_none(visitor: Callable[..., Visitor], form: str) -> None:
    answer = visitor("VIEWER").get(f"{PAGE}/export/{form}")
    assert answer.status_code == 404
    assert "csv or xlsx" in answer.text


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_failure_before_the_first_row_is_a_page_and_no_broken_file(
    visitor: Callable[..., Visitor], form: str
) -> None:
    pat = visitor("VIEWER")
    pat.sql("alter table sync.differences rename to differences_gone")
    answer = pat.get(f"{PAGE}/export/{form}")
    assert answer.status_code == 503
    assert "enerflo-sync migrate" in answer.text
