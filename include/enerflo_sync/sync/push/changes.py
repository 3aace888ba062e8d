"""The outbox's own rows: a plan's changes toward Enerflo, and whether their request was on its way."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.sync.settle import Applying


@dataclass(frozen=True)
class Change:
    """One field of one record that is to be written.

    :param key: the CRM row's key columns.
    :param enerflo_key: the mirror's key columns; None for a record that Enerflo does not have yet.
    :param before: Enerflo's value when the plan was made, as JSON.
    :param after: Enerflo's value as it is to be, as JSON.
    :param sent_at: when its request went out whose end is not known; None where none is on its way.
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


_OPEN = sa.text("""
/* enerflo-sync push: changes that are to be made */
select position, table_name, key, enerflo_key, op, field, before, after, rule,
       case when state = 'sent' then sent_at end as sent_at
from sync.plan_changes
where account = :account and plan_hash = :plan_hash and direction = 'to_enerflo'
  and state in ('planned', 'sent')
order by position
""")

_MARK = sa.text("""
/* enerflo-sync push: a request goes out, or surely did not */
update sync.plan_changes set state = :state, sent_at = :at
where account = :account and plan_hash = :plan_hash and position = any(:positions)
  and state in ('planned', 'sent')
""").bindparams(
    sa.bindparam("positions", type_=sa.ARRAY(sa.BigInteger)),
    sa.bindparam("at", type_=sa.DateTime(timezone=True)),
)


def key_text(change: Change) -> str:
    """Return the CRM row's key as one text, the same for all changes of the row."""
    return json.dumps(change.key, sort_keys=True, default=str)


def open_changes(connection: sa.Connection, applying: Applying) -> list[Change]:
    """Return the plan's changes toward Enerflo that have not ended, in the plan's order."""
    values = {"account": applying.account, "plan_hash": applying.plan_hash}
    return [Change(*row) for row in connection.execute(_OPEN, values)]


def mark_sent(connection: sa.Connection, applying: Applying, changes: Iterable[Change], at: datetime) -> None:
    """Note that the changes' request goes out, in the caller's transaction."""
    _mark(connection, applying, [change.position for change in changes], "sent", at)


def mark_unsent(connection: sa.Connection, applying: Applying, changes: Iterable[Change]) -> None:
    """Note that the changes' request surely had no effect, in the caller's transaction."""
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
