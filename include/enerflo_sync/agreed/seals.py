"""Seals over the ledger: a chain of digests of its rows, so that a row changed by hand is found later.

A job seals new ledger rows, its own and those of others, after its own work is committed, so that no writer
of the ledger waits for a seal. One seal covers a batch of rows and contains the digest of the seal before it.
A person who may write both tables can make a whole new chain; the digest of the last seal, which each job
writes to its log, reveals that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

# Rows of one seal: 0.8 MB of digests.
CHUNK = 50_000
FORM = 1
DIGEST_BYTES = 16

# The text of a row in form 1. A column that a later version adds is not part of form 1: it needs another
# form.
_SPELLED = """row(l.account, l.ledger_id, l.table_name, l.key, l.op, l.field, l.old_value, l.new_value,
    l.losing_value, l.kept_value, l.direction, l.policy, l.cause, l.rule, l.facts, l.plan_hash, l.decision,
    l.reason, l.decided_by, l.evidence, l.run_id, l.changed_at, l.observed_at, l.recorded_at,
    l.recorded_as)::text"""
ROW_DIGEST = f"substring(sha256(convert_to({_SPELLED}, 'UTF8')) for {DIGEST_BYTES})"
# The digest of a seal ``s`` whose predecessor has the digest ``before``.
SEAL_DIGEST = """sha256(before || convert_to(row(s.account, s.number, s.kind, s.form, s.ids, s.row_count,
    s.settled, s.sealed_at, s.sealed_by, s.reason)::text, 'UTF8') || s.row_digests)"""
FIRST = r"'\x'::bytea"

# PostgreSQL's texts of times and bytes depend on these settings.
SPELLING = sa.text("""
/* enerflo-sync ledger: how values are spelled */
select set_config('datestyle', 'ISO, MDY', true), set_config('timezone', 'UTC', true),
       set_config('bytea_output', 'hex', true)
""")

_ALONE = "hashtextextended('enerflo-sync/seal/' || :account, 0)"
_TRY = sa.text(f"select pg_try_advisory_xact_lock({_ALONE})")
_WAIT = sa.text(f"select pg_advisory_xact_lock({_ALONE})")

_STANDING = sa.text("""
/* enerflo-sync ledger: up to where it is sealed, and what is there */
select (select max(ledger_id) from sync.ledger where account = :account) as top,
       coalesce((select settled from sync.ledger_seals where account = :account
                 order by number desc limit 1), 0) as settled
""")

# This is read after ``top``: a transaction that has an id up to ``top`` and has not committed holds this
# lock.
_BEING_WRITTEN = sa.text("""
/* enerflo-sync ledger: whether somebody is writing it */
select exists (select from pg_locks
  where locktype = 'relation' and relation = 'sync.ledger'::regclass and mode = 'RowExclusiveLock'
    and database = (select oid from pg_database where datname = current_database())
    and pid is distinct from pg_backend_pid())
""")

_SEAL = sa.text(f"""
/* enerflo-sync ledger: seal what is not sealed */
with rows as (
  select l.ledger_id, {ROW_DIGEST} as digest from sync.ledger l
  where l.account = :account and l.ledger_id > :settled
    and not exists (select from sync.ledger_seals e
      where e.account = :account and e.kind = 'sealed' and upper(e.ids) > :settled and e.ids @> l.ledger_id)
  order by l.ledger_id limit :most
), s as (
  select cast(:account as text) as account,
         coalesce((select max(number) from sync.ledger_seals where account = :account), 0) + 1 as number,
         'sealed'::text as kind, {FORM} as form,
         range_agg(int8range(ledger_id, ledger_id, '[]') order by ledger_id) as ids,
         count(*) as row_count, string_agg(digest, ''::bytea order by ledger_id) as row_digests,
         case when :open then cast(:settled as bigint) when count(*) < :most then cast(:top as bigint)
              else least(max(ledger_id), cast(:top as bigint)) end as settled,
         clock_timestamp() as sealed_at, session_user::text as sealed_by, null::text as reason
  from rows having count(*) > 0
)
insert into sync.ledger_seals (account, number, kind, form, ids, row_count, row_digests, settled, sealed_at,
  sealed_by, reason, digest)
