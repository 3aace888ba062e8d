"""List the files in an account's drop from Airflow's processes, without reading or moving them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import closing
from typing import TYPE_CHECKING

from enerflo_airflow.accounts import config_path, file_state, look_again
from enerflo_sync.crm.account_files import account_file

if TYPE_CHECKING:
    from enerflo_sync.drop.drop import Drop

# After a listing, wait this many times its duration, so that a slow drop is listed less often.
_REST = 10.0


class DropWatch:
    """Lists one account's drop repeatedly.

    The drop is opened once, and again when sync.yaml or the account's file has changed. It needs these files,
    and the storage's own credentials or the connection ``airflow.storage_connection``.

    :param account: name of the account in sync.yaml.
    """

    def __init__(self, account: str) -> None:
        self.account = account
        # Duration of the last listing in seconds, without opening the drop.
        self.took = 0.0
        self._drop: Drop | None = None
        self._opened_from: object = None

    def names(self) -> frozenset[str]:
        """Return the names of the files that are ready to read; blocks until the storage answers.

        :raises ConfigurationError: sync.yaml has mistakes or names no drop, or the drop does not exist or may
            not be listed.
        """
        drop = self._open()
        began = time.monotonic()
        names = frozenset(file.name for file in drop.waiting())
        self.took = time.monotonic() - began
        return names

    def _open(self) -> Drop:
        config = config_path()
        version = file_state(config), file_state(account_file(config, self.account))
        if self._drop is None or version != self._opened_from:
            # Import late: DAG files import this module's users, and these modules are heavy.
            from enerflo_airflow.hook import open_account
            from enerflo_sync.jobs.ingest import open_account_drop

            look_again()
            with closing(open_account(self.account)) as opened:
                self._drop = open_account_drop(opened)
            self._opened_from = version
        return self._drop


async def looks(account: str, interval: float) -> AsyncIterator[frozenset[str] | Exception]:
    """Yield the names in the drop after each listing, for ever; never blocks the event loop.

    A failed listing yields its error, and increases the interval up to a minute.

    :param interval: seconds between two listings.
    """
    watch = DropWatch(account)
    failed = 0
    while True:
        try:
            names = await asyncio.to_thread(watch.names)
        except Exception as error:
            failed += 1
            yield error
        else:
            failed = 0
            yield names
        back_off = min(60.0, interval * 2 ** min(failed, 10)) if failed else 0.0
        await asyncio.sleep(max(interval, back_off, watch.took * _REST))
