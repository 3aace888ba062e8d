"""Load the drop into ``sync.webhook_events``: list, read, hash, insert, commit, and only then move files.

**Nothing is lost or counted twice**, wherever a run is killed. A batch's events commit together with the list
of their files. The files are moved after that, and a later commit deletes the list. A file that is still in
the drop and on such a list was loaded before: it is moved, and not counted again.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Container, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

import msgspec
import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from enerflo_sync.clock import Clock
from enerflo_sync.drop.drop import Drop
from enerflo_sync.drop.local import LocalDrop
from enerflo_sync.inbox.archive import erase_archived
from enerflo_sync.inbox.archive_again import ArchiveAgain
from enerflo_sync.inbox.batch import COLUMNS, TO_ERASE, FileBatch, Limits, Reader
from enerflo_sync.inbox.forgotten_files import Theirs
from enerflo_sync.inbox.identify import EventState
from enerflo_sync.mirror.forgotten import forgotten_of
from enerflo_sync.mirror.quarantine import add_to_quarantine
from enerflo_sync.mirror.read_ahead import read_ahead
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.resources.fingerprint import raw_hash
from enerflo_sync.warehouse.bulk import Block, driver_connection, send
from enerflo_sync.warehouse.refused import refuses_a_row
from enerflo_sync.warehouse.schema import webhook_events, webhook_moves

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]

_KNOWN = """
/* enerflo-sync inbox: which events are known */
select event_id from sync.webhook_events where account = %(account)s and event_id = any(%(ids)s::text[])
"""
_COUNT_COPIES = """
/* enerflo-sync inbox: further copies of known events */
update sync.webhook_events e set copies = e.copies + s.copies,
    -- The event came again after its record was read (clocks have whole seconds). The record may have changed
    -- since, with the same event body, and an unknown record may exist now. So hydrate once more.
    state = case
        when e.state = 'applied' and s.received_at > e.read_at - interval '1 second' then 'received'
        when e.state = 'quarantined' and e.record is not null and s.received_at > e.received_at
            then 'received'
        else e.state end,
    attempts = case when e.state = 'received' then e.attempts else 0 end,
    next_attempt_at = case when e.state = 'received' then e.next_attempt_at end
from unnest(%(ids)s::text[], %(copies)s::bigint[], %(received)s::timestamptz[])
     as s (event_id, copies, received_at)
