"""How two differing values may be the same: a hint for the mapping, which excuses nothing.

A hint depends only on the mapping and on the values in ``sync.differences``, so the doctor and the
reconciliation's report give the same difference the same hint. All hints but ``swapped``
(:mod:`enerflo_sync.reconcile.fit.swapped`) and ``label`` (:mod:`enerflo_sync.reconcile.fit.labels`) depend on
the difference's own two values. Where none of them fits an unexplained difference, the report says which side
is newer (:mod:`enerflo_sync.reconcile.fit.newer`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.mapping import FieldMapping, FieldType, TableMapping, mirror_type
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.values import BLANK, mirror_kind, translated, value_of_text


class Hint(StrEnum):
    """How two values that are not equal as declared may still be the same value."""

    EMPTY = "empty"
    BLANKS = "blanks"
    CASE = "case"
    PUNCTUATION = "punctuation"
    ENTITIES = "entities"
    TRUNCATED = "truncated"
    NUMBER_AS_TEXT = "number_as_text"
    ROUNDED = "rounded"
    FACTOR_100 = "factor_100"
    FACTOR_1000 = "factor_1000"
    SAME_INSTANT = "same_instant"
    DAY_ONLY = "day_only"
    CONSTANT_OFFSET = "constant_offset"
    BOOLEAN_SPELLING = "boolean_spelling"
    SWAPPED = "swapped"
    LABEL = "label"
    NEWER_IN_CRM = "newer_in_crm"
    NEWER_IN_ENERFLO = "newer_in_enerflo"


# These do not say how the two values may be the same.
NEWER = (Hint.NEWER_IN_CRM, Hint.NEWER_IN_ENERFLO)

HINT_TEXTS: Mapping[Hint, str] = {
    Hint.EMPTY: "an empty text on one side and no value on the other",
    Hint.BLANKS: "white space at the ends",
    Hint.CASE: "upper and lower case",
    Hint.PUNCTUATION: "punctuation and inner white space",
    Hint.ENTITIES: "HTML entities, as &amp; for &",
    Hint.TRUNCATED: "one side being cut off",
    Hint.NUMBER_AS_TEXT: "how a number is written",
    Hint.ROUNDED: "one side being rounded",
    Hint.FACTOR_100: "a factor of 100, as percent and fraction",
    Hint.FACTOR_1000: "a factor of 1,000, as kW and W",
    Hint.SAME_INSTANT: "how a time is written",
    Hint.DAY_ONLY: "the time of day, which one side leaves out",
    Hint.CONSTANT_OFFSET: "an offset as between two time zones",
    Hint.BOOLEAN_SPELLING: "how yes and no are written",
    Hint.SWAPPED: "two columns having each other's value",
    Hint.LABEL: "a word of the CRM's own, in nearly all rows with Enerflo's value",
    Hint.NEWER_IN_CRM: "the CRM's row having changed later than Enerflo's record",
    Hint.NEWER_IN_ENERFLO: "Enerflo's record having changed later than the CRM's row",
}

# The first tolerance that covers the difference is the one to declare.
_LADDER = "0.000001 0.00001 0.0001 0.001 0.005 0.01 0.05 0.1 0.5 1 5 10 50".split()
# Shorter texts can have a common beginning by chance.
_LONG_ENOUGH = 8
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&"))
# Matches the numbers that people write, and is ten times as fast as values.NUMBER_TEXT.
_NUMBER = "^[-+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]{1,2})?$"
_DIGITS = 40
_TIME_BEGINS = "^[0-9]{4}-[0-9]{2}-[0-9]{2}"

_Cases = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class _Pair:
    """Both values as texts, ``a`` Enerflo's and ``b`` the CRM's, and the zone of times without one."""

    a: str
    b: str
    zone: str

    def both(self, make: Callable[[str], str]) -> tuple[str, str]:
        return make(self.a), make(self.b)

    def same(self, make: Callable[[str], str]) -> str:
        left, right = self.both(make)
        return f"{left} = {right}"

    def as_numbers(self, cases: _Cases) -> str:
        """Return the first of ``cases`` that fits the values as the numbers ``v.mine`` and ``v.theirs``.

        A text with signs beside the number has no ``v.theirs``. ``v.point`` and ``v.comma`` are its number if
        a point, or a comma, begins the decimals.
        """
        mine, theirs = self.both(_number)
        point, comma = _figures(self.b)
        return _first_of(cases, {"mine": mine, "theirs": theirs, "point": point, "comma": comma})

    def as_times(self, domain: FieldType, cases: _Cases) -> str:
        """Return the first of ``cases`` that fits both as times or days: ``v.mine`` and ``v.theirs``."""
        mine, theirs = self.both(lambda text: value_of_text(text, domain, self.zone))
        return _first_of(cases, {"mine": mine, "theirs": theirs})


def _first_of(cases: _Cases, names: Mapping[str, str]) -> str:
    """Return the first case that fits; its expressions are computed once, under their names in ``v``."""
    named = ", ".join(f"{expression} as {name}" for name, expression in names.items())
    # `offset 0` keeps PostgreSQL from repeating a conversion in each condition.
    return f"(select {_case(cases)} from (select {named} offset 0) v)"  # noqa: S608 - literals and names


def _case(cases: _Cases, otherwise: str = "null") -> str:
    tests = " ".join(f"when {condition} then {hint}" for condition, hint in cases)
    return f"(case {tests} else {otherwise} end)"


def hint_sql(mapping: FieldMapping, mirror: Kind, a: str, b: str, zone: str) -> str:
    """Return a differing pair's hint with its detail as SQL text (``rounded:0.005``), or null.

    Details: the sufficient tolerance; the unit of times (``rounded:minute``); the minutes by which the CRM is
    ahead (``constant_offset:-420``); ``trim`` if white space must be removed as well.

    :param a: Enerflo's value as an SQL text; ``b`` the CRM's; null if a side has no value.
    """
    pair = _Pair(a, b, zone)
    blank = [(_both_blank(pair), _detailed(Hint.EMPTY, f"case when {_is_padding(pair)} then 'trim' end"))]
    match mapping.type:
        case FieldType.TEXT:
            return _case([*blank, *_texts(pair, mirror)])
        case FieldType.NUMBER | FieldType.INTEGER:
            return _case(blank, pair.as_numbers(_NUMBERS))
        case FieldType.TIMESTAMP:
            return _case(blank, pair.as_times(FieldType.TIMESTAMP, _times(zone)))
        case FieldType.DATE:
            return _case(blank, pair.as_times(FieldType.DATE, _DAYS))
        case FieldType.BOOLEAN:
            unread = f"{value_of_text(b, FieldType.BOOLEAN, zone)} is null and btrim({b}, {BLANK}) <> ''"
            return _case([*blank, (unread, literal(Hint.BOOLEAN_SPELLING))])
        case _:
            return "null::text"


def _detailed(hint: Hint, detail: str) -> str:
    return f"concat_ws(':', '{hint}', {detail})"


def _both_blank(pair: _Pair) -> str:
    left, right = pair.both(lambda text: f"coalesce(btrim({text}, {BLANK}), '') = ''")
    return f"{left} and {right}"


def _is_padding(pair: _Pair) -> str:
    left, right = pair.both(lambda text: f"coalesce({text}, '')")
    return f"{left} <> '' or {right} <> ''"


def _trimmed(text: str) -> str:
    return f"btrim({text}, {BLANK})"


def _folded(text: str) -> str:
    return f"lower({_trimmed(text)})"


def _plain(text: str) -> str:
    for entity, character in _ENTITIES:
        text = f"replace({text}, {literal(entity)}, {literal(character)})"
    return _folded(text)


def _bare(text: str) -> str:
    return f"nullif(regexp_replace(lower({text}), '[^[:alnum:]]+', '', 'g'), '')"


def _number(text: str) -> str:
    text = _trimmed(text)
    return f"(case when length({text}) <= {_DIGITS} and {text} ~ '{_NUMBER}' then {text}::numeric end)"


def _figures(text: str) -> tuple[str, str]:
    """Return a text's number if its decimals begin with a point, and if they begin with a comma; else null.

    Words, units and currencies may stand beside it. Parentheses may mean that it is below zero, and an
    exponent is no unit, so such texts have no number.
    """
    figures = f"regexp_replace({text}, '[^0-9.,+-]', '', 'g')"
    whole = f"length({text}) <= {_DIGITS} and {text} !~ '[()]|[0-9][eE][-+]?[0-9]'"
    found = []
    for group, mark in ((",", "."), (".", ",")):
        form = f"^[-+]?([0-9]+|[0-9]{{1,3}}([{group}][0-9]{{3}})+)([{mark}][0-9]*)?$"
        number = f"replace(replace({figures}, '{group}', ''), '{mark}', '.')"
        found.append(f"(case when {whole} and {figures} ~ '{form}' then {number}::numeric end)")
    return found[0], found[1]


def _texts(pair: _Pair, mirror: Kind) -> list[tuple[str, str]]:
    padded = " or ".join(f"{text} <> {_trimmed(text)}" for text in (pair.a, pair.b))
    cases = [
        (pair.same(_trimmed), literal(Hint.BLANKS)),
        (pair.same(_folded), _detailed(Hint.CASE, f"case when {padded} then 'trim' end")),
    ]
    if mirror is Kind.BOOLEAN:
        spelled = pair.same(lambda text: value_of_text(text, FieldType.BOOLEAN, pair.zone))
        cases.append((spelled, literal(Hint.BOOLEAN_SPELLING)))
    times = " and ".join(f"{_trimmed(text)} ~ '{_TIME_BEGINS}'" for text in (pair.a, pair.b))
    same = "v.mine = v.theirs"
    instant = pair.as_times(FieldType.TIMESTAMP, [(same, literal(Hint.SAME_INSTANT))])
    day = pair.as_times(FieldType.DATE, [(same, literal(Hint.DAY_ONLY))])
    shorter = f"least(length({pair.a}), length({pair.b}))"
    return [
        *cases,
        (pair.same(_number), literal(Hint.NUMBER_AS_TEXT)),
        (times, f"coalesce({instant}, {day})"),
        (pair.same(_plain), literal(Hint.ENTITIES)),
        (pair.same(_bare), literal(Hint.PUNCTUATION)),
        (
            f"{shorter} >= {_LONG_ENOUGH} and left({pair.a}, {shorter}) = left({pair.b}, {shorter})",
            _detailed(Hint.TRUNCATED, f"{shorter}::text"),
        ),
    ]


_SCALE = "least(scale(trim_scale(v.mine)), scale(trim_scale(v.theirs)))"
_SAME_CUT = " or ".join(
    f"({cut}(v.mine, {_SCALE}) = {cut}(v.theirs, {_SCALE}) and {cut}(v.mine, {_SCALE}) <> 0)"
    for cut in ("round", "trunc")
)
_TOLERANCE = _case([(f"abs(v.mine - v.theirs) <= {one}", f"'{one}'") for one in _LADDER], "'100'")


def _times_as_much(factor: int) -> str:
    pairs = (("v.mine", "v.theirs"), ("v.theirs", "v.mine"))
    near = " or ".join(f"abs({one} * {factor} - {other}) <= abs({other}) * 0.000001" for one, other in pairs)
    return f"v.mine <> 0 and v.theirs <> 0 and ({near})"


_NUMBERS: _Cases = (
    ("v.theirs is null and v.mine in (v.point, v.comma)", literal(Hint.NUMBER_AS_TEXT)),
    (f"({_SAME_CUT})", _detailed(Hint.ROUNDED, _TOLERANCE)),
    (_times_as_much(100), literal(Hint.FACTOR_100)),
    (_times_as_much(1000), literal(Hint.FACTOR_1000)),
)
_MINUTES = "(extract(epoch from date_trunc('minute', v.theirs) - date_trunc('minute', v.mine))::bigint / 60)"


def _times(zone: str) -> _Cases:
    days = [f"(v.{side} at time zone {literal(zone)})" for side in ("mine", "theirs")]
    begins = " or ".join(f"date_trunc('day', {day}) = {day}" for day in days)
    cut = [
        (f"date_trunc('{unit}', v.mine) = date_trunc('{unit}', v.theirs)", literal(f"{Hint.ROUNDED}:{unit}"))
        for unit in ("second", "minute")
    ]
    return [
        *cut,
        (f"({days[0]})::date = ({days[1]})::date and ({begins})", literal(Hint.DAY_ONLY)),
        (
            f"abs({_MINUTES}) between 15 and 14 * 60 and mod({_MINUTES}, 15) = 0"
            " and extract(second from v.theirs)::int = extract(second from v.mine)::int",
            _detailed(Hint.CONSTANT_OFFSET, f"{_MINUTES}::text"),
        ),
    ]


_DAYS: _Cases = (
    (
        "abs(v.theirs - v.mine) = 1",
        _detailed(Hint.CONSTANT_OFFSET, "((v.theirs - v.mine) * 1440)::text"),
    ),
)


def difference_hint(
    tables: Mapping[str, TableMapping], row: str, *, fields: Collection[str] | None = None
) -> str:
    """Return the hint of a row of ``sync.differences``, with its detail; null if no hint fits.

    Values that are equal as declared have no hint, nor has a record that one side lacks. Of a field with
    ``values`` the hint compares the CRM's word for Enerflo's value with the CRM's value.

    :param tables: the mappings of the rows' tables, by table.
    :param row: the alias of the row.
    :param fields: the only fields of the rows: PostgreSQL takes long to plan a statement with every field's
        rules.
    """
    cases = []
    for name, mapping in tables.items():
        asked = [column for column in mapping.fields if fields is None or column in fields]
        if not asked:
            continue
        mine, theirs = (f"({row}.{side} #>> '{{}}')" for side in ("enerflo_value", "crm_value"))
        hints = " ".join(
            f"when {literal(column)} then "
            + field_hint_sql(
                mapping.kind(name), mapping, column, translated(mine, mapping.fields[column], ""), theirs
            )
            for column in asked
        )
        cases.append(f"when {literal(name)} then (case {row}.field {hints} end)")
    if not cases:
        return "null::text"
    hint = f"(case {row}.table_name {' '.join(cases)} end)"
    return (
        f"(case when {row}.field is not null and {row}.cause <> 'equal_after_normalisation' then {hint} end)"
    )


def field_hint_sql(kind: str, mapping: TableMapping, column: str, a: str, b: str) -> str:
    """Return :func:`hint_sql` of one mapped field of a table of a kind of records."""
    field = mapping.fields[column]
    mirror = mirror_kind(mirror_type(kind, mapping, field.enerflo))
    return hint_sql(field, mirror, a, b, field.time_zone or mapping.time_zone)
