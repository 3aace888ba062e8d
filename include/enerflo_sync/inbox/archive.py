"""Files of the archive: which are needed whatever their age, and what is erased in them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

import sqlalchemy as sa

from enerflo_sync.drop.drop import Content, Drop, DropFile, NotRead
from enerflo_sync.errors import RetriableError
from enerflo_sync.inbox.batch import Limits
from enerflo_sync.inbox.forgotten_files import Theirs, erased_file
from enerflo_sync.warehouse.schema import quarantine, webhook_moves

_OF_OTHERS = sa.text(r"""
/* enerflo-sync forget: archived files that other accounts have read, and this one has not */
with read as (
  select account, source_uri as uri from sync.webhook_events
  union all
  select account, evidence_uri from sync.quarantine
)
select regexp_replace(uri, '#\d+$', '') from read where account <> :account and uri like :below escape '!'
except
select regexp_replace(uri, '#\d+$', '') from read where account = :account
""")


def files_of_others(connection: sa.Connection, account: str, archive_uri: str) -> frozenset[str]:
    """Return the addresses of an archive's files that are known to be other accounts', as they are stored.

    In the caller's transaction.
    """
    below = archive_uri.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "/%"
    return frozenset(connection.scalars(_OF_OTHERS, {"account": account, "below": below}))


def needed_files(connection: sa.Connection) -> set[str]:
    """Return the addresses of archived files that a replay may read, or that are being moved to the archive.

    Of every account: several may have one archive. In the caller's transaction.
    """
    items = sa.select(quarantine.c.evidence_uri).where(
        quarantine.c.state == "open",
        quarantine.c.evidence_uri.is_not(None),
    )
    # A part of a file is named by its position: file#3.
    found = {part for uri in connection.scalars(items) for part in (uri, uri.rpartition("#")[0])}
    for files in connection.scalars(sa.select(webhook_moves.c.files)):
        found.update(how[1] for how in files.values())
    return found - {""}


def erase_archived(
    drop: Drop,
    uris: Iterable[str],
    theirs: Theirs,
    limits: Limits,
    *,
    write: bool = True,
    told: Callable[[bool], None] = lambda _: None,
) -> int:
    """Erase the personal data of who was forgotten in archived files, and return in how many there was some.

    A file that is over the limit is deleted if it holds one of their values: nobody reads its events.

    :param write: False only counts.
    :param told: is called after each file that was read, with whether it had some of their data.
    :raises RetriableError: a file cannot be read or written at the moment; the others are done.
    """
    files = [DropFile(uri.rpartition("/")[2], uri) for uri in sorted(uris)]
    hits, unread, unwritten = 0, list[NotRead](), list[NotRead]()
    for found in drop.read(files, limits.file) if files else ():
        if isinstance(found, NotRead):
            # A missing file needs nothing: it is still in the drop, or was pruned.
            unread += [] if found.vanished else [found]
            continue
        if found.too_large:
            data = b"" if theirs.values and _holds_whole(drop, found.file, theirs) else None
        else:
            data = erased_file(found.data, theirs, most_file=limits.file, most_event=limits.event)
        told(data is not None)
        if data is None:
            continue
        hits += 1
        try:
            if write and data.strip():
                drop.replace(found.file.uri, data)
            elif write:
                drop.remove([found.file.uri])
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else type(error).__name__
            unwritten.append(NotRead(found.file, why))
    for left, done in ((unwritten, "written"), (unread, "read")):
        if left:
            raise RetriableError(
                f"files of the archive that could not be {done}: {len(left)}, {left[0].why}.",
                where=left[0].file.key,
                next_step=f"Let it be {done}, and run this again: what is done is not done twice.",
            )
    return hits


def _holds_whole(drop: Drop, file: DropFile, theirs: Theirs) -> bool:
    return any(
        isinstance(found, Content) and theirs.in_file(found.data)
        for found in drop.read([file], sys.maxsize - 1)
    )
