"""The archive as a drop: read files again whose events the warehouse has lost, without moving the files.

If a database was restored to an earlier moment, the archive has files that were ingested after that moment,
and no table knows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

import sqlalchemy as sa

from enerflo_sync.drop.drop import ArchivedFile, Content, Drop, DropFile, NotRead, storable
from enerflo_sync.drop.open_drop import open_drop

_KNOWN = sa.text(r"""
/* enerflo-sync inbox: archived files whose events, or whose trouble, are known */
select distinct regexp_replace(uri, '#\d+$', '') as uri from (
  select source_uri as uri from sync.webhook_events where account = :account
  union all
  select evidence_uri from sync.quarantine where account = :account
) u where uri like :below escape '!'
""")


class ArchiveAgain:
    """Files of the archive that the warehouse does not know, from a day on. Nothing is moved.

    :param drop: the account's drop.
    :param since: the first day, in UTC, as the archive's folders have it.
    :param known: files to skip, by their names below the archive.
    """

    def __init__(self, drop: Drop, since: date, known: frozenset[str]) -> None:
        self.uri = self.archive_uri = drop.archive_uri
        self.store = drop.store
        # Only listing and reading matter; the drop's own archive is never used.
        self._files = open_drop(drop.archive_uri, drop.uri, 0.0, drop.store)
        self._drop = drop
        self._since = f"{since:%Y/%m/%d}"
        self._known = known
        self.unlisted = 0

    def waiting(self) -> Iterator[DropFile]:
        """Yield the unknown files of the days, by name (:meth:`Drop.waiting`)."""
        for file in self._files.waiting():
            day, name = file.name[:10], storable(file.name)
            if day >= self._since and _is_day(day) and name not in self._known:
                yield file
        self.unlisted = self._files.unlisted

    def read(self, files: Sequence[DropFile], limit: int) -> Iterator[Content | NotRead]:
        """Yield the content of each file (:meth:`Drop.read`)."""
        return self._files.read(files, limit)

    def archive_name(self, content: Content, day: date) -> str:
        """Return the file's present address, since it is already in the archive."""
        return f"{self.archive_uri}/{storable(content.file.name)}"

    def move(self, content: Content, archived_uri: str) -> str | None:
        """Leave the file where it is."""
        return None

    def archived(self, before: datetime) -> Iterator[ArchivedFile]:
        """Yield nothing: no file is deleted because it was read again."""
        return iter(())

    def remove(self, uris: Sequence[str]) -> None:
        """Delete nothing."""

    def replace(self, uri: str, data: bytes) -> None:
        """Replace the content of a file in its place (:meth:`Drop.replace`)."""
        self._drop.replace(uri, data)


def archive_again(connection: sa.Connection, drop: Drop, account: str, since: date) -> ArchiveAgain:
    """Return the archived files of an account's drop that the warehouse does not know."""
    below = f"{drop.archive_uri}/"
    like = below.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"
    known = connection.scalars(_KNOWN, {"account": account, "below": like})
    return ArchiveAgain(drop, since, frozenset(uri.removeprefix(below) for uri in known))


def _is_day(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y/%m/%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return True
