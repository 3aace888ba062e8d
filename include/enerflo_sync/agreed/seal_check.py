"""The check of the ledger against its seals: the chain of seals, and the digest of every sealed row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.agreed.seals import DIGEST_BYTES, FIRST, FORM, ROW_DIGEST, SEAL_DIGEST, SPELLING

# How many broken places a report lists; it counts all.
LISTED = 20
# How many sealed rows, or seals, one statement reads at most.
AT_ONCE = 10_000


class Break(StrEnum):
    """How a seal or a ledger row differs from what was sealed."""

    SEAL_MISSING = "seal_missing"
    SEAL_CHANGED = "seal_changed"
    SEAL_UNKNOWN = "seal_unknown"
    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"


class BrokenPlace(msgspec.Struct, frozen=True):
    """One seal or ledger row that differs from what was sealed.

    :param ledger_id: the row; None if the seal itself is broken.
    :param seal: the seal's number; None for a row that no seal covers.
    """

    kind: Break
    ledger_id: int | None
    seal: int | None
    text: str


class UnknownSeal(BrokenPlace, frozen=True):
    """A digest that no seal of the account has.

    :param accounts: the accounts of the warehouse of which one seal has it.
    """

    accounts: Sequence[str] = ()


class LedgerCheck(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the check of an account's ledger against its seals.

    :param rows: rows that are sealed, as the seals count them.
    :param unsealed: rows that no seal covers yet: they were not checked.
    :param rewritten: rows that a command of ours rewrote or removed after they were sealed.
    :param head: digest of the last seal in hex; None without a seal.
    :param broken: number of broken places; ``places`` lists the first ones, in the order of the rows.
    """

    account: str
    seals: int
    rows: int
    unsealed: int
    rewritten: int
    head: str | None
    sealed_at: datetime | None
    broken: int
    places: Sequence[BrokenPlace]

    @property
    def intact(self) -> bool:
        """Return whether every sealed row, and the chain, is as it was sealed."""
        return self.broken == 0

    @property
    def unknown(self) -> bool:
        """Return whether there are rows and no seal at all to tell by: the seals may have been taken away."""
        return not self.seals and self.unsealed > 0


_CHAIN = sa.text(f"""
/* enerflo-sync ledger: the chain of its seals */
select number, kind, form, row_count, settled, sealed_at, encode(digest, 'hex') as head,
       lower(ids) as low, upper(ids) as high, length(row_digests) as bytes, digest = {SEAL_DIGEST} as follows,
       row_count = (select sum(upper(r) - lower(r)) from unnest(s.ids) r) as counted
from (
  select *, coalesce(lag(digest) over (order by number), {FIRST}) as before
  from sync.ledger_seals where account = :account
) s order by number
""")  # noqa: S608 - constants

_AMENDED = sa.text("""
/* enerflo-sync ledger: rows that a command rewrote or removed later */
select number, kind, row_digests,
       array(select id from unnest(ids) r, generate_series(lower(r), upper(r) - 1) id order by id) as ids
from sync.ledger_seals where account = :account and kind <> 'sealed' order by number
""")

# Each sealed id with the digest of its row; null if the row is gone.
_ROWS = sa.text(f"""
/* enerflo-sync ledger: the rows of some seals */
with s as (select * from sync.ledger_seals where account = :account and number = any(:numbers))
select s.number, id, case when l.ledger_id is not null then {ROW_DIGEST} end as digest, l.table_name
from s cross join unnest(s.ids) r cross join generate_series(lower(r), upper(r) - 1) id
left join sync.ledger l on l.account = :account and l.ledger_id = id
  and l.ledger_id >= :low and l.ledger_id < :high
order by s.number, id
""")  # noqa: S608 - constants

_DIGESTS = sa.text("""
/* enerflo-sync ledger: the digests of some seals */
select number, row_digests from sync.ledger_seals where account = :account and number = any(:numbers)
""")

# When a seal sets ``settled``, no transaction can still commit a row with an id up to it. So an unsealed id
# up to ``settled`` belongs to a row that was inserted by hand.
_INSERTED = sa.text("""
/* enerflo-sync ledger: rows where no row can have been written */
with sealed as (
  select range_agg(r) as ids from sync.ledger_seals s, unnest(s.ids) r
  where s.account = :account and s.kind = 'sealed'
), free as (
  select unnest(int8multirange(int8range(null, :settled, '(]')) - coalesce(ids, '{}')) as r from sealed
)
select l.ledger_id, l.table_name from free f
join sync.ledger l on l.account = :account
  and l.ledger_id >= coalesce(lower(f.r), -9223372036854775808) and l.ledger_id < upper(f.r)
order by 1
""")

_UNSEALED = sa.text("""
/* enerflo-sync ledger: rows that are not sealed yet */
select count(*) from sync.ledger l
where l.account = :account and l.ledger_id > :settled
  and not exists (select from sync.ledger_seals e
    where e.account = :account and e.kind = 'sealed' and upper(e.ids) > :settled and e.ids @> l.ledger_id)
""")


_ELSEWHERE = sa.text("""
/* enerflo-sync ledger: accounts of which a digest is */
select distinct account from sync.ledger_seals where starts_with(encode(digest, 'hex'), :digest) order by 1
""")


