"""Deletes old rows about past work: runs, checks, backfills, request counts, sent messages, observations."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import sqlalchemy as sa

from enerflo_sync.retention.sweep import Gone, RowSweep, Scope

_SELECT = """
/* enerflo-sync prune: {what} that are too old */
select t.ctid::text as id, {at} as at, {place} as place, {size} as size
from {table} t
where t.account = :account and {at} < :before and ({at}, {place}) > (:after_at, :after_place) and {needless}
order by {at}, {place} limit :most {{lock}}
"""
_SIZE = "pg_column_size(t.*)"
_BY_ID = "t.ctid = any(cast(cast(:ids as text[]) as tid[]))"

# A job's first run is kept because it shows since when the job runs, and its newest ones because they show
# how it went last. A run without an end may still be working, so it is kept for another week.
_RUNS = """
  (t.finished_at is not null or t.started_at < :before - interval '7 days')
  and t.run_id not in (
    select run_id from (
      (select distinct on (job) run_id from sync.runs where account = :account order by job, started_at)
      union all
      (select distinct on (job) run_id from sync.runs where account = :account order by job, started_at desc)
      union all
      (select distinct on (job) run_id from sync.runs where account = :account and state <> 'failed'
       order by job, started_at desc)) kept)"""
# Change orders name the run that last checked them, and the plan reads the results of that run.
_CHECKS = """
  t.run_id not in (select run_id from sync.change_order_facts where account = :account)
  and t.run_id <> (select run_id from sync.quality_runs where account = :account
    order by started_at desc limit 1)"""
_LIFE_CYCLES = """
  t.run_id <> (select run_id from sync.life_cycle_runs where account = :account
    order by started_at desc limit 1)"""
# A backfill that is running or may be resumed is kept.
_BACKFILLS = """
  t.state in ('finished', 'superseded') and t.backfill_id <> (
    select backfill_id from sync.backfills where account = :account order by created_at desc limit 1)"""


def _select(table: str, at: str, place: str, needless: str, *, what: str, size: str = _SIZE) -> str:
    return _SELECT.format(table=table, at=at, place=place, needless=needless, what=what, size=size)


_OF_RUNS = (
    RowSweep(
        _select("sync.runs", "t.started_at", "t.run_id", _RUNS, what="runs"),
        f"delete from sync.runs t where {_BY_ID}",  # noqa: S608 - a constant
    ),
    RowSweep(
        _select("sync.quality_runs", "t.started_at", "t.run_id", _CHECKS, what="runs of checks"),
        "with gone as ("  # noqa: S608 - a constant
        f"  delete from sync.quality_runs t where {_BY_ID} returning t.account, t.run_id)"
        " delete from sync.quality_results r using gone g"
        " where r.account = g.account and r.run_id = g.run_id",
    ),
    RowSweep(
        _select("sync.life_cycle_runs", "t.started_at", "t.run_id", _LIFE_CYCLES, what="runs of checks"),
        f"delete from sync.life_cycle_runs t where {_BY_ID}",  # noqa: S608 - a constant
    ),
    RowSweep(
        _select(
            *("sync.life_cycle_findings", "t.resolved_at", "t.finding_id::text", "true"),
            what="resolved findings",
        ),
        f"delete from sync.life_cycle_findings t where {_BY_ID}",  # noqa: S608 - a constant
    ),
    RowSweep(
        _select(
            *("sync.backfills", "coalesce(t.finished_at, t.touched_at)", "t.backfill_id", _BACKFILLS),
            what="backfills",
        ),
        "with gone as ("  # noqa: S608 - a constant
        f"  delete from sync.backfills t where {_BY_ID} returning t.account, t.backfill_id)"
        " delete from sync.backfill_chunks c using gone g"
        " where c.account = g.account and c.backfill_id = g.backfill_id",
    ),
    RowSweep(
        _select("sync.api_calls", "t.hour", "t.endpoint", "true", what="counts of requests"),
        f"delete from sync.api_calls t where {_BY_ID}",  # noqa: S608 - a constant
    ),
    RowSweep(
        _select(
            *("sync.notifications", "t.created_at", "t.notification_id::text", "t.state <> 'pending'"),
            what="messages",
        ),
        f"delete from sync.notifications t where {_BY_ID}",  # noqa: S608 - a constant
    ),
)
_OF_LOOKS = (
    RowSweep(
        _select(
            *("sync.crm_looks", "t.seen_until", "t.table_name || '/' || t.looker"),
            "t.table_name <> all(:mapped)",
            what="looks at tables",
        ),
        f"delete from sync.crm_looks t where {_BY_ID}",  # noqa: S608 - a constant
    ),
    RowSweep(
        _select(
            *("sync.crm_rows", "t.seen_at", "t.table_name || '/' || t.identity"),
            "t.table_name <> all(:mapped)",
            what="rows seen of tables",
        ),
        f"delete from sync.crm_rows t where {_BY_ID}",  # noqa: S608 - a constant
    ),
)


class RunsSweep:
    """Runs of jobs and of checks, resolved findings, ended backfills, request counts and sent messages."""

    def batches(self, connection: sa.Connection, scope: Scope) -> Iterator[Gone]:
        """Yield what each batch deleted, or would (:meth:`enerflo_sync.retention.sweep.Sweep.batches`)."""
        for one in _OF_RUNS:
            yield from one.batches(connection, scope)


class LooksSweep:
    """Observations of CRM tables that are not mapped any more.

    :param mapped: the names of the account's mapped tables.
    """

    def __init__(self, mapped: Collection[str]) -> None:
        self._mapped = list(mapped)

    def batches(self, connection: sa.Connection, scope: Scope) -> Iterator[Gone]:
        """Yield what each batch deleted, or would (:meth:`enerflo_sync.retention.sweep.Sweep.batches`)."""
        for one in _OF_LOOKS:
            yield from one.batches(connection, scope, mapped=self._mapped)