select s.*, {SEAL_DIGEST} from s
cross join (select coalesce((select digest from sync.ledger_seals where account = :account
  order by number desc limit 1), {FIRST}) as before) b
returning number, row_count, encode(digest, 'hex') as digest
""")  # noqa: S608 - constants

_REWRITTEN = sa.text("""
/* enerflo-sync ledger: sealed rows that this transaction has updated */
select ledger_id from sync.ledger l
where l.account = :account and l.xmin = pg_current_xact_id()::xid
  and exists (select from sync.ledger_seals e
    where e.account = :account and e.kind = 'sealed' and e.ids @> l.ledger_id)
""")

_AMEND = sa.text(f"""
/* enerflo-sync ledger: what a command of ours did to rows that are sealed */
with ids as (
  select id, l.ledger_id is not null as there,
         case when l.ledger_id is not null then {ROW_DIGEST} end as digest
  from unnest(cast(:ids as bigint[])) id
  left join sync.ledger l on l.account = :account and l.ledger_id = id
), s as (
  select cast(:account as text) as account,
         coalesce((select max(number) from sync.ledger_seals where account = :account), 0)
           + row_number() over (order by there desc) as number,
         case when there then 'rewritten' else 'removed' end as kind, {FORM} as form,
         range_agg(int8range(id, id, '[]') order by id) as ids,
         count(*) as row_count, coalesce(string_agg(digest, ''::bytea order by id), ''::bytea) as row_digests,
         coalesce((select settled from sync.ledger_seals where account = :account
                   order by number desc limit 1), 0) as settled,
         clock_timestamp() as sealed_at, session_user::text as sealed_by, cast(:reason as text) as reason
  from ids group by there having there = :there
)
insert into sync.ledger_seals (account, number, kind, form, ids, row_count, row_digests, settled, sealed_at,
  sealed_by, reason, digest)
select s.*, {SEAL_DIGEST} from s
cross join (select coalesce((select digest from sync.ledger_seals where account = :account
  order by number desc limit 1), {FIRST}) as before) b
""")  # noqa: S608 - constants


@dataclass(frozen=True)
class Sealed:
    """One seal.

    :param head: the seal's digest in hex; it is the chain's head until the next seal.
    :param done: whether all rows are sealed now.
    """

    number: int
    rows: int
    head: str
    done: bool


def seal_ledger(connection: sa.Connection, account: str, *, most: int = CHUNK) -> Sealed | None:
    """Seal the account's next rows in the caller's transaction.

    Returns None if all rows are sealed, or if another transaction is sealing now.

    :param connection: at READ COMMITTED, with a transaction that has read nothing yet.
    :param most: how many rows the seal covers at most.
    """
    connection.execute(SPELLING)
    if not connection.scalar(_TRY, {"account": account}):
        return None
    standing = connection.execute(_STANDING, {"account": account}).one()
    if standing.top is None or standing.top <= standing.settled:
        return None
    values: dict[str, Any] = {"account": account, "settled": standing.settled, "top": standing.top}
    values |= {"open": connection.scalar(_BEING_WRITTEN), "most": most}
    row = connection.execute(_SEAL, values).first()
    return None if row is None else Sealed(row.number, row.row_count, row.digest, row.row_count < most)


def note_rewritten(
    connection: sa.Connection, account: str, reason: str, ledger_ids: Sequence[int] | None = None
) -> int:
    """Add a seal over ledger rows that a command rewrote or deleted, in the transaction that did it.

    The seal has the rows' new digests and the reason, so the check accepts this rewrite and no other. If
    another transaction is sealing, this one waits. Returns the number of rows.

    :param reason: which command it was, and why. It is kept forever, so it must not hold personal data.
    :param ledger_ids: the rows; None means the sealed rows that this transaction has updated, outside of
        savepoints.
    """
    connection.execute(SPELLING)
    connection.execute(_WAIT, {"account": account})
    if ledger_ids is None:
        ledger_ids = connection.scalars(_REWRITTEN, {"account": account}).all()
    ids = sorted(set(ledger_ids))
    for there in (True, False):
        values = {"account": account, "ids": ids, "reason": reason, "there": there}
        connection.execute(_AMEND, values)
    return len(ids)
