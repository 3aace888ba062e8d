from __future__ import annotations

import io

import pytest
from rich.console import Console

from enerflo_sync.reconcile.render import CAUSES, print_text, render_text, verdict_text
from tests.reconcile.render.sample_reports import REPORTS, every_cause, typical


@pytest.mark.parametrize("name", REPORTS)
def test_the_first_line_is_the_headline_and_no_line_has_a_control_character(name: str) -> None:
    report = REPORTS[name]()
    lines = render_text(report).splitlines()
    assert lines[0] == verdict_text(report).headline
    assert all(line.replace("\u200d", "").isprintable() for line in lines)
    assert all(line == line.rstrip() for line in lines)


def test_every_cause_in_a_report_says_what_to_do() -> None:
    words = " ".join(render_text(every_cause()).split())
    for text in CAUSES.values():
        assert text.label in words
        assert text.what_to_do in words


def test_sizes_come_before_causes_before_fields_before_samples_before_the_trend() -> None:
    text = render_text(typical())
    order = ["What was compared", "Why the sides differ", "one side only", "field ", "samples,", "Over time"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_columns_line_up_where_letters_are_two_cells_wide() -> None:
    console = Console(width=200)
    rows = [line for line in render_text(typical()).splitlines() if "Equal after normalisation" in line]
    samples = [row for row in rows if row.lstrip().startswith(("n-", "ñ-"))]
    ends = {console.measure(row.removesuffix("Equal after normalisation")).maximum for row in samples}
    assert len(samples) == 4
    assert len(ends) == 1


def test_a_console_gets_colours_only_where_it_has_them() -> None:
    plain, coloured = io.StringIO(), io.StringIO()
    print_text(typical(), Console(file=plain, width=300))
    print_text(typical(), Console(file=coloured, width=300, force_terminal=True, color_system="standard"))
    assert plain.getvalue() == render_text(typical())
    assert coloured.getvalue().startswith("\x1b[1;31m12 of 77")
