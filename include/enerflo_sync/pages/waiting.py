"""The entries of an account's inbox, which wait for a person; the navigation bar shows their number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.plan.parked import held_values
from enerflo_sync.plan.questions import NEWEST
from enerflo_sync.plan.retry import PARKED

PAGE: Final = 50


class EntryKind(StrEnum):
    """The kind of an entry, the gravest first; plans come first, since they expire.

    ``quarantine``: input that was not ingested, so the mirror lacks it; ``refused``: changes that a person
    refused, which stay refused until somebody reopens them.
    """

    PLAN = "plan"
    QUARANTINE = "quarantine"
    HELD = "held"
    PARKED = "parked"
    LATE = "late"
    QUESTION = "question"
    REFUSED = "refused"


# A plan is one entry, however many changes it has; so are items with one fingerprint, and refused changes of
# one plan. The index finds the next fingerprint, so a group takes the same time whatever its size.
_ENTRIES = f"""
with recursive item as (
  (select fingerprint, first_seen_at, kind from sync.quarantine
   where account = :account and state = 'open' order by fingerprint, first_seen_at limit 1)
  union all
  select n.* from item i cross join lateral (
    select q.fingerprint, q.first_seen_at, q.kind from sync.quarantine q
    where q.account = :account and q.state = 'open' and q.fingerprint > i.fingerprint
    order by q.fingerprint, q.first_seen_at limit 1) n
), refused as (
  (select plan_hash, decided_at from sync.refusals
   where account = :account and ended_at is null order by plan_hash, decided_at limit 1)
  union all
  select n.* from refused r cross join lateral (
    select f.plan_hash, f.decided_at from sync.refusals f
    where f.account = :account and f.ended_at is null and f.plan_hash > r.plan_hash
    order by f.plan_hash, f.decided_at limit 1) n
)
select case kind when 'change_order' then 'held' else 'quarantine' end as kind, fingerprint as name,
       first_seen_at as since
from item
union all
select 'plan', plan_hash, created_at from sync.plans
where account = :account and state = 'open' and needs_approval and mode <> 'report' and expires_at > now()
union all
select 'parked', fingerprint, min(recorded_at) from ({PARKED}) p group by fingerprint
union all
select 'late', t.table_name, w.since
from jsonb_to_recordset(cast(:handed_to as jsonb)) t(table_name text, late_hours float)
cross join lateral (
  select coalesce(acknowledged_at, made_at) as since from sync.crm_changes
  where account = :account and table_name = t.table_name and ended_at is null and state = 'open'
    and coalesce(acknowledged_at, made_at) <= now() - make_interval(secs => t.late_hours * 3600)
  order by 1 limit 1) w
union all
select 'question', q.name, q.since from ({NEWEST}) p
cross join lateral jsonb_to_recordset(coalesce(p.summary -> 'questions', '[]'))
  q(name text, since timestamptz)
union all
select 'refused', plan_hash, decided_at from refused
"""  # noqa: S608 - constants

_TYPES = (
    sa.bindparam("since", type_=sa.Interval),
    sa.bindparam("writes", type_=JSONB),
    sa.bindparam("handed_to", type_=JSONB),
)

_COUNT = sa.text(f"""
/* enerflo-sync pages: how many things wait for a person */
select kind, count(*) as n, min(since) as oldest from ({_ENTRIES}) e group by kind
""").bindparams(*_TYPES)  # noqa: S608 - a constant

# The numbers of each kind are read with the page, so that the two cannot contradict each other.
_PAGE = sa.text(f"""
/* enerflo-sync pages: what waits for a person, the gravest and oldest first */
with e as materialized (
  select e.*, array_position(cast(:kinds as text[]), kind) as gravity from ({_ENTRIES}) e
), page as (
  select * from e
  where (cast(:kind as text) is null or kind = :kind) and (cast(:gravity as int) is null
    or (gravity, since, name) > (:gravity, cast(:after_since as timestamptz), cast(:after_name as text))
    or :inclusive and (gravity, name) = (:gravity, cast(:after_name as text)))
  order by gravity, since, name limit :most
)
select p.kind, p.name, p.since, c.counts
from (select jsonb_object_agg(kind, n) as counts from (select kind, count(*) as n from e group by kind) k) c
left join page p on true order by p.gravity, p.since, p.name
""").bindparams(*_TYPES)  # noqa: S608 - a constant


@dataclass(frozen=True)
class InboxEntry:
    """One waiting entry.

    :param name: the identity within its kind: a fingerprint, a plan's hash, a table.
    """

    kind: EntryKind
    name: str
    since: datetime

    @property
    def position(self) -> str:
        """Return its place in the list, for :func:`read_waiting`."""
        return json.dumps([self.kind, self.since.isoformat(), self.name])


def count_waiting(connection: sa.Connection, account: str, config: SyncConfig) -> int:
    """Return how many entries the account's inbox has."""
    return sum(waiting_by_kind(connection, account, config).values())


