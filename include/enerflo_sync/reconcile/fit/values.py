"""Which values occur together in the matched rows of one table: hints, labels, and numbers of rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.mapping import FieldType, mirror_type
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.fit.hints import Hint, field_hint_sql
from enerflo_sync.reconcile.fit.labels import LABEL_ROWS, LABEL_SHARE, may_have_labels
from enerflo_sync.reconcile.fit.sample import Sample
from enerflo_sync.reconcile.fit.swapped import swapped_rows
from enerflo_sync.reconcile.mismatched import crm_side, current_side
from enerflo_sync.reconcile.values import BLANK, NAIVE_TEXT, ZONED_TEXT, Field, mirror_kind
from enerflo_sync.reconcile.wide import OF_MILESTONE

_PAIRS = Template("""
/* enerflo-sync doctor $name: what stands beside what in matched rows */
with pairs as materialized ($pairs), d as (
  $fields
), g as materialized (
  select field, a, b, same, count(*) as n from d group by field, a, b, same
), h as materialized (
  select g.*, case when not same then $hint end as hint from g
)
select 'hint' as what, field, hint as a, null as b, sum(n)::bigint as n, null::bigint as total
from h where not same group by field, hint
union all
select 'label', field, a, b, n, total from (
  select h.*, sum(n) over (partition by field, a)::bigint as total
  from h where field = any(%(labels)s::text[])
) l
where not same and a is not null and btrim(b) <> '' and n >= $label_rows and n >= $label_share * total
  and coalesce(split_part(hint, ':', 1) in ($labelled), true)
  -- If a value equals itself in other rows, it is a value of Enerflo: this row is late, and shows no label.
  and not exists (select from h s where s.field = l.field and s.a = l.b and s.b = l.b)
union all
select 'compared', f.name, null, null, f.compared, f.with_value from (select $compared from pairs) p
cross join lateral (values $named) f (name, compared, with_value)
""")

_MATCHED = Template("""
  select $columns from (select m.* from ($mirror) m where m.lives and $sampled) m
  join (select c.*$twice_column from ($crm) c) c on $on where true$once
