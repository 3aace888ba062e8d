"""The history of a record, newest first: versions, webhooks, plans, decisions, writes, quarantine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby, pairwise
from typing import Any

import sqlalchemy as sa

from enerflo_sync.counted import count_of
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.explanation import FieldMasks, Step
from enerflo_sync.explain.read import KnownRecord
from enerflo_sync.explain.versions import MOST_VERSIONS, Version
from enerflo_sync.inbox.quarantine_items import QuarantineItem
from enerflo_sync.masking import PersonalData
from enerflo_sync.reconcile.record import FoundRecord
from enerflo_sync.reconcile.render.wording import ShownValue, shown_value, visible

PAGE = 20
_WIDTH = 60
# How many fields of one moment are listed; the others are counted.
_MOST_CHANGES = 8


class Happened(StrEnum):
    """The kind of an event in the history; of one moment, a later kind in this list happened later."""

    WEBHOOK = "webhook"
    VERSION = "version"
    QUARANTINE = "quarantine"
    PLAN = "plan"
    DECISION = "decision"
    WRITE = "write"

    @property
    def rank(self) -> int:
        """Return the kind's rank among events of one moment."""
        return list(Happened).index(self)


@dataclass(frozen=True, slots=True)
class ShownChange:
    """A changed field, or the whole record if the field is None."""

    field: str | None
    before: ShownValue
    after: ShownValue
    masked: bool


@dataclass(frozen=True, slots=True)
class Happening:
    """One event in the history of a record.

    :param by: who did it, or saw it.
    :param more: how many further fields changed.
    :param plan: the plan that it belongs to.
    :param wrote: it wrote something that an undo of its plan may revert.
    """

    at: datetime
    kind: Happened
    id: str
    words: str
    by: str = ""
    changes: Sequence[ShownChange] = ()
    more: int = 0
    plan: str | None = None
    wrote: bool = False

    @property
    def position(self) -> tuple[datetime, int, str]:
        """Return its position in the history."""
        return self.at, self.kind.rank, self.id


@dataclass(frozen=True)
class History:
    """One page of a history, newest first.

    :param before: the position before which the next page begins; None if nothing is older.
    """

    happenings: Sequence[Happening]
    before: str | None


Position = tuple[datetime, int, str]
NOW: Position = (datetime(9999, 1, 1, tzinfo=UTC), 0, "")


def position_of(text: str | None) -> Position:
    """Return the position in an address; without one, the newest position.

    :raises ConfigurationError: the text is not a position.
    """
    if not text:
        return NOW
    try:
        at, rank, name = json.loads(text)
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not isinstance(name, str) or "\0" in name or not 0 <= rank < 100:
            raise ValueError
        return moment, int(rank), name
    except (ValueError, TypeError, RecursionError):
        raise ConfigurationError(
            "before is no position.", where="the address", next_step="Begin at the newest."
        ) from None


_WEBHOOKS = sa.text("""
/* enerflo-sync pages: webhooks about a record */
select * from (
  (select event_id, event, received_at, state, reason, copies from sync.webhook_events
   where account = :account and install_id = :install and received_at <= :at
     and (received_at, 0, event_id collate "C") < (:at, :rank, :id)
   order by received_at desc, event_id collate "C" desc limit :most)
  union all
  (select event_id, event, received_at, state, reason, copies from sync.webhook_events
   where account = :account and install_id is null and record = any(:records) and received_at <= :at
     and (received_at, 0, event_id collate "C") < (:at, :rank, :id)
   order by received_at desc, event_id collate "C" desc limit :most)) e
order by received_at desc, event_id collate "C" desc limit :most
""").bindparams(
    sa.bindparam("install", type_=sa.BigInteger), sa.bindparam("records", type_=sa.ARRAY(sa.Text))
)

