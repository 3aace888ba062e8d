"""A report for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from enerflo_sync.counted import count_of, number
from enerflo_sync.mirror.witness_report import WitnessReport
from enerflo_sync.reconcile.render.cause_texts import CAUSES, URGENCY_LABELS
from enerflo_sync.reconcile.render.chart import trend_points
from enerflo_sync.reconcile.render.lines import Line, grid, section, wrapped
from enerflo_sync.reconcile.render.spelling import hint_label, newer_sentence, spelling_sentence
from enerflo_sync.reconcile.render.summary import (
    causes_of,
    compared_rows,
    field_lines,
    table_differences,
)
from enerflo_sync.reconcile.render.verdict import Tone, verdict_text
from enerflo_sync.reconcile.render.witness_texts import HEAD, event_rows, witness_sentence
from enerflo_sync.reconcile.render.wording import (
    day,
    duration,
    key_names,
    key_under,
    share,
    shown_values,
    utc,
    visible,
)
from enerflo_sync.reconcile.report import Cause, ReconciliationReport, TableReport

_VALUE_WIDTH: Final = 30
_TREND_RUNS: Final = 10
_TONE_STYLES: Final = {Tone.GOOD: "bold green", Tone.BAD: "bold red", Tone.UNSURE: "bold yellow"}


class Printer(Protocol):
    """A console of rich, or one that prints like it."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts of rich."""
        ...


def render_text(report: ReconciliationReport) -> str:
    """Return the report as plain text without colour codes, about 100 columns wide, ending in a newline."""
    return "".join(f"{line.text.rstrip()}\n" for line in _lines(report))


def print_text(report: ReconciliationReport, console: Printer) -> None:
    """Print the same lines to ``console``, with colours where it has them."""
    from rich.text import Text

    for line in _lines(report):
        console.print(Text(line.text.rstrip(), style=line.style), soft_wrap=True)


def _lines(report: ReconciliationReport) -> Iterator[Line]:
    yield from _headline(report)
    yield from _sizes(report)
    yield from _causes(report)
    for table in report.tables:
        yield from _table(table)
    yield from _witnesses(report.witnesses)
    yield from _trend(report)
    if report.differences:
        yield Line("")
        yield from wrapped(
            f"All {count_of(report.differences, 'difference')} of this run: sync.differences where "
            f"reconciliation_id = '{visible(report.reconciliation_id)}', or --format csv, xlsx or parquet."
        )


def _headline(report: ReconciliationReport) -> Iterator[Line]:
    words = verdict_text(report)
    yield from wrapped(words.headline, style=_TONE_STYLES[words.tone])
    yield from wrapped(words.detail)
    if words.next_step:
        yield from wrapped(f"Next: {words.next_step}")
    yield Line("")
    took = duration(report.finished_at - report.started_at)
    yield Line(f"  account      {visible(report.account)}, mode {visible(report.mode)}")
    yield Line(f"  reconciled   {utc(report.finished_at)}, {report.scope}, took {took}")
    yield Line(f"  mirror       {_mirror_age(report)}")
    if report.last_full_at is not None:
        yield Line(f"  every row    compared {utc(report.last_full_at)}")
    yield Line(f"  id           {visible(report.reconciliation_id)}")
    for remark in report.remarks:
        yield from wrapped(f"! {visible(remark)}")


def _mirror_age(report: ReconciliationReport) -> str:
    if report.mirror_as_of is None:
        return "never took in a complete poll" if report.tables else "not looked at"
    age = duration(report.started_at - report.mirror_as_of)
    return f"as of {utc(report.mirror_as_of)}, {age} before the comparison"


def _sizes(report: ReconciliationReport) -> Iterator[Line]:
    yield from section("What was compared", count_of(compared_rows(report), "row"))
    if not report.tables:
        yield Line("  No table.")
        return
    rows = [
        [
            visible(t.table_name),
            visible(t.crm_table),
            visible(t.mode),
            *map(number, (t.enerflo_rows, t.crm_rows, t.matched, t.only_enerflo, t.only_crm)),
            number(t.differing_rows),
            number(t.by_cause.get(Cause.UNEXPLAINED, 0)),
        ]
        for t in report.tables
    ]
    yield from grid(
        ["table", "CRM table", "mode", "Enerflo", "CRM", "both", "only E.", "only CRM", "differ", "unexpl."],
        rows,
        text_columns=3,
    )


