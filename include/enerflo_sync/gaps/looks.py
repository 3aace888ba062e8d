"""When each list was read completely: starts of successful polls, and watermarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.resources.notes import SWEPT
from enerflo_sync.resources.registry import ALL
from enerflo_sync.warehouse.schema import watermarks

# Lists with a watermark.
LISTS = tuple(one.name for one in ALL if one.listing is not None)
# Short lists that every poll reads, without a watermark: only the runs tell when they were read.
UNMARKED = tuple(one.name for one in ALL if one.listing is None)

_RUNS = sa.text("""
/* enerflo-sync gaps: runs of a job */
select run_id, started_at, finished_at, state, reasons->'failed' as failed,
  (select array_agg(r.key) from jsonb_each(resources) r) as resources,
  (select jsonb_object_agg(r.key, r.value->'reasons'->'incomplete')
   from jsonb_each(resources) r where r.value->'reasons' ? 'incomplete') as incomplete
from sync.runs
where account = :account and job = :job and started_at >= :since and started_at <= :now
order by started_at, run_id
""")

_FIRST = sa.text("""
/* enerflo-sync gaps: the first run of a job */
select min(started_at) from sync.runs where account = :account and job = :job
""")

_FIRST_AND_LAST = sa.text("""
/* enerflo-sync gaps: the first run of a job, and the last one that read something whole */
select
  (select min(started_at) from sync.runs where account = :account and job = :job) as first,
  (select started_at from sync.runs
   where account = :account and job = :job and state <> 'failed' and started_at < :before
     and (:name = 'files' or resources ? :name)
     and not coalesce(resources->:name->'reasons' ? 'incomplete', false)
   order by started_at desc limit 1) as last
""")


@dataclass(frozen=True)
class JobRun:
    """One run of a job: what it read, and what only in part."""

    run_id: str
    started_at: datetime
    ended: bool
    failed: bool
    failure: str
    resources: frozenset[str]
    incomplete: Mapping[str, Sequence[str]]

    def saw(self, name: str) -> bool:
        """Return whether the run read a list completely.

        A failed run has completed the lists before the one at which it failed.
        """
        if name not in self.resources or name in self.incomplete:
            return False
        order = [one.name for one in ALL]
        later = order[order.index(name) + 1 :] if name in order else []
        return not self.failed or not self.resources.isdisjoint(later)

    @property
    def trouble(self) -> str:
        """Return how the run ended, unless it succeeded."""
        if self.failed:
            return self.failure or ("it failed" if self.ended else "it did not end")
        return "; ".join(reason for reasons in self.incomplete.values() for reason in reasons)


@dataclass(frozen=True)
class Look:
    """A moment up to which a list is known to be observed completely, and the run that observed it."""

    at: datetime
    run_id: str | None


@dataclass
class Looks:
    """The known complete reads of one account.

    :param by_list: per list, its complete reads, oldest first.
    :param began: when the first poll began; None without any poll.
    """

    runs: Sequence[JobRun]
    by_list: dict[str, list[Look]]
    watermarks: dict[str, datetime]
    began: datetime | None
    swept: Look | None = field(default=None)

    def first_after(self, name: str, moment: datetime) -> Look | None:
        """Return the first complete read of a list that began after ``moment``."""
        return next((look for look in self.by_list.get(name, ()) if look.at > moment), None)


def read_runs(
    connection: sa.Connection, account: str, job: str, since: datetime, now: datetime
) -> list[JobRun]:
    """Return the runs of a job that began after ``since``, oldest first."""
    rows = connection.execute(_RUNS, {"account": account, "job": job, "since": since, "now": now})
    return [_run(row) for row in rows]


def _run(row: Any) -> JobRun:
    return JobRun(
        row.run_id,
        row.started_at,
        row.finished_at is not None,
        row.state == "failed",
        next(iter(row.failed or {}), ""),
        frozenset(row.resources or ()),
        {name: list(reasons) for name, reasons in (row.incomplete or {}).items()},
    )


def first_run(connection: sa.Connection, account: str, job: str) -> datetime | None:
    """Return when a job first ran; None if it never ran."""
    found: datetime | None = connection.scalar(_FIRST, {"account": account, "job": job})
    return found


def first_and_last(
    connection: sa.Connection, account: str, job: str, name: str, before: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return when a job first ran, and when its last run began that read a list or the ``files`` whole.

    :param before: the last run is one that began earlier.
    """
    values = {"account": account, "job": job, "name": name, "before": before}
    row = connection.execute(_FIRST_AND_LAST, values).one()
    return row.first, row.last


def read_looks(connection: sa.Connection, account: str, since: datetime, now: datetime) -> Looks:
    """Return when the lists of an account were read completely, beginning before ``since``.

    The watermark overrides the runs: it moves with the data, also by a backfill of everything.
    """
    marks = {
        row.name: row
        for row in connection.execute(sa.select(watermarks).where(watermarks.c.account == account))
    }
    known = [row.value for name, row in marks.items() if name in LISTS]
    runs = read_runs(connection, account, "poll", min([since, *known]), now)
    by_id = {run.run_id: run for run in runs}
    by_list: dict[str, list[Look]] = {}
    for name in (*LISTS, *UNMARKED):
        looks = [Look(run.started_at, run.run_id) for run in runs if run.saw(name)]
        if name in marks:
            looks = _with_mark(looks, _look(marks[name], by_id))
        by_list[name] = looks
    swept = _look(marks[SWEPT], by_id) if SWEPT in marks else None
    values = {name: row.value for name, row in marks.items()}
    return Looks(runs, by_list, values, first_run(connection, account, "poll"), swept)


def _look(mark: Any, runs: Mapping[str, JobRun]) -> Look:
    """Return a watermark as a look; a poll's lists all count as read at its start."""
    run = runs.get(mark.run_id)
    return Look(run.started_at if run else mark.value, mark.run_id)


def _with_mark(looks: list[Look], mark: Look) -> list[Look]:
    if any(look.run_id == mark.run_id for look in looks):
        return looks
    return sorted([*looks, mark], key=lambda look: look.at)
