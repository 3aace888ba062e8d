"""The decision about a difference in every world that can be, held against the same said once more in prose."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from enerflo_sync.crm.decision import FACTS, Resolution, decide
from enerflo_sync.crm.mapping import SourceOfTruth
from enerflo_sync.resources.registry import KINDS

_BOTH = (False, True)
# Base, whether it was written and not compared, whether the row was one of several, and which sides moved.
_BASES = (
    {},
    {"was_twin": True},
    {"row_replaced": True},
    {"enerflo_as_before": True},
    {"row_replaced": True, "enerflo_as_before": True},
    {"row_moved": True},
    {"row_moved": True, "kept_elsewhere": True},
    # A word of ours, by what it stands for now; nobody wrote it, whichever side moves later.
    *(
        {"base_known": True, "base_kept": True, "own_word": True, "enerflo_moved": mine, "crm_moved": theirs}
        for mine, theirs in product(_BOTH, _BOTH)
    ),
    *(
        {"base_known": True, "base_kept": kept, "enerflo_moved": mine, "crm_moved": theirs}
        for kept, mine, theirs in product(_BOTH, _BOTH, _BOTH)
    ),
    # A side whose time was later when both agreed.
    *(
        {"base_known": True, f"{side}_older": True, "enerflo_moved": mine, "crm_moved": theirs}
        for side, mine, theirs in product(("enerflo", "crm"), _BOTH, _BOTH)
    ),
    # What was written is no value that both sides seemed to agree on by themselves.
    *(
        {"base_known": True, "agreed_late": True, "enerflo_moved": mine, "crm_moved": theirs}
        for mine, theirs in product(_BOTH, _BOTH)
    ),
)
_FREE = (
    "enerflo_null",
    "crm_null",
    "null_overwrites",
    "create_only",
    "crm_allowed",
    "enerflo_allowed",
    "enerflo_writable",
    "crm_later",
    "time_unsure",
)
# What bars a write is asked one by one: no difference has two of these.
_BARS = (
    {},
    *({name: True} for name in ("crm_barred", "enerflo_barred", "other_form", "day_only", "copy_nulled")),
    *({name: True} for name in ("put_back", "tool_late", "rewritten")),
)


def worlds() -> Iterator[dict[str, bool]]:
    for base, bar, free in product(_BASES, _BARS, product(_BOTH, repeat=len(_FREE))):
        yield {**dict.fromkeys(FACTS, False), **base, **bar, **dict(zip(_FREE, free, strict=True))}


def whose_value(policy: SourceOfTruth, facts: dict[str, bool]) -> tuple[Resolution, str]:
    """Return which side is to be written, were nothing in the way."""
    mine, theirs = facts["enerflo_moved"], facts["crm_moved"]
    if (facts["base_kept"] and not (mine or theirs)) or facts["kept_elsewhere"]:
        return Resolution.KEEP, "agreed_apart"
    if policy is SourceOfTruth.ENERFLO:
        return Resolution.TO_CRM, "source_of_truth"
    if policy is SourceOfTruth.CRM:
        return Resolution.TO_ENERFLO, "source_of_truth"
    if not facts["base_known"] and facts["enerflo_null"] != facts["crm_null"]:
        return Resolution.TO_CRM if facts["crm_null"] else Resolution.TO_ENERFLO, "fills_gap"
    if policy is SourceOfTruth.NEWEST and facts["agreed_late"] and mine and not theirs and facts["crm_later"]:
        return Resolution.REVIEW, "agreed_late"
    if mine != theirs:
        return Resolution.TO_CRM if mine else Resolution.TO_ENERFLO, "only_side_moved"
    if policy is SourceOfTruth.REVIEW:
        return Resolution.REVIEW, "both_moved" if facts["base_known"] else "never_agreed"
    if facts["time_unsure"]:
        return Resolution.REVIEW, "time_unsure"
    return Resolution.TO_ENERFLO if facts["crm_later"] else Resolution.TO_CRM, "later_time"


def in_the_way(
    policy: SourceOfTruth, winner: Resolution, facts: dict[str, bool]
) -> tuple[Resolution, str] | None:
    """Return what keeps the winner's value from being written."""
    if winner not in {Resolution.TO_CRM, Resolution.TO_ENERFLO}:
        return None
    source, target = ("enerflo", "crm") if winner is Resolution.TO_CRM else ("crm", "enerflo")
    open_ = facts[f"{target}_allowed"] and not facts["create_only"]
    if facts["copy_nulled"] and open_:
        return Resolution.REVIEW, "copy_nulled"
    takes_away = facts[f"{source}_null"] and not facts[f"{target}_null"]
    if takes_away and not facts["null_overwrites"]:
        return Resolution.KEEP, "null_kept"
    if facts["create_only"]:
        return Resolution.KEEP, "create_only"
    if not facts[f"{target}_allowed"]:
        return Resolution.KEEP, "direction"
    if target == "enerflo" and facts["day_only"] and not facts["base_known"]:
        return Resolution.REVIEW, "day_only"
    if target == "crm" and facts["other_form"]:
        return Resolution.REVIEW, "other_form"
    if target == "enerflo" and facts["was_twin"]:
        return Resolution.REVIEW, "twin"
    if target == "enerflo" and facts["row_replaced"]:
        return Resolution.REVIEW, "row_replaced"
    if target == "crm" and policy is not SourceOfTruth.ENERFLO and facts["enerflo_as_before"]:
        return Resolution.REVIEW, "row_replaced"
    if target == "enerflo" and facts["row_moved"]:
        return Resolution.REVIEW, "row_moved"
    if target == "enerflo" and facts["own_word"] and not facts["crm_moved"]:
        return Resolution.REVIEW, "own_word"
    either = policy in (SourceOfTruth.NEWEST, SourceOfTruth.REVIEW)
    if either and target == "enerflo" and facts["put_back"]:
        return Resolution.REVIEW, "put_back"
    if either and target == "enerflo" and facts["tool_late"]:
        return Resolution.REVIEW, "tool_late"
    if either and target == "enerflo" and facts["rewritten"]:
        return Resolution.REVIEW, "rewritten"
    if either and facts[f"{source}_older"]:
        return Resolution.REVIEW, "older_row"
    if target == "enerflo" and not facts["enerflo_writable"]:
        return Resolution.REVIEW, "no_call"
    return (Resolution.KEEP, "void") if facts[f"{target}_barred"] else None


@pytest.mark.parametrize("policy", SourceOfTruth)
def test_every_world_is_decided_as_the_prose_says(policy: SourceOfTruth) -> None:
    for facts in worlds():
        winner = whose_value(policy, facts)
        outcome, rule = decide(policy, facts)
        held = sorted(name for name, holds in facts.items() if holds)
        assert (outcome, rule.name) == (in_the_way(policy, winner[0], facts) or winner), held


def test_what_enerflos_api_can_set_is_this() -> None:
    dates = {"started_at", "due_at", "completed_at"}
    person = {"first_name", "last_name", "email", "mobile", "address", "city", "state", "zip"}
    found = {kind: set(part.writable) for kind, (_, part) in KINDS.items() if part.writable}
    assert found == {"installs": {"status_name"}, "milestones": dates, "leads": person}
