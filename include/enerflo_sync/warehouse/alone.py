"""One session at a time for a job of an account, by the server's own locks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from enerflo_sync.errors import RetriableError

_TRY = sa.text("select pg_try_advisory_lock(hashtextextended(:name, 0))")
_WAIT = sa.text("select true from pg_advisory_lock(hashtextextended(:name, 0))")
# Whoever waits here holds nothing meanwhile. For this transaction, which ends with the lock.
_PATIENTLY = sa.text(
    "select set_config('lock_timeout', :seconds, true), set_config('statement_timeout', '0', true)"
)
WAIT_SECONDS = 1_800
_UNLOCK = sa.text("select pg_advisory_unlock(hashtextextended(:name, 0))")
_TRY_SHARED = sa.text("select pg_try_advisory_lock_shared(hashtextextended(:name, 0))")
_UNLOCK_SHARED = sa.text("select pg_advisory_unlock_shared(hashtextextended(:name, 0))")


@contextmanager
def alone(
    connection: sa.Connection,
    account: str,
    job: str = "plan or apply",
    *,
    wait: bool = False,
    shared: bool = False,
) -> Iterator[None]:
    """Let no other session do the job for the account meanwhile; the same session may enter again.

    Best held by the session that does the work: it cannot lose the lock and go on.

    :param connection: with no transaction open, neither now nor at the end.
    :param wait: whether to wait while somebody else does it, half an hour at most.
    :param shared: let others in that share it too, and nobody who wants it alone; never waits.
    :raises RetriableError: somebody else does it, and ``wait`` is false.
    """
    name = {"name": f"enerflo-sync/{account}/{job}"}
    if wait:
        connection.execute(_PATIENTLY, {"seconds": f"{WAIT_SECONDS}s"})
    free = connection.scalar(_TRY_SHARED if shared else _WAIT if wait else _TRY, name)
    connection.commit()
    if not free:
        raise RetriableError(
            f"another {job} is running.",
            where=f"account {account}",
            next_step="Run it again when that has ended.",
        )
    try:
        yield
    finally:
        # Not left to the end of the session, which the server notices only later: the next command may
        # follow at once. Where it fails the session must not return to the pool with the lock.
        try:
            connection.rollback()
            connection.execute(_UNLOCK_SHARED if shared else _UNLOCK, name)
            connection.commit()
        except sa.exc.DBAPIError:
            connection.invalidate()
