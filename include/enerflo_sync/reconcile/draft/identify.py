"""Which records of Enerflo a table's rows are: found by columns whose values are keys of the mirror."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.doctor import KEY_KINDS
from enerflo_sync.crm.marks import is_of_copy_tool
from enerflo_sync.crm.names import literal, pasted
from enerflo_sync.reconcile.draft.beside import folded, whole
from enerflo_sync.reconcile.draft.look import Candidate, named_key
from enerflo_sync.reconcile.draft.mirrored import Mirror, Record
from enerflo_sync.reconcile.draft.words import KEYS, MILESTONE_ID, SORTS, is_called, nearness

# Fewer matching rows than this may match by chance.
FEWEST = 3
# This share of a column's values must be keys; otherwise the column holds something else.
_SHARE = 0.3
# This share of the matched records must have a row of one sort; otherwise the sort says nothing.
_OF_ONE_SORT = 0.9
_SORTS = 20
_TEXTS = frozenset({Kind.TEXT, Kind.UUID})


@dataclass(frozen=True)
class Sort:
    """A condition that separates rows with a record from other rows.

    :param parts: whether it leaves one row per record where some records have several.
    """

    condition: str
    inside: int
    outside: int
    parts: bool = False


@dataclass(frozen=True)
class Match:
    """A table whose rows are records of a kind.

    :param keys: the table's columns by which rows match records, each with the mirror's column.
    :param places: the rows that are the only match of a record; ``records`` are these records. Empty if only
        names were compared.
    """

    candidate: Candidate
    kind: str
    keys: Mapping[str, str]
    places: Sequence[int] = ()
    records: Sequence[Record] = ()
    sort: Sort | None = None
    ids: Sequence[int] = field(default=(), repr=False)


def matches(candidate: Candidate, mirror: Mirror) -> Iterator[Match]:
    """Yield every kind of records that a table's rows may be, judged by values."""
    numbers = {name: _numbers(candidate, name) for name in candidate.names if _may_be_key(candidate, name)}
    ids = {number for of in numbers.values() for number in of.values()}
    installs: Match | None = None
    for kind in KEYS:
        if mirror.counts[kind]:
            known = mirror.records(kind, ids)
            column = _column_of(kind, numbers, known, mirror.counts[kind])
            if column is not None:
                found = _match(candidate, kind, {column: KEYS[kind][0]}, numbers[column], known)
                installs = found if kind == "installs" else installs
                if len(found.places) >= min(FEWEST, mirror.counts[kind]):
                    yield found
    if installs is not None:
        yield from _milestones(candidate, next(iter(installs.keys)), numbers, mirror)
    elif mirror.counts["installs"]:
        yield from _by_deal(candidate, mirror)


def _may_be_key(candidate: Candidate, name: str) -> bool:
    return candidate.live.columns[name].kind in KEY_KINDS and not is_of_copy_tool(name)


def _numbers(candidate: Candidate, name: str) -> dict[int, int]:
    """Return the whole numbers in a column of living rows, by row number."""
    values = candidate.values(name)
    found = {place: whole(values[place]) for place in candidate.living}
    return {place: number for place, number in found.items() if number is not None}


def _column_of(
    kind: str, numbers: Mapping[str, Mapping[int, int]], known: Mapping[int, Record], records: int
) -> str | None:
    """Return the column most of whose values are keys; between equal columns the name decides."""
    found: dict[str, float] = {}
    for name, of in numbers.items():
        met = [number for number in of.values() if number in known]
        if len(set(met)) >= min(FEWEST, records) and len(met) >= _SHARE * len(of):
            found[name] = len(set(met)) * (1 + named_key(kind, name))
    return max(found, key=lambda name: found[name], default=None)


def _by_deal(candidate: Candidate, mirror: Mirror) -> Iterator[Match]:
    """Yield the match of a table whose rows are installs that a column names by the id of their deal."""
    texts = [name for name in candidate.names if candidate.live.columns[name].kind in _TEXTS]
    values = {name: [folded(value) for value in candidate.values(name)] for name in texts}
    deals = mirror.deals({value for of in values.values() for value in of if value})
    known = {int(record["install_id"] or 0): record for record in deals.values()}
    numbers = {
        name: {place: _install(deals.get(str(of[place]))) for place in candidate.living if of[place]}
        for name, of in values.items()
    }
    column = _column_of("installs", numbers, known, mirror.counts["installs"])
    if column is not None:
        found = _match(candidate, "installs", {column: "deal_id"}, numbers[column], known)
        if len(found.places) >= min(FEWEST, mirror.counts["installs"]):
            yield found


