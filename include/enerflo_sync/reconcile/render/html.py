"""Pages for the browser: one self-contained file each, without scripts or other hosts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from enerflo_sync.counted import count_of, number
from enerflo_sync.reconcile.render import chart, summary, witness_texts, wording
from enerflo_sync.reconcile.render.cause_texts import CAUSES, URGENCY_LABELS
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.spelling import hint_label, newer_sentence, spelling_sentence
from enerflo_sync.reconcile.render.verdict import Tone, verdict_text
from enerflo_sync.reconcile.report import Cause, Difference, ReconciliationReport
from enerflo_sync.steering import shown_in_page

if TYPE_CHECKING:
    from jinja2 import Environment

VALUE_WIDTH: Final = 120


@dataclass(frozen=True, slots=True)
class PageLinks:
    """The links of a page; a link that is not given is not shown.

    :param index: the list of past reports.
    :param report: returns the address of one report by its reconciliation id.
    :param downloads: link text → address of a file to save.
    :param others: link text → address of another kind of page.
    """

    index: str | None = None
    report: Callable[[str], str] | None = None
    downloads: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)


@lru_cache
def page_environment(*packages: str) -> Environment:
    """Return the Jinja environment of all pages: it escapes everything and fails on an unknown name.

    Control characters of every value are shown in a readable form (:mod:`enerflo_sync.steering`).

    :param packages: import paths of packages with a ``templates`` folder of their own, looked up first;
        they can extend ``base.html.j2`` and import ``macros.html.j2`` and ``charts.html.j2`` from here.
    """
    # Imported with the first page: most jobs make none.
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    own = "enerflo_sync.reconcile.render"
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, own)]),
        autoescape=True,
        finalize=shown_in_page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        number=number,
        compact=wording.compact,
        utc=wording.utc,
        day=wording.day,
        iso=wording.iso,
        size_text=wording.size_text,
        duration=wording.duration,
        visible=wording.visible,
    )
    environment.globals.update(
        CAUSES=CAUSES,
        URGENCY_LABELS=URGENCY_LABELS,
        UNEXPLAINED=Cause.UNEXPLAINED,
        style_version=style_version,
        count_of=count_of,
        share=wording.share,
    )
    return environment


@lru_cache
def style_sheet() -> str:
    """Return the style sheet that Airflow's pages load as a file; other pages contain it."""
    return page_environment().get_template("style.css.j2").render()


@lru_cache
def style_version() -> str:
    """Return a text that changes with the style sheet, so that browsers load the new one."""
    return hashlib.sha256(style_sheet().encode()).hexdigest()[:12]


def render_page(template: str, *packages: str, frame: Frame | None = None, **names: Any) -> str:
    """Return one page of ``template`` with ``names``; other rooms use it for their pages as well.

    :param frame: the frame of the page in Airflow; without one the page is self-contained.
    """
    names.setdefault("links", PageLinks())
    text: str = page_environment(*packages).get_template(template).render(frame=frame, **names)
    return text


def render_html(
    report: ReconciliationReport, links: PageLinks | None = None, frame: Frame | None = None
) -> str:
    """Return the report as one HTML page, in the order in which a person decides."""
    return render_page(
        "report.html.j2",
        frame=frame,
        report=report,
        links=links or PageLinks(),
        verdict=verdict_text(report),
        compared_rows=summary.compared_rows(report),
        causes=summary.causes_of(report),
        chart=chart.field_chart(report),
        trend=chart.trend_chart(chart.trend_points(report), report.budget),
        field_lines=summary.field_lines,
        table_differences=summary.table_differences,
        spelling=spelling_sentence,
        newer=newer_sentence,
        hint_label=hint_label,
        witness_sentence=witness_texts.witness_sentence,
        witness_rows=witness_texts.event_rows,
        shown_values=_shown_values,
        key_names=wording.key_names,
        key_under=wording.key_under,
    )


def _shown_values(difference: Difference) -> tuple[wording.ShownValue, wording.ShownValue]:
    return wording.shown_values(difference, VALUE_WIDTH)


def render_message(
    title: str,
    body: str,
    *,
    command: str = "",
    tone: Tone = Tone.UNSURE,
    links: PageLinks | None = None,
    link: tuple[str, str] | None = None,
    frame: Frame | None = None,
) -> str:
    """Return a page with one message: an error, or that there is nothing to show yet.

    :param body: plain text; what happened and what to do.
    :param command: a command line to copy, ``""`` for none.
    :param link: an address to go on from, and its words.
    """
    return render_page(
        "message.html.j2",
        frame=frame,
        title=title,
        body=body,
        command=command,
        tone=tone,
        links=links or PageLinks(),
        link=link,
    )


def render_no_report(
    *, account: str = "default", dag_id: str = "enerflo_reconcile", frame: Frame | None = None
) -> str:
    """Return the page of an account that was never reconciled."""
    return render_message(
        "No reconciliation yet",
        f"Nothing has been compared for the account {account}. Run the DAG {dag_id}, or this command:",
        command="enerflo-sync reconcile" + ("" if account == "default" else f" --account {account}"),
        frame=frame,
    )
