"""Which side's value is kept when the two differ: one list of rules, used by Python and by SQL.

A rule is a conjunction of facts (``newest and base_known and not crm_moved``); the first rule that fits
decides. The statements of plans and reconciliations, the truth table in the docs and its test use this list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from enerflo_sync.crm.mapping import Direction, FieldMapping, SourceOfTruth, TableMapping
from enerflo_sync.resources.registry import KINDS


class Resolution(StrEnum):
    """What happens with a difference: one side is written, a person decides, or both stay."""

    TO_CRM = "to_crm"
    TO_ENERFLO = "to_enerflo"
    REVIEW = "review"
    KEEP = "keep"


@dataclass(frozen=True)
class Rule:
    """One rule: its ``name`` in the ledger, the facts under which it fits, and what it says in words."""

    name: str
    when: str
    outcome: Resolution
    words: str

    def fits(self, facts: Mapping[str, bool]) -> bool:
        """Return whether the facts are as the rule requires."""
        return all(facts[fact] is wanted for fact, wanted in _terms(self.when))

    def sql(self, alias: str) -> str:
        """Return the rule's condition over columns of ``alias``."""
        terms = [f"{'' if wanted else 'not '}{alias}.{fact}" for fact, wanted in _terms(self.when)]
        return " and ".join(terms) or "true"


# The facts about a difference, in the order in which the ledger lists those that hold. Without an agreed
# value no side is known to have changed.
POLICIES = tuple(str(policy) for policy in SourceOfTruth)
FACTS = (
    "base_known",
    "base_kept",
    "agreed_late",
    "was_twin",
    "row_replaced",
    "row_moved",
    "kept_elsewhere",
    "enerflo_as_before",
    "own_word",
    "put_back",
    "tool_late",
    "rewritten",
    "crm_older",
    "enerflo_older",
    "enerflo_moved",
    "crm_moved",
    "enerflo_null",
    "crm_null",
    "other_form",
    "day_only",
    "copy_nulled",
    "crm_later",
    "time_unsure",
    "null_overwrites",
    "create_only",
    "crm_allowed",
    "enerflo_allowed",
    "enerflo_writable",
    "crm_barred",
    "enerflo_barred",
    "milestone_twice",
    "milestone_missing",
)

# Rules that choose the winner, if no other rule blocks the write.
WINNER_RULES: Sequence[Rule] = (
    Rule(
        "agreed_apart",
        "base_kept and not enerflo_moved and not crm_moved",
        Resolution.KEEP,
        "both sides are as they were left when this value was last written or undone",
    ),
    Rule(
        "agreed_apart",
        "kept_elsewhere",
        Resolution.KEEP,
        "both sides are as they were left when this value was last written or undone for the record's former"
        " row in the CRM",
    ),
    Rule("source_of_truth", "enerflo", Resolution.TO_CRM, "Enerflo is the source of truth"),
    Rule("source_of_truth", "crm", Resolution.TO_ENERFLO, "the CRM is the source of truth"),
    Rule(
        "fills_gap",
        "not base_known and crm_null and not enerflo_null",
        Resolution.TO_CRM,
        "the CRM has no value and never had one that both agreed on",
    ),
    Rule(
        "fills_gap",
        "not base_known and enerflo_null and not crm_null",
        Resolution.TO_ENERFLO,
        "Enerflo has no value and never had one that both agreed on",
    ),
    Rule(
        "agreed_late",
        "newest and agreed_late and crm_later and enerflo_moved and not crm_moved",
        Resolution.REVIEW,
        "both seemed to agree when Enerflo had changed it again unseen, and the CRM's row changed after that",
    ),
    Rule(
        "only_side_moved",
        "enerflo_moved and not crm_moved",
        Resolution.TO_CRM,
        "only Enerflo changed it since both agreed",
    ),
    Rule(
        "only_side_moved",
        "crm_moved and not enerflo_moved",
        Resolution.TO_ENERFLO,
        "only the CRM changed it since both agreed",
    ),
    Rule(
        "both_moved",
        "review and base_known",
        Resolution.REVIEW,
        "both sides changed it since they agreed, or sync.yaml compares it more strictly than then",
    ),
    Rule("never_agreed", "review", Resolution.REVIEW, "the two sides never agreed on it"),
    Rule(
        "time_unsure",
        "time_unsure",
        Resolution.REVIEW,
        "the time of a change (none, one in the future, a day, an hour that comes twice, or one that did not"
        " move with it alone) does not tell whether the CRM or Enerflo changed it later",
    ),
    Rule(
        "later_time",
        "crm_later",
        Resolution.TO_ENERFLO,
        "the CRM's row was changed later than Enerflo's record, by their own times",
    ),
    Rule(
        "later_time",
        "",
        Resolution.TO_CRM,
        "Enerflo's record was changed later than the CRM's row, by their own times",
    ),
)

