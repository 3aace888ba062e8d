"""Deletes the bodies of old webhook events, unless something may still read them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.resources.fingerprint import raw_hash, stable_bytes
from enerflo_sync.resources.registry import ALL
from enerflo_sync.resources.resource import Payloads, Resource
from enerflo_sync.retention.sweep import BEGINNING, Gone, Scope, gone_of, note
from enerflo_sync.warehouse.bulk import driver_connection

# Events of one transaction; the bodies from which mirror rows may come are in memory meanwhile.
EVENTS = 500

# A rebuild derives designs from their event, and other records from the newest payload about them. So such
# bodies are kept.
_OLD = """
/* enerflo-sync prune: events whose body is too old */
select e.event_id, e.event, e.received_at as at, pg_column_size(e.body) as size,
  case when e.event = any(:payloads) then e.body::text end as body
from sync.webhook_events e
where e.account = :account and e.received_at < :before and e.body is not null
  and e.state <> 'received'
  and (e.received_at, e.event, e.event_id) > (:after_at, :after_event, :after_id)
  and not exists (select from sync.quarantine q where q.account = e.account and q.state = 'open'
    and (q.key = jsonb_build_object('event_id', e.event_id) or q.evidence_uri = e.source_uri))
  and not exists (select from enerflo.submissions s where s.account = e.account and s.deal_id = e.deal_id
    and s.event = e.event and s.evidence = e.source_uri)
  and not (e.event = any(:payloads) and e.record is not null
    and not exists (select from sync.webhook_events n where n.account = e.account
      and n.install_id = e.install_id and {newer})
    and not exists (select from sync.webhook_events n where n.account = e.account
      and n.install_id is null and e.install_id is null and {newer}))
order by e.received_at, e.event, e.event_id limit :most {lock}
"""
_NEWER = """n.event = any(:payloads) and n.state = 'applied' and n.body is not null and n.record = e.record
      and (n.received_at, n.event_id) > (e.received_at, e.event_id)"""
_EMPTY = sa.text("""
/* enerflo-sync prune: bodies that are too old */
update sync.webhook_events set body = null, pruned_at = :at
where account = :account and event_id = any(:ids)
""")


class BodiesSweep:
    """Bodies of processed events; the events stay, so that a duplicate delivery is still recognised."""

    def __init__(self) -> None:
        self._from_payloads = [(one, one.payloads) for one in ALL if one.payloads is not None]

    def batches(self, connection: sa.Connection, scope: Scope) -> Iterator[Gone]:
        """Yield what each batch emptied, or would (:meth:`enerflo_sync.retention.sweep.Sweep.batches`)."""
        lock = "for no key update of e skip locked" if scope.writes else ""
        statement = sa.text(_OLD.format(lock=lock, newer=_NEWER))
        names = [name for _, payloads in self._from_payloads for name in payloads.events]
        after: dict[str, Any] = {
            "after_at": BEGINNING,
            "after_event": "",
            "after_id": "",
        }
        while True:
            with connection.begin():
                named = scope.values | {"payloads": names, "most": EVENTS}
                rows = connection.execute(statement, named | after).mappings().all()
                if not rows:
                    return
                last = rows[-1]
                after = {"after_at": last["at"], "after_event": last["event"], "after_id": last["event_id"]}
                rows = self._without_rows(connection, scope.account, rows)
                gone = gone_of(rows)
                if rows and scope.writes:
                    ids = [row["event_id"] for row in rows]
                    connection.execute(_EMPTY, {"account": scope.account, "at": scope.at, "ids": ids})
                    note(connection, scope, gone)
            if rows:
                yield gone

    def _without_rows(
        self, connection: sa.Connection, account: str, rows: Sequence[sa.RowMapping]
    ) -> list[sa.RowMapping]:
        """Return the events whose payload is not the source of a row in the mirror."""
        kept: set[str] = set()
        for resource, payloads in self._from_payloads:
            told: dict[int, list[tuple[str, bytes]]] = {}
            for row in rows:
                if row["event"] in payloads.events:
                    for record_id, stable in _records(resource, payloads, row["body"]):
                        told.setdefault(record_id, []).append((row["event_id"], stable))
            for record_id, digest in _digests(connection, account, resource, told).items():
                kept |= {name for name, stable in told[record_id] if digest.startswith(raw_hash(stable))}
        return [row for row in rows if row["event_id"] not in kept]


def _records(resource: Resource, payloads: Payloads, body: str) -> list[tuple[int, bytes]]:
    """Return the records in a payload with their ids, up to the first one that cannot be read."""
    found = []
    with suppress(BadRecordError):
        try:
            for raw in payloads.records(msgspec.json.decode(body)):
                found.append((resource.record_id(raw), stable_bytes(raw)))
        except Exception as error:
            # A rebuild cannot read this record either, so it does not keep the body.
            raise bad_record(error) from None
    return found


def _digests(
    connection: sa.Connection, account: str, resource: Resource, ids: Collection[int]
) -> dict[int, bytes]:
    if not ids:
        return {}
    rows = driver_connection(connection).execute(
        f"/* enerflo-sync prune: what rows come from */ select {resource.id_column}, raw_hash"  # noqa: S608
        f" from {resource.table.fullname} where account = %s and {resource.id_column} = any(%s::bigint[])"
        " and raw_hash is not null",
        (account, list(ids)),
    )
    return {record_id: bytes(digest) for record_id, digest in rows}