""")


@dataclass
class FieldFit:
    """What the matched rows show about one field.

    :param compared: rows in which both sides have a value; ``with_value``: rows in which a side has one.
    :param hints: numbers of differing rows by hint with its detail; None for rows that no hint fits.
    :param labels: (Enerflo's value, the CRM's value, rows with both, rows with Enerflo's value).
    """

    compared: int = 0
    hints: dict[str | None, int] = field(default_factory=dict)
    labels: list[tuple[str, str, int, int]] = field(default_factory=list)
    with_value: int = 0

    @property
    def differing(self) -> int:
        """Return how many rows differ as declared."""
        return sum(self.hints.values())

    def take_swapped(self, others: Mapping[str, int]) -> None:
        """Give rows without a hint the hint that another field has the value, by that field's name."""
        other, number = max(others.items(), key=lambda one: one[1])
        rest = self.hints.pop(None, 0) - number
        self.hints[f"{Hint.SWAPPED}:{other}"] = number
        if rest > 0:
            self.hints[None] = rest

    def counts(self) -> dict[Hint, int]:
        """Return the differing rows by hint, most first."""
        found: dict[Hint, int] = defaultdict(int)
        for text, number in self.hints.items():
            if text is not None:
                found[Hint(text.partition(":")[0])] += number
        return dict(sorted(found.items(), key=lambda one: -one[1]))

    def details(self, hint: Hint) -> dict[str, int]:
        """Return the details of one hint with their rows, most first."""
        found: dict[str, int] = defaultdict(int)
        for text, number in self.hints.items():
            name, _, detail = (text or "").partition(":")
            if name == hint:
                found[detail] += number
        return dict(sorted(found.items(), key=lambda one: -one[1]))


def field_fits(
    connection: sa.Connection, comparison: Comparison, account: str, sample: Sample
) -> Mapping[str, FieldFit]:
    """Return what the matched rows show about each field; rows that share a key are left out."""
    found: dict[str, FieldFit] = {one.name: FieldFit() for one in comparison.fields}
    labelled = [one.name for one in comparison.fields if may_have_labels(comparison, one)]
    statement = _statement(comparison, sample, labelled)
    for row in connection.exec_driver_sql(statement, {"account": account, "labels": labelled}):
        fit = found[row.field]
        if row.what == "hint":
            fit.hints[row.a] = row.n
        elif row.what == "label":
            fit.labels.append((row.a, row.b, row.n, row.total))
        else:
            fit.compared, fit.with_value = row.n, row.total
    unhinted = {name: fit.hints.get(None, 0) for name, fit in found.items()}
    pairs = matched_rows(comparison, sample)
    for name, others in swapped_rows(connection, comparison, account, pairs, unhinted).items():
        found[name].take_swapped(others)
    for fit in found.values():
        fit.labels.sort(key=lambda one: (-one[2], one[0]))
    return found


def matched_rows(comparison: Comparison, sample: Sample) -> str:
    """Return the select of matched rows with their raw values ``e1…`` and ``c1…``; takes ``account``."""
    values = [
        f"{side}.{name}{n}"
        for n, _ in enumerate(comparison.fields, 1)
        for side, name in (("m", "e"), ("c", "c"))
    ]
    values += [
        f"m.{name}{n}"
        for n, _ in enumerate(comparison.fields, 1)
        if comparison.is_wide
        for name in OF_MILESTONE
    ]
    key = ", ".join(f"m.j{n}::text" for n, _ in enumerate(comparison.joins, 1))
    names = ", ".join(f"c.j{n}" for n, _ in enumerate(comparison.joins, 1))
    return _MATCHED.substitute(
        columns=", ".join(values),
        mirror=current_side(comparison),
        crm=crm_side(comparison),
        sampled=sample.among(f"concat_ws('|', {key})"),
        on=comparison.on("m", "c"),
        twice_column=""
        if comparison.crm_unique
        else f", count(*) over (partition by {names}) as rows_of_key",
        once="" if comparison.crm_unique else " and c.rows_of_key = 1",
    )


def _statement(comparison: Comparison, sample: Sample, labelled: Sequence[str]) -> str:
    hints = " ".join(
        f"when {literal(one.name)} then "
        + field_hint_sql(comparison.kind, comparison.mapping, one.name, "a", "b")
        for one in comparison.fields
    )
    numbered = list(enumerate(comparison.fields, 1))
    return _PAIRS.substitute(
        name=comparison.name,
        pairs=matched_rows(comparison, sample),
        fields="\n  union all ".join(_texts(one, one.name in labelled) for one in comparison.fields),
        hint=f"(case field {hints} end)",
        label_rows=LABEL_ROWS,
        label_share=LABEL_SHARE,
        labelled=", ".join(literal(one) for one in (Hint.BOOLEAN_SPELLING, Hint.TRUNCATED, Hint.PUNCTUATION)),
        compared=", ".join(
            f"count(*) filter (where e{n} is not null and c{n} is not null) as n{n},"
            f" count(*) filter (where e{n} is not null or c{n} is not null) as v{n}"
            for n, _ in numbered
        ),
        named=", ".join(f"({literal(one.name)}, p.n{n}, p.v{n})" for n, one in numbered),
    )


def _texts(one: Field, all_rows: bool) -> str:
    """Return the select of a field's values as texts, in the form of ``sync.differences``."""
    same = f"(not ({one.differs}) or {one.equal})"
    return (
        f"select {literal(one.name)} as field, {one.enerflo.shown} #>> '{{}}' as a,"  # noqa: S608 - literals
        f" {one.crm.shown} #>> '{{}}' as b, {same} as same from pairs"
        + ("" if all_rows else f" where not {same}")
    )


_ZONES_THAT_FIT = Template("""
/* enerflo-sync doctor $name: zones in which the CRM's times of one field are Enerflo's */
select zone from (
  select z.zone, z.place, avg((without_zone and $same)::int) as share,
         max(avg((without_zone and $same)::int)) over () as best
  from (
    select * from (
      select $mine as mine, $naive as naive, $instant as instant, $without_zone as without_zone
      from ($pairs) p
    ) s
    where mine is not null and naive is not null limit 2000
  ) s cross join unnest(%(zones)s::text[]) with ordinality as z (zone, place)
  group by z.zone, z.place
) z
-- Some rows really differ. In one hour of each year a local time can be one of two moments.
where share >= $label_share and share >= best - 0.01
order by share desc, place
""")


def fitting_zones(
    connection: sa.Connection,
    comparison: Comparison,
    one: Field,
    account: str,
    sample: Sample,
    zones: Sequence[str],
) -> list[str]:
    """Return the ``zones`` in which the CRM's times of a field equal Enerflo's, the best first.

    Empty if no zone has an effect: the values have zones of their own, and are not compared by day.
    """
    n = comparison.fields.index(one) + 1
    kind = comparison.live.columns[one.name].kind
    mirror = mirror_kind(mirror_type(comparison.kind, comparison.mapping, one.mapping.enerflo))
    by_day = one.domain is FieldType.DATE
    if mirror is not Kind.TIMESTAMPTZ and not (by_day and mirror is Kind.DATE):
        return []
    if kind is Kind.TIMESTAMPTZ and not by_day:
        return []
    text, instant, without_zone = f"btrim(c{n}, {BLANK})", "null::timestamptz", "true"
    if by_day:
        mine = "mine" if mirror is Kind.DATE else "(mine at time zone z.zone)::date"
        # A moment is of another day in another zone; a day, or a time without a zone, is not.
        naive, same = one.crm.value, f"{mine} = coalesce((instant at time zone z.zone)::date, naive)"
        if kind is Kind.TEXT:
            instant = f"case when {text} ~ {literal(ZONED_TEXT)} then {text}::timestamptz end"
        elif kind is Kind.TIMESTAMPTZ:
            instant = f"c{n}"
    else:
        naive = f"({one.crm.value} at time zone {literal(one.zone)})"
        same = "date_trunc('second', mine) = date_trunc('second', naive at time zone z.zone)"
        if kind is Kind.TEXT:
            without_zone = f"{text} ~ {literal(NAIVE_TEXT)}"
    values: dict[str, Any] = {
        "name": comparison.name,
        "pairs": matched_rows(comparison, sample),
        "label_share": LABEL_SHARE,
        "mine": f"e{n}",
        "naive": naive,
        "instant": instant,
        "same": same,
        "without_zone": without_zone,
    }
    rows = connection.exec_driver_sql(
        _ZONES_THAT_FIT.substitute(values), {"account": account, "zones": list(zones)}
    )
    return list(rows.scalars())
