"""Files of the webhook archive that are too old, on whatever storage the drop is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sqlalchemy as sa

from enerflo_sync.inbox.archive import needed_files
from enerflo_sync.inbox.drop import ArchivedFile, Drop, storable
from enerflo_sync.retention.sweep import Gone, Scope, note

# Files that are deleted between two looks at what is needed.
_FILES = 500


class ArchiveSweep:
    """Files of the archive by the day of their ingest, but for those that an open item was read from.

    :param drop: opens the account's drop; None without one.
    """

    def __init__(self, drop: Callable[[], Drop | None]) -> None:
        self._drop = drop

    def batches(self, connection: sa.Connection, scope: Scope) -> Iterator[Gone]:
        """Yield what each batch deleted, or would (:meth:`enerflo_sync.retention.sweep.Sweep.batches`)."""
        drop = self._drop()
        if drop is None:
            return
        some: list[ArchivedFile] = []
        for file in drop.archived(scope.before):
            some.append(file)
            if len(some) == _FILES:
                yield from self._batch(connection, scope, drop, some)
                some = []
        yield from self._batch(connection, scope, drop, some)

    def _batch(
        self, connection: sa.Connection, scope: Scope, drop: Drop, files: list[ArchivedFile]
    ) -> Iterator[Gone]:
        with connection.begin():
            needed = needed_files(connection)
            old = [file for file in files if storable(file.uri) not in needed]
            if not old:
                return
            days = [file.day for file in old]
            gone = Gone(len(old), sum(file.size for file in old), min(days), max(days))
            if scope.writes:
                # Noted first: a file that is gone is never unexplained.
                note(connection, scope, gone)
        if scope.writes:
            drop.remove([file.uri for file in old])
        yield gone
