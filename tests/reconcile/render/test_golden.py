"""Every output of hand-made reports, compared with files that a person has looked at.

Write the files anew with ``ENERFLO_REGENERATE_GOLDEN=1 pytest tests/reconcile/render/test_golden.py`` and
look at the difference in git before you keep it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from enerflo_sync.reconcile.render import (
    PageLinks,
    ReportFormat,
    Tone,
    render,
    render_html,
    render_message,
    render_no_report,
)
from tests.reconcile.render.sample_reports import REPORTS, all_differences, typical

GOLDEN = Path(__file__).parent / "golden"
REGENERATE = os.environ.get("ENERFLO_REGENERATE_GOLDEN") == "1"

LINKS = PageLinks(
    index="/enerflo/reports",
    report=lambda reconciliation_id: f"/enerflo/reports/{reconciliation_id}",
    downloads={"JSON": "/enerflo/reports/r.json", "CSV": "/enerflo/reports/r.csv"},
)

PAGES: dict[str, Callable[[], str]] = {
    "typical_linked": lambda: render_html(typical(), LINKS),
    "no_report": lambda: render_no_report(account="east", dag_id="enerflo_reconcile__east"),
    "message": lambda: render_message("Not found", "No such run. See `enerflo-sync`.", tone=Tone.BAD),
}

OUTPUTS = [
    *((name, ReportFormat.TEXT) for name in REPORTS),
    *((name, ReportFormat.HTML) for name in ("typical", "every_cause", "empty_crm_side", "no_tables")),
    ("witnessed", ReportFormat.HTML),
    ("overdue", ReportFormat.HTML),
    ("typical", ReportFormat.JSON),
    ("no_rows", ReportFormat.JSON),
    ("typical", ReportFormat.CSV),
    ("no_rows", ReportFormat.CSV),
]


def _compare(path: Path, found: bytes) -> None:
    if REGENERATE:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(found)
    assert path.exists(), f"{path.name} is missing: see the top of this file"
    assert found.decode() == path.read_text(encoding="utf-8"), "see the top of this file"


@pytest.mark.parametrize(("name", "report_format"), OUTPUTS)
def test_an_output_of_a_report_is_the_one_that_was_looked_at(name: str, report_format: ReportFormat) -> None:
    report = REPORTS[name]()
    differences = all_differences(report) if report_format.carries_all_differences else None
    found = render(report, report_format, differences)
    _compare(GOLDEN / f"{name}.{report_format.extension}", found)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_the_one_that_was_looked_at(name: str) -> None:
    _compare(GOLDEN / f"{name}.html", PAGES[name]().encode())


def test_no_golden_file_is_left_over() -> None:
    expected = {f"{name}.{report_format.extension}" for name, report_format in OUTPUTS}
    expected |= {f"{name}.html" for name in PAGES}
    assert {path.name for path in GOLDEN.iterdir()} == expected
