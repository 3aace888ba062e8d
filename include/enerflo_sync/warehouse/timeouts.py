"""How long a session waits for a lock, and how long a statement may run, by job: one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import psycopg

MINUTE = 60
HOUR = 60 * MINUTE

# Start-up options that name this setting keep their own: a team's in the URL, a simulation's.
_OWN = "lock_timeout"
_SET = "select set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)"


@dataclass(frozen=True)
class Timeouts:
    """Bounds of one session, in seconds.

    :param lock: how long a statement waits for a lock of somebody else. Meanwhile it holds its own.
    :param statement: how long a statement runs.
    """

    lock: int
    statement: int


# A person waits, or a lock of a moment.
_SHORT = Timeouts(10, 5 * MINUTE)
# Pages of records, some hundred rows in a transaction.
_PAGES = Timeouts(30, 30 * MINUTE)
# Whole tables, of which a million rows are no surprise.
_WHOLE = Timeouts(30, 6 * HOUR)

DEFAULT = _PAGES
BY_JOB: Mapping[str, Timeouts] = {
    "the request budget": Timeouts(10, MINUTE),
    "doctor": Timeouts(5, 5 * MINUTE),
    **dict.fromkeys(
        (
            *("a look at the schema version", "a look at a report", "a look at differences", "report pages"),
            *("approve", "reject", "explain", "quarantine", "notify", "witnesses"),
        ),
        _SHORT,
    ),
    **dict.fromkeys(("poll", "ingest", "replay", "backfill", "push"), _PAGES),
    **dict.fromkeys(
        ("reconcile", "plan", "what-if", "rebuild", "quality", "gaps", "verify"),
        _WHOLE,
    ),
    # People of the CRM wait for the rows that an apply holds: it gives up soon, and nothing is half-done.
    **dict.fromkeys(("apply", "undo"), Timeouts(5, HOUR)),
    # A reader that comes while a migration waits for a lock waits behind it.
    "migrate": Timeouts(2, 6 * HOUR),
}

_job: ContextVar[str] = ContextVar("job", default="")


@contextmanager
def job_of_sessions(name: str) -> Iterator[None]:
    """Let sessions that this thread takes meanwhile have the bounds of a job, or the default ones."""
    token = _job.set(name)
    try:
        yield
    finally:
        _job.reset(token)


def set_timeouts(driver: psycopg.Connection[Any], known: dict[Any, Any]) -> None:
    """Give a session the bounds of the job that takes it, where it has others.

    :param driver: with no transaction open.
    :param known: what is remembered of the session.
    """
    if "timeouts" not in known:
        options = driver.info.get_parameters().get("options", "")
        known["timeouts"] = "its own" if _OWN in options else None
    wanted = BY_JOB.get(_job.get(), DEFAULT)
    if known["timeouts"] in ("its own", wanted):
        return
    driver.execute(_SET, (f"{wanted.lock}s", f"{wanted.statement}s"))
    if not driver.autocommit:
        driver.commit()
    known["timeouts"] = wanted