def _install(record: Record | None) -> int:
    """Return a record's install; without a record, a number that no install has."""
    return -1 if record is None else int(record["install_id"] or 0)


def _match(
    candidate: Candidate,
    kind: str,
    keys: Mapping[str, str],
    numbers: Mapping[int, int],
    known: Mapping[int, Record],
) -> Match:
    met = {place: number for place, number in numbers.items() if number in known}
    sort = _sort(candidate, met)
    places, ids = _alone(_of_sort(candidate, met, sort))
    return Match(
        candidate,
        kind,
        keys,
        places,
        [known[one] for one in ids],
        sort[1] if sort is not None else None,
        ids,
    )


def _alone(met: Mapping[int, int]) -> tuple[list[int], list[int]]:
    """Return the rows that are the only match of their record, and the keys of these records."""
    counted = Counter(met.values())
    alone = [(place, number) for place, number in met.items() if counted[number] == 1]
    return [place for place, _ in alone], [number for _, number in alone]


def _of_sort(
    candidate: Candidate, met: Mapping[int, int], sort: tuple[list[int], Sort] | None
) -> Mapping[int, int]:
    """Return the rows of the sort that nearly all records have a row of; all rows if none is."""
    if sort is None:
        return met
    inside = set(sort[0])
    return {place: number for place, number in met.items() if place in inside}


def _sort(candidate: Candidate, met: Mapping[int, int]) -> tuple[list[int], Sort] | None:
    """Return the sort that separates rows with a record from the others, with its rows; None if none does."""
    for name in candidate.names:
        if candidate.live.columns[name].kind is not Kind.TEXT or not is_called(name, SORTS):
            continue
        values = candidate.values(name)
        rows: dict[str, list[int]] = defaultdict(list)
        for place in candidate.living:
            if values[place] is not None:
                rows[str(values[place])].append(place)
        if not 1 < len(rows) <= _SORTS:
            continue
        value = max(rows, key=lambda one: sum(place in met for place in rows[one]))
        inside = {met[place] for place in rows[value] if place in met}
        if inside and len(inside) >= _OF_ONE_SORT * len(set(met.values())):
            condition = f"{pasted(name)} = {literal(value)}".replace("%%", "%")
            outside = len(candidate.living) - len(rows[value])
            parts = len(set(met.values())) < len(met) and len(inside) >= _OF_ONE_SORT * len(
                set(rows[value]) & met.keys()
            )
            return rows[value], Sort(condition, len(rows[value]), outside, parts)
    return None


def _milestones(
    candidate: Candidate, install: str, numbers: Mapping[str, Mapping[int, int]], mirror: Mirror
) -> Iterator[Match]:
    """Yield the match of a table that has a row per milestone, with the ids of install and milestone."""
    known = mirror.milestones(set(numbers[install].values()))
    definitions = {milestone for _, milestone in known}
    found: dict[str, dict[int, tuple[int, int]]] = {}
    for name, of in numbers.items():
        if name != install and sum(one in definitions for one in of.values()) >= _SHARE * len(of) > 0:
            pairs = {place: (numbers[install].get(place, 0), of[place]) for place in of}
            found[name] = {place: pair for place, pair in pairs.items() if pair in known}
    column = max(found, key=lambda name: len(found[name]) * (1 + nearness(name, MILESTONE_ID)), default=None)
    if column is None:
        return
    counted = Counter(found[column].values())
    alone = {place: pair for place, pair in found[column].items() if counted[pair] == 1}
    if len(alone) >= FEWEST:
        keys = {install: "install_id", column: "milestone_id"}
        records = [known[pair] for pair in alone.values()]
        yield Match(candidate, "milestones", keys, list(alone), records)


def by_names(candidate: Candidate, kinds: Collection[str]) -> Iterator[Match]:
    """Yield the first kind of records that a table's column names suggest, where values do not decide."""
    install = _named(candidate, "installs")
    milestone = next((name for name in candidate.names if is_called(name, MILESTONE_ID)), None)
    if install is not None and milestone is not None:
        if "milestones" in kinds:
            yield Match(candidate, "milestones", {install: "install_id", milestone: "milestone_id"})
        return
    # A note's row names its install as well.
    for kind, (key, _) in reversed(list(KEYS.items())):
        name = _named(candidate, kind)
        if name is not None:
            if kind in kinds:
                yield Match(candidate, kind, {name: key})
            return


def _named(candidate: Candidate, kind: str) -> str | None:
    return next(
        (
            name
            for name in candidate.names
            if named_key(kind, name) == 1 and _may_be_key(candidate, name) and "enerflo" in name.lower()
        ),
        None,
    )
