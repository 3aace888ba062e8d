"""Why a record's fields have their values, as a page."""

from __future__ import annotations

from enerflo_sync.explain.explanation import Explanation
from enerflo_sync.explain.text import record_sentences, story_sentences, title
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page

_PACKAGE = "enerflo_sync.explain"


def render_explanation_page(explanation: Explanation, account: str, frame: Frame | None = None) -> str:
    """Return why a record's fields have their values, as a page.

    :param explanation: already masked.
    """
    return render_page(
        "explain.html.j2",
        _PACKAGE,
        title=title(explanation),
        record=record_sentences(explanation),
        stories=explanation.fields,
        sentences=story_sentences,
        account=account,
        frame=frame,
    )