# Rules that block a write to the losing side, which the fact ``to_crm`` or ``to_enerflo`` names.
BLOCKING_RULES: Sequence[Rule] = (
    *(
        Rule(
            "copy_nulled",
            f"to_{side} and copy_nulled and {side}_allowed and not create_only",
            Resolution.REVIEW,
            "the copy has null where the CRM's value fits no type (_airbyte_meta, a date with zeros):"
            " look at the CRM's record",
        )
        for side in ("crm", "enerflo")
    ),
    Rule(
        "milestone_twice",
        "milestone_twice",
        Resolution.REVIEW,
        "the install has more than one milestone of this title: rename one at Enerflo, or map its id",
    ),
    Rule(
        "milestone_missing",
        "milestone_missing",
        Resolution.KEEP,
        "missing milestone: the install has none of this title or id at Enerflo",
    ),
    Rule(
        "null_kept",
        "to_crm and enerflo_null and not crm_null and not null_overwrites",
        Resolution.KEEP,
        "a null on Enerflo's side takes nothing away (null_overwrites)",
    ),
    Rule(
        "null_kept",
        "to_enerflo and crm_null and not enerflo_null and not null_overwrites",
        Resolution.KEEP,
        "a null on the CRM's side takes nothing away (null_overwrites)",
    ),
    Rule(
        "create_only", "to_crm and create_only", Resolution.KEEP, "rows are created and never changed later"
    ),
    Rule(
        "create_only",
        "to_enerflo and create_only",
        Resolution.KEEP,
        "rows are created and never changed later",
    ),
    Rule("direction", "to_crm and not crm_allowed", Resolution.KEEP, "the CRM's column may not be written"),
    Rule("direction", "to_enerflo and not enerflo_allowed", Resolution.KEEP, "Enerflo's may not be written"),
    Rule(
        "day_only",
        "to_enerflo and day_only and not base_known",
        Resolution.REVIEW,
        "the CRM has only the day of Enerflo's time: declare type: date, or map a column with the time",
    ),
    Rule(
        "other_form",
        "to_crm and other_form",
        Resolution.REVIEW,
        "the CRM's text has a form of its own, and Enerflo's value would get another one: correct the text,"
        " or map a view",
    ),
    Rule(
        "twin",
        "to_enerflo and was_twin",
        Resolution.REVIEW,
        "the CRM had more than one row of it, and this one was not equal to Enerflo's record since",
    ),
    Rule(
        "row_replaced",
        "to_enerflo and row_replaced",
        Resolution.REVIEW,
        "another row of the CRM stood for it before, and this one was not equal to Enerflo's record since",
    ),
    Rule(
        "row_replaced",
        "not enerflo and to_crm and enerflo_as_before",
        Resolution.REVIEW,
        "another row of the CRM stood for it before, and Enerflo still says what both agreed on then: the"
        " CRM's value may be an edit",
    ),
    Rule(
        "row_moved",
        "to_enerflo and row_moved",
        Resolution.REVIEW,
        "the CRM's value may be an older one: its row got it when it named another record of Enerflo, had"
        " another key, or was a row of another table of sync.yaml",
    ),
    Rule(
        "own_word",
        "to_enerflo and own_word and not crm_moved",
        Resolution.REVIEW,
        "the CRM's value came from Enerflo and was handed over when it stood for another one",
    ),
    Rule(
        "put_back",
        "not crm and to_enerflo and put_back",
        Resolution.REVIEW,
        "the CRM's value is one that our write had replaced, and came back when many rows were written at"
        " once: a load of the table may have taken our write back",
    ),
    Rule(
        "tool_late",
        "not crm and to_enerflo and tool_late",
        Resolution.REVIEW,
        "the CRM's value was handed over before a later one that arrived: a tool may have written it late",
    ),
    Rule(
        "rewritten",
        "not crm and to_enerflo and rewritten",
        Resolution.REVIEW,
        "the CRM's value is what became of our write of another one: a trigger or a person made it",
    ),
    Rule(
        "older_row",
        "not crm and to_enerflo and crm_older",
        Resolution.REVIEW,
        "the time of the CRM's row is earlier than it was when both sides agreed: an older row may have come"
        " back",
    ),
    Rule(
        "older_row",
        "not enerflo and to_crm and enerflo_older",
        Resolution.REVIEW,
        "the time of Enerflo's record is earlier than it was when both sides agreed: an older state of the"
        " record may have come back",
    ),
    Rule(
        "no_call",
        "to_enerflo and not enerflo_writable",
        Resolution.REVIEW,
        "no call of Enerflo's API sets it: change it there by hand, or declare the other side",
    ),
    Rule("void", "to_crm and crm_barred", Resolution.KEEP, "the CRM's install may not be voided (void_in)"),
    Rule("void", "to_enerflo and enerflo_barred", Resolution.KEEP, "Enerflo's may not be voided (void_in)"),
)


