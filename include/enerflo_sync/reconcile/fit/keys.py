"""How well the keys of both sides match, and which other way of reading them would match more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from string import Template
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.options import KeyColumn
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.fit.sample import Sample
from enerflo_sync.reconcile.join_columns import JoinColumn

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

# k is the key as it is compared now, n the key in the other reading. A value that has no n keeps its place in
# the sample by k: rows that match by k always match by n, or have no n.
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
    """How many rows of the two sides match by key. ``every``: the figures cover one key out of this many.

    ``without_key`` counts CRM rows whose key has no value; ``duplicate_rows`` of the CRM's rows share
    ``duplicate_keys`` keys.
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
    """Another reading of the key columns, in which ``more`` of the CRM's rows would match a record.

    ``less`` rows would lose their match; ``duplicate_rows`` of the CRM's rows would share ``duplicate_keys``
    keys, and ``ambiguous`` keys would match several records of Enerflo.
    """

    options: Mapping[str, Mapping[str, Any]]
    more: int
    less: int
    duplicate_keys: int
    duplicate_rows: int
    ambiguous: int


# Ordered by number of options: between readings that fit equally well the simplest is proposed.
_OF_NUMBERS = ({"trim": True}, {"type": "integer"}, {"type": "integer", "trim": True})
_OF_TEXTS = (
    {"trim": True},
    {"fold_case": True},
    {"strip_zeros": True},
    {"trim": True, "fold_case": True},
    {"trim": True, "strip_zeros": True},
    {"trim": True, "strip_zeros": True, "fold_case": True},
)


def key_fit(connection: sa.Connection, comparison: Comparison, account: str, sample: Sample) -> KeyFit:
    """Return how the keys match with the present mapping; tombstones of the mirror do not count."""
    parts = _parts(comparison, sample, "k")
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
    connection: sa.Connection, comparison: Comparison, account: str, sample: Sample
) -> KeyProposal | None:
    """Return the reading of the key columns that matches the most additional rows; None if none helps.

    It runs one query per reading, for text columns only: other types are compared as numbers already.
    """
    joins = [join for join in comparison.joins if join.live.kind is Kind.TEXT]
    readings: list[Mapping[str, Any]] = []
    if any(join.mirror_kind is Kind.INTEGER for join in joins):
        readings += _OF_NUMBERS
    if any(join.mirror_kind is not Kind.INTEGER for join in joins):
        readings += [reading for reading in _OF_TEXTS if reading not in readings]
    found: list[KeyProposal] = []
    for reading in readings:
        options = {join.crm_name: _options_for(join, reading) for join in joins}
        if all(options[join.crm_name] == _declared(join) for join in joins):
            continue
        proposal = _tried(connection, comparison, account, sample, options)
        if proposal.more > proposal.less:
            found.append(proposal)
    # max returns the first of equal readings, which is the simplest.
    return max(found, key=lambda one: one.more - one.less, default=None)


def _declared(join: JoinColumn) -> Mapping[str, Any]:
    """Return the options that a column has in ``sync.yaml``."""
    if join.options is None:
        return {}
    return join.options.model_dump(mode="json", exclude_defaults=True, exclude={"enerflo"})


def _options_for(join: JoinColumn, reading: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a column's options with those of a reading that it can have: Enerflo's ids are whole numbers."""
    if join.mirror_kind is Kind.INTEGER:
        own = reading if "fold_case" not in reading and "strip_zeros" not in reading else {"trim": True}
    else:
        own = {name: value for name, value in reading.items() if name != "type"}
    return {**_declared(join), **own}


def _tried(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    sample: Sample,
    options: Mapping[str, Mapping[str, Any]],
) -> KeyProposal:
    parts = _parts(comparison, sample, "coalesce(n, k)")
    parts |= {
        f"{side}_otherwise": _key(
            [_otherwise(join, side, options.get(join.crm_name)) for join in comparison.joins]
        )
        for side in ("mine", "theirs")
    }
    row = connection.exec_driver_sql(_OTHERWISE.substitute(parts), {"account": account}).mappings().one()
    return KeyProposal(options={name: dict(one) for name, one in options.items()}, **row)


def _otherwise(join: JoinColumn, side: str, options: Mapping[str, Any] | None) -> str:
    if options is None:
        return _text(join, side)
    read = KeyColumn.model_validate({"enerflo": join.mirror_name, **options})
    otherwise = replace(join, options=read)
    return f"({otherwise.mirror if side == 'mine' else otherwise.crm})::text"


def _parts(comparison: Comparison, sample: Sample, sampled_by: str) -> dict[str, str]:
    return {
        "name": comparison.name,
        "mirror": comparison.mirror,
        "rows": comparison.mirror_rows,
        "crm": comparison.crm_rows,
        "mine": _key([_text(join, "mine") for join in comparison.joins]),
        "theirs": _key([_text(join, "theirs") for join in comparison.joins]),
        "sampled": sample.among(sampled_by),
    }


def _text(join: JoinColumn, side: str) -> str:
    """Return one column of the key as text: equal texts are equal keys."""
    value = f"({join.mirror if side == 'mine' else join.crm})::{join.type}"
    return f"trim_scale({value})::text" if join.type == "numeric" else f"{value}::text"


def _key(columns: Sequence[str]) -> str:
    """Return the columns of a key as one text; null if one of them is null."""
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