def waiting_by_kind(connection: sa.Connection, account: str, config: SyncConfig) -> Mapping[EntryKind, int]:
    """Return how many entries of each kind the account's inbox has, the gravest kind first."""
    return _by_kind({row.kind: row.n for row in connection.execute(_COUNT, entry_values(config, account))})


def oldest_waiting(
    connection: sa.Connection, account: str, config: SyncConfig
) -> tuple[int, datetime | None]:
    """Return how many entries of the account's inbox wait for a person, and since when the oldest one does.

    A refusal that stands is in the inbox so that it can be opened again; it waits for nobody.
    """
    found = connection.execute(_COUNT, entry_values(config, account)).all()
    rows = [row for row in found if row.kind != EntryKind.REFUSED]
    return sum(row.n for row in rows), min((row.oldest for row in rows), default=None)


def read_waiting(
    connection: sa.Connection,
    account: str,
    config: SyncConfig,
    *,
    kind: EntryKind | None = None,
    after: str | None = None,
    first: str | None = None,
) -> tuple[Mapping[EntryKind, int], Sequence[InboxEntry]]:
    """Return the number of waiting entries of each kind, and one page of them with one more if more follow.

    :param after: the :attr:`InboxEntry.position` after which the page begins; ``first``: at which it begins.
    :raises ConfigurationError: the text is not a position.
    """
    given = after if first is None else first
    last = None if given is None else _position(given)
    values = {
        **entry_values(config, account),
        "kinds": [str(one) for one in EntryKind],
        "kind": kind and str(kind),
        "gravity": last and list(EntryKind).index(last.kind) + 1,
        "after_since": last and last.since,
        "after_name": last and last.name,
        "inclusive": first is not None,
        "most": PAGE + 1,
    }
    rows = connection.execute(_PAGE, values).all()
    entries = [InboxEntry(EntryKind(row.kind), row.name, row.since) for row in rows if row.kind]
    return _by_kind(rows[0].counts or {}), entries


def _by_kind(found: Mapping[str, int]) -> Mapping[EntryKind, int]:
    return {kind: int(found[kind]) for kind in EntryKind if kind in found}


def entry_values(config: SyncConfig, account: str) -> dict[str, Any]:
    """Return the parameters that the statements about waiting entries take from the configuration."""
    handed_to = [
        {"table_name": name, "late_hours": table.handed_to.late_hours}
        for name, table in config.tables_for(account).items()
        if table.handed_to is not None
    ]
    return {**held_values(config, account), "handed_to": handed_to}


def _position(text: str) -> InboxEntry:
    try:
        kind, since, name = json.loads(text)
        found = InboxEntry(EntryKind(kind), name.replace("\0", ""), datetime.fromisoformat(since))
        if found.since.tzinfo is None:
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ConfigurationError(
            "after is no position.", where="the address", next_step="Begin at the first page."
        ) from None
    return found
