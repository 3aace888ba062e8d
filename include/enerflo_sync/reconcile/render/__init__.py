"""Renders a reconciliation report in every format; decides nothing about data."""

from __future__ import annotations

from enerflo_sync.reconcile.render.cause_texts import CAUSES, CauseText, Urgency
from enerflo_sync.reconcile.render.formats import ReportFormat, render, write_report
from enerflo_sync.reconcile.render.html import (
    PageLinks,
    render_html,
    render_message,
    render_no_report,
    render_page,
)
from enerflo_sync.reconcile.render.text import print_text, render_text
from enerflo_sync.reconcile.render.verdict import Tone, Verdict, VerdictText, verdict_of, verdict_text

__all__ = [
    "CAUSES",
    "CauseText",
    "PageLinks",
    "ReportFormat",
    "Tone",
    "Urgency",
    "Verdict",
    "VerdictText",
    "print_text",
    "render",
    "render_html",
    "render_message",
    "render_no_report",
    "render_page",
    "render_text",
    "verdict_of",
    "verdict_text",
    "write_report",
]
