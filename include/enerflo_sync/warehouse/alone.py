"""One session at a time for a job of an account, by the server's own locks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

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

# In ``Connection.info``: how many locks of this module the session holds.
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
    """Let no other session do the job for the account meanwhile; the same session may enter again.

    Best held by the session that does the work: it cannot lose the lock and go on.

    :param connection: with no transaction open, neither now nor at the end.
    :param wait: whether to wait while somebody else does it, half an hour at most.
    :param shared: let others in that share it too, and nobody who wants it alone; never waits.
    :raises RetriableError: somebody else does it, and ``wait`` is false.
    :raises sqlalchemy.exc.DBAPIError: the session was lost that holds another such lock besides.
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
    nested = connection.info.get(_DEPTH, 0)
    connection.info[_DEPTH] = nested + 1
    try:
        yield
    except BaseException:
        # The error at hand tells more than that of a session that is lost with it.
        with suppress(sa.exc.DBAPIError):
            _release(connection, name, shared, nested)
        raise
    try:
        _release(connection, name, shared, nested)
    except sa.exc.DBAPIError:
        # What was to be done alone is done. But whoever goes on within another lock has lost that one, too.
        if nested:
            raise


def _release(connection: sa.Connection, name: Mapping[str, str], shared: bool, nested: int) -> None:
    """Give the lock back. Not left to the end of the session: the server notices that only later.

    :param nested: how many other locks the session holds.
    :raises sqlalchemy.exc.DBAPIError: the session is lost; the next statement begins another one.
    """
    try:
        connection.rollback()
        connection.info[_DEPTH] = nested
        connection.execute(_UNLOCK_SHARED if shared else _UNLOCK, name)
        connection.commit()
    except sa.exc.DBAPIError:
        # It must not return to the pool with the lock.
        connection.invalidate()
        connection.rollback()
        raise
