"""One run of a reading job: its counts, its row in the warehouse, its outcome."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import psycopg
import sqlalchemy as sa

from enerflo_sync.clock import MOST_SKEW, Clock, skew_of
from enerflo_sync.mirror.calls import CallCounter, Counts
from enerflo_sync.mirror.set_back import mend_future_times
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.registry import ALL
from enerflo_sync.warehouse.runs import RunReport, RunState, add_api_calls, finish_run, start_run
from enerflo_sync.warehouse.statistics import FEW_ROWS, note_growth


def new_run_id(job: str, now: datetime, rng: random.Random) -> str:
    """Return an id that sorts by time and names the job: ``poll-20260102T030405Z-1a2b3c``."""
    return f"{job}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{rng.getrandbits(24):06x}"


class Run:
    """The counts of one run in progress.

    :param connection: used between the caller's transactions, never inside one.
    """

    def __init__(
        self,
        connection: sa.Connection,
        account: str,
        job: str,
        clock: Clock,
        rng: random.Random,
        *,
        run_id: str | None = None,
    ) -> None:
        self.account = account
        self.job = job
        self.started_at = clock.now()
        self.run_id = run_id or new_run_id(job, self.started_at, rng)
        self._connection = connection
        self._clock = clock
        self._tallies: dict[str, Tally] = {}
        self._report: RunReport | None = None

    @property
    def report(self) -> RunReport:
        """Return the finished run's report."""
        assert self._report is not None, "the run has not finished"  # noqa: S101 - a defect of ours
        return self._report

    def _tally(self, resource: str) -> Tally:
        return self._tallies.setdefault(resource, Tally())

    def count(self, resource: str, tally: Tally) -> None:
        """Add the outcomes of one page's records."""
        self._tally(resource).add(tally)

    def notice(self, resource: str, what: str, count: int) -> None:
        """Report unusual data that was stored and needs no action."""
        if count:
            self._tally(resource).because("notice", what, count)

    def incomplete(self, resource: str, why: str) -> None:
        """Report that ``resource`` was not read completely, which makes the run partial."""
        self._tally(resource).because("incomplete", f"{resource}: {why}")

    def is_incomplete(self, resource: str) -> bool:
        """Return whether ``resource`` was already reported as incomplete."""
        return "incomplete" in self._tally(resource).reasons

    @contextmanager
    def recording(self, calls: CallCounter) -> Iterator[None]:
        """Record the run's start and, on every exit, its counts and API calls.

        :raises EnerfloSyncError: a record that was read has no recorded outcome.
        """
        with self._connection.begin():
            skew = skew_of(self._clock)
            # Where the two clocks are days apart, it may be the present time that is wrong.
            if skew is None or abs(skew) <= MOST_SKEW:
                mend_future_times(self._connection, self.account, self.started_at, self.run_id)
            start_run(self._connection, self.account, self.job, self.run_id, self.started_at, skew)
        try:
            yield
        except BaseException as error:
            # Without the warehouse, the run's row keeps its initial state: failed, without an end.
            with suppress(sa.exc.SQLAlchemyError, psycopg.Error):
                self._connection.rollback()
                self._finish(RunState.FAILED, calls.take(), failure=type(error).__name__)
            raise
        total = self._total()
        total.check(f"run {self.run_id}")
        partial = total.quarantined or "incomplete" in total.reasons
        self._finish(RunState.PARTIAL if partial else RunState.OK, calls.take())

    def _total(self) -> Tally:
        total = Tally()
        for tally in self._tallies.values():
            total.add(tally)
        return total

    def _finish(self, state: RunState, calls: Counts, failure: str | None = None) -> None:
        total = self._total()
        if failure:
            total.because("failed", failure)
        now = self._clock.now()
        self._report = RunReport(
            run_id=self.run_id,
            account=self.account,
            job=self.job,
            state=state,
            started_at=self.started_at,
            finished_at=now,
            requests=int(sum(counts["calls"] for counts in calls.values())),
            resources={name: tally.as_dict() for name, tally in self._tallies.items()},
            **total.as_dict(),
        )
        with self._connection.begin():
            finish_run(self._connection, self._report)
            hour = now.replace(minute=0, second=0, microsecond=0)
            add_api_calls(self._connection, self.account, hour, calls)
        # Refresh the statistics of tables that this run filled: the next job reads them.
        for resource in ALL:
            rows = self._tallies[resource.name].applied if resource.name in self._tallies else 0
            if rows >= FEW_ROWS:
                with self._connection.begin():
                    for part in resource.parts:
                        note_growth(self._connection, part.table.fullname, rows)