def check_ledger(connection: sa.Connection, account: str, *, expected: str | None = None) -> LedgerCheck:
    """Compare the ledger with its seals, in the caller's transaction.

    :param connection: its isolation level is at least REPEATABLE READ, so that all statements see one moment.
    :param expected: the digest of an earlier head, or its beginning: one of the seals must have it.
    """
    connection.execute(SPELLING)
    chain = connection.execute(_CHAIN, {"account": account}).all()
    places = list(_of_chain(chain))
    if expected is not None and not any(seal.head.startswith(expected.strip().lower()) for seal in chain):
        places.append(_unknown(connection, expected.strip().lower()))
    amended, rewritten = _amended(connection, account)
    rows = 0
    in_rows: list[BrokenPlace] = []
    for seals in _some_at_once([seal for seal in chain if seal.kind == "sealed"]):
        rows += sum(seal.row_count for seal in seals)
        in_rows += _of_rows(connection, account, seals, amended)
    settled = max((seal.settled for seal in chain), default=0)
    for row in connection.execute(_INSERTED, {"account": account, "settled": settled}):
        text = (
            f"row {row.ledger_id} ({row.table_name}) was inserted: no job had it when later rows were sealed"
        )
        in_rows.append(BrokenPlace(Break.INSERTED, row.ledger_id, None, text))
    in_rows.sort(key=lambda place: place.ledger_id or 0)
    places += in_rows
    return LedgerCheck(
        account=account,
        seals=len(chain),
        rows=rows,
        unsealed=connection.scalar(_UNSEALED, {"account": account, "settled": settled}) or 0,
        rewritten=rewritten,
        head=chain[-1].head if chain else None,
        sealed_at=chain[-1].sealed_at if chain else None,
        broken=len(places),
        places=places[:LISTED],
    )


def _unknown(connection: sa.Connection, digest: str) -> UnknownSeal:
    accounts = list(connection.scalars(_ELSEWHERE, {"digest": digest}))
    why = f"it is one of account {', '.join(accounts)}" if accounts else "the chain is another"
    text = f"no seal has the digest {digest}: {why}"
    return UnknownSeal(Break.SEAL_UNKNOWN, None, None, text, accounts)


def _of_chain(chain: Sequence[sa.Row[Any]]) -> Iterator[BrokenPlace]:
    """Yield the seals that are missing or were changed."""
    due = 1
    for seal in chain:
        if seal.number != due:
            gone = f"seal {due}" if seal.number == due + 1 else f"seals {due} to {seal.number - 1}"
            yield BrokenPlace(Break.SEAL_MISSING, None, due, f"{gone} of the chain cannot be found")
        elif not (seal.follows and seal.counted and _fits(seal)):
            when = f"{seal.sealed_at:%Y-%m-%d %H:%M} UTC"
            text = f"seal {seal.number} of {when} was changed, or the seal before it"
            yield BrokenPlace(Break.SEAL_CHANGED, None, seal.number, text)
        due = seal.number + 1


def _fits(seal: sa.Row[Any]) -> bool:
    wanted = 0 if seal.kind == "removed" else seal.row_count * DIGEST_BYTES
    return bool(seal.bytes == wanted and seal.form == FORM)


Amended = dict[int, tuple[int, bytes | None]]


def _amended(connection: sa.Connection, account: str) -> tuple[Amended, int]:
    """Return by row the last seal that a command made when it rewrote or removed the row, and its new digest.

    Also return the number of these rows.
    """
    found: Amended = {}
    for seal in connection.execute(_AMENDED, {"account": account}):
        digests = _split(seal.row_digests)
        for place, ledger_id in enumerate(seal.ids):
            digest = digests[place] if seal.kind == "rewritten" and place < len(digests) else None
            found[ledger_id] = (seal.number, digest)
    return found, len(found)


def _some_at_once(seals: Sequence[sa.Row[Any]]) -> Iterator[Sequence[sa.Row[Any]]]:
    """Yield the seals in groups of about :data:`AT_ONCE` rows, so that memory stays bounded."""
    group: list[sa.Row[Any]] = []
    rows = 0
    for seal in seals:
        group.append(seal)
        rows += seal.row_count
        if rows >= AT_ONCE or len(group) == AT_ONCE:
            yield group
            group, rows = [], 0
    if group:
        yield group


def _of_rows(
    connection: sa.Connection, account: str, seals: Sequence[sa.Row[Any]], amended: Amended
) -> Iterator[BrokenPlace]:
    """Yield the rows of some seals that differ from their seal and from any later rewrite by a command."""
    named: dict[str, Any] = {"account": account, "numbers": [seal.number for seal in seals]}
    digests = {
        number: _split(content or b"") for number, content in connection.execute(_DIGESTS, named).tuples()
    }
    named["low"] = min((seal.low for seal in seals if seal.low is not None), default=0)
    named["high"] = max((seal.high for seal in seals if seal.high is not None), default=0)
    by_number = {seal.number: seal for seal in seals}
    for number, rows in groupby(connection.execute(_ROWS, named), attrgetter("number")):
        seal = by_number[number]
        for place, row in enumerate(rows):
            sealed: bytes | None = digests[number][place] if place < len(digests[number]) else b""
            later = amended.get(row.id)
            if later is not None and later[0] > number:
                sealed = later[1]
            if row.digest == sealed:
                continue
            when = f"after seal {number} of {seal.sealed_at:%Y-%m-%d %H:%M} UTC"
            if row.digest is None:
                yield BrokenPlace(Break.REMOVED, row.id, number, f"row {row.id} was removed {when}")
            else:
                text = f"row {row.id} ({row.table_name}) was changed {when}"
                yield BrokenPlace(Break.CHANGED, row.id, number, text)


def _split(digests: bytes) -> list[bytes]:
    data = bytes(digests)
    return [data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES)]
