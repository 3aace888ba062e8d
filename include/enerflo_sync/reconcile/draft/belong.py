"""Which column of a table corresponds to which column of the mirror, by their values and their names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.masking import PersonalData
from enerflo_sync.reconcile.draft.beside import Agreement, Column, Form, of_numbers, of_texts, of_times
from enerflo_sync.reconcile.draft.identify import FEWEST, Match
from enerflo_sync.reconcile.draft.mirrored import Mirror, columns_of_kind
from enerflo_sync.reconcile.draft.words import KEYS, MEANINGS, names_title, nearness
from enerflo_sync.warehouse.schema import kind_of_column

# The share of rows that must agree; if the names agree as well, less is enough.
_SURE, _NAMED, _DOUBTFUL = 0.8, 0.5, 0.5
# A column with fewer different values can agree with another one by chance.
_DIFFERENT = 3
# The number of rows that are compared roughly, which is enough to tell columns apart.
_ROWS = 1000
_SHOWN = 6

_NUMBERS = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT, Kind.TEXT})
_TIMES = frozenset({Kind.TIMESTAMPTZ, Kind.TIMESTAMP, Kind.DATE, Kind.TEXT})
_TEXTS = frozenset({Kind.TEXT, Kind.UUID})


@dataclass(frozen=True)
class Pairing:
    """A column of the table and its column of the mirror.

    :param milestone: of a wide table, the title of the milestone.
    :param by_name: how well the names agree, from 0 to 1.
    :param why_not: why the pairing is only a suggestion; empty if it is certain.
    """

    column: str
    mirror: str
    type: str
    agreement: Agreement | None
    by_name: float = 0.0
    milestone: str | None = None
    why_not: str = ""

    @property
    def place(self) -> tuple[str | None, str]:
        """Return the field of Enerflo, which only one column can have."""
        return self.milestone, self.mirror

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of the first comparison."""
        named = {} if self.milestone is None else {"milestone": self.milestone}
        return {**named, "enerflo": self.mirror, "type": self.type}

    @property
    def score(self) -> float:
        """Return how well the two columns agree, to rank pairings."""
        return (self.agreement.share if self.agreement is not None else 0.0) + self.by_name / 2


def belonging(match: Match, taken: Collection[str]) -> list[Pairing]:
    """Return the columns that correspond to fields of Enerflo, certain ones first, each field at most once.

    :param taken: columns of the table with another purpose.
    """
    keys = {*match.keys.values(), *([KEYS[match.kind][0]] if match.kind in KEYS else [])}
    mirror = {name: kind for name, kind in columns_of_kind(match.kind).items() if name not in keys}
    places = match.places[:_ROWS]
    beside = {name: Column([record[name] for record in match.records[:_ROWS]]) for name in mirror}
    meanings = MEANINGS.get(match.kind, {})
    found = []
    for name in match.candidate.names:
        kind = match.candidate.live.columns[name].kind
        column = match.candidate.column(name, places)
        for other, of in mirror.items():
            agreement = _agreement(kind, of, column, beside[other], labels=not is_personal(other))
            by_name = nearness(name, meanings.get(other, ()))
            if name not in taken and agreement is not None:
                typed = _type(kind, of, column)
                found.append(Pairing(name, other, typed, agreement if places else None, by_name))
    return _chosen(found)


def wide_columns(match: Match, mirror: Mirror, taken: Collection[str]) -> list[Pairing]:
    """Return the columns of an install's row that correspond to fields of its milestones."""
    places, ids = match.places[:_ROWS], match.ids[:_ROWS]
    fields = mirror.wide(ids)
    names = sorted({name for of in fields.values() for name in of})
    beside = {name: Column([fields.get(one, {}).get(name) for one in ids]) for name in names}
    found = []
    for name in match.candidate.names:
        kind = match.candidate.live.columns[name].kind
        if name in taken or kind not in _TIMES:
            continue
        column = match.candidate.column(name, places)
        for title, field in names:
            agreement = of_times(column, beside[title, field])
            by_title = 0.5 * names_title(name, title)
            by_field = 0.5 * (nearness(name, MEANINGS["milestones"][field]) > 0)
            typed = _type(kind, Kind.TIMESTAMPTZ, column)
            found.append(Pairing(name, field, typed, agreement, by_title + by_field, title))
    # What only a part of a name says is no suggestion, unless the values say so, too.
    return [
        one
        for one in _chosen(found)
        if not one.why_not or one.by_name == 1 or (one.by_name > 0 and is_sure(one))
    ]


