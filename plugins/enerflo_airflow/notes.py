"""A run's result in one line for people, stored as the note of the DAG run.

A task cannot write its run's note. So it stores the line as an XCom in Airflow's database, and a listener in
the scheduler copies it when the run ends.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ParamSpec

from airflow.listeners import hookimpl
from airflow.sdk import BaseXCom

from enerflo_sync.counted import count_of
from enerflo_sync.steering import shown

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import Context
    from sqlalchemy.orm import Session

    from enerflo_sync.apply.carry import CarryReport
    from enerflo_sync.apply.report import ApplyReport
    from enerflo_sync.backfill.report import BackfillReport
    from enerflo_sync.inbox.replay_report import ReplayReport
    from enerflo_sync.plan.report import PlanReport
    from enerflo_sync.quality.report import QualityReport
    from enerflo_sync.reconcile.report import ReconciliationReport
    from enerflo_sync.warehouse.runs import RunReport

NOTE_KEY = "enerflo_note"
# Length of Airflow's column.
LONGEST_NOTE = 1000
# Prefix of notices about events that a later run handles.
_WAITING = "waiting"

_P = ParamSpec("_P")


def _as_shown(note: Callable[_P, str]) -> Callable[_P, str]:
    """Make ``note`` safe for a task's log, because reasons may quote input."""

    @functools.wraps(note)
    def told(*args: _P.args, **options: _P.kwargs) -> str:
        return shown(note(*args, **options))

    return told


@_as_shown
def poll_note(report: RunReport) -> str:
    """Return a poll's result, and where to look if it is incomplete."""
    first = _gravest_first(
        {
            f"read {report.read:,}": 0,
            f"applied {report.applied:,}": 0,
            f"unchanged {report.unchanged:,}": 0,
            f"{report.quarantined:,} quarantined": report.quarantined,
            f"{report.skipped:,} skipped": report.skipped,
            count_of(report.requests, "request"): 0,
        }
    )
    return _in_lines(report, first)


def _gravest_first(parts: Mapping[str, int]) -> list[str]:
    """Return the parts of a note, first those whose grave count is not zero: a person looks at them."""
    return sorted(parts, key=lambda words: not parts[words])


@_as_shown
def ingest_note(report: RunReport) -> str:
    """Return the outcome of the dropped events, and where to look if any waits for a person."""
    events = report.resources.get("events", {})
    notices: Mapping[str, int] = events.get("reasons", {}).get("notice", {})
    waiting = {why: count for why, count in notices.items() if why.startswith(_WAITING)}
    first = _gravest_first(
        {
            count_of(events.get("read", 0), "event"): 0,
            f"{events.get('unchanged', 0):,} of them copies": 0,
            f"{notices.get('applied', 0):,} applied": 0,
            f"{sum(waiting.values()):,} waiting": sum(waiting.values()),
            f"{report.quarantined:,} quarantined": report.quarantined,
            f"{events.get('skipped', 0):,} ignored": 0,
            count_of(report.requests, "request"): 0,
        }
    )
    note = _in_lines(report, first)
    return "\n".join([note, *(f"{count:,} {why}" for why, count in waiting.items())])


def _in_lines(report: RunReport, first: list[str]) -> str:
    """Return a note: the line that lists of runs show, and where to look if the run is partial."""
    partial = report.state == "partial"
    lines = [" · ".join(["partial", *first] if partial else first)]
    if partial:
        lines.append(f"sync.runs has it under {report.run_id}")
    lines += [f"not read whole: {why}" for why in _group(report.reasons, "incomplete")]
    if report.quarantined:
        counts = _group(report.reasons, "quarantined")
        reasons = ", ".join(f"{count:,} {why}" for why, count in counts.items())
        lines.append(f"quarantined, listed in sync.quarantine with state open: {reasons}")
    return "\n".join(lines)


@_as_shown
def replay_note(report: ReplayReport, by: str) -> str:
    """Return the actual or expected outcomes of quarantined items, and where to find each."""
    first = [f"dry run for {by}, nothing was changed" if report.dry else f"replayed by {by}"]
    if report.needs_a_person and not report.dry:
        first.insert(0, "partial")
    first.append(count_of(len(report.results), "item"))
    first += [f"{count:,} {outcome.replace('_', ' ')}" for outcome, count in report.counts.items()]
    lines = [" · ".join(first), "item by item in the task's log"]
    if report.run_id:
        lines.append(f"sync.runs has it under {report.run_id}")
    return "\n".join(lines)


@_as_shown
def backfill_note(report: BackfillReport) -> str:
    """Return a backfill's result; if records were quarantined or not read, the first line says so."""
    # Import late: the scheduler imports this module but renders no report.
    from enerflo_sync.backfill.texts import report_lines

    first, *others = report_lines(report)
    return "\n".join([f"partial · {first}" if report.is_partial else first, *others])


@_as_shown
def dismissal_note(count: int, by: str) -> str:
    """Return the number of dismissed items."""
    return f"dismissed by {by} · {count_of(count, 'item')}\nsync.quarantine keeps them, with the reason"


@_as_shown
def reconciliation_note(report: ReconciliationReport) -> str:
    """Return the headline of a reconciliation."""
    if report.mirror_as_of is None and report.tables:
        return "nothing can be called equal: the mirror was never polled completely"
    # Import late: the scheduler imports this module but renders no report.
    from enerflo_sync.reconcile.render.verdict import Tone, verdict_text

    words = verdict_text(report)
    doubt = f"{words.headline} · " if words.tone is Tone.UNSURE else ""
    return (
        f"{doubt}{report.unexplained:,} unexplained of {report.budget:,} allowed · "
        f"{count_of(report.differences, 'difference')} in all · {report.scope} comparison: open the report"
    )


