"""Sent changes without a known outcome: if the mirror shows our value, the change is recorded as applied.

A push that ends between a request and the read-back of its record (it was killed, the API key was refused,
the database was lost) leaves its change in state ``sent``, and the next plan supersedes the plan. If Enerflo
refused to show the record, the change was parked and is retried after a day. If the mirror now shows our
value, as we sent it or in Enerflo's spelling, both spellings become the agreed pair. Otherwise Enerflo's
spelling would count as somebody's change and overwrite the CRM's value.

Only updates are recorded here, and new leads whose CRM row already names the customer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy, agree_written
from enerflo_sync.agreed.outcomes import Applying, Decision, record_outcome
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.errors import BadRecordError
from enerflo_sync.outbox.bodies import as_moment
from enerflo_sync.outbox.carried import agree_on_carried
from enerflo_sync.outbox.kept import is_coarser, is_day_of
from enerflo_sync.outbox.lead_fields import comparable, is_respelled_field
from enerflo_sync.outbox.reasons import FOUND_AFTER
from enerflo_sync.outbox.values import EnerfloValues
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.plan.parked import TRIED_AGAIN_AFTER
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.warehouse.engine import transaction_time

# If a field was sent more than once, only the last request counts. A field with an agreed value newer than
# the request needs nothing. For a new lead, the agreed pair of its link names the customer.
_SENT = sa.text("""
/* enerflo-sync plan: changes whose request was sent and whose outcome is not known */
select c.* from (
  select distinct on (c.key, c.field) c.plan_hash, c.position, c.key, c.field, c.before, c.after,
    case when c.op = 'update' then c.enerflo_key else (
      select a.enerflo_key from sync.agreed a
      where a.account = c.account and a.table_name = c.table_name and a.key = c.key and a.is_link limit 1
    ) end as enerflo_key, c.sent_at, c.rule, coalesce(p.decided_by, 'nobody') as decided_by
  from sync.plan_changes c join sync.plans p using (account, plan_hash)
  where c.account = :account and c.table_name = :table and (c.op = 'update' or :made and c.op = 'insert')
    and c.direction = 'to_enerflo' and c.sent_at is not null and c.confirmed is null and c.state <> 'applied'
    and (c.state in ('sent', 'superseded') or c.state = 'parked' and c.done_at > now() - :a_day)
  order by c.key, c.field, c.sent_at desc
) c
where not exists (
  select from sync.agreed a where a.account = :account and a.table_name = :table and a.key = c.key
    and a.field = c.field and a.agreed_at >= c.sent_at)
""").bindparams(sa.bindparam("a_day", type_=sa.Interval))

_FOUND = """
/* enerflo-sync plan {name}: what the mirror has of records since a request went out */
select to_jsonb(e.*) from {mirror} e
where e.account = :account and e.deleted_at is null and e.observed_at >= :since and {of_record}
"""


def agree_on_sent(connection: sa.Connection, comparisons: Sequence[Comparison], account: str) -> None:
    """Record sent changes as applied, and store their agreed values, if the mirror shows the sent value.

    Runs in the caller's transaction.

    :param connection: holds the account's lock, so that no other plan or apply of the account is running.
    """
    named = {"account": account, "a_day": TRIED_AGAIN_AFTER}
    for comparison in comparisons:
        of_table = {"table": str(comparison.name), "made": comparison.kind == RecordKind.LEADS}
        sent = connection.execute(_SENT, named | of_table).all()
        if sent:
            _agree_on(connection, comparison, account, sent)


def _agree_on(
    connection: sa.Connection, comparison: Comparison, account: str, sent: Sequence[sa.Row[Any]]
) -> None:
    values = EnerfloValues(connection)
    found: dict[tuple[str, str, str], dict[int, Any]] = {}
    for one in sent:
        mapping = comparison.mapping.fields.get(one.field)
        row = _mirrored(connection, comparison, account, one) if mapping is not None else None
        if mapping is None or row is None:
            continue
        present = row[next(field.mirror_column for field in comparison.fields if field.name == one.field)]
        is_same = _is_same(values, comparison, one, present)
        if is_same or _is_kept(values, comparison, one, present):
            of_plan = found.setdefault((one.plan_hash, one.decided_by, one.rule), {})
            of_plan[one.position] = None if is_same else present
        if comparison.kind == RecordKind.LEADS:
            fields = [other.field for other in sent if other.key == one.key]
            agree_on_carried(connection, comparison, account, one, row, sent=fields)
    now = transaction_time(connection)
    for (plan_hash, who, rule), positions in found.items():
        applying = Applying(account, plan_hash, f"found-{plan_hash[:12]}", who)
        kept = {position: value for position, value in positions.items() if value is not None}
        record_outcome(
            connection,
            applying,
            [*positions],
            Decision.APPLIED,
            now,
            reason=FOUND_AFTER,
            kept=kept,
            found_after=True,
        )
        # The CRM's status is not the value by which its milestones completed the install.
        if rule != LAST_MILESTONE:
            by = AgreedBy.UNDO if rule == AgreedBy.UNDO else AgreedBy.PUSH
            agree_written(connection, comparison, account, plan_hash, [*positions], by, now)


def _mirrored(
    connection: sa.Connection, comparison: Comparison, account: str, sent: sa.Row[Any]
) -> Mapping[str, Any] | None:
    """Return the mirror's row of a change's record if it was read after the request was sent; else None."""
    record = sent.enerflo_key or {}
    if set(comparison.mirror_key) - record.keys():
        return None
    of_record = " and ".join(f"e.{name} = :{name}" for name in comparison.mirror_key)
    query = sa.text(_FOUND.format(name=comparison.name, mirror=comparison.mirror, of_record=of_record))
    named = {name: record[name] for name in comparison.mirror_key}
    return connection.scalar(query, {"account": account, "since": sent.sent_at, **named})  # type: ignore[no-any-return]


def _is_same(values: EnerfloValues, comparison: Comparison, sent: sa.Row[Any], present: Any) -> bool:
    """Return whether Enerflo has the value that was sent; for leads, as Enerflo spells it."""
    column = comparison.mapping.fields[sent.field].enerflo
    if comparison.kind == RecordKind.LEADS and comparable(column, present) == comparable(column, sent.after):
        return True
    return values.same(comparison, sent.field, present, sent.after)


def _is_kept(values: EnerfloValues, comparison: Comparison, sent: sa.Row[Any], present: Any) -> bool:
    """Return whether Enerflo's value is our value in Enerflo's spelling; the value before shows nothing."""
    if values.same(comparison, sent.field, present, sent.before):
        return False
    mapping = comparison.mapping.fields[sent.field]
    if comparison.kind == RecordKind.LEADS:
        return is_respelled_field(mapping.enerflo, sent.after, present)
    if comparison.kind != RecordKind.MILESTONES:
        return False
    zone = mapping.time_zone or comparison.mapping.time_zone
    try:
        ours, theirs = as_moment(sent.after, zone), as_moment(present)
    except BadRecordError:
        return False
    if ours is None or theirs is None:
        return False
    return is_coarser(ours, theirs, [zone]) or is_day_of(ours, theirs)
