"""A session's timeouts for locks and statements, by job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import psycopg

MINUTE = 60
HOUR = 60 * MINUTE

# If a connection's start-up options contain this setting (in a team's URL, in a simulation), they take
# precedence.
_OWN = "lock_timeout"
_SET = "select set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)"


@dataclass(frozen=True)
class Timeouts:
    """Timeouts of one session, in seconds.

    :param lock: how long a statement waits for another session's lock, while it holds its own locks.
    :param statement: how long a statement runs.
    """

    lock: int
    statement: int


# A person waits, or the lock is brief.
_SHORT = Timeouts(10, 5 * MINUTE)
# Pages of records: some hundred rows per transaction.
_PAGES = Timeouts(30, 30 * MINUTE)
# Whole tables, possibly with a million rows.
_WHOLE = Timeouts(30, 6 * HOUR)

DEFAULT = _PAGES
BY_JOB: Mapping[str, Timeouts] = {
    "the request budget": Timeouts(10, MINUTE),
    **dict.fromkeys(("doctor", "suggest"), Timeouts(5, 5 * MINUTE)),
    **dict.fromkeys(
        (
            *("a look at the schema version", "a look at a report", "a look at differences", "report pages"),
            *("approve", "reject", "explain", "quarantine", "notify", "witnesses"),
        ),
        _SHORT,
    ),
    **dict.fromkeys(("poll", "ingest", "replay", "backfill", "push", "prune"), _PAGES),
    **dict.fromkeys(
        ("reconcile", "plan", "copy", "what-if", "rebuild", "quality", "gaps", "verify", "forget"),
        _WHOLE,
    ),
    # An apply's locks make the CRM's users wait, so it gives up soon; its transaction leaves nothing
    # half-done.
    **dict.fromkeys(("apply", "undo"), Timeouts(5, HOUR)),
    # While a migration waits for a lock, later readers queue behind it.
    "migrate": Timeouts(2, 6 * HOUR),
}

_job: ContextVar[str] = ContextVar("job", default="")


@contextmanager
def job_of_sessions(name: str) -> Iterator[None]:
    """Give sessions that this thread takes within the block the timeouts of a job, or the default ones."""
    token = _job.set(name)
    try:
        yield
    finally:
        _job.reset(token)


def set_timeouts(driver: psycopg.Connection[Any], known: dict[Any, Any]) -> None:
    """Set a session's timeouts to those of the job that takes it, if they differ.

    :param driver: must have no open transaction.
    :param known: the remembered state of the session.
    """
    if "timeouts" not in known:
        options = driver.info.get_parameters().get("options", "")
        own = _OWN in options or _OWN in getattr(driver, "set_by_us", ())
        known["timeouts"] = "its own" if own else None
    wanted = BY_JOB.get(_job.get(), DEFAULT)
    if known["timeouts"] in ("its own", wanted):
        return
    usual = driver.autocommit
    # One message instead of three: no transaction is begun for it.
    driver.autocommit = True
    try:
        driver.execute(_SET, (f"{wanted.lock}s", f"{wanted.statement}s"))
    finally:
        driver.autocommit = usual
    known["timeouts"] = wanted
