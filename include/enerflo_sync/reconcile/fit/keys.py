"""How the keys of both sides meet, and in which other reading of them more would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.mapping import mirror_type
from enerflo_sync.crm.names import quoted
from enerflo_sync.reconcile.compare import Comparison, JoinColumn
from enerflo_sync.reconcile.fit.sample import Sample
from enerflo_sync.reconcile.values import BLANK, mirror_kind

_COUNTS = Template("""
/* enerflo-sync doctor $name: how the keys of both sides meet */
with m as materialized (
  select k from (select $mine as k from $mirror e where $rows and e.deleted_at is null) m
  where k is not null and $sampled
), c as materialized (
  select k from (select $theirs as k from $crm t) c where k is null or $sampled
), m_keys as (select distinct k from m),
c_keys as (select k, count(*) as rows from c where k is not null group by k)
select (select count(*) from m) as enerflo, (select count(*) from c) as crm,
       (select count(*) from c where k is null) as without_key,
       count(*) filter (where m.k is null) as only_crm_keys,
       coalesce(sum(c.rows) filter (where m.k is null), 0)::bigint as only_crm,
       coalesce(sum(c.rows) filter (where c.rows > 1), 0)::bigint as duplicate_rows,
       count(*) filter (where c.rows > 1) as duplicate_keys,
       (select count(*) from m where not exists (select from c_keys k where k.k = m.k)) as only_enerflo
from c_keys c left join m_keys m using (k)
""")

# k is the key as it is compared now, n the one of the other reading. What cannot be read so keeps its place
# in the sample by k: rows that meet by k always meet by n, or have none.
_OTHERWISE = Template("""
/* enerflo-sync doctor $name: how the keys would meet in another reading */
with m as materialized (
  select k, n from (select $mine as k, $mine_otherwise as n from $mirror e
                    where $rows and e.deleted_at is null) m
  where $sampled
), c as materialized (
  select k, n from (select $theirs as k, $theirs_otherwise as n from $crm t) c where $sampled
), by_k as (select distinct k from m where k is not null),
by_n as (select n, count(*) as records from m where n is not null group by n),
twice as (select count(*) as keys, coalesce(sum(rows), 0)::bigint as rows from (
  select count(*) as rows from c where n is not null group by n having count(*) > 1) t)
select count(*) filter (where by_n.n is not null and by_k.k is null) as more,
       count(*) filter (where by_n.n is null and by_k.k is not null) as less,
       (select keys from twice) as duplicate_keys, (select rows from twice) as duplicate_rows,
       (select count(*) from by_n where records > 1) as ambiguous
