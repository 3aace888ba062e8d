"""The life cycle for people: a verdict, milestones not covered, and the layout of the steps' picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from enerflo_sync.counted import count_of, number
from enerflo_sync.quality.report import Finding, LifeCycleReport, StepCount
from enerflo_sync.reconcile.render.wording import visible

_SHOWN = 10
_TITLES = 5
# Sizes in the picture, in pixels; text needs this room at any page width.
BOX_WIDTH, BOX_HEIGHT = 152, 66
_GAP_X, _GAP_Y = 28, 16


@dataclass(frozen=True)
class Box:
    """One step in the picture, by its upper left corner."""

    count: StepCount
    x: int
    y: int


@dataclass(frozen=True)
class Picture:
    """The steps from left to right, and SVG paths from each to its next steps."""

    width: int
    height: int
    boxes: Sequence[Box]
    paths: Sequence[str]


def verdict(report: LifeCycleReport) -> str:
    """Return the headline: the number of findings and of judged installs."""
    of_all = f"{count_of(report.installs, 'install')} judged"
    return f"{count_of(report.total, 'finding') if report.total else 'No finding'}, {of_all}."


def not_covered(report: LifeCycleReport) -> str:
    """Return the milestones that life_cycle.yaml does not name; empty if there are none."""
    if not report.not_judged:
        return ""
    told = [
        f"{visible(one.title or 'without a title')} ({number(one.installs)})" for one in report.not_judged
    ]
    more = ", …" if len(told) > _TITLES else ""
    words = f"Not judged, since {report.file} does not name it: {', '.join(told[:_TITLES])}{more}."
    if count := report.not_covered:
        words += f" {count_of(count, 'install')} {'has' if count == 1 else 'have'} no milestone it names."
    return words


def step_words(name: str) -> str:
    """Return a step's name in words."""
    return name.replace("_", " ")


def finding_words(finding: Finding) -> str:
    """Return the step and install of a finding in words."""
    title = f" ({visible(finding.title)})" if finding.title else ""
    return f"install {finding.install_id}, {step_words(finding.step)}{title}"


def life_cycle_lines(report: LifeCycleReport) -> Iterator[str]:
    """Yield the life cycle's part of the result as lines of text."""
    yield f"Life-cycle of installs: {verdict(report)}"
    if report.looked_at is not None:
        news = f"{number(report.new or 0)} new, {number(report.gone or 0)} gone"
        yield f"{number(report.looked_at)} judged now, {news}; the others did not move."
    if words := not_covered(report):
        yield words
    for finding in report.findings[:_SHOWN]:
        one = finding.failing
        yield ""
        yield finding_words(finding)
        yield f"  {one.severity} {one.check}: {one.reason}"
        yield f"    found {one.found}, expected {one.expected}"
    if report.total > _SHOWN:
        yield "… and more: enerflo-sync quality --json, or sync.life_cycle_findings."
    yield ""
    yield from _tables(report)


def picture(steps: Sequence[StepCount]) -> Picture:
    """Return the layout, with each step placed by its minimum number of earlier steps."""
    columns: dict[int, list[StepCount]] = defaultdict(list)
    for count in steps:
        columns[count.level].append(count)
    rows = max(map(len, columns.values()), default=0)
    height = rows * (BOX_HEIGHT + _GAP_Y) - _GAP_Y
    boxes = {}
    for level, column in columns.items():
        top = (height - len(column) * (BOX_HEIGHT + _GAP_Y) + _GAP_Y) // 2
        for at, count in enumerate(column):
            x, y = level * (BOX_WIDTH + _GAP_X), top + at * (BOX_HEIGHT + _GAP_Y)
            boxes[count.step] = Box(count, x, y)
    paths = [_path(boxes[before], boxes[count.step]) for count in steps for before in count.after]
    width = len(columns) * (BOX_WIDTH + _GAP_X) - _GAP_X
    return Picture(width, height, list(boxes.values()), paths)


def _path(before: Box, then: Box) -> str:
    x, y = before.x + BOX_WIDTH, before.y + BOX_HEIGHT // 2
    to_x, to_y = then.x, then.y + BOX_HEIGHT // 2
    middle = to_x - _GAP_X // 2
    return f"M{x} {y}H{middle - _GAP_X // 2}C{middle} {y} {middle} {to_y} {to_x} {to_y}"


def _tables(report: LifeCycleReport) -> Iterator[str]:
    width = max(len(one.check) for one in report.checks)
    yield f"{'check':<{width}}  does  installs  failing"
    for one in report.checks:
        yield f"{one.check:<{width}}  {one.severity}  {one.checked:>8,}  {one.failed:>7,}"
    width = max(len("step"), *(len(one.step) for one in report.steps))
    yield ""
    yield f"{'step':<{width}}  in it now  overdue  within"
    for step in report.steps:
        within = "" if step.within_days is None else f"{step.within_days:g} days"
        yield f"{step.step:<{width}}  {step.installs:>9,}  {step.overdue:>7,}  {within}".rstrip()
