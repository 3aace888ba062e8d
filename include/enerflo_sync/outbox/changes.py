"""The rows of the outbox: a plan's changes to Enerflo, and whether their request was sent or accepted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.outcomes import Applying


@dataclass(frozen=True)
class OutboxChange:
    """One field of one record that is to be written to Enerflo.

    :param key: the CRM row's key columns.
    :param enerflo_key: the mirror's key columns; None for a record that Enerflo does not have yet.
    :param before: Enerflo's value when the plan was made, as JSON.
    :param after: the value that Enerflo is to have, as JSON.
    :param sent_at: when a request was sent whose outcome is not known; None if there is no such request.
    :param source_value: the CRM's value when the plan was made, as JSON.
    :param accepted_at: when Enerflo accepted the request, if the record has not been read since.
    :param accepted_id: the id of the new record in the response.
    """

    position: int
    table: str
    key: Mapping[str, Any]
    enerflo_key: Mapping[str, Any] | None
    op: str
    field: str | None
    before: Any
    after: Any
    rule: str
    sent_at: datetime | None
    source_value: Any = None
    accepted_at: datetime | None = None
    accepted_id: int | None = None


_OPEN = sa.text("""
/* enerflo-sync push: changes that are to be made */
select position, table_name, key, enerflo_key, op, field, before, after, rule, sent_at, source_value,
       accepted_at, accepted_id
from sync.plan_changes
where account = :account and plan_hash = :plan_hash and direction = 'to_enerflo'
  and state in ('planned', 'sent')
order by position
""")

_MARK = sa.text("""
/* enerflo-sync push: a request is about to be sent, or had no effect */
update sync.plan_changes
set state = :state, sent_at = case when :state = 'sent' then coalesce(sent_at, :at) end
where account = :account and plan_hash = :plan_hash and position = any(:positions)
  and state in ('planned', 'sent')
""").bindparams(
    sa.bindparam("positions", type_=sa.ARRAY(sa.BigInteger)),
    sa.bindparam("at", type_=sa.DateTime(timezone=True)),
)

# A server or database that reports commits before they are on disk would lose the last of them in a crash. A
# request whose mark is lost is sent again.
_COMMITTED_FOR_GOOD = sa.text("""
/* enerflo-sync push: this commit outlives a crash of the server */
select set_config('synchronous_commit', 'on', true) where current_setting('synchronous_commit') = 'off'
""")

_ACCEPT = sa.text("""
/* enerflo-sync push: Enerflo accepted a request */
update sync.plan_changes set accepted_at = :at, accepted_id = :id
where account = :account and plan_hash = :plan_hash and position = any(:positions)
""").bindparams(
    sa.bindparam("positions", type_=sa.ARRAY(sa.BigInteger)),
    sa.bindparam("at", type_=sa.DateTime(timezone=True)),
    sa.bindparam("id", type_=sa.BigInteger),
)

# When a plan supersedes another one, the marks of updates, notes and appointments that the older plan sent
# are copied to the new plan.
_CARRY_UPDATES = sa.text("""
/* enerflo-sync plan: updates whose request an older plan has sent */
update sync.plan_changes c set sent_at = s.sent_at
from (
  select table_name, key, field, after, max(sent_at) as sent_at from sync.plan_changes
  where account = :account and plan_hash <> :plan_hash and op = 'update' and direction = 'to_enerflo'
    and sent_at is not null and confirmed is null and state <> 'applied' and state in ('sent', 'superseded')
  group by 1, 2, 3, 4
) s
where c.account = :account and c.plan_hash = :plan_hash and c.op = 'update' and c.direction = 'to_enerflo'
  and c.table_name = s.table_name and c.key = s.key and c.field = s.field
  and c.after is not distinct from s.after and c.state = 'planned' and c.sent_at is null
  and coalesce(c.agreed_at < s.sent_at, true)
