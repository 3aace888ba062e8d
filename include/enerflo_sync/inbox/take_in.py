"""From the drop into ``sync.webhook_events``: list, read, hash, insert, commit, and only then move.

**Nothing is lost and nothing counts twice**, wherever it is killed. A batch's events and the list of the
files they came in commit together; the files are moved after that, and the list goes with a later commit. A
file that is found in the drop and on such a list was taken in before: it is moved, and not counted again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from enerflo_sync.clock import Clock
from enerflo_sync.inbox.batch import COLUMNS, FileBatch, Limits, Reader
from enerflo_sync.inbox.drop import Drop
from enerflo_sync.inbox.identify import EventState
from enerflo_sync.mirror.fingerprint import raw_hash
from enerflo_sync.mirror.quarantine import put_aside
from enerflo_sync.mirror.read_ahead import read_ahead
from enerflo_sync.mirror.run import Run
from enerflo_sync.warehouse.bulk import driver_connection, stage
from enerflo_sync.warehouse.schema import webhook_events, webhook_moves

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]

_INSERT = f"""
/* enerflo-sync inbox: new events, and further copies of known ones */
with stored as (
    insert into sync.webhook_events as e ({", ".join(COLUMNS)})
    select {", ".join(COLUMNS)} from stage_webhook_events
    on conflict (account, event_id) do update set copies = e.copies + excluded.copies
    returning (xmax = 0) as is_new, state
)
select is_new, state, count(*) from stored group by 1, 2
"""  # noqa: S608 - constants


class TakeIn:
    """Takes in what lies in one account's drop.

    :param connection: used in transactions of this class's own; nobody else takes in for this account.
    :param depth: batches read ahead by a thread; 0 in a simulation.
    """

    def __init__(
        self,
        connection: sa.Connection,
        drop: Drop,
        account: str,
        limits: Limits,
        clock: Clock,
        depth: int = 1,
    ) -> None:
        self._connection = connection
        self._drop = drop
        self._account = account
        self._limits = limits
        self._clock = clock
        self._depth = depth
        # Lists of files whose files have all been moved.
        self._done: list[str] = []

    def run(self, run: Run, progress: Progress) -> int:
        """Take in every file that waits, and return how many files that were.

        :raises ConfigurationError: the drop is not there, or may not be listed.
        """
        left, taken = self._left()
        waiting = list(self._drop.waiting())
        reader = Reader(self._connection, self._drop, self._account, self._limits, self._clock, taken)
        done, stuck = 0, set()
        for batch in read_ahead(reader.batches(waiting), self._depth):
            move_id = self._commit(batch)
            here = self._move(batch, run)
            stuck |= here
            if move_id is not None and not here:
                self._done.append(move_id)
            _report(batch, run)
            done += batch.files
            progress("files", done, len(waiting))
        self._done += [move_id for move_id, uris in left.items() if stuck.isdisjoint(uris)]
        if self._done:
            with self._connection.begin():
                self._forget()
        return done

    def _left(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Return what earlier runs committed and did not move: addresses by list, and by address the rest."""
        with self._connection.begin():
            rows = self._connection.execute(
                sa.select(webhook_moves.c.move_id, webhook_moves.c.files).where(
                    webhook_moves.c.account == self._account
                )
            ).all()
        taken = {uri: how for row in rows for uri, how in row.files.items()}
        return {row.move_id: list(row.files) for row in rows}, taken

    def _commit(self, batch: FileBatch) -> str | None:
        """Store a batch whole, and return the id of the list of files that are now to be moved."""
        tally = batch.tally
        with self._connection.begin():
            if batch.block.rows:
                stage(self._connection, webhook_events, COLUMNS, batch.block)
                counted = driver_connection(self._connection).execute(_INSERT).fetchall()
                for is_new, state, count in counted:
                    if state == EventState.QUARANTINED:
                        tally.quarantined += count
                    elif is_new and state == EventState.IGNORED:
                        tally.skipped += count
                        tally.because("skipped", "known_and_ignored", count)
                    elif is_new:
                        tally.applied += count
            put_aside(self._connection, self._account, batch.rejected, self._clock.now())
            self._forget()
            move_id = self._remember(batch.fresh) if batch.fresh else None
        # Copies of events that were known, or stand in this batch already.
        tally.unchanged = tally.read - tally.applied - tally.skipped - tally.quarantined
        return move_id

    def _remember(self, files: dict[str, list[str]]) -> str:
        move_id = raw_hash(msgspec.json.encode(files)).hex()
        statement = insert(webhook_moves).values(
            account=self._account, move_id=move_id, taken_at=self._clock.now(), files=files
        )
        self._connection.execute(statement.on_conflict_do_nothing())
        return move_id

    def _forget(self) -> None:
        if self._done:
            self._connection.execute(
                sa.delete(webhook_moves).where(
                    webhook_moves.c.account == self._account, webhook_moves.c.move_id.in_(self._done)
                )
            )
            self._done = []

    def _move(self, batch: FileBatch, run: Run) -> set[str]:
        """Move a committed batch's files to the archive; return those that stayed."""
        stuck: dict[str, list[str]] = {}
        for move in batch.moves:
            why = self._drop.move(move.content, move.archive_uri)
            if why is not None:
                stuck.setdefault(why, []).append(move.content.file.uri)
        for why, uris in stuck.items():
            log.warning("inbox_move_failed account=%s files=%d why=%s", self._account, len(uris), why)
            run.incomplete("files", f"some stay in the drop, {why}: taken in, but not archived")
        return {uri for uris in stuck.values() for uri in uris}


def _report(batch: FileBatch, run: Run) -> None:
    run.count("events", batch.tally)
    for missing in batch.not_read:
        if missing.vanished:
            run.notice("files", "vanished before it was read", 1)
        else:
            run.incomplete("files", f"could not be read: {missing.why}")
