"""The pages of plans: the list of plans, one plan, and its long lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import sqlalchemy as sa

from enerflo_sync.addresses import Place
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.plan_lines import (
    PAGE,
    SAMPLES,
    PlanLine,
    PlanLines,
    QuestionLine,
    Wanted,
    many_words,
)
from enerflo_sync.pages.records import record_address
from enerflo_sync.plan.questions import QuestionGroup, question_groups
from enerflo_sync.plan.reads import PlanPosition, read_plan, read_plans
from enerflo_sync.plan.render.shown_plan import group_title, headline, state_words
from enerflo_sync.plan.report import Group, PlanReport, PlanState
from enerflo_sync.plan.second_person import FirstApproval, first_words
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import PageLinks, render_page
from enerflo_sync.reconcile.render.verdict import Tone
from enerflo_sync.warehouse.engine import transaction_time

_PACKAGE: Final = "enerflo_sync.pages"
# Further fields are listed only with their numbers.
_MOST_SAMPLED: Final = 40
_ASKED: Final = 5

_SUMMARY = sa.text("""
/* enerflo-sync pages: where a plan's lists begin, and how much of it stands refused */
select p.summary -> 'first' as first, p.first_approval,
  jsonb_build_object('questions', coalesce(p.summary -> 'questions', '[]')) as asked,
  (select count(*) from (
    select from sync.refusals r
    where r.account = p.account and r.plan_hash = p.plan_hash and r.ended_at is null
    limit 1001) s) as refused
from sync.plans p where p.account = :account and p.plan_hash = :plan_hash
""")


@dataclass(frozen=True)
class PlansFilter:
    """Which plans to list; None in an option means all.

    :param after: the position of the plan after which the page begins.
    """

    state: PlanState | None = None
    after: PlanPosition | None = None

    @classmethod
    def of(cls, given: Mapping[str, str]) -> PlansFilter:
        """Return the filter in an address.

        :raises ConfigurationError: a part of it is unreadable or unknown.
        """
        state, after = (given.get(name, "").strip() for name in ("state", "after"))
        if state and state not in list(PlanState):
            raise _unreadable("state", "is not known", f"Choose one of {', '.join(PlanState)}.")
        return cls(PlanState(state) if state else None, _plan_position(after) if after else None)


def _plan_position(text: str) -> PlanPosition:
    try:
        made_at, part, plan_hash = json.loads(text)
        moment = datetime.fromisoformat(made_at)
        if moment.tzinfo is None or not 0 <= part < 2**31:
            raise ValueError
        return moment, int(part), plan_hash.replace("\0", "")
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise _unreadable("after", "is no position", "Begin at the first page.") from None


def _unreadable(name: str, what: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(f"{name} {what}.", where="the address", next_step=next_step)


@dataclass(frozen=True)
class PlansPage:
    """One page of an account's plans, the newest first."""

    account: str
    wanted: PlansFilter
    plans: Sequence[PlanReport]
    more: bool
    now: datetime


def read_plans_page(connection: sa.Connection, account: str, wanted: PlansFilter) -> PlansPage:
    """Return one page of an account's plans."""
    found = read_plans(connection, account, most=PAGE + 1, state=wanted.state, after=wanted.after)
    return PlansPage(account, wanted, found[:PAGE], len(found) > PAGE, transaction_time(connection))


def render_plans(page: PlansPage, frame: Frame) -> str:
    """Return the list of an account's plans."""
    here = frame.to.of(Place.PLANS, page.account)
    query = {"state": str(page.wanted.state)} if page.wanted.state else {}
    following = None
    if page.more:
        last = page.plans[-1]
        after = json.dumps([last.created_at.isoformat(), last.part, last.plan_hash])
        following = f"{here}?{urlencode({**query, 'after': after})}"
    return render_page(
        "plans.html.j2",
        _PACKAGE,
        frame=frame,
        page=page,
        here=here,
        states=list(PlanState),
        headline=headline,
        state=lambda plan: state_words(plan, page.now),
        first=f"{here}?{urlencode(query)}" if query else here,
        next=following,
    )