""")
# A note that was sent and whose CRM row has no id yet. That includes a note that was found at Enerflo while
# its CRM row was gone, because no agreed link was stored then. Parameter: `notes`, the tables of notes.
SENT_AND_UNNAMED = """p.account = :account and p.table_name = any(:notes) and p.op = 'insert'
    and p.sent_at is not null and (p.state <> 'applied' or not exists (
      select from sync.agreed a
      where a.account = p.account and a.table_name = p.table_name and a.key = p.key and a.is_link))"""
# The sent values of a note ``p``, of which the new change under its key has another one.
_EDITED = """exists (
    select from sync.plan_changes o join sync.plan_changes n using (account, table_name, key, op, field)
    where o.account = p.account and o.plan_hash = p.plan_hash and o.table_name = p.table_name
      and o.key = p.key and o.op = p.op and n.plan_hash = :plan_hash and n.after is distinct from o.after)"""
# The CRM has what was sent under another key: a new note with all of its values, or a row that takes the id.
_ELSEWHERE = """exists (
    select from sync.plan_changes w
    where w.account = p.account and w.table_name = p.table_name and w.key <> p.key and w.state = 'planned'
      and (w.op = 'update' and w.after = to_jsonb(p.accepted_id) or w.op = 'insert' and not exists (
        select from sync.plan_changes o
        where o.account = p.account and o.plan_hash = p.plan_hash and o.table_name = p.table_name
          and o.key = p.key and o.op = p.op and not exists (
            select from sync.plan_changes n
            where n.account = w.account and n.plan_hash = w.plan_hash and n.table_name = w.table_name
              and n.key = w.key and n.op = w.op and n.field = o.field and n.after is not distinct from o.after
          ))))"""
# The key may belong to another note now. So the mark of a note that was found is copied only if the new
# change has the same values, and that of any other one unless the CRM has those values under another key.
_CARRY_NOTES = sa.text(f"""
/* enerflo-sync plan: notes whose request an older plan has sent */
update sync.plan_changes c
set sent_at = s.sent_at, accepted_at = s.accepted_at, accepted_id = s.accepted_id
from (
  select distinct on (p.table_name, p.key) p.table_name, p.key, p.sent_at, p.accepted_at, p.accepted_id
  from sync.plan_changes p
  where {SENT_AND_UNNAMED} and p.plan_hash <> :plan_hash
    and not ({_EDITED} and (p.state = 'applied' or {_ELSEWHERE}))
  order by p.table_name, p.key, p.accepted_at desc nulls last, p.sent_at desc
) s
where c.account = :account and c.plan_hash = :plan_hash and c.table_name = s.table_name and c.op = 'insert'
  and c.direction = 'to_enerflo' and c.key = s.key and c.state = 'planned' and c.sent_at is null
""").bindparams(sa.bindparam("notes", type_=sa.ARRAY(sa.Text)))  # noqa: S608 - a constant
# An appointment that Enerflo accepted is not created again, even if its time was changed since.
_CARRY_APPOINTMENTS = sa.text("""
/* enerflo-sync plan: appointments that Enerflo has accepted for an older plan */
update sync.plan_changes c set sent_at = s.sent_at, accepted_at = s.accepted_at
from (
  select distinct on (table_name, key, field) table_name, key, field, sent_at, accepted_at
  from sync.plan_changes
  where account = :account and plan_hash <> :plan_hash and table_name = any(:leads) and op = 'insert'
    and accepted_at is not null and state <> 'applied'
  order by table_name, key, field, accepted_at desc
) s
where c.account = :account and c.plan_hash = :plan_hash and c.table_name = s.table_name and c.op = 'insert'
  and c.direction = 'to_enerflo' and c.key = s.key and c.field = s.field and c.state = 'planned'
  and c.accepted_at is null
""").bindparams(sa.bindparam("leads", type_=sa.ARRAY(sa.Text)))


def key_text(change: OutboxChange) -> str:
    """Return the CRM row's key as one text, the same for all changes of the row."""
    return json.dumps(change.key, sort_keys=True, default=str)


def open_changes(connection: sa.Connection, applying: Applying) -> list[OutboxChange]:
    """Return the plan's changes to Enerflo that have no outcome yet, in the plan's order."""
    values = {"account": applying.account, "plan_hash": applying.plan_hash}
    return [OutboxChange(*row) for row in connection.execute(_OPEN, values)]


def mark_sent(
    connection: sa.Connection, applying: Applying, changes: Iterable[OutboxChange], at: datetime
) -> None:
    """Mark changes as sent, in the caller's transaction, which commits before the request is sent."""
    connection.execute(_COMMITTED_FOR_GOOD)
    _mark(connection, applying, [change.position for change in changes], "sent", at)


def mark_accepted(
    connection: sa.Connection,
    applying: Applying,
    changes: Iterable[OutboxChange],
    at: datetime,
    new_id: int | None,
) -> None:
    """Store that Enerflo accepted the request of changes, in the caller's transaction.

    :param new_id: the id of the new record, if the response contained it.
    """
    positions = [change.position for change in changes]
    values = {"account": applying.account, "plan_hash": applying.plan_hash, "positions": positions}
    connection.execute(_COMMITTED_FOR_GOOD)
    connection.execute(_ACCEPT, {**values, "at": at, "id": new_id})


def carry_sent(
    connection: sa.Connection, account: str, plan_hash: str, *, notes: Sequence[str], leads: Sequence[str]
) -> None:
    """Copy to a new plan which of its changes an older plan has sent, in the caller's transaction.

    The outcome of such a request is not known, so the push searches for its effect before it sends again.

    :param notes: the account's tables of notes.
    :param leads: the account's tables of leads.
    """
    values = {"account": account, "plan_hash": plan_hash}
    connection.execute(_CARRY_UPDATES, values)
    connection.execute(_CARRY_NOTES, {**values, "notes": list(notes)})
    connection.execute(_CARRY_APPOINTMENTS, {**values, "leads": list(leads)})


def mark_unsent(connection: sa.Connection, applying: Applying, changes: Iterable[OutboxChange]) -> None:
    """Remove the mark ``sent`` from changes whose request certainly had no effect."""
    _mark(connection, applying, [change.position for change in changes], "planned", None)


def _mark(
    connection: sa.Connection, applying: Applying, positions: Sequence[int], state: str, at: datetime | None
) -> None:
    connection.execute(
        _MARK,
        {
            "account": applying.account,
            "plan_hash": applying.plan_hash,
            "positions": list(positions),
            "state": state,
            "at": at,
        },
    )
