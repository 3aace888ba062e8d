"""What a run did, in one line for people, and how it becomes the note of the DAG run.

A task cannot write the note of its run, so it leaves the line as an XCom, and a listener in the scheduler
takes it over when the run ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

    from enerflo_sync.reconcile.report import ReconciliationReport
    from enerflo_sync.warehouse.runs import RunReport

NOTE_KEY = "enerflo_note"
# What Airflow's column takes.
LONGEST_NOTE = 1000


def poll_note(report: RunReport) -> str:
    """Return what a poll did, and where to look when it is not whole."""
    # The first line is what lists of runs show.
    partial = report.state == "partial"
    first = [
        "partial",
        f"read {report.read:,}",
        f"applied {report.applied:,}",
        f"unchanged {report.unchanged:,}",
        f"{report.quarantined:,} quarantined",
        f"{report.skipped:,} skipped",
        f"{report.requests:,} requests",
    ]
    lines = [" · ".join(first if partial else first[1:])]
    if partial:
        lines.append(f"sync.runs has it under {report.run_id}")
    lines += [f"not read whole: {why}" for why in _group(report.reasons, "incomplete")]
    if report.quarantined:
        counts = _group(report.reasons, "quarantined")
        reasons = ", ".join(f"{count:,} {why}" for why, count in counts.items())
        lines.append(f"quarantined, listed in sync.quarantine with state open: {reasons}")
    return "\n".join(lines)


def reconciliation_note(report: ReconciliationReport) -> str:
    """Return the headline of a reconciliation."""
    if report.mirror_as_of is None:
        return "nothing can be called equal: the mirror was never polled completely"
    return (
        f"{report.unexplained:,} unexplained of {report.budget:,} allowed · "
        f"{report.differences:,} differences in all · {report.scope} comparison: open the report"
    )


def _group(reasons: Mapping[str, Mapping[str, int]], name: str) -> Mapping[str, int]:
    return reasons.get(name, {})


class RunNotes:
    """Listener: gives a finished run the note that its task left. A note by a person stays as it is."""

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:
        """Take over the note of a run that succeeded."""
        take_over_note(dag_run)

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        """Take over the note of a run that failed."""
        take_over_note(dag_run)


def take_over_note(dag_run: DagRun) -> None:
    """Set the note that a task of ours left for this run, in the transaction that ends the run.

    ``dag.test()`` hands in a run that belongs to no session any more: that one is loaded again.
    """
    if not dag_run.dag_id.startswith("enerflo_"):
        return
    # The worker imports this module too, and has no metadata database.
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
    notes = [XComModel.deserialize_value(row) for row in session.scalars(query)]
    if notes:
        dag_run.note = "\n".join(str(note) for note in notes)[:LONGEST_NOTE]
