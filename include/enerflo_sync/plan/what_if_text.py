"""A what-if report as text for a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from enerflo_sync.counted import count_of
from enerflo_sync.plan.parts import record_name
from enerflo_sync.plan.what_if import WhatIf
from enerflo_sync.plan.what_if_ledger import NOT_MAPPED, DecisionDifference
from enerflo_sync.plan.what_if_plan import PlanDifference, PlanSample
from enerflo_sync.reconcile.render.wording import day, visible

_MOST_CHARACTERS: Final = 40
_OUTCOMES: Final = {
    "to_crm": "written to the CRM",
    "to_enerflo": "written to Enerflo",
    "review": "left to a person",
    "keep": "left as it is",
    NOT_MAPPED: "not looked at",
    None: "left as it is",
}


def render_what_if(report: WhatIf, key_columns: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return the report as plain text, ending in a newline.

    :param key_columns: the key columns of each table, in the order in which commands take a key.
    """
    return "".join(f"{line.rstrip()}\n" for line in _lines(report, key_columns or {}))


def _lines(report: WhatIf, key_columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield f"What if {visible(report.file)} were the mapping of account {report.account}? Nothing was written."
    if report.same_mapping:
        yield "It decides exactly as the present one: the mappings are the same."
    yield ""
    yield f"A plan by the present mapping: {_counts(report.now)}."
    yield f"A plan by the new mapping: {_counts(report.new)}."
    if not report.plan:
        yield "  The two plans are the same."
    for one in report.plan:
        yield from _planned(one, key_columns.get(one.table_name, ()))
    yield ""
    if report.decided:
        decided = count_of(report.decided, "decision")
        yield f"Past decisions about values since {day(report.since)}, made again: {decided}."
    else:
        yield f"The ledger has no decision about a value since {day(report.since)}, so none was made again."
    if report.not_decided:
        others = ", ".join(f"{count:,} {rule}" for rule, count in report.not_decided.items())
        yield f"  Not decided again, since no field's mapping decides them: {others}."
    if report.thinned is not None:
        yield (
            "  Changes between the first and the last of a field may be missing: the ledger was"
            f" {report.thinned}."
        )
    if report.decided and not report.decisions:
        yield "  All of them would have been made alike."
    for two in report.decisions:
        yield from _decisions(two, key_columns.get(two.table_name, ()))


def _counts(counts: Mapping[str, int]) -> str:
    if not counts:
        return "nothing to do"
    return ", ".join(f"{count:,} {_OUTCOMES[outcome]}" for outcome, count in counts.items())


def _planned(one: PlanDifference, columns: Sequence[str]) -> Iterator[str]:
    where = f"{one.table_name}.{one.field}" if one.field else one.table_name
    change = f"{_OUTCOMES[one.now]} by the present mapping, {_OUTCOMES[one.new]} by the new one"
    if one.now == one.new:
        change = f"{_OUTCOMES[one.now]} with another value"
    yield f"  {one.count:,} x {where}, {one.op}: {change}"
    for sample in one.samples:
        yield f"      {visible(record_name(sample.key, columns))}  {_plan_sample(one, sample)}"
    yield from _further(one.count, one.samples)


def _plan_sample(one: PlanDifference, sample: PlanSample) -> str:
    present = _side(one.now, sample.now_before, sample.now_after, sample.now_reason)
    return (
        f"present: {present}; new: {_side(one.new, sample.new_before, sample.new_after, sample.new_reason)}"
    )


def _further(count: int, shown: Sequence[Any]) -> Iterator[str]:
    if count > len(shown):
        yield f"      and {count - len(shown):,} more"


def _side(outcome: str | None, before: Any, after: Any, reason: str | None) -> str:
    if outcome is None:
        return "nothing"
    if outcome == "review":
        return f"a question ({reason})"
    return f"{_value(before)} to {_value(after)}"


def _decisions(one: DecisionDifference, columns: Sequence[str]) -> Iterator[str]:
    yield (
        f"  {one.count:,} x {one.table_name}.{one.field}: {_OUTCOMES[one.was]} at the time,"
        f" {_OUTCOMES[one.would_be]} by the new mapping: {one.would_be_words}"
    )
    for sample in one.samples:
        yield (
            f"      {visible(record_name(sample.key, columns))}  {day(sample.recorded_at)},"
            f" plan {sample.plan_hash[:12]}:"
            f" {_value(sample.old_value)} to {_value(sample.new_value)} ({sample.decision})"
        )
    yield from _further(one.count, one.samples)


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    text = visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))
    text = f"{text[:_MOST_CHARACTERS]}…" if len(text) > _MOST_CHARACTERS else text
    return f'"{text}"' if isinstance(value, str) else text
