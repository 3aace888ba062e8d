"""``approval.second_person``: if two persons must approve a plan, the first approval waits for the second."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.errors import ConfigurationError, ConflictError
from enerflo_sync.plan.parts import Part, Rest, shown_selector
from enerflo_sync.plan.report import PlanReport, PlanState

# Listed among the reasons why a plan waits.
TWO_PERSONS = "Two persons have to approve it (approval.second_person)."
_SECOND = "A second person has to approve it as well (approval.second_person)."

_NOTE = sa.text("""
/* enerflo-sync apply: the first of two approvals */
update sync.plans set first_approval = jsonb_build_object('by', cast(:who as text), 'as', session_user,
  'at', cast(:now as timestamptz), 'part', cast(:part as jsonb)),
  -- The plan was rejected because nobody answered in time; now somebody does.
  state = case when state = 'rejected' and decided_by is null then 'open' else state end
where account = :account and plan_hash = :plan_hash
""").bindparams(sa.bindparam("part", type_=JSONB))

_FORGET = sa.text("""
/* enerflo-sync apply: the first approval was about other changes than those that wait now */
update sync.plans set first_approval = null
where account = :account and plan_hash = :plan_hash and state = 'open' and first_approval is not null
""")

_READ = sa.text("""
/* enerflo-sync apply: the first of two approvals */
select first_approval from sync.plans where account = :account and plan_hash = :plan_hash
""")

# For a plan that one person approved before the option was set.
_ONE_IS_HALF = sa.text("""
/* enerflo-sync apply: a plan that one person approved, and that two persons have to approve now */
update sync.plans set state = 'open', decided_by = null, decided_as = null, decided_at = null,
  first_approval = jsonb_build_object('by', decided_by, 'as', decided_as, 'at', decided_at,
    'part', jsonb_build_object())
where account = :account and plan_hash = :plan_hash
""")


@dataclass(frozen=True)
class FirstApproval:
    """Who approved a plan first, when, and which part of it."""

    by: str
    at: datetime
    part: Part

    @classmethod
    def of(cls, stored: Mapping[str, Any] | None) -> FirstApproval | None:
        """Return the first approval that a row of ``sync.plans`` holds; None if it holds none."""
        if not stored:
            return None
        part = stored["part"]
        chosen = Part(part.get("only", ()), part.get("without", ()), Rest(part.get("rest", Rest.OPEN)))
        return cls(str(stored["by"]), datetime.fromisoformat(stored["at"]), chosen)

    def part_words(self, tables: Mapping[str, TableMapping]) -> str:
        """Return the approved part in words, without personal data; empty if it is the whole plan."""
        shown = [shown_selector(one, tables) for one in self.part.only]
        shown += [f"all but {shown_selector(one, tables)}" for one in self.part.without]
        rest = "the rest is refused" if self.part.rest is Rest.REFUSE else "the rest stays open"
        return f"{', '.join(shown)}; {rest}" if shown else ""


def needs_two(config: SyncConfig, plan: PlanReport) -> bool:
    """Return whether two persons have to approve the plan before it is applied."""
    return config.approval.second_person and plan.needs_approval


def first_approval(connection: sa.Connection, plan: PlanReport) -> FirstApproval | None:
    """Return the plan's first approval; None if nobody has approved it."""
    return FirstApproval.of(connection.scalar(_READ, _named(plan)))


def first_words(plan: PlanReport) -> str:
    """Return who approved the plan first and that a second person must; empty without a first approval."""
    if plan.first_approved_by is None or plan.state not in {PlanState.OPEN, PlanState.REJECTED}:
        return ""
    when = (
        f" on {plan.first_approved_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if plan.first_approved_at else ""
    )
    return f"{plan.first_approved_by} approved it{when}. {_SECOND}"


def note_first(
    connection: sa.Connection, plan: PlanReport, who: str, now: datetime, part: Part
) -> PlanReport:
    """Store the first approval of a plan, which goes on to wait, in the caller's transaction."""
    stored = {"only": list(part.only), "without": list(part.without), "rest": str(part.rest)}
    connection.execute(_NOTE, {**_named(plan), "who": who, "now": now, "part": stored})
    unanswered = plan.state is PlanState.REJECTED and plan.decided_by is None
    state = PlanState.OPEN if unanswered else plan.state
    return msgspec.structs.replace(plan, state=state, first_approved_by=who, first_approved_at=now)


def forget_first(connection: sa.Connection, account: str, plan_hash: str) -> None:
    """Delete the first approval of a waiting plan whose changes differ or were partly decided since."""
    connection.execute(_FORGET, {"account": account, "plan_hash": plan_hash})


def both_names(
    first: FirstApproval, who: str, part: Part, plan: PlanReport, tables: Mapping[str, TableMapping]
) -> str | None:
    """Return the names of the two persons who approved the same part; None if the first chose another part.

    :raises ConflictError: it is the first person again.
    :raises ConfigurationError: the second person chose another part than the first.
    """
    where = f"plan {plan.plan_hash[:12]}"
    same_part = _chosen(first.part) == _chosen(part)
    if _folded(first.by) == _folded(who):
        if not same_part:
            return None
        raise ConflictError(
            f"{first.by} approved it already.",
            where=where,
            next_step=f"{_SECOND} Nothing was changed now.",
        )
    if not same_part:
        raise ConfigurationError(
            f"{first.by} approved another part: {first.part_words(tables) or 'the whole plan'}.",
            where=where,
            next_step="Approve the same, or reject what is not to be done; or the first person chooses anew.",
        )
    return f"{first.by} and {who}"


def one_is_half(connection: sa.Connection, config: SyncConfig, plan: PlanReport) -> PlanReport:
    """Make a plan that one person approved wait for a second approval, if the rules now require two.

    So stricter rules also apply to plans that were approved before.
    """
    half = plan.state is PlanState.APPROVED and plan.first_approved_by is None
    if not half or not needs_two(config, plan):
        return plan
    connection.execute(_ONE_IS_HALF, _named(plan))
    return msgspec.structs.replace(
        plan,
        state=PlanState.OPEN,
        first_approved_by=plan.decided_by,
        first_approved_at=plan.decided_at,
        decided_by=None,
        decided_as=None,
        decided_at=None,
    )


def _chosen(part: Part) -> tuple[frozenset[str], frozenset[str], Rest | None]:
    only, without = (frozenset(one.strip() for one in chosen) for chosen in (part.only, part.without))
    return only, without, None if part.whole else part.rest


def _folded(name: str) -> str:
    # A name that differs only in invisible characters is the same person's name.
    seen = "".join(
        c
        for c in unicodedata.normalize("NFKC", name)
        if unicodedata.category(c) not in {"Cf", "Cc"} or c.isspace()
    )
    return " ".join(seen.split()).casefold()


def _named(plan: PlanReport) -> dict[str, str]:
    return {"account": plan.account, "plan_hash": plan.plan_hash}
