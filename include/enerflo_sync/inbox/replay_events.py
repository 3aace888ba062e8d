"""Replay of events: identify them again by the current code and configuration, then hydrate them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from enerflo_sync.inbox.identify import EventState, Identified, identify
from enerflo_sync.inbox.payloads import stored_bodies
from enerflo_sync.inbox.quarantine_items import QuarantineItem
from enerflo_sync.inbox.replay_report import ItemOutcome, Outcomes, ReplayOutcome
from enerflo_sync.mirror.quarantine import standing
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.event import Body
from enerflo_sync.warehouse.pruned import pruning_of
from enerflo_sync.warehouse.schema import webhook_events

# Events whose bodies are in memory at the same time.
_CHUNK = 500
_DONE = (EventState.APPLIED, EventState.IGNORED)


@dataclass(frozen=True)
class _Standing:
    """A stored event, and its classification by the current code."""

    event_id: str
    state: str
    now: Identified


class EventReplay:
    """Retries the quarantined events of one account.

    :param ignored: event names that the configuration ignores.
    """

    def __init__(self, connection: sa.Connection, account: str, ignored: Collection[str]) -> None:
        self._connection = connection
        self._account = account
        self._ignored = ignored
        # Per event, before the retry: its items and how often each was seen.
        self._before: dict[str, dict[str, tuple[int, str]]] = {}

    def look(self, items: Sequence[QuarantineItem]) -> Outcomes:
        """Return what a replay of these items would do, without writing."""
        verdicts: Outcomes = {}
        for some in _chunks(items):
            with self._connection.begin():
                found, empty = self._found(some), self._emptied(some)
            for item in some:
                name = event_id_of(item)
                verdicts[item.item_id] = empty.get(name) or _expected(found.get(name))
        return verdicts

    def identify_again(self, items: Sequence[QuarantineItem], run: Run) -> list[str]:
        """Set each event to the state that it would get if it arrived now, and return the events to hydrate.

        An event that still cannot be identified stays unchanged.
        """
        waiting = []
        for some in _chunks(items):
            tally = Tally()
            with self._connection.begin():
                for event in self._found(some).values():
                    if event.state == EventState.QUARANTINED:
                        self._change(event, tally)
                    if EventState.RECEIVED in (event.state, event.now.state) and event.state not in _DONE:
                        waiting.append(event.event_id)
                        key = {"event_id": event.event_id}
                        self._before[event.event_id] = standing(self._connection, self._account, key)
            run.count("events", tally)
        return waiting

    def _change(self, event: _Standing, tally: Tally) -> None:
        now = event.now
        if now.state is EventState.QUARANTINED:
            tally.add(Tally(read=1, quarantined=1))
            tally.because("quarantined", now.reason or "")
            return
        if now.state is EventState.IGNORED:
            tally.add(Tally(read=1, skipped=1))
            tally.because("skipped", "known_and_ignored")
        table = webhook_events.c
        self._connection.execute(
            sa.update(webhook_events)
            .where(
                table.account == self._account,
                table.event_id == event.event_id,
                table.state == str(EventState.QUARANTINED),
            )
            .values(
                event=now.event,
                state=str(now.state),
                record=now.record,
                reason=now.reason,
                install_id=sa.func.coalesce(sa.literal(now.install_id, sa.BigInteger), table.install_id),
                deal_id=sa.func.coalesce(sa.literal(now.deal_id, sa.Text), table.deal_id),
                attempts=0,
                next_attempt_at=None,
            )
        )

    def conclude(self, items: Sequence[QuarantineItem]) -> Outcomes:
        """Return the outcomes of the items' events, in the caller's transaction."""
        verdicts: Outcomes = {}
        for some in _chunks(items):
            found = self._states([event_id_of(item) for item in some])
            empty = self._emptied(some)
            for item in some:
                name = event_id_of(item)
                verdicts[item.item_id] = empty.get(name) or self._verdict(
                    item, *found.get(name, (None, None))
                )
        return verdicts

    def _verdict(self, item: QuarantineItem, state: str | None, reason: str | None) -> ItemOutcome:
        match state:
            case None:
                return _GONE
            case EventState.APPLIED:
                return ItemOutcome(ReplayOutcome.REPLAYED, "applied", closes=True)
            case EventState.IGNORED:
                return ItemOutcome(ReplayOutcome.REPLAYED, "known and ignored now", closes=True)
            case EventState.RECEIVED:
                return ItemOutcome(
                    ReplayOutcome.WAITING, f"{reason or 'not tried yet'}; the next ingest takes it up"
                )
        outcome = ReplayOutcome.NOT_FOUND if reason == "not_found" else ReplayOutcome.STILL_FAILING
        return ItemOutcome(outcome, reason or "quarantined", closes=self._has_another_reason(item))

    def _has_another_reason(self, item: QuarantineItem) -> bool:
        """Return whether the event was quarantined again, for another reason than this item's."""
        event_id = event_id_of(item)
        before = self._before.get(event_id)
        if before is None:
            return False
        after = standing(self._connection, self._account, {"event_id": event_id})
        seen_again = {one for one, (count, _) in after.items() if count > before.get(one, (0, ""))[0]}
        return bool(seen_again) and item.item_id not in seen_again

    def _emptied(self, items: Sequence[QuarantineItem]) -> dict[str, ItemOutcome]:
        """Return by id the events that cannot be retried because their body was pruned, and when it was."""
        table = webhook_events.c
        rows = self._connection.execute(
            sa.select(table.event_id, table.received_at, table.pruned_at).where(
                table.account == self._account,
                table.event_id.in_({event_id_of(item) for item in items}),
                table.body.is_(None),
                table.state.not_in([str(state) for state in _DONE]),
            )
        ).all()
        found = {}
        for event_id, received_at, pruned_at in rows:
            by = pruning_of(self._connection, self._account, "webhook_bodies", received_at)
            when = by or f"pruned at {pruned_at:%Y-%m-%d %H:%M:%S} UTC"
            found[event_id] = ItemOutcome(ReplayOutcome.NOT_REPLAYABLE, f"its event's body was {when}")
        return found

    def _states(self, event_ids: Sequence[str]) -> dict[str, tuple[str, str | None]]:
        table = webhook_events.c
        rows = self._connection.execute(
            sa.select(table.event_id, table.state, table.reason).where(
                table.account == self._account, table.event_id.in_(event_ids)
            )
        )
        return {row.event_id: (row.state, row.reason) for row in rows}

    def _found(self, items: Sequence[QuarantineItem]) -> dict[str, _Standing]:
        event_ids = list({event_id_of(item) for item in items})
        states = self._states(event_ids)
        bodies: list[tuple[str, Body]] = [*stored_bodies(self._connection, self._account, event_ids)]
        return {
            event_id: _Standing(event_id, states[event_id][0], identify(body, self._ignored))
            for event_id, body in bodies
        }


_GONE = ItemOutcome(ReplayOutcome.NOT_REPLAYABLE, "its event is no longer stored")


def event_id_of(item: QuarantineItem) -> str:
    """Return the id of the item's event; an empty text if it has none."""
    return str((item.key or {}).get("event_id", ""))


def _expected(event: _Standing | None) -> ItemOutcome:
    if event is None:
        return _GONE
    if event.state in _DONE:
        return ItemOutcome(ReplayOutcome.WOULD_REPLAY, f"is {event.state}: close the item")
    if event.state == EventState.RECEIVED:
        return ItemOutcome(ReplayOutcome.WOULD_REPLAY, "waits for its record: read it now")
    match event.now.state:
        case EventState.QUARANTINED:
            return ItemOutcome(ReplayOutcome.STILL_FAILING, event.now.reason or "")
        case EventState.IGNORED:
            return ItemOutcome(ReplayOutcome.WOULD_REPLAY, "known and ignored now: close the item")
    return ItemOutcome(ReplayOutcome.WOULD_REPLAY, f"read {event.now.record} again")


def _chunks(items: Sequence[QuarantineItem]) -> list[Sequence[QuarantineItem]]:
    return [items[at : at + _CHUNK] for at in range(0, len(items), _CHUNK)]