def _agreement(crm: Kind, mirror: Kind, column: Column, beside: Column, *, labels: bool) -> Agreement | None:
    """Return how two columns agree; None if their types are not compared."""
    if mirror in {Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT}:
        return of_numbers(column, beside) if crm in _NUMBERS else None
    if mirror is Kind.TIMESTAMPTZ:
        return of_times(column, beside) if crm in _TIMES else None
    return of_texts(column, beside, labels=labels) if mirror is Kind.TEXT and crm in _TEXTS else None


def _type(crm: Kind, mirror: Kind, column: Column) -> str:
    match mirror:
        case Kind.INTEGER:
            return "integer"
        case Kind.DECIMAL | Kind.FLOAT:
            return "number"
        case Kind.TIMESTAMPTZ:
            days = [one for one in column.times if one is not None]
            only_days = bool(days) and all(one.hour == one.minute == one.second == 0 for one in days)
            return "date" if crm is Kind.DATE or only_days else "timestamp"
        case _:
            return "text"


def _chosen(found: Iterable[Pairing]) -> list[Pairing]:
    """Return the best pairings, each column and field once, and a few pairings that are only suggestions."""
    ranked = sorted(found, key=lambda one: -one.score)
    sure = list(_sure(ranked))
    columns = {one.column for one in sure}
    fields = {one.place: one.column for one in sure}
    doubtful: dict[str, Pairing] = {}
    for one in ranked:
        if one.column not in columns and one.column not in doubtful:
            why_not = _why_not(one, fields)
            if why_not:
                doubtful[one.column] = replace(one, why_not=why_not)
    return [*sure, *list(doubtful.values())[:_SHOWN]]


def _sure(ranked: Sequence[Pairing]) -> Iterator[Pairing]:
    """Yield the certain pairings, each column and field once.

    A column whose best field another column has does not get the next best one: that may have alike values by
    chance (a milestone begins when the last one ends). It does where the name of the column says so.
    """
    columns: set[str] = set()
    places: set[tuple[str | None, str]] = set()
    best: dict[str, float] = {}
    for one in ranked:
        if not is_sure(one):
            continue
        is_best = one.score >= best.setdefault(one.column, one.score) or one.by_name >= _NAMED
        if is_best and one.column not in columns and one.place not in places:
            columns.add(one.column)
            places.add(one.place)
            yield one


def is_sure(one: Pairing) -> bool:
    """Return whether values, or values and names, show that two columns correspond."""
    agreement = one.agreement
    if agreement is None:
        return one.by_name == 1
    if agreement.both < FEWEST:
        return one.by_name == 1 and 0 < agreement.both == agreement.same
    if agreement.form is Form.LABEL:
        return agreement.share >= _SURE and one.by_name >= _NAMED
    if agreement.share >= _SURE and agreement.distinct >= _DIFFERENT:
        return True
    return agreement.share >= _DOUBTFUL and one.by_name >= _NAMED and agreement.same >= FEWEST


def _why_not(one: Pairing, fields: dict[tuple[str | None, str], str]) -> str:
    """Return why a plausible pairing is only a suggestion; empty if nothing supports the pairing."""
    agreement = one.agreement
    if agreement is None:
        return "only the name says so" if one.by_name >= _NAMED else ""
    counted = f"{agreement.same:,} of {agreement.both:,} rows agree"
    if one.place in fields and is_sure(one):
        return f"{counted}, as {fields[one.place]} does"
    if one.by_name >= _SURE and one.place not in fields:
        return f"it is named so, but {counted}" if agreement.both else "it is named so, but has no values"
    return ""


def is_personal(mirror: str) -> bool:
    """Return whether a column of the mirror holds personal data, which is never shown or used as a label."""
    return kind_of_column(mirror) is not PersonalData.NONE