@_as_shown
def plan_note(plan: PlanReport) -> str:
    """Return what a plan would do, and whether it waits for approval."""
    if not plan.change_count:
        first = "no change"
    else:
        counts = {"in the CRM": plan.count("to_crm"), "at Enerflo": plan.count("to_enerflo")}
        first = " · ".join(f"{count_of(count, 'change')} {where}" for where, count in counts.items() if count)
    questions = sum(plan.undecided.values())
    parts = ["waits for a person"] if plan.asks_a_person else []
    parts += [f"{questions:,} left to a person"] if questions else []
    parts += [first]
    refused = sum(plan.refused.values())
    parts += [f"{refused:,} refused before"] if refused else []
    parts += ["mode report, nothing is written"] if plan.mode == "report" and plan.change_count else []
    parts += [f"plan {plan.plan_hash[:12]}"]
    return " · ".join(parts)


@_as_shown
def apply_note(report: ApplyReport) -> str:
    """Return the outcomes of a plan's changes, and why some were not made."""
    outcomes = {name: getattr(report, name) for name in ("applied", "parked", "moved", "waiting")}
    counts = _gravest_first(
        {f"{count:,} {name}": count if name != "applied" else 0 for name, count in outcomes.items()}
    )
    lines = [report.message] if report.message else []
    lines.append(" · ".join([*counts, f"decided by {report.decided_by}"]))
    if report.before:
        lines.append(f"{report.before:,} of the applied were made before")
    if report.handed_over:
        lines.append(
            f"{report.handed_over:,} handed over for the CRM, on their way until its copy shows them"
        )
    if report.left_open:
        lines.append(f"{report.left_open:,} stay open, since nobody decided about them yet")
    for state in ("moved", "parked", "refused"):
        lines += [f"{count:,} {state}: {why}" for why, count in report.reasons.get(state, {}).items()]
    if report.stopped:
        lines.append(report.stopped)
    return "\n".join(lines)


@_as_shown
def carry_note(report: CarryReport) -> str:
    """Return what became of changes that were open for a CRM outside the warehouse."""
    counts = " · ".join(f"{getattr(report, name):,} {name}" for name in ("taken", "unmade", "open"))
    return "\n".join([f"to the CRM: {counts}", *([report.stopped] if report.stopped else [])])


@_as_shown
def quality_note(report: QualityReport, checked: int, life_cycle: Mapping[str, int] | None = None) -> str:
    """Return the numbers of change orders checked and held, and of life-cycle findings."""
    parts = [f"{report.held:,} of {report.orders:,} change orders held", f"{checked:,} checked now"]
    parts += [f"{report.dismissed:,} more stay held, dismissed by a person"] if report.dismissed else []
    parts += [f"{report.warned:,} warned"] if report.warned else []
    parts += [f"{report.released:,} let through"] if report.released else []
    if life_cycle:
        parts.append(f"{life_cycle['total']:,} life-cycle findings, {life_cycle['new']:,} new")
    return " · ".join(parts)


def _group(reasons: Mapping[str, Mapping[str, int]], name: str) -> Mapping[str, int]:
    return reasons.get(name, {})


def keep_note(context: Context, note: str) -> None:
    """Store a task's line for the note of its run.

    It goes to Airflow's database, also where an XCom backend keeps other values on object storage: the
    scheduler reads it while it ends the run, and should neither wait for a storage nor need its credentials.
    """
    ti = context["ti"]
    BaseXCom.set(
        key=NOTE_KEY,
        value=note,
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=ti.map_index,
    )


class RunNotes:
    """Listener: copies a task's note to its finished run. A person's note stays unchanged."""

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:
        """Copy the note of a run that succeeded."""
        take_over_note(dag_run)

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        """Copy the note of a run that failed."""
        take_over_note(dag_run)


def take_over_note(dag_run: DagRun) -> None:
    """Set the note that one of our tasks stored for this run, in the transaction that ends the run.

    ``dag.test()`` passes a run that is detached from its session; that run is loaded again.
    """
    if not dag_run.dag_id.startswith("enerflo_"):
        return
    # Import late: the worker imports this module too, and has no metadata database.
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is not None:
        _take_over(dag_run, session)
        return
    with create_session() as own:
        loaded = own.get(DagRun, dag_run.id)
        if loaded is not None:
            _take_over(loaded, own)


def _take_over(dag_run: DagRun, session: Session) -> None:
    from airflow.models.xcom import XComModel

    written = dag_run.dag_run_note
    if written is not None and written.user_id is not None:
        return
    query = XComModel.get_many(run_id=dag_run.run_id, dag_ids=dag_run.dag_id, key=NOTE_KEY)
    notes = [str(XComModel.deserialize_value(row)) for row in session.scalars(query)]
    if notes:
        dag_run.note = "\n".join(in_order(notes))[:LONGEST_NOTE]


# Beginnings of notes that a person reads first, the gravest first.
_GRAVE = ("failed", "partial", "waits for a person")


def in_order(notes: Sequence[str]) -> list[str]:
    """Return the notes of a run's tasks with the gravest first: lists of runs show the first line alone."""
    return sorted(
        notes, key=lambda note: next((at for at, word in enumerate(_GRAVE) if note.startswith(word)), 9)
    )
