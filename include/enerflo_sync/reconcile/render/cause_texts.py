"""Each cause in words: a label, an explanation, and what a person should do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from enerflo_sync.reconcile.report import Cause


class Urgency(StrEnum):
    """Who has to act on a cause, in the order of the report."""

    INVESTIGATE = "investigate"
    DECIDE = "decide"
    CARRY_OVER = "carry_over"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class CauseText:
    """One cause in words. ``explanation`` and ``what_to_do`` are one plain-text sentence each."""

    label: str
    explanation: str
    what_to_do: str
    urgency: Urgency


CAUSES: Final[Mapping[Cause, CauseText]] = MappingProxyType(
    {
        Cause.UNEXPLAINED: CauseText(
            "Unexplained",
            "The values differ, and no rule and no known event accounts for it.",
            "Look the samples up in both systems, then correct the wrong side, or declare the rule that "
            "makes the difference right in sync.yaml.",
            Urgency.INVESTIGATE,
        ),
        Cause.CONFLICT: CauseText(
            "Conflict",
            "Both sides changed since they last agreed.",
            "Decide which value stands; if it is always the same side, declare that side as the field's "
            "source of truth in sync.yaml.",
            Urgency.DECIDE,
        ),
        Cause.QUARANTINED: CauseText(
            "Quarantined",
            "The Enerflo record, or an event about it, was rejected on its way into the mirror, so the "
            "mirror may show an older state.",
            "Read the reason in sync.quarantine and correct the record at its source; the next poll takes "
            "it in.",
            Urgency.DECIDE,
        ),
        Cause.DUPLICATE_IDENTITY: CauseText(
            "Duplicate identity",
            "Several rows on one side carry the same identity, so it cannot be told which of them is meant.",
            "Merge or remove the surplus rows until the key names one row.",
            Urgency.DECIDE,
        ),
        Cause.GONE_AT_ONCE: CauseText(
            "Gone at once",
            "The CRM has no row of this record, and lost so many rows of the table at once that a copy may be"
            " about to be loaded again: nobody is taken to have deleted it yet.",
            "Look whether the table is being re-synced, and let that finish; a reconciliation that finds the "
            "table so for an hour takes its missing rows for deleted.",
            Urgency.DECIDE,
        ),
        Cause.DELETED_IN_CRM: CauseText(
            "Deleted in the CRM",
            "The CRM had this row when both sides last agreed and has it no longer, marks it as deleted, or"
            " the row names the record no more; Enerflo still has the record.",
            "Decide: restore the row in the CRM, or what it said of Enerflo's id, or close the record in"
            " Enerflo by hand.",
            Urgency.DECIDE,
        ),
        Cause.MISSING_IN_CRM: CauseText(
            "Missing in the CRM",
            "Enerflo has this record and the CRM has no row for it.",
            "Let the sync create the row (mode crm or both, create_in: [crm] in sync.yaml), or create it in "
            "the CRM by hand.",
            Urgency.CARRY_OVER,
        ),
        Cause.MISSING_IN_ENERFLO: CauseText(
            "Missing in Enerflo",
            "The CRM has this row and the mirror of Enerflo has no record for it.",
            "Correct the row's Enerflo id if it is wrong or missing; the sync delivers leads and notes only "
            "(mode enerflo or both, create_in: [enerflo]), so a row of an install, milestone or change order "
            "that Enerflo does not have is removed from the CRM.",
            Urgency.CARRY_OVER,
        ),
        Cause.DELETED_IN_ENERFLO: CauseText(
            "Deleted in Enerflo",
            "Enerflo no longer has this record: two full sweeps did not find it, or reading it gave a 404.",
            "Close or remove the row in the CRM, or let the sync delete it (delete_in: [crm] in sync.yaml).",
            Urgency.CARRY_OVER,
        ),
        Cause.EDITED_IN_CRM: CauseText(
            "Edited in the CRM",
            "Only the CRM changed since both sides last agreed.",
            "Let the sync carry over the value that the field's source of truth names (mode in sync.yaml); "
            "a column that no call of Enerflo's API sets is changed in Enerflo by hand.",
            Urgency.CARRY_OVER,
        ),
        Cause.EDITED_IN_ENERFLO: CauseText(
            "Edited in Enerflo",
            "Only Enerflo changed since both sides last agreed.",
            "Let the sync carry over the value that the field's source of truth names (mode in sync.yaml), "
            "or change the CRM's value by hand.",
            Urgency.CARRY_OVER,
        ),
        Cause.ON_ITS_WAY: CauseText(
            "On its way",
            "A change was handed over (sync.crm_changes), and the CRM's copy does not show it yet.",
            "Nothing; a change that takes longer than late_hours (write_to) becomes unexplained.",
            Urgency.NONE,
        ),
        Cause.PLANNED: CauseText(
            "Planned",
            "A plan that waits to be applied covers the difference; in report mode no plan is applied.",
            "Approve and apply the plan, or reject it.",
            Urgency.NONE,
        ),
        Cause.IN_FLIGHT: CauseText(
            "In flight",
            "One side changed, or came into the mirror, less than reconcile.in_flight_minutes ago, so the"
            " other may not have followed yet.",
            "Reconcile again after that time: a difference that stays gets another cause.",
            Urgency.NONE,
        ),
        Cause.POLICY: CauseText(
            "Policy",
            "A rule declared in sync.yaml keeps the two sides apart.",
            "Nothing; change the rule in sync.yaml if the sides should agree after all.",
            Urgency.NONE,
        ),
        Cause.LEFT_APART: CauseText(
            "Left apart",
            "No rule was declared, and the sync still changes nothing: a null takes no value away, the CRM "
            "does not void an install in Enerflo, or both sides are as an undo or a write left them.",
            "Nothing; `enerflo-sync explain` names the reason for one record, and null_overwrites or void_in "
            "in sync.yaml lets the other value be written.",
            Urgency.NONE,
        ),
        Cause.VOIDED: CauseText(
            "Voided",
            "The install is voided in Enerflo, and what is voided is not kept equal any more.",
            "Nothing, unless the CRM still treats the install as live: then close it there.",
            Urgency.NONE,
        ),
        Cause.EQUAL_AFTER_NORMALISATION: CauseText(
            "Equal after normalisation",
            "The values are written differently (spaces, case, precision, time zone) and mean the same.",
            "Nothing; tighten the field's comparison in sync.yaml if the spelling matters.",
            Urgency.NONE,
        ),
    }
)

# The order of stacked bars and of lists of causes: causes that need a person come first.
CAUSE_ORDER: Final[tuple[Cause, ...]] = tuple(CAUSES)

URGENCY_LABELS: Final[Mapping[Urgency, str]] = MappingProxyType(
    {
        Urgency.INVESTIGATE: "Find out why",
        Urgency.DECIDE: "A person decides",
        Urgency.CARRY_OVER: "Carry over",
        Urgency.NONE: "Nothing to do now",
    }
)
