"""A reconciliation's verdict, stored beside the report for pages that show many reconciliations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from enerflo_sync.reconcile.render.summary import causes_of, compared_rows
from enerflo_sync.reconcile.render.verdict import Tone, is_all_clear, verdict_text
from enerflo_sync.reconcile.report import Cause, ReconciliationReport


class StoredVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The report's verdict in words, and the figures behind it.

    :param rows: how many records were compared: on both sides, or on one side only.
    :param causes: the differences by cause without zeros, causes that need a person first.
    """

    tone: Tone
    headline: str
    detail: str
    next_step: str
    all_clear: bool
    rows: int
    differences: int
    unexplained: int
    budget: int
    causes: Mapping[Cause, int]
    mirror_as_of: datetime | None


def stored_verdict(report: ReconciliationReport) -> StoredVerdict:
    """Return the part of a report's verdict that is stored."""
    words = verdict_text(report)
    return StoredVerdict(
        tone=words.tone,
        headline=words.headline,
        detail=words.detail,
        next_step=words.next_step,
        all_clear=is_all_clear(report),
        rows=compared_rows(report),
        differences=report.differences,
        unexplained=report.unexplained,
        budget=report.budget,
        causes=causes_of(report),
        mirror_as_of=report.mirror_as_of,
    )