@dataclass(frozen=True)
class FieldLines:
    """One line of a plan's page: a field of a table, or its whole rows, with samples of its changes.

    :param selector: the text that selects all of it in a decision; None if there is none.
    """

    wanted: Wanted
    changes: int
    samples: Sequence[PlanLine]
    selector: str | None

    @property
    def query(self) -> dict[str, str]:
        """Return the address parameters of the page with all of it."""
        one = self.wanted
        parts = {"table": one.table_name, "direction": one.direction, "op": one.op, "field": one.field}
        return {name: value for name, value in parts.items() if value is not None}


@dataclass(frozen=True)
class PlanPage:
    """One plan, with samples of its changes by field.

    :param questions: the changes that need a person, in groups; unknown for plans of an earlier version.
    :param asked: samples of them; ``refused_before`` has samples of changes refused in earlier plans.
    :param refused: how many of its changes are refused, counted up to 1,001.
    :param first_part: which part the first of two persons approved, in words; empty if all of it.
    """

    plan: PlanReport
    groups: Sequence[tuple[Group, Sequence[FieldLines]]]
    now: datetime
    questions: Sequence[QuestionGroup] = ()
    asked: Sequence[QuestionLine] = ()
    refused_before: Sequence[QuestionLine] = ()
    refused: int = 0
    first_part: str = ""

    @property
    def may_be_decided(self) -> bool:
        """Return whether a person may decide about it; an undo counts as approved by its author."""
        plan = self.plan
        asks = plan.needs_approval or plan.kind == "undo"
        unanswered = plan.state is PlanState.OPEN or (
            plan.state is PlanState.REJECTED and not plan.decided_by
        )
        in_time = plan.expires_at > self.now
        return bool(plan.change_count) and plan.mode != "report" and asks and unanswered and in_time

    @property
    def may_be_taken_back(self) -> bool:
        """Return whether it is approved, and nothing of it was made or tried: a person may reject it yet."""
        nothing_made = self.plan.states.keys() <= {"planned", "left_out", "refused"}
        return self.plan.state is PlanState.APPROVED and nothing_made

    @property
    def asked_elsewhere(self) -> int:
        """Return how many of the changes that need a person have other entries in the inbox: held, parked."""
        return sum(self.plan.undecided.values()) - sum(one.questions for one in self.questions)

    @property
    def refused_words(self) -> str:
        """Return in words how many of its changes are refused."""
        return many_words(self.refused)

    @property
    def may_be_undone(self) -> bool:
        """Return whether any of its changes was applied."""
        return any(self.plan.states.get(state, 0) for state in ("applied", "handed_over"))


def read_plan_page(connection: sa.Connection, config: SyncConfig, account: str, plan_hash: str) -> PlanPage:
    """Return one plan with samples of its changes, masked.

    :param plan_hash: a hash or prefix for :func:`enerflo_sync.plan.reads.read_plan`.
    :raises ConfigurationError: the plan does not exist.
    """
    plan = read_plan(connection, account, plan_hash)
    named = {"account": account, "plan_hash": plan.plan_hash}
    stored = connection.execute(_SUMMARY, named).one()
    wanted = [
        _wanted(group, where) for group, where in zip(plan.groups, _firsts(plan, stored.first), strict=True)
    ]
    asked = [one for lines in wanted for one in lines][:_MOST_SAMPLED]
    lines = PlanLines(connection, account, plan.plan_hash, config.tables_for(account))
    found = lines.samples([(one, SAMPLES * line_width(plan, one)) for one, _ in asked])
    samples = {one: of_it for (one, _), of_it in zip(asked, found, strict=True)}
    alone = _tables_of_one_group(plan)
    return PlanPage(
        plan=plan,
        groups=[
            (
                group,
                [
                    FieldLines(one, changes, samples.get(one, ()), _selector(one, alone))
                    for one, changes in of_group
                ],
            )
            for group, of_group in zip(plan.groups, wanted, strict=True)
        ],
        now=transaction_time(connection),
        questions=question_groups(stored.asked),
        asked=lines.questions(after=0)[:_ASKED] if plan.undecided else (),
        refused_before=lines.questions(after=0, refused=True)[:_ASKED] if plan.refused else (),
        refused=stored.refused,
        first_part=_first_part(stored.first_approval, config.tables_for(account)),
    )