where e.account = %(account)s and e.event_id = s.event_id
returning e.event_id, e.state, e.body is null
"""
_BODY_AGAIN = """
/* enerflo-sync inbox: bodies that were pruned, and came again */
update sync.webhook_events e set body = s.body::json, pruned_at = null
from unnest(%(ids)s::text[], %(bodies)s::text[]) as s (event_id, body)
where e.account = %(account)s and e.event_id = s.event_id and e.body is null
"""
# Another process may insert an event between the lookup and the insert, once or twice.
_ATTEMPTS = 3


class DropLoader:
    """Loads the files in one account's drop.

    :param connection: used in this class's own transactions; no other process loads for this account.
    :param depth: batches read ahead while others are stored; 0 runs every step in the caller's thread, as a
        simulation needs.
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
        # Stored file lists whose files have all been moved.
        self._done: list[str] = []

    def run(self, run: Run, progress: Progress) -> int:
        """Load every file that is ready, and return their number.

        :raises ConfigurationError: the drop does not exist, or may not be listed.
        """
        left, taken, to_erase = self._left()
        waiting = list(self._drop.waiting())
        if self._drop.unlisted:
            run.incomplete("files", "a folder below the drop may not be listed")
        if links := getattr(self._drop, "links", 0):
            run.notice("files", "symbolic links in the drop, not followed", links)
        with self._connection.begin():
            forgotten = forgotten_of(self._connection, self._account)
        reader = Reader(
            self._connection, self._drop, self._account, self._limits, self._clock, taken, forgotten
        )
        theirs = Theirs(forgotten, self._limits.ignored)
        done, stuck = 0, set()
        batches = reader.batches(waiting)
        if not isinstance(self._drop, LocalDrop):
            batches = read_ahead(batches, self._depth)
        with closing(self._committed(batches)) as committed:
            for batch, move_id in committed:
                here = self._move(batch, run)
                # Whatever fails or is killed from here on: the list of moves names what is to erase.
                erase_archived(self._drop, batch.to_erase, theirs, self._limits)
                stuck |= here | {missing.file.key for missing in batch.not_read if not missing.vanished}
                if move_id is not None and not here:
                    self._done.append(move_id)
                _report(batch, run)
                done += batch.files
                progress("files", done, len(waiting))
        erase_archived(self._drop, to_erase, theirs, self._limits)
        if not self._drop.unlisted:
            self._done += [move_id for move_id, uris in left.items() if stuck.isdisjoint(uris)]
        if self._done:
            with self._connection.begin():
                self._forget(len(self._done))
            self._done = []
        return done

    def _left(self) -> tuple[dict[str, list[str]], dict[str, list[str]], set[str]]:
        """Return files that earlier runs committed but did not move, by list and by address.

        The third are those in which somebody is to be forgotten once they are in the archive.
        """
        with self._connection.begin():
            rows = self._connection.execute(
                sa.select(webhook_moves.c.move_id, webhook_moves.c.files)
                .where(webhook_moves.c.account == self._account)
                .order_by(webhook_moves.c.taken_at)
            ).all()
        taken = {uri: how for row in rows for uri, how in row.files.items()}
        to_erase = {how[1] for how in taken.values() if how[2:] == [TO_ERASE]}
        return {row.move_id: list(row.files) for row in rows}, taken, to_erase

    def _committed(self, batches: Iterable[FileBatch]) -> Generator[tuple[FileBatch, str | None], None, None]:
        """Yield each batch after its commit, with the id of its list of files to move."""
        if not self._depth:
            for batch in batches:
                yield batch, self.commit(batch)
            return
        storing = ThreadPoolExecutor(1, "inbox-store")
        try:
            former: tuple[FileBatch, Future[str | None]] | None = None
            for batch in batches:
                latter = batch, storing.submit(self.commit, batch)
                if former is not None:
                    yield former[0], former[1].result()
                former = latter
            if former is not None:
                yield former[0], former[1].result()
        finally:
            storing.shutdown(cancel_futures=True)

    def commit(self, batch: FileBatch) -> str | None:
        """Store a complete batch, and return the id of its list of files to move."""
        for attempt in range(1, _ATTEMPTS + 1):
            done = len(self._done)
            try:
                with self._connection.begin():
                    known = self._store(batch)
                    add_to_quarantine(self._connection, self._account, batch.rejected, self._clock.now())
                    self._forget(done)
                    move_id = self._remember(batch.fresh, batch.to_erase) if batch.fresh else None
            except psycopg.errors.UniqueViolation:
                if attempt == _ATTEMPTS:
                    raise
                continue
            break
        del self._done[:done]
        _count(batch, known)
        batch.block, batch.events = Block(b"", 0), {}
        return move_id

    def _store(self, batch: FileBatch) -> dict[str, str]:
        """Store a batch's events, and return the state of each event that existed before."""
        if not batch.events:
            return {}
        driver = driver_connection(self._connection)
        values: dict[str, Any] = {"account": self._account, "ids": list(batch.events)}
        there = [event_id for (event_id,) in driver.execute(_KNOWN, values)]
        if not there:
            if not self._sent(batch.block):
                self._send(batch, ())
            return {}
        told = [batch.events[event_id] for event_id in there]
        values["ids"] = there
        # A file of the archive was counted when it came.
        again = isinstance(self._drop, ArchiveAgain)
        values["copies"] = [0 if again else one.copies for one in told]
        values["received"] = [one.received_at for one in told]
        rows = driver.execute(_COUNT_COPIES, values).fetchall()
        empty = {event_id for event_id, _, is_empty in rows if is_empty}
        if empty:
            bodies = _bodies(batch, empty)
            values = {"account": self._account, "ids": list(bodies), "bodies": list(bodies.values())}
            driver.execute(_BODY_AGAIN, values)
        known = {event_id: state for event_id, state, _ in rows}
        self._send(batch, known)
        return known

    def _sent(self, block: Block) -> bool:
        """Store rows of events; return False, with nothing stored, if the warehouse refuses a row."""
        try:
            with self._connection.begin_nested():
                send(self._connection, webhook_events.fullname, COLUMNS, block)
        except psycopg.errors.UniqueViolation:
            raise
        except psycopg.Error as error:
            if not refuses_a_row(error):
                raise
            return False
        return True

    def _send(self, batch: FileBatch, known: Container[str]) -> None:
        """Store the unknown events of a batch; quarantine an event that the warehouse refuses."""
        waiting = [_fresh(batch, known)]
        while waiting:
            lines = waiting.pop()
            if not lines or self._sent(Block(b"".join(lines.values()), len(lines))):
                continue
            names = list(lines)
            if len(names) == 1:
                batch.refuse(names[0], lines[names[0]])
                continue
            halves = names[: len(names) // 2], names[len(names) // 2 :]
            waiting += [{name: lines[name] for name in half} for half in halves]

    def _remember(self, files: dict[str, list[str]], to_erase: Container[str]) -> str:
        files = {key: [*how, TO_ERASE] if how[1] in to_erase else how for key, how in files.items()}
        move_id = raw_hash(msgspec.json.encode(files)).hex()
        statement = insert(webhook_moves).values(
            account=self._account, move_id=move_id, taken_at=self._clock.now(), files=files
        )
        self._connection.execute(statement.on_conflict_do_nothing())
        return move_id

    def _forget(self, count: int) -> None:
        """Delete the first ``count`` lists whose files are moved; a thread appends others meanwhile."""
        if count:
            self._connection.execute(
                sa.delete(webhook_moves).where(
                    webhook_moves.c.account == self._account,
                    webhook_moves.c.move_id.in_(self._done[:count]),
                )
            )

    def _move(self, batch: FileBatch, run: Run) -> set[str]:
        """Move a committed batch's files to the archive; return those that could not be moved."""
        stuck: dict[str, list[str]] = {}
        for move in batch.moves:
            why = self._drop.move(move.content, move.archive_uri)
            if why is not None:
                stuck.setdefault(why, []).append(move.content.file.key)
        for why, uris in stuck.items():
            log.warning("inbox_move_failed account=%s files=%d why=%s", self._account, len(uris), why)
            run.incomplete("files", f"some stay in the drop, {why}: ingested, but not archived")
        return {uri for uris in stuck.values() for uri in uris}


def _fresh(batch: FileBatch, known: Container[str]) -> dict[str, bytes]:
    """Return the rows of a batch's unknown events; COPY's text format has one line per row."""
    lines = zip(batch.events, io.BytesIO(batch.block.data), strict=True)
    return {event_id: line for event_id, line in lines if event_id not in known}


def _bodies(batch: FileBatch, wanted: Container[str]) -> dict[str, str]:
    """Return the bodies of some events of a batch: the last column, in which COPY escapes backslashes."""
    lines = zip(batch.events, io.BytesIO(batch.block.data), strict=True)
    return {
        event_id: line.rstrip(b"\n").rpartition(b"\t")[2].replace(b"\\\\", b"\\").decode()
        for event_id, line in lines
        if event_id in wanted
    }


def _count(batch: FileBatch, known: Mapping[str, str]) -> None:
    """Count the outcomes of a stored batch's events."""
    tally = batch.tally
    for event_id, told in batch.events.items():
        state = known.get(event_id, told.begins)
        if state == EventState.QUARANTINED:
            tally.quarantined += 1
        elif event_id in known:
            continue
        elif state == EventState.IGNORED:
            tally.skipped += 1
            tally.because("skipped", "known_and_ignored")
        else:
            tally.applied += 1
    # Copies of events that existed before, or occur earlier in this batch.
    tally.unchanged = tally.read - tally.applied - tally.skipped - tally.quarantined


def _report(batch: FileBatch, run: Run) -> None:
    run.count("events", batch.tally)
    for missing in batch.not_read:
        if missing.vanished:
            run.notice("files", "vanished before it was read", 1)
        else:
            run.incomplete("files", f"could not be read: {missing.why}")
