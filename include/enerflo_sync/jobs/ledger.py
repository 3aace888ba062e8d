"""Ledger: seal what jobs wrote into it, and check that it is as it was sealed."""

from __future__ import annotations

import logging
import re

from enerflo_sync.agreed.seal_check import LedgerCheck, check_ledger
from enerflo_sync.agreed.seals import CHUNK, seal_ledger
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated

log = logging.getLogger(__name__)
_DIGEST = re.compile("[0-9a-f]{8,}")


def run_seal(context: AccountContext, *, most: int = CHUNK) -> int:
    """Seal new rows of the ledger, and return their number. Call this after the job's work is committed.

    Sealing a row costs a tenth of applying it. Each seal's digest goes to the log, which is outside the
    warehouse. A later job seals the rows that cannot be sealed now, so an error is logged and fails no job.
    """
    sealed = 0
    try:
        with (
            warehouse_errors("seal the ledger"),
            # Each statement sees what others have committed, whatever the role's own setting.
            context.engine.connect().execution_options(isolation_level="READ COMMITTED") as connection,
        ):
            while True:
                with connection.begin():
                    one = seal_ledger(connection, context.account, most=most)
                if one is None:
                    return sealed
                sealed += one.rows
                log.info(
                    "ledger_sealed account=%s seal=%d rows=%d head=%s",
                    *(context.account, one.number, one.rows, one.head),
                )
                if one.done:
                    return sealed
    except EnerfloSyncError as error:
        log.warning("ledger_not_sealed account=%s why=%s", context.account, error)
    return sealed


def run_ledger_check(context: AccountContext, *, expected: str | None = None) -> LedgerCheck:
    """Return whether the ledger is as it was sealed (:func:`enerflo_sync.agreed.seal_check.check_ledger`).

    :raises ConfigurationError: ``expected`` is not a digest, or too short a beginning of one.
    """
    if expected is not None and not _DIGEST.fullmatch(expected.strip().lower()):
        # Every chain has a seal that begins with nothing.
        raise ConfigurationError(
            f"{expected!r} is no digest of a seal.",
            where="--expect",
            next_step="Give at least 8 hexadecimal digits of a head from a job's log or this command.",
        )
    require_migrated(context.engine, reads_only=True)
    with (
        warehouse_errors("verify"),
        context.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection,
        connection.begin(),
    ):
        return check_ledger(connection, context.account, expected=expected)