def decide(policy: SourceOfTruth, facts: Mapping[str, bool]) -> tuple[Resolution, Rule]:
    """Return what happens with a difference, and the rule that decides it.

    :param facts: a value for each of :data:`FACTS`.
    """
    known = {**dict.fromkeys(POLICIES, False), **facts, str(policy): True}
    winner = next(rule for rule in WINNER_RULES if rule.fits(known))
    known |= {
        str(outcome): outcome is winner.outcome for outcome in (Resolution.TO_CRM, Resolution.TO_ENERFLO)
    }
    blocking = next((rule for rule in BLOCKING_RULES if rule.fits(known)), None)
    rule = blocking or winner
    return rule.outcome, rule


def rule_sql(rules: Sequence[Rule], alias: str) -> str:
    """Return the number of the first rule that fits as an SQL expression; null if none fits.

    :param alias: a relation with the facts, the policies and the winner's side as boolean columns.
    """
    cases = " ".join(f"when {rule.sql(alias)} then {number}" for number, rule in enumerate(rules))
    return f"(case {cases} end)"


def constant_facts(kind: str, mapping: TableMapping, field: FieldMapping) -> dict[str, bool]:
    """Return the policy and the facts that the configuration alone decides."""
    return {
        **{policy: field.source_of_truth == policy for policy in POLICIES},
        "null_overwrites": field.null_overwrites,
        "create_only": mapping.create_only,
        "crm_allowed": field.direction in {Direction.BOTH, Direction.TO_CRM},
        "enerflo_allowed": field.direction in {Direction.BOTH, Direction.TO_ENERFLO},
        "enerflo_writable": field.enerflo in KINDS[kind][1].writable,
    }


def _terms(when: str) -> list[tuple[str, bool]]:
    """Return the facts of a conjunction, each with whether it must hold."""
    words = [term.split() for term in when.split(" and ")] if when else []
    return [(term[-1], len(term) == 1) for term in words]
