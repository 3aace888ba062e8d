"""The one path by which vendor records enter the mirror, from every source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

import psycopg
import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError
from enerflo_sync.mirror import quarantine
from enerflo_sync.mirror.after_merge import merge_part, remember_bytes
from enerflo_sync.mirror.batch import SEEN, Batch, Observation
from enerflo_sync.mirror.encoding import version_columns
from enerflo_sync.mirror.forgotten import forgotten_of
from enerflo_sync.mirror.lag import is_overtaken, listed_since
from enerflo_sync.mirror.own_answer import is_listed_otherwise, merge_own_answers, tells_more_than_its_list
from enerflo_sync.mirror.preparation import Preparation
from enerflo_sync.mirror.rejecting import reject
from enerflo_sync.mirror.tally import NAMELESS, Tally
from enerflo_sync.mirror.witnesses import Witnesses
from enerflo_sync.resources.fingerprint import stable_bytes
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.bulk import Block, append, merge, send_new
from enerflo_sync.warehouse.refused import refuses_a_row
from enerflo_sync.warehouse.storing import storing


class Intake(Preparation):
    """Loads pages of one resource into the mirror: what is prepared is stored.

    A record whose bytes are unchanged is neither parsed nor written.
    """

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource)
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

        If one version exists already or is refused, or somebody was forgotten since, none is inserted here,
        and :meth:`store` inserts them all.
        """
        account = batch.observation.account
        storing(connection, account)
        if forgotten_of(connection, account) != batch.forgotten:
            return
        try:
            versions = self._versions(batch)
            if versions and send_new(connection, versions):
                batch.blocks[-1] = Block(b"", 0, binary=True)
        except psycopg.Error as error:
            if not refuses_a_row(error):
                raise

    def is_overtaken(self, connection: sa.Connection, batch: Batch) -> bool:
        """Return whether a batch from a list must be prepared again: its records were read meanwhile.

        Also true if the account declared other columns since, or somebody was forgotten. Locks the records'
        rows until the caller's transaction ends.
        """
        account = batch.observation.account
        if self.resource_now(connection, account) is not batch.resource:
            return True
        if forgotten_of(connection, account) != batch.forgotten:
            return True
        return bool(batch.observed) and is_overtaken(connection, self.resource, account, batch.observed)

    def leaves_alone(self, batch: Batch) -> bool:
        """Return whether it is already known that storing a polled ``batch`` writes nothing."""
        nothing_new = not batch.changed and not batch.rejected
        return nothing_new and self._open is not None and self._open.isdisjoint(batch.good)

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
        batch = Batch(observation, self.resource_now(connection, observation.account), tally=Tally(read=1))
        batch.forgotten = forgotten_of(connection, observation.account)
        stable = stable_bytes(raw)
        try:
            record_id = self.resource.record_id(stable)
            batch.ids.append(record_id)
        except BadRecordError:
            record_id = None
            batch.tally.because("notice", NAMELESS)
        reject(connection, batch, stable, BadRecordError("refused_by_the_warehouse"), record_id)
        quarantine.add_to_quarantine(connection, observation.account, batch.rejected, observation.observed_at)
        return batch
