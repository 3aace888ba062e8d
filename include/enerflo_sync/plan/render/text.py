"""A plan as text for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from enerflo_sync.counted import count_of, number
from enerflo_sync.plan.render.shown_plan import ShownPlan, group_title, headline, question_values, state_words
from enerflo_sync.plan.report import Change, Group, PlanReport, Undecided
from enerflo_sync.reconcile.render.lines import Line, grid, section, wrapped
from enerflo_sync.reconcile.render.wording import key_names, key_values, record_words, utc, visible

_VALUE_WIDTH = 30


def plan_summary(plan: PlanReport) -> str:
    """Return a plan in a few lines of text, for a notification, a mail or the body of an approval."""
    lines = [headline(plan)]
    lines += [f"- {group_title(group)}{_fields(group)}" for group in plan.groups]
    if plan.undecided:
        lines.append(f"- {count_of(sum(plan.undecided.values()), 'question')} left to a person")
    lines += [f"Waits: {reason}" for reason in plan.reasons if plan.needs_approval]
    return "\n".join(lines)


def undo_words(plan: PlanReport) -> str:
    """Return in a sentence how much of a plan its undo takes back."""
    undone = (plan.stands_on or "")[:12]
    if not plan.change_count:
        return f"Nothing of plan {undone} is taken back."
    left = sum(plan.undecided.values()) + sum(plan.kept.values())
    rest = f", but for {count_of(left, 'change')}, listed with the reason" if left else ""
    return f"This takes plan {undone} back{rest}."


def plan_lines(shown: ShownPlan) -> Iterator[Line]:
    """Yield the plan's lines: changes, why it waits, samples of each group, and what stays as it is."""
    plan = shown.plan
    yield from wrapped(headline(plan), style="bold")
    if plan.mode == "report" and plan.change_count:
        yield from wrapped("Mode report: this is what would be done; nothing is written until you say so.")
    yield Line("")
    yield Line(f"  plan         {plan.plan_hash}")
    yield Line(f"  account      {visible(plan.account)}, mode {plan.mode}")
    yield Line(f"  made         {utc(plan.created_at)}, may be applied until {utc(plan.expires_at)}")
    yield Line(f"  state        {state_words(plan, shown.now)}")
    if plan.waits_for_approval:
        would = "waits" if plan.asks_a_person else "would wait"
        yield from section(f"Why it {would} for a person", "")
        for reason in plan.reasons:
            yield from wrapped(f"- {reason}", indent=2)
    for group in plan.groups:
        yield from section(group_title(group), count_of(group.changes, "change"))
        yield from wrapped(", ".join(f"{name} {number(count)}" for name, count in _by_count(group)), indent=2)
        yield Line("")
        yield from _samples(shown.of(group))
    yield from _reasons("Left to a person", plan.undecided)
    yield from _undecided(shown.questions)
    yield from _reasons("Refused by a person, and not done", plan.refused)
    yield from _undecided(shown.refused)
    yield from _reasons("Left as they are", plan.kept)


def _fields(group: Group) -> str:
    if group.op != "update":
        return ""
    return ": " + ", ".join(f"{name} {number(count)}" for name, count in _by_count(group))


def _by_count(group: Group) -> list[tuple[str, int]]:
    return sorted(group.fields.items(), key=lambda item: (-item[1], item[0]))


def _samples(changes: list[Change]) -> Iterator[Line]:
    if not changes:
        return
    rows = [
        [
            key_values(change.key),
            visible(change.field or "whole row"),
            _short(change.before),
            _short(change.after),
            change.rule,
            change.state,
        ]
        for change in changes
    ]
    head = [key_names(changes[0].key), "field", "before", "after", "rule", "state"]
    yield from grid(head, rows, text_columns=len(head))


def _undecided(left: Sequence[Undecided]) -> Iterator[Line]:
    if not left:
        return
    rows = [
        [
            one.table_name,
            key_values(one.key),
            visible(one.field or "whole row"),
            *map(_short, question_values(one)),
        ]
        for one in left
    ]
    head = ["table", "key", "field", "Enerflo says", "CRM says"]
    yield Line("")
    yield from grid(head, rows, text_columns=len(head))


def _reasons(title: str, reasons: Mapping[str, int]) -> Iterator[Line]:
    if not reasons:
        return
    yield from section(title, number(sum(reasons.values())))
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        yield from wrapped(f"{number(count)}  {reason}", indent=2)


def _short(value: object) -> str:
    if value is None:
        return "no value"
    text = record_words(value)
    return text if len(text) <= _VALUE_WIDTH else f"{text[: _VALUE_WIDTH - 1]}…"
