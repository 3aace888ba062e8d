from __future__ import annotations

import msgspec
import pytest

from enerflo_sync.reconcile.render import CAUSES, Tone, Verdict, verdict_text
from enerflo_sync.reconcile.render.verdict import is_all_clear
from enerflo_sync.reconcile.report import Cause, Scope
from tests.reconcile.render.sample_reports import REPORTS, typical

EXPECTED = {
    "typical": (Verdict.OVER_BUDGET, Tone.BAD, "12 of 77 differences are unexplained, 0 allowed"),
    "no_tables": (Verdict.NOTHING_TO_COMPARE, Tone.UNSURE, "There was nothing to compare"),
    "no_rows": (Verdict.NOTHING_TO_COMPARE, Tone.UNSURE, "There was nothing to compare"),
    "never_polled": (
        Verdict.NEVER_POLLED,
        Tone.UNSURE,
        "Enerflo was never polled completely, so nothing can be called equal",
    ),
    "empty_crm_side": (Verdict.NOTHING_MATCHED, Tone.UNSURE, "No row of notes stands on both sides"),
    "agreed": (Verdict.AGREED, Tone.GOOD, "Both sides agree"),
    "witnessed": (Verdict.AGREED, Tone.GOOD, "Both sides agree"),
    "overdue": (
        Verdict.OVERDUE,
        Tone.UNSURE,
        "Enerflo was last read whole 4 d 2 h before the comparison",
    ),
    "stopped_copy": (
        Verdict.COPY_OVERDUE,
        Tone.UNSURE,
        "No row of crm.installs arrived in time before the comparison",
    ),
    "explained": (Verdict.EXPLAINED, Tone.GOOD, "All 4 differences are explained"),
    "tolerated": (Verdict.TOLERATED, Tone.GOOD, "12 of 77 differences are unexplained, 20 allowed"),
    "every_cause": (
        Verdict.OVER_BUDGET,
        Tone.BAD,
        "16,677,181,699,666,569 of 18,761,829,412,124,962 differences are unexplained, 0 allowed",
    ),
}


@pytest.mark.parametrize("name", REPORTS)
def test_the_headline_says_how_much_is_unexplained_and_whether_that_is_good(name: str) -> None:
    words = verdict_text(REPORTS[name]())
    assert (words.verdict, words.tone, words.headline) == EXPECTED[name]


@pytest.mark.parametrize("name", [n for n, (_, tone, _) in EXPECTED.items() if tone is not Tone.GOOD])
def test_whatever_is_not_good_says_what_to_do_next(name: str) -> None:
    assert verdict_text(REPORTS[name]()).next_step


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_that_never_polled_is_never_good_whatever_it_holds(name: str) -> None:
    report = msgspec.structs.replace(REPORTS[name](), mirror_as_of=None)
    assert verdict_text(report).tone is Tone.UNSURE


def test_the_budget_itself_is_allowed_and_one_more_is_not() -> None:
    assert verdict_text(msgspec.structs.replace(typical(), budget=12)).tone is Tone.GOOD
    assert verdict_text(msgspec.structs.replace(typical(), budget=11)).tone is Tone.BAD


@pytest.mark.parametrize(
    ("by_cause", "expected", "headline"),
    [
        (
            {Cause.IN_FLIGHT: 1},
            Verdict.EXPLAINED,
            "The only difference is in flight, not judged yet",
        ),
        (
            {Cause.IN_FLIGHT: 34, Cause.POLICY: 1},
            Verdict.EXPLAINED,
            "1 difference is explained; 34 are in flight, not judged yet",
        ),
        (
            {Cause.IN_FLIGHT: 35, Cause.POLICY: 2000},
            Verdict.TOO_EARLY,
            "35 of 2,035 differences are in flight, not judged yet",
        ),
        (
            {Cause.IN_FLIGHT: 1, Cause.UNEXPLAINED: 1},
            Verdict.TOLERATED,
            "1 of 2 differences is unexplained, 1 allowed",
        ),
        (
            {Cause.IN_FLIGHT: 600, Cause.UNEXPLAINED: 1},
            Verdict.TOO_EARLY,
            "600 of 601 differences are in flight, not judged yet",
        ),
        (
            {Cause.IN_FLIGHT: 600, Cause.UNEXPLAINED: 2},
            Verdict.OVER_BUDGET,
            "2 of 602 differences are unexplained, 1 allowed",
        ),
    ],
)
def test_what_is_in_flight_is_not_called_explained(
    by_cause: dict[Cause, int], expected: Verdict, headline: str
) -> None:
    table = msgspec.structs.replace(typical().tables[2], by_cause=by_cause, by_field=[])
    assert table.matched == 689
    report = msgspec.structs.replace(typical(), tables=[table], budget=1)
    words = verdict_text(report)
    assert (words.verdict, words.headline) == (expected, headline)
    assert (words.tone is Tone.GOOD) == (expected in (Verdict.EXPLAINED, Verdict.TOLERATED))


