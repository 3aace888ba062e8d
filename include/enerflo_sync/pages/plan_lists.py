"""A long list of one plan, a page at a time: the changes of a field, questions, or refused changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.plan_lines import PAGE, PlanLine, PlanLines, QuestionLine, Wanted
from enerflo_sync.pages.plans import PlanPage, line_width, record_of
from enerflo_sync.plan.reads import read_plan
from enerflo_sync.plan.render.shown_plan import headline
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.plan.second_person import first_words
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.warehouse.engine import transaction_time

_LONGEST: Final = 200


class PlanList(StrEnum):
    """Lists of a plan besides its changes: questions, changes refused before, refused changes of the plan."""

    QUESTIONS = "questions"
    REFUSED_BEFORE = "refused_before"
    REFUSED = "refused"


@dataclass(frozen=True)
class PlanListFilter:
    """Which list of a plan to show: the changes of a table, or one of the other lists.

    :param group: the name of a group of questions.
    :param page: the position in the plan after which the page begins.
    """

    table: str | None = None
    field: str | None = None
    direction: str | None = None
    op: str | None = None
    group: str | None = None
    which: PlanList | None = None
    page: int = 0

    @classmethod
    def of(cls, given: Mapping[str, str]) -> PlanListFilter | None:
        """Return the filter in an address; None if it names only the plan.

        :raises ConfigurationError: a part of it is unreadable or unknown.
        """
        texts = {name: given.get(name, "").strip().replace("\0", "") for name in ("table", "field", "group")}
        for name, text in texts.items():
            if len(text) > _LONGEST:
                raise _unreadable(
                    name, f"is longer than {_LONGEST} characters", "Choose it on the plan's page."
                )
        closed = {
            "direction": ("to_crm", "to_enerflo"),
            "op": ("insert", "update", "delete"),
            "list": tuple(PlanList),
        }
        for name, known in closed.items():
            texts[name] = given.get(name, "").strip()
            if texts[name] and texts[name] not in known:
                raise _unreadable(name, "is not known", f"Choose one of {', '.join(known)}.")
        page = given.get("page", "").strip() or "0"
        if not (page.isascii() and page.isdigit() and len(page) < 16):
            raise _unreadable("page", "is no position", "Begin at the first page.")
        which = PlanList(texts["list"]) if texts["list"] else PlanList.QUESTIONS if texts["group"] else None
        if which is None and not texts["table"]:
            return None
        named = {name: texts[name] or None for name in ("table", "field", "direction", "op", "group")}
        return cls(**named, which=which, page=int(page))

    @property
    def query(self) -> dict[str, str]:
        """Return the filter as address parameters, without the position."""
        parts = {name: getattr(self, name) for name in ("table", "field", "direction", "op", "group")}
        parts["list"] = self.which and str(self.which)
        return {name: value for name, value in parts.items() if value is not None}


def _unreadable(name: str, what: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(f"{name} {what}.", where="the address", next_step=next_step)


@dataclass(frozen=True)
class PlanListPage:
    """One page of a list of a plan: changes, or questions and refusals.

    :param after: the position of the next page; None on the last one.
    """

    plan: PlanReport
    wanted: PlanListFilter
    changes: Sequence[PlanLine]
    questions: Sequence[QuestionLine]
    after: int | None
    now: datetime

    @property
    def may_be_decided(self) -> bool:
        """Return whether a person may decide about the changes on the page."""
        return bool(self.changes) and PlanPage(self.plan, (), self.now).may_be_decided

    @property
    def may_be_reopened(self) -> bool:
        """Return whether the page lists refused changes."""
        return bool(self.questions) and self.wanted.which is not PlanList.QUESTIONS


def read_plan_list(
    connection: sa.Connection, config: SyncConfig, account: str, plan_hash: str, wanted: PlanListFilter
) -> PlanListPage:
    """Return one page of a list of a plan, masked.

    :raises ConfigurationError: the plan does not exist, or has no such changes.
    """
    plan = read_plan(connection, account, plan_hash, counted=False)
    lines = PlanLines(connection, account, plan.plan_hash, config.tables_for(account))
    changes: list[PlanLine] = []
    questions: list[QuestionLine] = []
    if wanted.which is None:
        asked = _chosen(plan, wanted)
        changes = lines.page(asked, rows_each=line_width(plan, asked), after=wanted.page)
    elif wanted.which is PlanList.REFUSED:
        questions = lines.refusals(after=wanted.page)
    else:
        refused = wanted.which is PlanList.REFUSED_BEFORE
        questions = lines.questions(after=wanted.page, name=wanted.group, refused=refused)
    found = changes or questions
    return PlanListPage(
        now=transaction_time(connection),
        plan=plan,
        wanted=wanted,
        changes=changes[:PAGE],
        questions=questions[:PAGE],
        after=found[PAGE - 1].position if len(found) > PAGE else None,
    )


def _chosen(plan: PlanReport, wanted: PlanListFilter) -> Wanted:
    for group in plan.groups:
        names_it = group.table_name == wanted.table and (wanted.field is None or wanted.field in group.fields)
        if names_it and wanted.direction in (None, group.direction) and wanted.op in (None, group.op):
            field = wanted.field if group.op == "update" else None
            return Wanted(group.table_name, group.direction, group.op, field)
    raise ConfigurationError(
        "the plan has no such changes.",
        where=f"plan {plan.plan_hash[:12]}",
        next_step="Choose a table and field on its page.",
    )


def render_plan_list(
    page: PlanListPage, tables: Mapping[str, TableMapping], frame: Frame, *, barred: str = ""
) -> str:
    """Return the page.

    :param barred: who alone may decide, if the visitor is none of them.
    """
    plan = page.plan
    own = frame.to.plan(plan.account, plan.plan_hash)
    following = None if page.after is None else {**page.wanted.query, "page": str(page.after)}
    return render_page(
        "plan_list.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        page=page,
        plan=plan,
        own=own,
        title=_title(page.wanted),
        headline=headline(plan),
        barred=barred,
        first_words=first_words(plan),
        which=page.wanted.which,
        first=f"{own}?{urlencode(page.wanted.query)}",
        next=following and f"{own}?{urlencode(following)}",
        record_of=record_of(frame, plan.account, tables),
    )


def _title(wanted: PlanListFilter) -> str:
    if wanted.which is PlanList.QUESTIONS:
        return "Left to a person"
    if wanted.which is PlanList.REFUSED_BEFORE:
        return "Refused before, and not done"
    if wanted.which is PlanList.REFUSED:
        return "Refused of this plan"
    return f"{wanted.table}.{wanted.field}" if wanted.field else f"Whole records of {wanted.table}"