_PLANS = sa.text("""
/* enerflo-sync pages: plans about a record, and what was decided about them */
with mine as materialized (
  select c.plan_hash, c.field, c.op, c.direction, c.before, c.after, c.position, c.state
  from sync.plan_changes c
  where c.account = :account and c.table_name = :table
    and c.key = any(cast(cast(:keys as text[]) as jsonb[]))),
planned as (
  select p.* from sync.plans p
  where p.account = :account and p.plan_hash in (select plan_hash from mine)),
happened as (
  select created_at as at, 3 as rank, plan_hash, kind, stands_on, change_count, state, decided_by,
         decision_reason, needs_approval, applied_at from planned
  union all
  select decided_at, 4, plan_hash, kind, stands_on, change_count, state, decided_by, decision_reason,
         needs_approval, applied_at from planned where decided_at is not null)
select h.*, (select bool_and(m.state = 'left_out') from mine m where m.plan_hash = h.plan_hash) as left_out,
  case when h.rank = 3 then (
    select jsonb_agg(jsonb_build_object('field', m.field, 'op', m.op, 'direction', m.direction,
      'before', m.before, 'after', m.after) order by m.position)
    from mine m where m.plan_hash = h.plan_hash) end as changes
from happened h
where (h.at, h.rank, h.plan_hash collate "C") < (:at, :rank, :id)
order by h.at desc, h.rank desc, h.plan_hash collate "C" desc limit :most
""")

_SIDES = {"to_crm": "the CRM", "to_enerflo": "Enerflo"}
_WROTE = {"applied", "handed_over"}


def read_history(
    connection: sa.Connection,
    account: str,
    known: KnownRecord,
    records: Sequence[str],
    masks: FieldMasks | None,
    before: Position,
) -> History:
    """Return a page of a record's history before a position.

    :param records: the record's names in ``sync.webhook_events.record``.
    :param masks: None if personal data is revealed.
    """
    teller = _Teller(masks)
    at = dict(zip(("at", "rank", "id"), before, strict=True)) | {"most": PAGE + 1, "account": account}
    found = [
        *_webhooks(connection, known.record, records, at),
        *_plans(connection, known, teller, at),
        *_versions(known, teller),
        *_steps(known, teller),
        *_items(known.items),
    ]
    older = sorted((one for one in found if one.position < before), key=_position, reverse=True)
    shown = older[:PAGE]
    last = shown[-1] if len(older) > PAGE else None
    position = None
    if last is not None:
        position = json.dumps([last.at.isoformat(), last.kind.rank, last.id])
    return History(shown, position)


def _position(one: Happening) -> Position:
    return one.position


class _Teller:
    """Describes changes in the form in which they may be shown."""

    def __init__(self, masks: FieldMasks | None) -> None:
        self._masks = masks

    def change(self, field: str | None, before: Any, after: Any) -> ShownChange:
        masks = self._masks
        hidden = masks is not None and masks.kind_of(field) is not PersonalData.NONE
        if masks is not None:
            before, after = masks.hide(field, before), masks.hide(field, after)
        return ShownChange(field, shown_value(before, _WIDTH), shown_value(after, _WIDTH), hidden)


def _told(changes: Sequence[ShownChange]) -> dict[str, Any]:
    return {"changes": changes[:_MOST_CHANGES], "more": max(len(changes) - _MOST_CHANGES, 0)}


def _webhooks(
    connection: sa.Connection, record: FoundRecord, records: Sequence[str], at: dict[str, Any]
) -> Iterator[Happening]:
    values = {**at, "install": record.install, "records": list(records)}
    for row in connection.execute(_WEBHOOKS, values):
        again = "" if row.copies == 1 else f", {count_of(row.copies, 'time')}"
        why = f": {visible(row.reason)}" if row.reason and row.state != "applied" else ""
        yield Happening(
            at=row.received_at,
            kind=Happened.WEBHOOK,
            id=row.event_id,
            words=f"{visible(row.event)} arrived{again}; {row.state}{why}",
        )


