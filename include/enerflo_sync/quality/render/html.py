"""The page of the checks: held orders and reasons, pass rates now and over time, life cycles."""

from __future__ import annotations

from enerflo_sync.quality.render import life_cycle
from enerflo_sync.quality.render.text import state_words, value_words, verdict
from enerflo_sync.quality.report import QualityReport
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.reconcile.render.verdict import Tone

_PACKAGE = "enerflo_sync.quality.render"
_LISTED = 200


def render_quality(report: QualityReport, frame: Frame | None = None) -> str:
    """Return the result as a page, in the order in which a person decides."""
    tone = Tone.BAD if report.held else Tone.UNSURE if report.warned or report.not_validated else Tone.GOOD
    return render_page(
        "quality.html.j2",
        _PACKAGE,
        frame=frame,
        report=report,
        orders=report.failing[:_LISTED],
        verdict=verdict(report),
        tone=tone,
        state=state_words,
        value=value_words,
        listed=_LISTED,
        picture=life_cycle.picture,
        box_width=life_cycle.BOX_WIDTH,
        box_height=life_cycle.BOX_HEIGHT,
        life_verdict=life_cycle.verdict,
        not_covered=life_cycle.not_covered,
        step_words=life_cycle.step_words,
    )
