"""Run records: what each job read and did (``sync.runs``)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from enerflo_sync.warehouse.schema import api_calls, runs

# A run with the same id that begins within this time is a retry.
SAME_RUN = timedelta(days=1)


class RunState(StrEnum):
    """The outcome of a run. Partial: something was quarantined or skipped, and the report says what."""

    OK = "ok"
    PARTIAL = "partial"
    FAILED = "failed"


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did: ``read = applied + unchanged + quarantined + skipped``.

    ``reasons`` counts reasons by group (quarantined, skipped, notice, incomplete); ``resources`` has the same
    figures per resource; ``requests`` is the number that the vendor counted against the key.
    """

    run_id: str
    account: str
    job: str
    state: RunState
    started_at: datetime
    finished_at: datetime | None = None
    read: int = 0
    applied: int = 0
    unchanged: int = 0
    quarantined: int = 0
    skipped: int = 0
    requests: int = 0
    reasons: Mapping[str, Mapping[str, int]] = {}
    resources: Mapping[str, Mapping[str, Any]] = {}

    @property
    def needs_a_person(self) -> bool:
        """Return whether a person is needed: for quarantined input, or a part that was not read."""
        return self.state is not RunState.OK


def start_run(
    connection: sa.Connection,
    account: str,
    job: str,
    run_id: str,
    now: datetime,
    skew: timedelta | None = None,
) -> None:
    """Record that a run began. Until :func:`finish_run` it counts as failed, so a kill needs no clean-up.

    :param skew: how far the worker's clock is ahead of the database's, if compared.
    """
    ahead = None if skew is None else skew.total_seconds()
    values = {
        "account": account,
        "run_id": run_id,
        "job": job,
        "started_at": now,
        "state": "failed",
        "clock_ahead_seconds": ahead,
    }
    statement = insert(runs).values(values)
    # A retried Airflow task has the run id of its first try, whose stored data dates from that start. So the
    # retry keeps the first start. A run with the same id days later is another run.
    began = sa.case(
        (runs.c.started_at > statement.excluded.started_at - SAME_RUN, runs.c.started_at),
        else_=statement.excluded.started_at,
    )
    counts = dict.fromkeys(("read", "applied", "unchanged", "quarantined", "skipped", "requests"), 0)
    fresh: dict[str, Any] = {
        "started_at": sa.func.least(began, statement.excluded.started_at),
        "clock_ahead_seconds": ahead,
        "finished_at": None,
        "state": "failed",
        "reasons": {},
        "resources": {},
    }
    connection.execute(
        statement.on_conflict_do_update(index_elements=["account", "run_id"], set_={**fresh, **counts})
    )


def finish_run(connection: sa.Connection, report: RunReport) -> None:
    """Record a run's outcome; the table refuses counts that do not add up."""
    values = msgspec.to_builtins(report, builtin_types=(datetime,))
    values["state"] = str(report.state)
    connection.execute(
        sa.update(runs)
        .where(runs.c.account == report.account, runs.c.run_id == report.run_id)
        .values(
            {name: values[name] for name in values if name not in ("account", "run_id", "job", "started_at")}
        )
    )


_WRONG_CLOCK = sa.text("""
/* enerflo-sync: the run of late whose worker's clock was furthest from the database's */
select job, run_id, clock_ahead_seconds from sync.runs
where account = :account and started_at > :since and abs(clock_ahead_seconds) > :seconds
order by abs(clock_ahead_seconds) desc, started_at desc limit 1
""")
# A larger difference is reported to people; synchronised clocks are closer than this.
SKEW_SECONDS = 5.0


def clock_remark(connection: sa.Connection, account: str, since: datetime) -> str:
    """Return a remark on the worker whose clock differed most since a moment; empty if none did."""
    row = connection.execute(
        _WRONG_CLOCK, {"account": account, "since": since, "seconds": SKEW_SECONDS}
    ).first()
    return "" if row is None else f"The {row.job} run {row.run_id}: {skew_text(row.clock_ahead_seconds)}"


def skew_text(seconds: float) -> str:
    """Describe a difference between a worker's clock and the database's."""
    where = "ahead of" if seconds > 0 else "behind"
    return (
        f"the worker's clock was {abs(seconds):,.0f} s {where} the database's."
        " What was stored carries the database's time; set the worker's clock."
    )


def newest_run(connection: sa.Connection, account: str, job: str) -> sa.Row[Any] | None:
    """Return the newest run of a job that ended ok or partial; None without one."""
    return connection.execute(
        sa.select(runs)
        .where(runs.c.account == account, runs.c.job == job, runs.c.state != "failed")
        .order_by(runs.c.started_at.desc())
        .limit(1)
    ).first()


def add_api_calls(
    connection: sa.Connection, account: str, hour: datetime, calls: Mapping[str, Mapping[str, float]]
) -> None:
    """Add a run's calls to the counters of its hour, by endpoint (without ids, so a few rows per hour)."""
    if not calls:
        return
    rows = [
        {"account": account, "endpoint": endpoint, "hour": hour, **counts}
        for endpoint, counts in sorted(calls.items())
    ]
    statement = insert(api_calls).values(rows)
    counted = [column.name for column in api_calls.columns if not column.primary_key]
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["account", "endpoint", "hour"],
            set_={name: api_calls.c[name] + statement.excluded[name] for name in counted},
        )
    )
