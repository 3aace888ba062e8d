"""The pages of plans: one, and the list of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from enerflo_sync.plan.render.shown_plan import ShownPlan, group_title, headline, question_values, state_words
from enerflo_sync.plan.report import PlanReport, PlanState
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import PageLinks, render_page
from enerflo_sync.reconcile.render.verdict import Tone
from enerflo_sync.reconcile.render.wording import ShownValue, ValueKind, key_names, key_values, visible

_PACKAGE = "enerflo_sync.plan.render"
_WIDTH = 80


def render_plan(
    shown: ShownPlan,
    links: PageLinks | None = None,
    explain: Callable[[str, Mapping[str, object]], str] | None = None,
    frame: Frame | None = None,
) -> str:
    """Return one plan as a page, in the order in which a person decides.

    :param explain: gives the address of a record's own page from its table and key.
    """
    return render_page(
        "plan.html.j2",
        _PACKAGE,
        frame=frame,
        shown=shown,
        plan=shown.plan,
        links=links or PageLinks(),
        headline=headline(shown.plan),
        state=state_words(shown.plan),
        tone=_tone(shown.plan),
        group_title=group_title,
        key_names=key_names,
        key_values=key_values,
        value=_value,
        question_values=question_values,
        explain=explain,
    )


def render_plans(
    plans: Sequence[PlanReport],
    link: Callable[[str], str],
    *,
    account: str,
    frame: Frame | None = None,
) -> str:
    """Return the list of an account's plans, newest first.

    :param link: gives the address of one plan from its hash.
    """
    return render_page(
        "plans.html.j2",
        _PACKAGE,
        plans=plans,
        link=link,
        account=account,
        frame=frame,
        headline=headline,
        state=state_words,
    )


def _tone(plan: PlanReport) -> Tone:
    if plan.state is PlanState.APPLIED:
        not_there = ("handed_over", "moved", "parked", "refused")
        unmade = sum(plan.states.get(state, 0) for state in not_there)
        if not plan.change_count:
            unmade = len(plan.undecided) + len(plan.refused)
        return Tone.UNSURE if unmade else Tone.GOOD
    over = {PlanState.REJECTED, PlanState.EXPIRED, PlanState.SUPERSEDED}
    return Tone.BAD if plan.state in over else Tone.UNSURE


def _value(value: object) -> ShownValue:
    if value is None:
        return ShownValue("no value", "no value", ValueKind.REMARK)
    text = visible(value if isinstance(value, str) else str(value))
    return ShownValue(text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…", text)
