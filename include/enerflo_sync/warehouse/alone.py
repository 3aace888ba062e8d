"""Advisory locks: only one session at a time runs a job of an account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from enerflo_sync.errors import RetriableError

_TRY = sa.text("select pg_try_advisory_lock(hashtextextended(:name, 0))")
_WAIT = sa.text("select true from pg_advisory_lock(hashtextextended(:name, 0))")
# A session that waits here holds no other lock. Valid for this transaction, which ends once the lock is
# granted.
_PATIENTLY = sa.text(
    "select set_config('lock_timeout', :seconds, true), set_config('statement_timeout', '0', true)"
)
WAIT_SECONDS = 1_800
_UNLOCK = sa.text("select pg_advisory_unlock(hashtextextended(:name, 0))")
_TRY_SHARED = sa.text("select pg_try_advisory_lock_shared(hashtextextended(:name, 0))")
_UNLOCK_SHARED = sa.text("select pg_advisory_unlock_shared(hashtextextended(:name, 0))")

# Jobs whose locks enerflo-sync forget holds too.
_OF_FORGET = ("plan or apply", "rebuild")
_OR_FORGET = ", or a customer is being forgotten"

# Earlier versions call this lock so; while a version is replaced, jobs of both exclude each other.
_EARLIER_NAMES = {"ingest": "enerflo-sync inbox {account}"}

# Key in ``Connection.info``: number of this module's locks that the session holds.
_DEPTH = "enerflo_sync_locks"


@contextmanager
def alone(
    connection: sa.Connection,
    account: str,
    job: str = "plan or apply",
    *,
    wait: bool = False,
    shared: bool = False,
) -> Iterator[None]:
    """Hold the lock on a job of the account; the same session may enter again.

    Let the session that does the work hold it, so that the work cannot continue after the lock is lost.

    :param connection: must have no open transaction, at the start and at the end.
    :param wait: wait for another holder, half an hour at most.
    :param shared: also admit other shared holders, but no exclusive one; never waits.
    :raises RetriableError: another session holds the lock, and ``wait`` is false.
    :raises sqlalchemy.exc.DBAPIError: the session was lost, and with it an outer lock.
    """
    name = {"name": _EARLIER_NAMES.get(job, "enerflo-sync/{account}/{job}").format(account=account, job=job)}
    if wait:
        connection.execute(_PATIENTLY, {"seconds": f"{WAIT_SECONDS}s"})
    free = connection.scalar(_TRY_SHARED if shared else _WAIT if wait else _TRY, name)
    connection.commit()
    if not free:
        raise RetriableError(
            f"another {job} is running{_OR_FORGET if job in _OF_FORGET else ''}.",
            where=f"account {account}",
            next_step="Run it again when that has ended.",
        )
    nested = connection.info.get(_DEPTH, 0)
    connection.info[_DEPTH] = nested + 1
    try:
        yield
    except BaseException:
        # The original error is more useful than that of the session lost with it.
        with suppress(sa.exc.DBAPIError):
            _release(connection, name, shared, nested)
        raise
    try:
        _release(connection, name, shared, nested)
    except sa.exc.DBAPIError:
        # The work of this lock is done. But an enclosing lock was lost with the session, so its work must
        # stop.
        if nested:
            raise


def _release(connection: sa.Connection, name: Mapping[str, str], shared: bool, nested: int) -> None:
    """Release the lock now: at the session's end, the server may notice only later.

    :param nested: number of other locks that the session holds.
    :raises sqlalchemy.exc.DBAPIError: the session is lost; the next statement opens a new one.
    """
    try:
        connection.rollback()
        connection.info[_DEPTH] = nested
        connection.execute(_UNLOCK_SHARED if shared else _UNLOCK, name)
        connection.commit()
    except sa.exc.DBAPIError:
        # The connection must not return to the pool with the lock.
        connection.invalidate()
        connection.rollback()
        raise
