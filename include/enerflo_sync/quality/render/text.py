"""The checks' result for a terminal: verdict, held orders, figures of every check, life cycles."""

from __future__ import annotations

from collections.abc import Iterator

from enerflo_sync.counted import count_of
from enerflo_sync.quality.render.life_cycle import life_cycle_lines
from enerflo_sync.quality.report import FailedOrder, QualityReport
from enerflo_sync.quality.suite import Severity
from enerflo_sync.reconcile.render.wording import visible

_SHOWN = 20
_LONGEST_VALUE = 200
_NOT_CHECKED = "came or changed since the last check, and no plan takes them before the next one."
_STATES = {
    "held": "held back from the CRM",
    "shown": "shown only",
    "released": "let through by a person",
    "dismissed": "stays held, dismissed by a person",
}


def verdict(report: QualityReport) -> str:
    """Return the headline: the number of held orders, dismissed ones among them, and of all orders."""
    if not report.orders:
        unchecked = f"None of {count_of(report.unchecked, 'change order')} was checked yet."
        none = "There is no change order yet." if report.is_read else "Change orders were not read whole yet."
        return unchecked if report.unchecked else none
    of_all, held = f"of {count_of(report.orders, 'change order')}", report.held + report.dismissed
    unchecked = f" {count_of(report.unchecked, 'order')} {_NOT_CHECKED}" if report.unchecked else ""
    if not held:
        return f"None {of_all} is held.{unchecked}"
    dismissed = f", {report.dismissed:,} of them dismissed by a person" if report.dismissed else ""
    are = "is" if held == 1 else "are"
    return f"{held:,} {of_all} {are} held back from the CRM{dismissed}.{unchecked}"


def quality_text(report: QualityReport) -> str:
    """Return the complete result as lines of text."""
    return "\n".join(_lines(report)) + "\n"


def state_words(order: FailedOrder) -> str:
    """Return a failing order's state in words."""
    words = _STATES[order.state]
    if order.state == "released":
        return f"let through by {order.decided_by}: {order.decision_reason}"
    return words


def value_words(value: object) -> str:
    """Return an expected or found value in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = visible(str(value))
    if len(text) > _LONGEST_VALUE:
        return f"{text[:_LONGEST_VALUE]}… ({len(text):,} characters)"
    return text


def _lines(report: QualityReport) -> Iterator[str]:
    yield verdict(report)
    if report.checked is not None:
        yield f"{report.checked:,} checked now; the others did not change."
    for count, words in ((report.warned, "fail a warning only"), (report.released, "were let through")):
        if count:
            yield f"{count:,} {words}."
    for order in report.failing[:_SHOWN]:
        yield ""
        of = f"(install {order.install_id or 'unknown'})"
        yield f"change order {order.change_order_id} {of}: {visible(state_words(order))}"
        for one in order.failing:
            yield f"  {one.severity} {one.check}: {one.reason}"
            yield f"    found {value_words(one.found)}, expected {value_words(one.expected)}"
        if order.state == "held" and order.item_id:
            yield f"  enerflo-sync quarantine release {order.item_id[:12]} --reason TEXT --by NAME"
    if len(report.failing) > _SHOWN:
        yield "… and more: enerflo-sync quality --json, or sync.quality_results."
    if report.orders:
        yield ""
        yield from _table(report)
    if report.life_cycle:
        yield ""
        yield from life_cycle_lines(report.life_cycle)


def _table(report: QualityReport) -> Iterator[str]:
    width = max(len(one.check) for one in report.checks)
    yield f"{'check':<{width}}  does    orders  failing  expected"
    for one in report.checks:
        mark = "hold" if one.severity is Severity.HOLD else "warn"
        yield f"{one.check:<{width}}  {mark}  {one.checked:>8,}  {one.failed:>7,}  {one.expected}"[:160]
