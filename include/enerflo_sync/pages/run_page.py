"""The page of one DAG run: its progress, what it did with reasons, and a link to its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.addresses import Place
from enerflo_sync.backfill.report import BackfillReport, backfill_report
from enerflo_sync.backfill.store import ChunkState, State, load_backfill, load_chunks
from enerflo_sync.backfill.texts import estimate_lines, report_lines
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.verdicts import advice, verdict_of_row
from enerflo_sync.plan.reads import read_plan
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.reconcile.render.stored_verdict import StoredVerdict
from enerflo_sync.reconcile.render.verdict import Tone
from enerflo_sync.warehouse.engine import transaction_time
from enerflo_sync.warehouse.schema import reconciliations, runs

# The names of jobs on the page; the keys come from the DAGs' names.
JOBS: Mapping[str, str] = {
    "poll": "Poll",
    "webhooks": "Webhooks",
    "reconcile": "Reconciliation",
    "sync": "Plan and apply",
    "approve": "Approval of a plan",
    "change_orders": "Checks of change orders",
    "backfill": "Backfill",
    "replay": "Replay",
    "prune": "Deletion of what is too old",
}
# States of a DAG run that is not finished.
_GOING = ("queued", "running")
_MOST_REASONS = 20
# States of changes that an apply could not make.
_NOT_MADE = ("parked", "moved")


@dataclass(frozen=True)
class TaskLine:
    """One task of the run, or all its mapped parts together.

    :param states: the number of its parts by state.
    """

    name: str
    states: Mapping[str, int]
    tries: int = 1


@dataclass(frozen=True)
class RunFacts:
    """The facts that Airflow has about the run.

    :param results: ids and counts that its tasks returned, as one mapping; never a record's data.
    :param note: the run's note.
    """

    dag_id: str
    run_id: str
    job: str
    account: str
    state: str
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    note: str
    tasks: Sequence[TaskLine] = ()
    results: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_going(self) -> bool:
        """Return whether the run is not finished."""
        return self.state in _GOING

    @property
    def tone(self) -> Tone:
        """Return the colour of the run's state."""
        return {"success": Tone.GOOD, "failed": Tone.BAD}.get(self.state, Tone.UNSURE)


@dataclass(frozen=True)
class StoredRun:
    """The run's row of ``sync.runs``: read = applied + unchanged + quarantined + skipped."""

    state: str
    counts: Mapping[str, int]
    reasons: Sequence[tuple[str, str, int]]
    more_reasons: int


@dataclass(frozen=True)
class RunPage:
    """The content of the page; a part is None if the run does not have it."""

    facts: RunFacts
    now: datetime
    stored: StoredRun | None = None
    reconciliation_id: str | None = None
    verdict: StoredVerdict | None = None
    plans: Sequence[PlanReport] = ()
    backfill: BackfillReport | None = None
    chunks_done: int = 0
    may_start: bool = False

    @property
    def is_verdict(self) -> bool:
        """Return whether the page opens with a verdict: the run's purpose is one, and it has one."""
        return self.facts.job == "reconcile" and self.verdict is not None and not self.facts.is_going

    @property
    def is_partial(self) -> bool:
        """Return whether a run that Airflow calls a success left work for a person or a later run."""
        if self.facts.tone is not Tone.GOOD:
            return False
        # A backfill is a run of its own in sync.runs, and changes of a plan are no records that were read.
        return (
            (self.stored is not None and self.stored.state == "partial")
            or (self.backfill is not None and self.backfill.needs_a_person)
            or any(plan.states.get(state) for plan in self.plans for state in _NOT_MADE)
        )

    @property
    def tone(self) -> Tone:
        """Return the colour of the page's opening sentence."""
        return Tone.UNSURE if self.is_partial else self.facts.tone


def read_run(connection: sa.Connection, facts: RunFacts) -> RunPage:
    """Return the data about the run in the warehouse."""
    account, results = facts.account, facts.results
    named = results.get("reconciliation_id")
    backfill = _backfill(connection, account, results.get("backfill_id"))
    hashes = [results[name] for name in ("plan_hash", "free", "waiting") if results.get(name)]
    return RunPage(
        facts=facts,
        now=transaction_time(connection),
        stored=_stored(connection, account, f"{facts.dag_id}/{facts.run_id}"),
        reconciliation_id=named,
        verdict=_verdict(connection, account, named),
        plans=[
            plan for one in dict.fromkeys(hashes) if (plan := _plan(connection, account, one)) is not None
        ],
        backfill=backfill,
        chunks_done=0
        if backfill is None
        else sum(one.state in (ChunkState.DONE, ChunkState.INCOMPLETE) for one in backfill.chunks),
        may_start=backfill is not None
        and backfill.state is State.ESTIMATED
        and backfill.kind == "window"
        and not facts.is_going,
    )


def _stored(connection: sa.Connection, account: str, run_id: str) -> StoredRun | None:
    row = (
        connection.execute(sa.select(runs).where(runs.c.account == account, runs.c.run_id == run_id))
        .mappings()
        .one_or_none()
    )
    # A run that was killed, or is still running, counts as failed.
    if row is None or row["finished_at"] is None:
        return None
    told = [(group, why, count) for group, counts in row["reasons"].items() for why, count in counts.items()]
    told.sort(key=lambda one: (_REASONS.get(one[0], len(_REASONS)), -one[2], one[1]))
    names = ("read", "applied", "unchanged", "quarantined", "skipped", "requests")
    counts = {name: row[name] for name in names}
    return StoredRun(row["state"], counts, told[:_MOST_REASONS], max(len(told) - _MOST_REASONS, 0))


# Groups of reasons in order of gravity.
_REASONS = {"failed": 0, "incomplete": 1, "quarantined": 2, "skipped": 3, "notice": 4}


def _verdict(connection: sa.Connection, account: str, reconciliation_id: str | None) -> StoredVerdict | None:
    if reconciliation_id is None:
        return None
    table = reconciliations.c
    row = connection.execute(
        sa.select(table.summary, sa.case((table.summary.is_(None), table.report)).label("report")).where(
            table.account == account, table.reconciliation_id == reconciliation_id
        )
    ).one_or_none()
    return None if row is None else verdict_of_row(row.summary, row.report)


def _plan(connection: sa.Connection, account: str, plan_hash: str) -> PlanReport | None:
    try:
        return read_plan(connection, account, plan_hash)
    except ConfigurationError:
        return None


def _backfill(connection: sa.Connection, account: str, backfill_id: str | None) -> BackfillReport | None:
    if backfill_id is None:
        return None
    try:
        found = load_backfill(connection, account, backfill_id)
    except ConfigurationError:
        return None
    return backfill_report(found, load_chunks(connection, account, backfill_id))


def render_run(page: RunPage, frame: Frame) -> str:
    """Return the page."""
    account = page.facts.account
    backfill = page.backfill
    lines: list[str] = []
    if backfill is not None:
        lines = list(
            estimate_lines(backfill) if backfill.state is State.ESTIMATED else report_lines(backfill)
        )
    return render_page(
        "run.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        page=page,
        facts=page.facts,
        advice=advice,
        job=JOBS[page.facts.job],
        lines=lines,
        overview=frame.to.of(Place.OVERVIEW, account),
    )
