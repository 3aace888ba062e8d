"""Deletes files of the webhook archive that are too old, on any storage that the drop uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sqlalchemy as sa

from enerflo_sync.drop.drop import ArchivedFile, Drop, storable
from enerflo_sync.inbox.archive import needed_files
from enerflo_sync.retention.sweep import Gone, Scope, note

# How many files are deleted before the needed files are read again.
_FILES = 500


class ArchiveSweep:
    """Files of the archive by the day of their ingest, except files with an open quarantine item.

    :param drop: opens the account's drop; it returns None if the account has no drop.
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
                # The deletion is committed to ``sync.prunings`` first, so that every missing file is
                # explained.
                note(connection, scope, gone)
        if scope.writes:
            drop.remove([file.uri for file in old])
        yield gone
