"""Why a record still differs or waits: waiting plans, questions, quarantine items, changes not written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.explain.explanation import BY_ITS_TABLE, Agreement, Step, Waiting, WaitingKind
from enerflo_sync.inbox.quarantine_items import QuarantineItem
from enerflo_sync.reconcile.causes import LONGEST_IN_FLIGHT
from enerflo_sync.reconcile.record import FoundRecord
from enerflo_sync.reconcile.render.cause_texts import CAUSES
from enerflo_sync.reconcile.report import Cause
from enerflo_sync.warehouse.engine import transaction_time

# Why both sides differ on purpose, by how the pair of values was agreed on.
_LEFT_BY = {"undo": "an undo left them so", "altered": BY_ITS_TABLE}

_PLANNED = sa.text("""
/* enerflo-sync explain: changes of a record that wait */
select c.plan_hash, c.field, c.op, c.before, c.after, c.direction, c.state, q.state as plan_state,
       q.needs_approval, q.expires_at, q.mode
from sync.plan_changes c join sync.plans q using (account, plan_hash)
where c.account = :account and c.table_name = :table
  and c.key = any(cast(cast(:keys as text[]) as jsonb[]))
  and c.state in ('planned', 'sent') and q.state in ('open', 'approved') and q.expires_at > now()
order by q.created_at desc, c.position
""")

# A plan that is made after an undo decides about the same records anew.
_UNDECIDED = sa.text("""
/* enerflo-sync explain: questions of the newest plan, and of an undo that is newer */
with newest as (
  select distinct on (kind) kind, plan_hash, created_at from sync.plans where account = :account
    and state not in ('expired', 'superseded') order by kind, created_at desc, part
)
select u.plan_hash, u.field, u.reason from sync.plan_undecided u
where u.account = :account and u.table_name = :table and u.refusal_id is null
  and u.key = any(cast(cast(:keys as text[]) as jsonb[]))
  and u.plan_hash in (
    select n.plan_hash from newest n where not exists (
      select from newest later where later.kind = 'sync' and later.created_at > n.created_at))
