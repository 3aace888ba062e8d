"""Files of the archive: which are needed whatever their age, and what is erased in them."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from enerflo_sync.inbox.batch import Limits
from enerflo_sync.inbox.drop import Content, Drop, DropFile
from enerflo_sync.inbox.forgotten_files import Theirs, erased_file
from enerflo_sync.warehouse.schema import quarantine, webhook_moves


def needed_files(connection: sa.Connection, account: str) -> set[str]:
    """Return the addresses of archived files that a replay may read, or that are on their way there.

    In the caller's transaction.
    """
    items = sa.select(quarantine.c.evidence_uri).where(
        quarantine.c.account == account,
        quarantine.c.state == "open",
        quarantine.c.evidence_uri.is_not(None),
    )
    # A part of a file is named by its position: file#3.
    found = {part for uri in connection.scalars(items) for part in (uri, uri.rpartition("#")[0])}
    moves = sa.select(webhook_moves.c.files).where(webhook_moves.c.account == account)
    for files in connection.scalars(moves):
        found.update(how[-1] for how in files.values())
    return found - {""}


def erase_archived(
    drop: Drop, uris: Iterable[str], theirs: Theirs, limits: Limits, *, write: bool = True
) -> int:
    """Erase the personal data of who was forgotten in archived files, and return in how many there was some.

    :param write: False only counts.
    """
    files = [DropFile(uri.rpartition("/")[2], uri) for uri in sorted(uris)]
    hits = 0
    for found in drop.read(files, limits.file) if files else ():
        if not isinstance(found, Content):
            continue
        if found.too_large:
            # Nobody reads more of it than its beginning.
            data = b"" if theirs.holds(found.data) else None
        else:
            data = erased_file(found.data, theirs, most_file=limits.file, most_event=limits.event)
        if data is None:
            continue
        hits += 1
        if write and data.strip():
            drop.replace(found.file.uri, data)
        elif write:
            drop.remove([found.file.uri])
    return hits
