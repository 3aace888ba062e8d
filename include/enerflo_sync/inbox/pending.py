"""Events that wait for hydration: the reads that they need, and their outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa

from enerflo_sync.inbox.identify import EventState
from enerflo_sync.inbox.kinds import KINDS
from enerflo_sync.mirror.quarantine import Rejected, add_to_quarantine, close_items
from enerflo_sync.resources.event import Need
from enerflo_sync.resources.registry import READS
from enerflo_sync.warehouse.schema import webhook_events

# Events loaded at a time, without their bodies.
MOST_EVENTS = 20_000
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=15)

_WAITING = sa.text("""
/* enerflo-sync inbox: events that wait for their record */
select event_id, event, record, greatest(received_at, read_at) as received_at, source_uri, attempts
from sync.webhook_events
where account = :account and state = 'received'
  and case when :some then event_id = any(cast(:only as text[]))
      else next_attempt_at is null or next_attempt_at <= :now end
order by received_at, event_id limit :most
""")


@dataclass(frozen=True, slots=True)
class Waiting:
    """One event in state ``received``.

    :param received_at: when it arrived; for a repeated event, when its record was last read.
    """

    event_id: str
    event: str
    needs: tuple[Need, ...]
    received_at: datetime
    source_uri: str
    attempts: int

    @property
    def wants_submission(self) -> bool:
        """Whether its payload contains a signed design."""
        kind = KINDS.get(self.event)
        return kind is not None and kind.submission


@dataclass
class Pending:
    """The events of one run, grouped by the reads that they need, so that each read serves all of them."""

    by_need: dict[Need, list[Waiting]] = field(default_factory=dict)
    _left: dict[str, set[Need]] = field(default_factory=dict)

    @classmethod
    def load(
        cls, connection: sa.Connection, account: str, now: datetime, only: Sequence[str] | None = None
    ) -> Pending:
        """Return the events that are due, oldest first.

        :param only: ids of the events to return, due or not; None means all due events.
        """
        pending = cls()
        values = {"account": account, "now": now, "most": MOST_EVENTS, "some": only is not None}
        for row in connection.execute(_WAITING, {**values, "only": list(only or ())}):
            # After a downgrade, a newer release's event name is unknown, but its record may still be read.
            kind = KINDS.get(row.event)
            event = Waiting(
                row.event_id,
                row.event,
                kind.needs(row.record) if kind is not None else (Need.of(row.record),),
                row.received_at,
                row.source_uri,
                row.attempts,
            )
            for need in event.needs:
                pending.by_need.setdefault(need, []).append(event)
            pending._left[row.event_id] = set(event.needs)
        return pending

    def needs(self) -> list[Need]:
        """Return the reads in order; a deal's read also returns its install."""
        rank = {subject: place for place, subject in enumerate(READS)}
        return sorted(self.by_need, key=lambda need: rank.get(need.subject, len(rank)))

    def dismiss(self, need: Need) -> list[Waiting]:
        """Return the events that need ``need``, and read nothing more for them in this run."""
        events = self.by_need.pop(need, [])
        for event in events:
            for other in event.needs:
                if event in self.by_need.get(other, ()):
                    self.by_need[other].remove(event)
                    if not self.by_need[other]:
                        del self.by_need[other]
        return events

    def served(self, need: Need) -> list[Waiting]:
        """Mark ``need`` as read, and return the events that need no further read."""
        complete = []
        for event in self.by_need.pop(need, []):
            left = self._left[event.event_id]
            left.discard(need)
            if not left:
                complete.append(event)
        return complete


def mark_applied(
    connection: sa.Connection,
    account: str,
    events: Iterable[Waiting],
    now: datetime,
    read_at: datetime,
    install_id: int | None = None,
) -> None:
    """Mark events as applied, in the transaction that stored their records.

    :param read_at: when the read of their record began.
    """
    ids = [event.event_id for event in events]
    if not ids:
        return
    table = webhook_events.c
    connection.execute(
        sa.update(webhook_events)
        .where(table.account == account, table.event_id.in_(ids))
        .values(
            state=EventState.APPLIED,
            applied_at=now,
            read_at=read_at,
            reason=None,
            next_attempt_at=None,
            install_id=sa.func.coalesce(table.install_id, install_id),
        )
    )
    # A replayed event has left quarantine.
    close_items(connection, account, webhook_events.name, [{"event_id": one} for one in ids], kind="event")


def put_off(
    connection: sa.Connection, account: str, events: Iterable[Waiting], now: datetime, reason: str
) -> None:
    """Leave events in ``received``, and retry with backoff: soon at first, then every 15 minutes."""
    for event in events:
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(event.attempts, 10))
        connection.execute(
            sa.update(webhook_events)
            .where(webhook_events.c.account == account, webhook_events.c.event_id == event.event_id)
            .values(attempts=event.attempts + 1, next_attempt_at=now + wait, reason=reason)
        )


def quarantine_events(
    connection: sa.Connection, account: str, events: Iterable[Waiting], now: datetime, reason: str, field: str
) -> None:
    """Quarantine events whose record cannot be read."""
    ids = [event.event_id for event in events]
    table = webhook_events.c
    rows = connection.execute(
        sa.update(webhook_events)
        .where(table.account == account, table.event_id.in_(ids))
        .values(state=EventState.QUARANTINED, reason=reason, next_attempt_at=None)
        .returning(table.event_id, table.source_uri, sa.cast(table.body, sa.Text).label("body"))
    ).all()
    items = [
        Rejected(
            "event",
            reason,
            field,
            row.body.encode(),
            row.source_uri,
            table_name=webhook_events.name,
            key={"event_id": row.event_id},
        )
        for row in rows
    ]
    add_to_quarantine(connection, account, items, now)
