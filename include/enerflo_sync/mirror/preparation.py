"""Find what changed among records that were read, and parse only that: nothing is written here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.mirror.batch import RECORD_LIMIT, Batch, Observation
from enerflo_sync.mirror.declared import AsDeclared
from enerflo_sync.mirror.encoding import encode_batch
from enerflo_sync.mirror.forgotten import Contents, forgotten_of, without_personal_data
from enerflo_sync.mirror.lag import Lag
from enerflo_sync.mirror.rejecting import reject
from enerflo_sync.mirror.spelled_otherwise import spelled_otherwise
from enerflo_sync.mirror.tally import NAMELESS
from enerflo_sync.resources.fingerprint import content_hash, decode, same_bytes, stable_bytes
from enerflo_sync.resources.resource import Resource, Row
from enerflo_sync.warehouse.bulk import driver_connection

# Ids that are remembered during a walk; beyond them, of two rows of one record either may be left.
_MOST_REMEMBERED = 100_000
_OLDER, _DELETED = "older_than_the_mirror", "deleted_in_enerflo"


class Preparation:
    """Sorts the records of one resource by what happens to them.

    A record whose bytes are unchanged is not parsed.
    """

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        # Known records whose listed content was another than the mirror's.
        self._listed_otherwise = set[int]()
        self._as_declared = AsDeclared(resource)

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
        by_id = self._by_id(connection, batch, records)
        batch.ids += by_id
        known = self._known(connection, observation.account, batch.ids)
        batch.all_new = not known
        moved = self._moved(batch, by_id, known, listed=listed)
        said_before = self._said_before(connection, batch, known, moved)
        tally.unchanged += len(by_id) - len(moved) + len(said_before)
        batch.good += [record_id for record_id in by_id if record_id not in moved or record_id in said_before]
        standing = [record_id for record_id in moved if listed and record_id in known]
        lag = Lag(connection, resource, observation.account, standing, observation.observed_at)
        self._parse_all(connection, batch, {one: moved[one] for one in moved if one not in said_before}, lag)
        batch.observed = lag.observed(batch.changed) if listed else {}
        encode_batch(
            connection, resource, batch, lambda bad, why: reject(connection, batch, moved[bad][0], why, bad)
        )
        batch.new = [i for i in batch.changed if i not in known]
        return batch

    def _by_id(
        self, connection: sa.Connection, batch: Batch, records: Iterable[bytes | memoryview]
    ) -> dict[int, bytes | memoryview]:
        """Return the records by id, and reject those whose id cannot be read or that are too large."""
        tally = batch.tally
        by_id: dict[int, bytes | memoryview] = {}
        for raw in records:
            tally.read += 1
            try:
                record_id = batch.resource.record_id(raw)
            except BadRecordError as error:
                reject(connection, batch, stable_bytes(raw), error, None)
                tally.because("notice", NAMELESS)
                continue
            if len(raw) > RECORD_LIMIT and len(stable := stable_bytes(raw)) > RECORD_LIMIT:
                reject(connection, batch, stable, BadRecordError("record_too_large"), record_id)
                batch.ids.append(record_id)
                continue
            if record_id in by_id:
                tally.skipped += 1
                tally.because("skipped", "repeated_on_page")
            by_id[record_id] = raw
        return by_id

    def _moved(
        self,
        batch: Batch,
        by_id: dict[int, bytes | memoryview],
        known: dict[int, bytes | None],
        *,
        listed: bool,
    ) -> dict[int, tuple[bytes, bytes]]:
        """Return the records whose digest differs from the mirror's: stable bytes and digest by id."""
        if listed:
            # A list may have two rows of one record. A page that was prepared before the other row is stored
            # would find the mirror's own row unchanged, and leave the other row's values there.
            known.update(dict.fromkeys(self._listed_otherwise.intersection(by_id).intersection(known)))
        moved: dict[int, tuple[bytes, bytes]] = {}
        for record_id, raw in by_id.items():
            # Keep only changed bytes: most pages then need no memory beyond their own.
            stable = stable_bytes(raw)
            digest = batch.resource.digest(stable)
            if known.get(record_id, b"") != digest:
                moved[record_id] = (stable, digest)
        if listed and len(self._listed_otherwise) < _MOST_REMEMBERED:
            self._listed_otherwise.update(record_id for record_id in moved if record_id in known)
        return moved

    def _said_before(
        self,
        connection: sa.Connection,
        batch: Batch,
        known: dict[int, bytes | None],
        moved: dict[int, tuple[bytes, bytes]],
    ) -> set[int]:
        """Return the moved records that only spell their stored content differently."""
        # A changed reader version means parsing again, even if the bytes are unchanged.
        before = {
            record_id: stable
            for record_id, (stable, digest) in moved.items()
            if (digest_before := known.get(record_id)) and not same_bytes(digest_before, digest)
        }
        if not before or batch.resource.versions is None:
            return set()
        return spelled_otherwise(connection, batch.resource, batch.observation.account, before)

    def _parse_all(
        self, connection: sa.Connection, batch: Batch, moved: dict[int, tuple[bytes, bytes]], lag: Lag
    ) -> None:
        """Parse the moved records into the batch's rows; reject, hold or skip those that cannot be stored."""
        gone = set[int]()
        for record_id, (stable, digest) in moved.items():
            try:
                why = self._parse(batch, record_id, stable, digest, lag)
            except Exception as error:
                # This block handles one record only, so any exception is that record's fault.
                reject(connection, batch, stable, bad_record(error), record_id)
                continue
            if why is not None:
                if why == _DELETED:
                    gone.add(record_id)
                else:
                    batch.held.append(record_id)
                batch.tally.skipped += 1
                batch.tally.because("skipped", why)
            else:
                batch.changed[record_id] = batch.observation.observed_at
                batch.good.append(record_id)
        if gone:
            # A list that shows deleted records does not list them as existing.
            batch.ids = [record_id for record_id in batch.ids if record_id not in gone]

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

    def _parse(self, batch: Batch, record_id: int, stable: bytes, digest: bytes, lag: Lag) -> str | None:
        """Parse a record with new content; return why it is skipped instead, None if it is not.

        A record is skipped if its list lags, or if it says that it was deleted.
        """
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
            if resource.says_deleted(record):
                return _DELETED
            contents = resource.read(record)
            self._notice(batch, record, stable, data)
        contents, data = without_personal_data(resource, contents, data, batch.forgotten)
        if contents[0] is None or contents[0][0][0] != record_id:
            raise BadRecordError("two_ids", field=resource.id_field)
        version = None if resource.versions is None else content_hash(data)
        if lag.holds(record_id, contents[0][0], digest, version):
            return _OLDER
        self._add(batch, record_id, contents, digest, data, version)
        return None

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