def _causes(report: ReconciliationReport) -> Iterator[Line]:
    yield from section("Why the sides differ", count_of(report.differences, "difference"))
    causes = causes_of(report)
    if not causes:
        nothing = "Nothing was compared, so no difference could be found."
        yield Line(f"  {'No difference.' if compared_rows(report) else nothing}")
    width = max((len(number(count)) for count in causes.values()), default=0)
    for cause, count in causes.items():
        text = CAUSES[cause]
        of = share(count, report.differences)
        style = "bold red" if cause is Cause.UNEXPLAINED else "bold"
        yield Line(f"  {number(count):>{width}}  {text.label}  ({of}; {URGENCY_LABELS[text.urgency]})", style)
        yield from wrapped(text.explanation, indent=width + 4)
        yield from wrapped(f"→ {text.what_to_do}", indent=width + 4)


def _table(table: TableReport) -> Iterator[Line]:
    yield from section(visible(table.table_name), count_of(table_differences(table), "difference"))
    yield Line(
        f"  on one side only: {count_of(table.only_enerflo, 'row')} in Enerflo, "
        f"{number(table.only_crm)} in {visible(table.crm_table)}"
    )
    for remark in table.remarks:
        yield from wrapped(f"! {visible(remark)}", indent=2, style="yellow")
    lines = field_lines(table)
    if lines:
        yield Line("")
        yield from grid(
            ["field", "differences", "causes"],
            [[visible(x.label), number(x.differences), _counts(x.by_cause)] for x in lines],
            text_columns=1,
            last_is_text=True,
        )
    for sentence in filter(None, (spelling_sentence(table), newer_sentence(table))):
        yield Line("")
        yield from wrapped(visible(sentence), indent=2)
    if table.samples:
        yield Line("")
        yield from _samples(table)


def _counts(by_cause: Mapping[Cause, int]) -> str:
    return ", ".join(f"{number(count)} {CAUSES[cause].label}" for cause, count in by_cause.items())


def _samples(table: TableReport) -> Iterator[Line]:
    total = table_differences(table)
    yield Line(f"  samples, {number(len(table.samples))} of {number(total)}", "dim")
    rows = []
    for sample in table.samples:
        ours, theirs = (value.short for value in shown_values(sample, _VALUE_WIDTH))
        field = "whole record" if sample.field is None else visible(sample.field)
        masked = " (masked)" if sample.masked else ""
        rows.append(
            [
                key_under(table.samples[0].key, sample.key),
                field,
                ours + masked,
                theirs + masked,
                CAUSES[sample.cause].label + (f" ({hint_label(sample.hint)})" if sample.hint else ""),
            ]
        )
    names = key_names(table.samples[0].key)
    yield from grid([names, "field", "Enerflo says", "CRM says", "cause"], rows, text_columns=5)


def _witnesses(witnesses: WitnessReport | None) -> Iterator[Line]:
    if witnesses is None:
        return
    yield from section("Two witnesses, poll and webhooks", f"since {day(witnesses.since)}")
    yield from wrapped(witness_sentence(witnesses), indent=2)
    rows = event_rows(witnesses)
    if rows:
        yield Line("")
        yield from grid(["event", *HEAD], [[visible(name), *cells] for name, cells in rows], text_columns=1)


def _trend(report: ReconciliationReport) -> Iterator[Line]:
    points = trend_points(report)[-_TREND_RUNS:]
    if len(points) < 2:
        return
    yield from section("Over time", f"last {len(points)} runs")
    rows = [
        [utc(p.finished_at), str(p.scope), number(p.differences), number(p.unexplained)] for p in points[::-1]
    ]
    yield from grid(["finished", "scope", "differences", "unexplained"], rows, text_columns=2)
