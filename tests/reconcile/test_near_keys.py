"""Keys that the CRM spells otherwise: what only seems to be missing is no all-clear."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from enerflo_sync.reconcile.render.doubts import were_compared
from enerflo_sync.reconcile.render.verdict import Verdict, verdict_of
from tests.reconcile.conftest import NOW, TwoSides
from tests.reconcile.test_key_spellings import opportunities, row


def tidy(sides: TwoSides, *numbers: int) -> None:
    for number in numbers:
        row(sides, str(number), number)


@pytest.mark.parametrize("options", ["install_id", "{enerflo: install_id, type: integer}"])
def test_records_that_are_missing_by_spelling_alone_are_no_all_clear(
    sides: TwoSides, tmp_path: Path, options: str
) -> None:
    opportunities(sides, tmp_path, options, "    unlinked: ignore\n")
    sides.polled()
    tidy(sides, *range(100, 110))
    row(sides, " 0001 ", 1)
    row(sides, "\t2", 2)
    for now, full in ((NOW, True), (NOW + timedelta(hours=2), False)):
        report = sides.reconcile(now, full=full)
        assert report.tables[0].near_keys == 2
        assert (verdict_of(report), were_compared(report)) == (Verdict.KEYS_APART, False)


@pytest.mark.parametrize("options", ["install_id", "{enerflo: install_id, type: integer, trim: true}"])
@pytest.mark.parametrize(
    "key",
    [
        *("\u00a012345", "12345\u200b", "\ufeff12345", "12345\f", "\u300012345"),
        *("'12345", '"12345"', "#12345", "+ 12345", "12,345", "12 345", "{00012345}", "12345;"),
        # Full-width digits, and what a spreadsheet makes of a long number.
        *("\uff11\uff12\uff13\uff14\uff15", "\uff03\uff11\uff12\uff13\uff14\uff15\uff0e\uff10"),
        *("1.2345E+4", "'1.2345e4", " 1.23450E+04 ", "12345E0", "00012345e0"),
        # A number that lost its last digits may be the record's.
        *("1.23E+4", "1.2e+04", "'1E4", "1.235E+04", "++1.23E+4", "\u20031.23E+4\u2003", "'+ 1.23E4\f"),
        # A prefix, a suffix, words.
        *("EF-12345", "INS-00012345", "Install 12345", "12345a", "No. 12345 (old)", "\u211612345"),
    ],
)
def test_nor_are_they_by_signs_and_by_blanks_that_nobody_sees(
    sides: TwoSides, tmp_path: Path, options: str, key: str
) -> None:
    opportunities(sides, tmp_path, options, "    unlinked: ignore\n")
    sides.polled()
    tidy(sides, *range(100, 110))
    row(sides, key, 12345)
    report = sides.reconcile(NOW)
    assert (report.tables[0].only_enerflo, report.tables[0].near_keys) == (1, 1)
    assert (verdict_of(report), were_compared(report)) == (Verdict.KEYS_APART, False)


def test_nor_are_they_where_two_rows_have_that_spelling(sides: TwoSides, tmp_path: Path) -> None:
    """Found by seed 7109 of the simulation: rows that stand twice were not among those that met nothing."""
    opportunities(sides, tmp_path, "install_id")
    sides.polled()
    tidy(sides, *range(100, 110))
    row(sides, "0001", 1)
    row(sides, "0001")
    for now, full in ((NOW, True), (NOW + timedelta(hours=2), False)):
        report = sides.reconcile(now, full=full)
        assert (report.tables[0].only_enerflo, report.tables[0].only_crm) == (1, 0)
        assert (report.tables[0].near_keys, verdict_of(report)) == (1, Verdict.KEYS_APART)


@pytest.mark.parametrize(
    "key",
    [
        "3",
        "4.5",
        "n/a",
        "",
        None,
        "10",
        "-",
        "EF-11",
        "EF-1-1",
        "1a1",
        "INS-0",
        "1.3E+0",
        "\u0661",
        "1.1",
        "1e1",
        "1e-1",
        "0.1e",
        "1e99",
        "\uff12",
    ],
)
def test_a_record_that_no_row_names_in_any_spelling_is_just_missing(
    sides: TwoSides, tmp_path: Path, key: str | None
) -> None:
    opportunities(sides, tmp_path, "install_id")
    tidy(sides, *range(100, 110))
    row(sides, key)
    sides.mirror("installs", install_id=1, status_id=1)
    report = sides.reconcile(NOW)
    assert (report.tables[0].only_enerflo, report.tables[0].near_keys) == (1, 0)
    assert were_compared(report)


def test_a_row_that_meets_a_record_as_it_stands_names_no_other_one(sides: TwoSides, tmp_path: Path) -> None:
    opportunities(sides, tmp_path, "deal_id")
    sides.mirror("installs", install_id=1, status_id=1, deal_id="abc")
    sides.mirror("installs", install_id=2, status_id=1, deal_id="AbC")
    row(sides, "abc")
    row(sides, "xyz")
    report = sides.reconcile(NOW)
    table = report.tables[0]
    assert (table.matched, table.only_enerflo, table.only_crm, table.near_keys) == (1, 1, 1, 0)
    row(sides, " ABC")
    assert sides.reconcile(NOW + timedelta(hours=1), full=True).tables[0].near_keys == 1