def test_few_rows_in_flight_are_no_matter_of_shares() -> None:
    table = msgspec.structs.replace(
        typical().tables[2],
        by_cause={Cause.IN_FLIGHT: 19},
        by_field=[],
        **dict.fromkeys(("matched", "enerflo_rows", "crm_rows"), 19),
    )
    report = msgspec.structs.replace(typical(), tables=[table])
    assert verdict_text(report).verdict is Verdict.EXPLAINED


def test_one_is_not_spoken_of_in_the_plural() -> None:
    table = msgspec.structs.replace(typical().tables[2], by_cause={Cause.UNEXPLAINED: 1}, by_field=[])
    words = verdict_text(msgspec.structs.replace(typical(), tables=[table]))
    assert words.headline == "1 of 1 difference is unexplained, 0 allowed"
    assert words.detail == "689 rows compared in 1 table."


def test_every_cause_has_a_label_an_explanation_and_something_to_do() -> None:
    assert set(CAUSES) == set(Cause)
    assert len({text.label for text in CAUSES.values()}) == len(Cause)
    for text in CAUSES.values():
        assert text.explanation.endswith(".")
        assert text.what_to_do.endswith(".")


@pytest.mark.parametrize(
    ("enerflo", "crm", "matched", "green"),
    [
        (200, 2_000, 99, False),
        (200, 2_000, 100, True),
        (2_000, 20, 9, False),
        (2_000, 20, 10, True),
        (2_000, 19, 1, True),
    ],
)
def test_where_most_rows_stand_on_one_side_only_it_is_not_green(
    enerflo: int, crm: int, matched: int, green: bool
) -> None:
    report = REPORTS["explained"]()
    tables = [
        msgspec.structs.replace(table, enerflo_rows=enerflo, crm_rows=crm, matched=matched)
        for table in report.tables
    ]
    report = msgspec.structs.replace(report, tables=tables)
    assert (verdict_text(report).tone is Tone.GOOD) is green
    assert is_all_clear(report) is green
    if not green:
        assert verdict_text(report).verdict is Verdict.FEW_MATCHED
        rows = "row" if matched == 1 else "rows"
        assert f"{matched} {rows} on both sides" in verdict_text(report).detail


def test_a_report_that_compares_no_table_says_nothing_of_polls() -> None:
    """Leads and change orders alone are mapped (reconcile: false), and Enerflo was polled a minute ago."""
    words = verdict_text(REPORTS["no_tables"]())
    assert REPORTS["no_tables"]().mirror_as_of is None
    assert "polled" not in words.headline + words.detail
    assert words.detail == "No table of this account is mapped, or none is compared (reconcile: false)."
    assert not is_all_clear(REPORTS["no_tables"]())


def test_an_incremental_run_does_not_claim_to_have_compared_every_row() -> None:
    whole = REPORTS["agreed"]()
    assert verdict_text(whole).detail == "1,200 rows compared in 1 table, without a difference."
    part = msgspec.structs.replace(whole, scope=Scope.INCREMENTAL)
    assert verdict_text(part).detail == (
        "1,200 rows in 1 table (compared now: those that changed), without a difference."
    )