def _first_part(stored: Any, tables: Mapping[str, TableMapping]) -> str:
    first = FirstApproval.of(stored)
    return first.part_words(tables) if first else ""


def _firsts(plan: PlanReport, stored: Any) -> Sequence[Any]:
    # A plan of an earlier version does not store where its changes begin.
    return stored if stored and len(stored) == len(plan.groups) else [[{}, 0]] * len(plan.groups)


def _wanted(group: Group, first: Any) -> list[tuple[Wanted, int]]:
    """Return the lines of a group, each with its number of changes or records."""
    by_field, at = first
    one = Wanted(group.table_name, group.direction, group.op, first=at)
    if group.op != "update":
        return [(one, group.rows)]
    by_count = sorted(group.fields.items(), key=lambda item: (-item[1], item[0]))
    return [(replace(one, field=field, first=by_field.get(field, at)), count) for field, count in by_count]


def line_width(plan: PlanReport, wanted: Wanted) -> int:
    """Return how many changes one line can have: for an inserted record, one per field."""
    if wanted.op != "insert":
        return 1
    same = (wanted.table_name, wanted.direction, wanted.op)
    groups = [group for group in plan.groups if (group.table_name, group.direction, group.op) == same]
    return max((len(group.fields) for group in groups), default=1) or 1


def _tables_of_one_group(plan: PlanReport) -> set[str]:
    names = [group.table_name for group in plan.groups]
    return {name for name in names if names.count(name) == 1}


def _selector(one: Wanted, alone: set[str]) -> str | None:
    if one.op == "update":
        return f"{one.table_name}.{one.field}"
    return one.table_name if one.table_name in alone else None


def render_plan(
    page: PlanPage,
    tables: Mapping[str, TableMapping],
    frame: Frame | None = None,
    *,
    approvers: str = "",
    barred: str = "",
) -> str:
    """Return one plan as a page, in the order of a person's decisions; no forms without a frame.

    :param approvers: what keeps those who alone may decide from answering.
    :param barred: who alone may decide, if the visitor is none of them.
    """
    plan = page.plan
    own = None if frame is None else frame.to.plan(plan.account, plan.plan_hash)
    return render_page(
        "plan.html.j2",
        _PACKAGE,
        frame=frame,
        page=page,
        plan=plan,
        own=own,
        links=PageLinks(downloads={} if own is None else {"Download JSON": f"{own}/download"}),
        headline=headline(plan),
        state=state_words(plan, page.now),
        tone=_tone(plan),
        first_words=first_words(plan),
        approvers=approvers,
        barred=barred,
        group_title=group_title,
        query=urlencode,
        record_of=record_of(frame, plan.account, tables),
    )


def record_of(
    frame: Frame | None, account: str, tables: Mapping[str, TableMapping]
) -> Callable[[PlanLine | QuestionLine], str | None]:
    """Return the function that gives the address of a line's record; none without a frame."""

    def address(line: PlanLine | QuestionLine) -> str | None:
        if frame is None or line.bare_key is None:
            return None
        return record_address(frame.to, account, tables, line.table_name, line.bare_key)

    return address


def _tone(plan: PlanReport) -> Tone:
    if plan.state is PlanState.APPLIED:
        not_there = ("handed_over", "moved", "parked", "refused")
        unmade = sum(plan.states.get(state, 0) for state in not_there)
        if not plan.change_count:
            unmade = len(plan.undecided) + len(plan.refused)
        return Tone.UNSURE if unmade else Tone.GOOD
    over = {PlanState.REJECTED, PlanState.EXPIRED, PlanState.SUPERSEDED}
    return Tone.BAD if plan.state in over else Tone.UNSURE
