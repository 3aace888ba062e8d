"""The one path by which vendor records enter the mirror, from every source."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.mirror import quarantine
from enerflo_sync.mirror.after_merge import merge_part, remember_bytes
from enerflo_sync.mirror.batch import RECORD_LIMIT, SEEN, Batch, Observation
from enerflo_sync.mirror.declared import AsDeclared
from enerflo_sync.mirror.encoding import encode_batch, version_columns
from enerflo_sync.mirror.forgotten import Contents, forgotten_of, without_personal_data
from enerflo_sync.mirror.lag import Lag, is_overtaken, listed_since
from enerflo_sync.mirror.own_answer import is_listed_otherwise, merge_own_answers, tells_more_than_its_list
from enerflo_sync.mirror.quarantine import Rejected
from enerflo_sync.mirror.spelled_otherwise import spelled_otherwise
from enerflo_sync.mirror.tally import NAMELESS, Tally
from enerflo_sync.mirror.witnesses import Witnesses
from enerflo_sync.resources.fingerprint import content_hash, decode, same_bytes, stable_bytes
from enerflo_sync.resources.resource import Resource, Row
from enerflo_sync.warehouse.bulk import Block, append, driver_connection, merge, send_new
from enerflo_sync.warehouse.refused import refuses_a_row

log = logging.getLogger(__name__)


class Intake:
    """Loads pages of one resource into the mirror.

    A record whose bytes are unchanged is neither parsed nor written.
    """

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self._as_declared = AsDeclared(resource)
        self._open: set[int] | None = None
        self._witnesses = Witnesses(resource)
        self._version_columns = version_columns(resource)

    def take(
        self, connection: sa.Connection, records: Iterable[bytes | memoryview], observation: Observation
    ) -> Batch:
        """Load ``records`` in the caller's transaction, and return the outcome of each."""
        return self.store(connection, self.prepare(connection, records, observation))

    def take_own_answer(
        self, connection: sa.Connection, raw: bytes | memoryview, observation: Observation
    ) -> Batch:
        """Load one record from a direct read, in the caller's transaction.

        Like :meth:`take`. But if the list omits fields of this record, its row is written only when a visible
        column differs, and its bytes are not compared with the list's (:mod:`.own_answer`).
        """
        batch = self.prepare(connection, [raw], observation)
        if batch.changed:
            listed_at = listed_since(connection, self.resource, raw, observation)
            if listed_at is not None:
                batch = self.prepare(connection, [raw], replace(observation, observed_at=listed_at))
        batch.own_answer = bool(batch.changed) and tells_more_than_its_list(
            connection, self.resource, observation.account, next(iter(batch.changed))
        )
        return self.store(connection, batch)

    def take_own_answers(
        self, connection: sa.Connection, records: Sequence[bytes | memoryview], observation: Observation
    ) -> Batch:
        """Bring in records that were read directly, in the caller's transaction.

        As :meth:`take_own_answer` where there is one. Several are merged as it is where their list has a form
        of its own.
        """
        if len(records) == 1:
            return self.take_own_answer(connection, records[0], observation)
        batch = self.prepare(connection, records, observation)
        batch.own_answer = is_listed_otherwise(self.resource)
        return self.store(connection, batch)

    def take_or_refuse(
        self,
        connection: sa.Connection,
        records: Sequence[bytes | memoryview],
        observation: Observation,
        *,
        own_answer: bool = False,
    ) -> list[Batch]:
        """Load ``records`` in the caller's transaction; quarantine any record that the warehouse refuses.

        :param own_answer: the records come from a direct read (:meth:`take_own_answers`).
        """
        try:
            with connection.begin_nested():
                if own_answer:
                    return [self.take_own_answers(connection, records, observation)]
                return [self.take(connection, records, observation)]
        except psycopg.Error as error:
            if not refuses_a_row(error):
                raise
        # The rollback also undid the state that this object remembers.
        self._open = None
        if len(records) == 1:
            return [self.refuse(connection, records[0], observation)]
        return [
            one
            for raw in records
            for one in self.take_or_refuse(connection, [raw], observation, own_answer=own_answer)
        ]

    def store(self, connection: sa.Connection, batch: Batch) -> Batch:
        """Write a prepared batch and return it with its tally completed.

        Records, raw versions, tombstones and quarantine commit with the caller's transaction.
        """
        resource, account = self.resource, batch.observation.account
        if self._open is None:
            self._open = quarantine.open_keys(connection, account, resource.table.name)
        quarantine.add_to_quarantine(connection, account, batch.rejected, batch.observation.observed_at)
        if batch.changed:
            written = self._write(connection, batch)
            batch.tally.applied += written
            batch.tally.unchanged += len(batch.changed) - written
        self._bear_witness(connection, batch)
        settled = self._open.intersection(batch.good)
        if settled:
            keys = [resource.key(record_id) for record_id in settled]
            quarantine.close_items(connection, account, resource.table.name, keys)
            self._open -= settled
        self._open.update(item.key[resource.id_column] for item in batch.rejected if item.key)
        return batch

    def keep_versions(self, connection: sa.Connection, batch: Batch) -> None:
        """Insert the raw versions of a batch of new records, in the caller's transaction, before the records.

        If one version exists already or is refused, none is inserted here, and :meth:`store` inserts them
        all.
        """
        try:
            versions = self._versions(batch)
            if versions and send_new(connection, versions):
                batch.blocks[-1] = Block(b"", 0, binary=True)
        except psycopg.Error as error:
            if not refuses_a_row(error):
                raise

    def is_overtaken(self, connection: sa.Connection, batch: Batch) -> bool:
        """Return whether a batch from a list must be prepared again: its records were read meanwhile.

        Also true if the account declared other columns since. Locks the records' rows until the caller's
        transaction ends.
        """
        account = batch.observation.account
        if self.resource_now(connection, account) is not batch.resource:
            return True
        return bool(batch.observed) and is_overtaken(connection, self.resource, account, batch.observed)

    def leaves_alone(self, batch: Batch) -> bool:
        """Return whether it is already known that storing a polled ``batch`` writes nothing."""
        nothing_new = not batch.changed and not batch.rejected
        return nothing_new and self._open is not None and self._open.isdisjoint(batch.good)

    def prepare(
        self,
        connection: sa.Connection,
        records: Iterable[bytes | memoryview],
        observation: Observation,
        *,
        listed: bool = False,
    ) -> Batch:
        """Find the changed records, parse only those, and write nothing.

        May run ahead of storing earlier pages, on its own connection. Its view of the mirror is then slightly
        old, which can cost an extra comparison but never a wrong decision.
        If an id repeats among ``records``, the later record replaces the earlier one (``repeated_on_page``).

        :param listed: the records come from a list, which may lag behind the mirror (:mod:`.lag`).
        """
        resource = self.resource_now(connection, observation.account)
        batch = Batch(observation, resource, rows=[[] for _ in resource.parts])
        batch.forgotten = forgotten_of(connection, observation.account)
        tally = batch.tally
        by_id: dict[int, bytes | memoryview] = {}
        for raw in records:
            tally.read += 1
            try:
                record_id = resource.record_id(raw)
            except BadRecordError as error:
                self.reject(batch, stable_bytes(raw), error, None)
                tally.because("notice", NAMELESS)
                continue
            if len(raw) > RECORD_LIMIT and len(stable := stable_bytes(raw)) > RECORD_LIMIT:
                self.reject(batch, stable, BadRecordError("record_too_large"), record_id)
                batch.ids.append(record_id)
                continue
            if record_id in by_id:
                tally.skipped += 1
                tally.because("skipped", "repeated_on_page")
            by_id[record_id] = raw
        batch.ids += by_id
        known = self._known(connection, observation.account, batch.ids)
        batch.all_new = not known
        moved: dict[int, tuple[bytes, bytes]] = {}
        for record_id, raw in by_id.items():
            # Keep only changed bytes: most pages then need no memory beyond their own.
            stable = stable_bytes(raw)
            digest = resource.digest(stable)
            if known.get(record_id, b"") != digest:
                moved[record_id] = (stable, digest)
        # A changed reader version means parsing again, even if the bytes are unchanged.
        before = {
            record_id: stable
            for record_id, (stable, digest) in moved.items()
            if (digest_before := known.get(record_id)) and not same_bytes(digest_before, digest)
        }
        said_before = set[int]()
        if before and resource.versions is not None:
            said_before = spelled_otherwise(connection, resource, observation.account, before)
        tally.unchanged += len(by_id) - len(moved) + len(said_before)
        batch.good += [record_id for record_id in by_id if record_id not in moved or record_id in said_before]
        standing = [record_id for record_id in moved if listed and record_id in known]
        lag = Lag(connection, resource, observation.account, standing, observation.observed_at)
        for record_id, (stable, digest) in moved.items():
            if record_id in said_before:
                continue
            try:
                is_held = self._parse(batch, record_id, stable, digest, lag)
            except Exception as error:
                # This block handles one record only, so any exception is that record's fault.
                self.reject(batch, stable, bad_record(error), record_id)
                continue
            if is_held:
                batch.held.append(record_id)
                tally.skipped += 1
                tally.because("skipped", "older_than_the_mirror")
            else:
                batch.changed[record_id] = observation.observed_at
                batch.good.append(record_id)
        batch.observed = lag.observed(batch.changed) if listed else {}
        encode_batch(
            connection, resource, batch, lambda bad, why: self.reject(batch, moved[bad][0], why, bad)
        )
        batch.new = [i for i in batch.changed if i not in known]
        return batch

    def resource_now(self, connection: sa.Connection, account: str) -> Resource:
        """Return the resource with the columns that the account has declared so far."""
        return self._as_declared.now(connection, account)

    def _known(self, connection: sa.Connection, account: str, ids: list[int]) -> dict[int, bytes | None]:
        """Return the stored raw hash per id; None for a known record that must be parsed again."""
        table, column = self.resource.table, self.resource.id_column
        # Force one primary-key lookup per id: without statistics, the planner would read every row of the
        # account for each page.
        cursor = driver_connection(connection).execute(
            f"/* enerflo-sync: known {table.name} */"  # noqa: S608 - names of the declared schema
            f" select k.* from unnest(%(ids)s::bigint[]) as u(id) cross join lateral ("
            f" select {column}, case when absent_since is null then raw_hash end from {table.fullname}"
            f" where account = %(account)s and {column} = u.id offset 0) as k",
            {"ids": ids, "account": account},
            binary=True,
        )
        return dict(cursor.fetchall())

    def _parse(self, batch: Batch, record_id: int, stable: bytes, digest: bytes, lag: Lag) -> bool:
        """Parse a record with new content; return whether to hold it instead because its list lags."""
        data = stable
        try:
            stable.decode()
        except UnicodeDecodeError:
            raise BadRecordError("not_utf8") from None
        resource = batch.resource
        usual = resource.usual_rows(stable)
        if usual is not None:
            contents: Contents = usual
        else:
            record, data = decode(stable)
            contents = resource.read(record)
            self._notice(batch, record, stable, data)
        contents, data = without_personal_data(resource, contents, data, batch.forgotten)
        if contents[0] is None or contents[0][0][0] != record_id:
            raise BadRecordError("two_ids", field=resource.id_field)
        version = None if resource.versions is None else content_hash(data)
        if lag.holds(record_id, contents[0][0], digest, version):
            return True
        self._add(batch, record_id, contents, digest, data, version)
        return False

    def _add(
        self,
        batch: Batch,
        record_id: int,
        contents: Sequence[Sequence[Row] | None],
        digest: bytes,
        data: bytes,
        version: str | None,
    ) -> None:
        at = batch.observation
        seen = at.columns
        extra = (digest,) if version is None else (digest, version)
        batch.rows[0].extend([(*row, *seen, *extra) for row in contents[0] or ()])
        for part_rows, rows in zip(batch.rows[1:], contents[1:], strict=True):
            if rows is None:
                batch.untold.append(record_id)
            else:
                part_rows.extend([row + seen for row in rows])
        if version is not None:
            when = (at.observed_at, at.observed_by, at.evidence)
            batch.versions.append((at.account, record_id, version, data, *when))

    def _notice(self, batch: Batch, record: Mapping[str, Any], stable: bytes, data: bytes) -> None:
        """Report unusual content that was stored anyway."""
        if len(data) < len(stable) and b"\\u0000" in stable:
            batch.tally.because("notice", "nul_removed")
        unknown = [*(record.keys() - self.resource.known_fields), *self.resource.unknown_within(record)]
        for name in sorted(unknown):
            batch.tally.because("notice", f"unknown_field: {self.resource.name}.{name[:64]}")
        for why in batch.resource.unfilled(record):
            batch.tally.because("notice", f"declared_column: {why}")

    def reject(self, batch: Batch, stable: bytes, error: BadRecordError, record_id: int | None) -> None:
        """Count a record of ``batch`` as quarantined, with its reason; storing the batch stores the item."""
        forgotten = batch.forgotten.owns({self.resource.id_column: record_id})
        item = Rejected(
            kind="record",
            reason=error.what,
            field=error.field,
            payload=b"" if forgotten else stable,
            mark=str(record_id) if forgotten else "",
            evidence_uri=batch.observation.evidence,
            table_name=self.resource.table.name,
            key=None if record_id is None else self.resource.key(record_id),
        )
        batch.rejected.append(item)
        batch.tally.quarantined += 1
        batch.tally.because("quarantined", item.described)
        log.warning("record_quarantined resource=%s id=%s", self.resource.name, record_id)

    def _write(self, connection: sa.Connection, batch: Batch) -> int:
        own, *contained = batch.resource.parts
        digests = ("raw_hash",) if self.resource.versions is None else ("raw_hash", "content_hash")
        columns = (*own.columns, *SEEN, *digests)
        own_block, *contents, _ = batch.blocks
        versions = self._versions(batch)
        rows = [(own.table, columns, own_block), *versions]
        for part, block in zip(contained, contents, strict=True):
            rows.append((part.table, (*part.columns, *SEEN), block))
        if batch.all_new and send_new(connection, rows):
            return own_block.rows
        if batch.own_answer:
            merged = merge_own_answers(connection, batch.resource, columns, own_block)
        else:
            merged = merge(connection, own.table, columns, own_block)
            if merged.written < own_block.rows:
                remember_bytes(connection, batch.resource)
        for table, names, block in versions:
            append(connection, table, names, block)
        untold = set(batch.untold)
        told = {record_id: at for record_id, at in batch.changed.items() if record_id not in untold}
        of_parts = 0
        for part, block in zip(contained, contents, strict=True):
            of_parts += merge_part(connection, batch.resource, part, block, told, batch.observation.account)
        if batch.own_answer:
            # A record's own row may be unchanged although its child rows changed.
            return min(own_block.rows, merged.written + of_parts)
        return merged.written

    def _versions(self, batch: Batch) -> list[tuple[sa.Table, Sequence[str], Block]]:
        """Return the raw versions of a batch that are not stored yet, with their table; none without any."""
        table, versions = self.resource.versions, batch.blocks[-1]
        return [(table, self._version_columns, versions)] if table is not None and versions.rows else []

    def _bear_witness(self, connection: sa.Connection, batch: Batch) -> None:
        """Record who saw the changes; a webhook also confirms changes that the poll loaded earlier."""
        at = batch.observation
        seen: list[tuple[int, datetime, datetime | None]]
        if at.observed_by == "poll":
            seen = [(record_id, asked_at, asked_at) for record_id, asked_at in batch.changed.items()]
        else:
            seen = [(record_id, at.observed_at, at.arrived_at) for record_id in batch.good]
        self._witnesses.take_down(connection, at.account, at.observed_by, seen, new=batch.new)

    def refuse(self, connection: sa.Connection, raw: bytes | memoryview, observation: Observation) -> Batch:
        """Quarantine a record that the warehouse refused, in the caller's transaction."""
        batch = Batch(observation, self.resource, tally=Tally(read=1))
        stable = stable_bytes(raw)
        try:
            record_id = self.resource.record_id(stable)
            batch.ids.append(record_id)
        except BadRecordError:
            record_id = None
            batch.tally.because("notice", NAMELESS)
        self.reject(batch, stable, BadRecordError("refused_by_the_warehouse"), record_id)
        quarantine.add_to_quarantine(connection, observation.account, batch.rejected, observation.observed_at)
        return batch