def _plans(
    connection: sa.Connection, known: KnownRecord, teller: _Teller, at: dict[str, Any]
) -> Iterator[Happening]:
    record = known.record
    values = {**at, "table": str(record.comparison.name), "keys": record.key_texts}
    for row in connection.execute(_PLANS, values):
        common = {"at": row.at, "id": row.plan_hash, "plan": row.plan_hash}
        if row.rank == Happened.DECISION.rank:
            why = f": {visible(row.decision_reason)}" if row.decision_reason else ""
            yield Happening(
                kind=Happened.DECISION,
                words=f"{_decided(row)}{why}",
                by=visible(row.decided_by or ""),
                **common,
            )
            continue
        what = f"to take {row.stands_on[:12]} back" if row.kind == "undo" and row.stands_on else "made"
        size = f"{count_of(row.change_count, 'change')} in all"
        yield Happening(
            kind=Happened.PLAN,
            words=f"{what}, {size}; {row.state}",
            **common,
            **_told([teller.change(one["field"], one["before"], one["after"]) for one in row.changes or ()]),
        )


def _decided(row: Any) -> str:
    # A plan that nobody answered in time is no longer called rejected once a later one took its place.
    if row.state == "rejected" or row.decided_by is None:
        return "rejected"
    if row.left_out:
        return "approved in part, without this record"
    return "the rest rejected" if row.state == "applied" and row.applied_at is None else "approved"


def _versions(known: KnownRecord, teller: _Teller) -> Iterator[Happening]:
    versions = known.versions
    if versions and len(versions) < MOST_VERSIONS:
        yield _version(versions[0], "seen for the first time", ())
    for earlier, version in pairwise(versions):
        changes = [
            teller.change(field, earlier.values.get(field), value)
            for field, value in version.values.items()
            if earlier.values.get(field) != value
        ]
        if changes:
            yield _version(version, "changed at Enerflo", changes)
        elif known.record.comparison.is_installs:
            yield _version(version, "changed at Enerflo, in nothing that sync.yaml maps", ())


def _version(version: Version, words: str, changes: Sequence[ShownChange]) -> Happening:
    return Happening(
        at=version.first_seen_at,
        kind=Happened.VERSION,
        id=version.content_hash,
        words=words,
        by=f"seen by {version.observed_by}",
        **_told(changes),
    )


def _steps(known: KnownRecord, teller: _Teller) -> Iterator[Happening]:
    """Yield the events in the ledger; the rows of one plan and moment are one event."""
    told = known.explanation
    every = [*told.steps, *(step for story in told.fields for step in story.steps)]
    every.sort(key=lambda step: (step.recorded_at, step.plan_hash, step.decision, step.ledger_id))
    for _, steps in groupby(every, key=lambda step: (step.recorded_at, step.plan_hash, step.decision)):
        several = list(steps)
        first = several[0]
        yield Happening(
            at=first.recorded_at,
            kind=Happened.WRITE,
            id=f"{first.ledger_id:020}",
            words=_came_of(first),
            by=visible(first.decided_by),
            plan=first.plan_hash,
            wrote=first.decision in _WROTE,
            **_told([teller.change(one.field, one.old_value, one.new_value) for one in several]),
        )


def _came_of(step: Step) -> str:
    target = _SIDES[step.direction]
    why = f": {visible(step.reason)}" if step.reason else ""
    undone = " by an undo" if step.plan_kind == "undo" else ""
    match step.decision:
        case "applied":
            verb = {"insert": "created in", "delete": "deleted from"}.get(step.op, "written to")
            return f"{verb} {target}{undone}{why}"
        case "handed_over":
            return f"handed over for {target}{undone}{why}"
        case "released":
            return f"let through{why}"
        case decision:
            return f"not written to {target}, {decision.replace('_', ' ')}{why}"


def _items(items: Sequence[QuarantineItem]) -> Iterator[Happening]:
    for item in items:
        name = f"{item.kind} {item.item_id[:12]}"
        yield Happening(
            at=item.first_seen_at,
            kind=Happened.QUARANTINE,
            id=item.item_id,
            words=f"{name} quarantined: {visible(item.reason)}",
        )
        if item.decided_at is not None:
            why = f": {visible(item.decision_reason)}" if item.decision_reason else ""
            yield Happening(
                at=item.decided_at,
                kind=Happened.QUARANTINE,
                id=f"{item.item_id}-decided",
                words=f"{name} {item.state}{why}",
                by=visible(item.decided_by or ""),
            )