from c left join by_k using (k) left join by_n on by_n.n = c.n
""")


class KeyFit(msgspec.Struct, frozen=True):
    """How many rows of the two sides meet by their keys. ``every``: figures are of one key in so many.

    ``without_key`` are CRM rows whose key has no value; ``duplicate_keys`` are shared by ``duplicate_rows``
    of the CRM's rows.
    """

    enerflo: int
    crm: int
    matched: int
    only_enerflo: int
    only_crm: int
    without_key: int
    duplicate_keys: int
    duplicate_rows: int
    every: int = 1


class KeyProposal(msgspec.Struct, frozen=True):
    """Another reading of the key columns, under which ``more`` of the CRM's rows would meet a record.

    ``less`` rows would meet none any more; ``duplicate_keys`` would be shared by ``duplicate_rows`` of the
    CRM's rows, and ``ambiguous`` by several records of Enerflo.
    """

    options: Mapping[str, Mapping[str, Any]]
    more: int
    less: int
    duplicate_keys: int
    duplicate_rows: int
    ambiguous: int


@dataclass(frozen=True)
class _Reading:
    """How a key column that holds text could be read, in the words of ``sync.yaml``."""

    options: Mapping[str, Any]

    def sql(self, text: str) -> str:
        """Return an SQL text as this reading has it; null where it cannot be read so."""
        if self.options.get("trim"):
            text = f"nullif(btrim({text}, {BLANK}), '')"
        if self.options.get("type") == "integer":
            return f"(case when {text} ~ '^[-+]?[0-9]{{1,30}}$' then ({text})::numeric::text end)"
        if self.options.get("strip_zeros"):
            text = f"regexp_replace({text}, '^0+(?=.)', '')"
        return f"lower({text})" if self.options.get("fold_case") else text


# Fewest options first: of readings that fit alike the simplest is proposed.
_OF_NUMBERS = ({"trim": True}, {"type": "integer"}, {"type": "integer", "trim": True})
_OF_TEXTS = (
    {"trim": True},
    {"fold_case": True},
    {"strip_zeros": True},
    {"trim": True, "fold_case": True},
    {"trim": True, "strip_zeros": True},
    {"trim": True, "strip_zeros": True, "fold_case": True},
)


def key_fit(connection: sa.Connection, plan: Comparison, account: str, sample: Sample) -> KeyFit:
    """Return how the keys meet as the mapping compares them now; tombstones of the mirror do not count."""
    parts = _parts(plan, sample, "k")
    row = connection.exec_driver_sql(_COUNTS.substitute(parts), {"account": account}).mappings().one()
    with_key = row["crm"] - row["without_key"]
    return KeyFit(
        enerflo=row["enerflo"],
        crm=row["crm"],
        matched=with_key - row["only_crm"],
        only_enerflo=row["only_enerflo"],
        only_crm=row["only_crm"],
        without_key=row["without_key"],
        duplicate_keys=row["duplicate_keys"],
        duplicate_rows=row["duplicate_rows"],
        every=sample.every,
    )


def key_proposal(
    connection: sa.Connection, plan: Comparison, account: str, sample: Sample
) -> KeyProposal | None:
    """Return the reading of the key columns by which most rows more would meet; None where none helps.

    One query for each reading, of text columns only: other types are compared as numbers already.
    """
    kinds = {
        join.crm_name: mirror_kind(mirror_type(plan.kind, plan.mapping, join.mirror_name))
        for join in plan.joins
        if join.type == "text" and join.crm_kind is Kind.TEXT
    }
    readings: list[Mapping[str, Any]] = []
    if Kind.INTEGER in kinds.values():
        readings += _OF_NUMBERS
    if set(kinds.values()) - {Kind.INTEGER}:
        readings += [reading for reading in _OF_TEXTS if reading not in readings]
    found: list[KeyProposal] = []
    for reading in readings:
        options = {name: _options_for(kind, reading) for name, kind in kinds.items()}
        proposal = _tried(connection, plan, account, sample, options)
        if proposal.more > proposal.less:
            found.append(proposal)
    # The first of the best: max keeps the earlier of equals.
    return max(found, key=lambda one: one.more - one.less, default=None)


def _options_for(kind: Kind, reading: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what of a reading a column can have: ids of Enerflo are whole numbers, and have no case."""
    if kind is Kind.INTEGER:
        return reading if "fold_case" not in reading and "strip_zeros" not in reading else {"trim": True}
    return {name: value for name, value in reading.items() if name != "type"}


def _tried(
    connection: sa.Connection,
    plan: Comparison,
    account: str,
    sample: Sample,
    options: Mapping[str, Mapping[str, Any]],
) -> KeyProposal:
    parts = _parts(plan, sample, "coalesce(n, k)")
    parts |= {
        f"{side}_otherwise": _key([_otherwise(join, side, options.get(join.crm_name)) for join in plan.joins])
        for side in ("mine", "theirs")
    }
    row = connection.exec_driver_sql(_OTHERWISE.substitute(parts), {"account": account}).mappings().one()
    return KeyProposal(options={name: dict(one) for name, one in options.items()}, **row)


def _otherwise(join: JoinColumn, side: str, options: Mapping[str, Any] | None) -> str:
    if options is None:
        return _text(join, side)
    raw = f"e.{quoted(join.mirror_name)}" if side == "mine" else f"t.{quoted(join.crm_name)}"
    return _Reading(options).sql(f"{raw}::text")


def _parts(plan: Comparison, sample: Sample, sampled_by: str) -> dict[str, str]:
    return {
        "name": plan.name,
        "mirror": plan.mirror,
        "rows": plan.mirror_rows,
        "crm": plan.crm_rows,
        "mine": _key([_text(join, "mine") for join in plan.joins]),
        "theirs": _key([_text(join, "theirs") for join in plan.joins]),
        "sampled": sample.among(sampled_by),
    }


def _text(join: JoinColumn, side: str) -> str:
    """Return one column of the key as text: equal texts are equal keys."""
    value = f"({join.mirror if side == 'mine' else join.crm})::{join.type}"
    return f"trim_scale({value})::text" if join.type == "numeric" else f"{value}::text"


def _key(columns: Sequence[str]) -> str:
    """Return the columns of a key as one text; null where one of them is."""
    if len(columns) == 1:
        return f"({columns[0]})"
    known = " and ".join(f"({column}) is not null" for column in columns)
    return f"(case when {known} then array[{', '.join(columns)}]::text end)"


def written(options: Mapping[str, Any]) -> str:
    """Return options as they are written in ``sync.yaml``: ``type: integer, trim: true``."""
    return ", ".join(
        f"{name}: {str(value).lower() if isinstance(value, bool) else value}"
        for name, value in options.items()
    )