order by u.plan_hash, u.position
""")

# A refusal about a record that the CRM lacks is found by the record's id at Enerflo.
_REFUSED = sa.text("""
/* enerflo-sync explain: what a person refused of a record */
select r.field, r.direction, r.before, r.after, r.op, r.plan_hash, r.ended_at is null as stands,
  'refused by ' || r.decided_by || ' on '
    || to_char(r.decided_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
    || coalesce(': ' || nullif(btrim(r.reason), ''), '') || ', until a value of it changes' as why
from sync.refusals r
where r.account = :account and r.table_name = :table
  and (r.key = any(cast(cast(:keys as text[]) as jsonb[])) or r.enerflo_key = cast(:enerflo_key as jsonb))
order by r.refusal_id
""").bindparams(sa.bindparam("enerflo_key", type_=sa.Text))

# A change of a record that the CRM lacks is found by the record's id at Enerflo.
_ON_ITS_WAY = sa.text("""
/* enerflo-sync explain: what of a record was handed over and has not arrived */
select w.op, w."column" as field, w.copy_value as before, w.after, w.plan_hash, w.kind, w.made_at,
       w.acknowledged_at, coalesce(w.acknowledged_at, w.made_at) <= now() - :late as late
from sync.crm_changes w
where w.account = :account and w.table_name = :table and w.ended_at is null and w.state = 'open'
  and (w.key = any(cast(cast(:keys as text[]) as jsonb[])) or w.enerflo_key = cast(:enerflo_key as jsonb))
order by w.number
""").bindparams(sa.bindparam("enerflo_key", type_=sa.Text), sa.bindparam("late", type_=sa.Interval))

# The causes of a record's differences in the newest reconciliation.
_CAUSES = sa.text("""
/* enerflo-sync explain: why a record differed in the last reconciliation */
select d.field, d.cause, d.reconciliation_id, d.since, d.unchanged_since, d.enerflo_value, d.crm_value
from sync.differences d
where d.account = :account and d.table_name = :table
  and d.key = any(cast(cast(:keys as text[]) as jsonb[]))
  and d.reconciliation_id = (
    select reconciliation_id from sync.reconciliations where account = :account and finished_at is not null
    order by compared_until desc, started_at desc limit 1)
""")


@dataclass(frozen=True)
class FoundDifference:
    """The difference of a field in the newest reconciliation.

    :param since: when a reconciliation first found the difference; None if that is not known.
    :param unchanged_since: when one first found it with these two values; None if that is not known.
    :param values: Enerflo's value and the CRM's.
    """

    cause: Cause
    reconciliation_id: str
    since: datetime | None
    unchanged_since: datetime | None
    values: tuple[Any, Any]


def read_found(
    connection: sa.Connection, account: str, record: FoundRecord
) -> dict[str | None, FoundDifference]:
    """Return the differences of the newest reconciliation by field; the key None is the whole record."""
    named = {"account": account, "table": str(record.comparison.name), "keys": record.key_texts}
    return {
        row.field: FoundDifference(
            cause=Cause(row.cause),
            reconciliation_id=row.reconciliation_id,
            since=row.since,
            unchanged_since=row.unchanged_since,
            values=(row.enerflo_value, row.crm_value),
        )
        for row in connection.execute(_CAUSES, named)
    }


def read_waiting(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    record: FoundRecord,
    steps: Sequence[Step],
    agreed: Mapping[str, Agreement],
    differing: Mapping[str | None, FoundDifference],
    items: Sequence[QuarantineItem],
) -> list[Waiting]:
    """Return everything about a record that waits now, the reasons that block others first."""
    named = {"account": account, "table": str(record.comparison.name), "keys": record.key_texts}
    found = [*_quarantined(items)]
    for row in connection.execute(_UNDECIDED, named):
        found.append(
            Waiting(kind=WaitingKind.UNDECIDED, field=row.field, why=row.reason, reference=row.plan_hash)
        )
    found += [_planned(row) for row in connection.execute(_PLANNED, named)]
    enerflo_key = json.dumps(record.enerflo_key) if record.enerflo_key else None
    found += _on_its_way(connection, {**named, "enerflo_key": enerflo_key}, record)
    refused = connection.execute(_REFUSED, {**named, "enerflo_key": enerflo_key}).all()
    found += [_refused(row) for row in refused if row.stands and not _is_equal(record, row.field)]
    decided = {(row.plan_hash, row.field) for row in refused}
    found += [one for one in _not_written(record, steps) if (one.reference, one.field) not in decided]
    covered = {one.field for one in found}
    return found + [
        one for one in _differing(connection, config, record, agreed, differing) if one.field not in covered
    ]


def _quarantined(items: Sequence[QuarantineItem]) -> Iterator[Waiting]:
    for item in items:
        if item.state == "open":
            yield Waiting(
                kind=WaitingKind.QUARANTINED,
                field=None,
                why=f"a {item.kind} about it stands in quarantine ({item.reason})",
                reference=item.item_id,
            )


def _planned(row: Any) -> Waiting:
    if row.state == "sent":
        why = "its request was sent and its end is not known yet"
    elif row.mode == "report":
        why = "its plan is only shown, since no plan is applied in report mode"
    elif row.plan_state == "approved":
        why = "its plan is approved and not applied to the end"
    else:
        why = "its plan waits for an approval" if row.needs_approval else "its plan waits to be applied"
    return Waiting(
        kind=WaitingKind.PLANNED,
        field=row.field,
        why=why,
        reference=row.plan_hash,
        before=row.before,
        after=row.after,
        direction=row.direction,
        until=None if row.mode == "report" else row.expires_at,
    )


def _on_its_way(
    connection: sa.Connection, named: Mapping[str, Any], record: FoundRecord
) -> Iterator[Waiting]:
    handed_to = record.comparison.mapping.handed_to
    if handed_to is None:
        return
    late = timedelta(hours=handed_to.late_hours)
    whole: set[str] = set()
    for row in connection.execute(_ON_ITS_WAY, {**named, "late": late}):
        if row.op != "update" and row.op in whole:
            continue
        whole.add(row.op)
        seen = "the CRM's copy does not show it yet"
        if row.op == "update" and _is_equal(record, row.field):
            seen = "the CRM's copy shows what Enerflo says, and the next plan notes it"
        taken = "" if row.acknowledged_at is None else f", taken over on {_moment(row.acknowledged_at)}"
        is_late = f"; it is late (more than {handed_to.late_hours:g} hours)" if row.late else ""
        yield Waiting(
            kind=WaitingKind.ON_ITS_WAY,
            field=row.field if row.op == "update" else None,
            why=f"handed over on {_moment(row.made_at)} by plan {row.plan_hash[:12]}{taken}, and"
            f" {seen}{is_late}",
            reference=row.plan_hash,
            before=row.before,
            after=row.after,
            direction="to_crm",
        )


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _refused(row: Any) -> Waiting:
    return Waiting(
        kind=WaitingKind.REFUSED,
        field=row.field,
        why=row.why,
        reference=row.plan_hash,
        before=row.before,
        after=row.after,
        direction=row.direction,
    )


def _is_equal(record: FoundRecord, field: str | None) -> bool:
    return field is not None and bool((record.equal or {}).get(field, False))


def _not_written(record: FoundRecord, steps: Sequence[Step]) -> Iterator[Waiting]:
    """Yield each field whose last change was not made and in which the sides still differ."""
    last = {step.field: step for step in steps}
    for field, step in last.items():
        # A held change order has a quarantine item, which is reported as such.
        told = step.decision in {"applied", "handed_over", "held", "released", "superseded"}
        if told or (record.equal or {}).get(field or "", False):
            continue
        yield Waiting(
            kind=WaitingKind.NOT_WRITTEN,
            field=field,
            why=f"{step.decision}: {step.reason or 'no reason is known'}",
            reference=step.plan_hash,
            direction=step.direction,
        )


def _differing(
    connection: sa.Connection,
    config: SyncConfig,
    record: FoundRecord,
    agreed: Mapping[str, Agreement],
    differing: Mapping[str | None, FoundDifference],
) -> Iterator[Waiting]:
    delay = timedelta(minutes=config.reconcile.in_flight_minutes)
    now = transaction_time(connection)
    young = _is_young(record, now, delay)
    one_sided = record.in_enerflo != bool(record.crm_rows) or record.crm_rows > 1
    fields = [None] if one_sided else [name for name, same in (record.equal or {}).items() if not same]
    for field in fields:
        apart = _left_apart(record, field, agreed)
        if apart is not None:
            yield Waiting(kind=WaitingKind.LEFT_APART, field=field, why=apart)
            continue
        row = differing.get(field)
        if young and not _stays(record, field, row, now, delay):
            yield Waiting(
                kind=WaitingKind.IN_FLIGHT,
                field=field,
                why="a side changed, or came into the mirror, within the last"
                f" {config.reconcile.in_flight_minutes} minutes",
            )
            continue
        if row is None:
            why = "no reconciliation has seen this difference yet"
        else:
            text = CAUSES[row.cause]
            why = f"{text.explanation.rstrip('.')} ({row.cause})"
        yield Waiting(
            kind=WaitingKind.DIFFERENT,
            field=field,
            why=why,
            reference=None if row is None else row.reconciliation_id,
        )


def _left_apart(record: FoundRecord, field: str | None, agreed: Mapping[str, Agreement]) -> str | None:
    """Return why a difference is intended: an undo or a write left it, and neither side changed since."""
    mine, theirs = record.enerflo_values or {}, record.crm_values or {}
    if field is None:
        undone = {name: one for name, one in agreed.items() if one.agreed_by == "undo"}
        one_left = mine if record.in_enerflo else theirs
        same = all(one_left.get(name) == one.value for name, one in undone.items() if name in one_left)
        return "an undo left the row on one side only, until that side moves" if undone and same else None
    one = agreed.get(field)
    if one is None or one.agreed_by == "comparison":
        return None
    if (one.value, one.crm_value) != (mine.get(field), theirs.get(field)):
        return None
    how = _LEFT_BY.get(one.agreed_by, "they are as they were when it was last written")
    return f"{how}, until a side moves"


def _stays(
    record: FoundRecord, field: str | None, row: FoundDifference | None, now: datetime, delay: timedelta
) -> bool:
    """Return whether a field has differed for too long to be in flight: at all, or with these two values."""
    if field is None or row is None:
        return False
    if row.since is not None and row.since <= now - max(delay, LONGEST_IN_FLIGHT):
        return True
    mine, theirs = record.enerflo_values or {}, record.crm_values or {}
    unchanged = row.values == (mine.get(field), theirs.get(field))
    return unchanged and row.unchanged_since is not None and row.unchanged_since <= now - delay


def _is_young(record: FoundRecord, now: datetime, delay: timedelta) -> bool:
    # A modification time in the CRM that is far in the future is ignored; otherwise its row would always
    # count as young.
    times = [at for at in (record.observed_at, record.changed_at) if at is not None and at <= now + delay]
    return any(at > now - delay for at in times)
