"""A plan as JSON for other programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, Final

import msgspec

from enerflo_sync.plan.report import Change, PlanReport, Undecided
from enerflo_sync.steering import shown_json

_INDENT: Final = 2


def plan_counts(plan: PlanReport) -> dict[str, Any]:
    """Return how many changes a plan makes: in total, by direction, by operation and by table.

    ``undecided`` counts all differences that the plan lists without deciding them; ``refused`` counts those
    among them that a person refused before.
    """
    counts: dict[str, Any] = {
        "changes": plan.change_count,
        "to_crm": plan.count("to_crm"),
        "to_enerflo": plan.count("to_enerflo"),
        "undecided": sum(plan.undecided.values()) + sum(plan.refused.values()),
        "refused": sum(plan.refused.values()),
        "kept": sum(plan.kept.values()),
        "insert": 0,
        "update": 0,
        "delete": 0,
        "by_table": {},
    }
    for group in plan.groups:
        counts[group.op] += group.changes
        table = counts["by_table"].setdefault(group.table_name, {"to_crm": 0, "to_enerflo": 0})
        table[group.direction] += group.changes
    return counts


def write_plan(
    plan: PlanReport,
    changes: Iterable[Change],
    undecided: Iterable[Undecided],
    out: BinaryIO,
    plans: Sequence[PlanReport] = (),
) -> None:
    """Write the plan to ``out`` as one JSON object in UTF-8; changes are written one by one.

    The object has ``plan_hash``, ``needs_approval``, ``counts`` and the plan's other fields, ``changes`` and
    ``undecided``, in this order.

    :param changes: the plan's changes, already masked.
    :param plans: all plans of the round, beginning with this plan; empty if there is only this plan.
    """
    fields = msgspec.structs.asdict(plan)
    groups, reasons_undecided = fields.pop("groups"), fields.pop("undecided")
    reasons_refused = fields.pop("refused")
    document = {
        "plan_hash": fields.pop("plan_hash"),
        "needs_approval": fields.pop("needs_approval"),
        "waits_for_approval": plan.waits_for_approval,
        "counts": plan_counts(plan),
        **fields,
        "groups": groups,
        "undecided_reasons": reasons_undecided,
        "refused_reasons": reasons_refused,
        "plans": [
            {
                "plan_hash": one.plan_hash,
                "needs_approval": one.needs_approval,
                "counts": plan_counts(one),
            }
            for one in plans or [plan]
        ],
    }
    body = shown_json(document, _INDENT).encode()
    out.write(body.rstrip().removesuffix(b"}").rstrip())
    for name, rows in (("changes", changes), ("undecided", undecided)):
        out.write(f',\n  "{name}": ['.encode())
        separator = b"\n"
        for row in rows:
            text = shown_json(row, _INDENT)
            out.write(separator + textwrap.indent(text, " " * 2 * _INDENT).encode())
            separator = b",\n"
        out.write(b"]" if separator == b"\n" else b"\n  ]")
    out.write(b"\n}\n")
