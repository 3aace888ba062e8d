"""What kind of spelling a difference may be: a hint to mend the mapping by, which explains nothing.

A hint is worked out from the two values as they stand in ``sync.differences``, and from the mapping: the
doctor and the reconciliation's report give one difference the same hint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.mapping import FieldMapping, FieldType, TableMapping, mirror_type
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.values import BLANK, mirror_kind, value_of_text


class Hint(StrEnum):
    """How two values that are not equal as declared could yet be the same."""

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
    Hint.CONSTANT_OFFSET: "whole quarters of an hour, as two time zones do",
    Hint.BOOLEAN_SPELLING: "how yes and no are written",
}

# The first that holds the difference is the tolerance that would accept it.
_LADDER = "0.000001,0.00001,0.0001,0.001,0.005,0.01,0.05,0.1,0.5,1,5,10,50,100"
# A shorter text may begin like another one by chance.
_LONG_ENOUGH = 8
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&"))


@dataclass(frozen=True)
class _Pair:
    """Both values as texts, ``a`` Enerflo's and ``b`` the CRM's, and the rules of their comparison."""

    a: str
    b: str
    zone: str
    mirror: Kind

    def both(self, make: Callable[[str], str]) -> tuple[str, str]:
        return make(self.a), make(self.b)

    def same(self, make: Callable[[str], str]) -> str:
        left, right = self.both(make)
        return f"{left} = {right}"

    def converted(self, domain: FieldType) -> tuple[str, str]:
        return self.both(lambda text: value_of_text(text, domain, self.zone))


def hint_sql(mapping: FieldMapping, mirror: Kind, a: str, b: str, zone: str) -> str:
    """Return the hint of a differing pair as SQL text, null without one: ``rounded:0.005`` with its detail.

    Details: the tolerance that would do, the unit for times (``rounded:minute``), the minutes by which the
    CRM is ahead (``constant_offset:-420``), and ``trim`` where white space has to go as well.

    :param a: Enerflo's value as an SQL text, ``b`` the CRM's: null where a side has none.
    """
    pair = _Pair(a, b, zone, mirror)
    cases = [(_both_blank(pair), _detailed(Hint.EMPTY, f"case when {_is_padding(pair)} then 'trim' end"))]
    match mapping.type:
        case FieldType.TEXT:
            cases += _texts(pair)
        case FieldType.NUMBER | FieldType.INTEGER:
            cases += _numbers(pair)
        case FieldType.TIMESTAMP:
            cases += _times(pair)
        case FieldType.DATE:
            cases += _days(pair)
        case FieldType.BOOLEAN:
            unread = f"{value_of_text(b, FieldType.BOOLEAN, zone)} is null and btrim({b}, {BLANK}) <> ''"
            cases.append((unread, literal(Hint.BOOLEAN_SPELLING)))
        case _:
            return "null::text"
    return f"(case {' '.join(f'when {condition} then {hint}' for condition, hint in cases)} end)"


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


def _texts(pair: _Pair) -> list[tuple[str, str]]:
    padded = " or ".join(f"{text} <> {_trimmed(text)}" for text in (pair.a, pair.b))
    cases = [
        (pair.same(_trimmed), literal(Hint.BLANKS)),
        (pair.same(_folded), _detailed(Hint.CASE, f"case when {padded} then 'trim' end")),
    ]
    if pair.mirror is Kind.BOOLEAN:
        left, right = pair.converted(FieldType.BOOLEAN)
        cases.append((f"{left} = {right}", literal(Hint.BOOLEAN_SPELLING)))
    left, right = pair.converted(FieldType.NUMBER)
    cases.append((f"{left} = {right}", literal(Hint.NUMBER_AS_TEXT)))
    left, right = pair.converted(FieldType.TIMESTAMP)
    cases.append((f"{left} = {right}", literal(Hint.SAME_INSTANT)))
    left, right = pair.converted(FieldType.DATE)
    shorter = f"least(length({pair.a}), length({pair.b}))"
    return [
        *cases,
        (f"{left} = {right}", literal(Hint.DAY_ONLY)),
        (pair.same(_plain), literal(Hint.ENTITIES)),
        (pair.same(_bare), literal(Hint.PUNCTUATION)),
        (
            f"{shorter} >= {_LONG_ENOUGH} and left({pair.a}, {shorter}) = left({pair.b}, {shorter})",
            literal(Hint.TRUNCATED),
        ),
    ]


def _numbers(pair: _Pair) -> list[tuple[str, str]]:
    mine, theirs = pair.converted(FieldType.NUMBER)
    figures = f"regexp_replace({pair.b}, '[^0-9.eE+-]', '', 'g')"
    scale = f"least(scale(trim_scale({mine})), scale(trim_scale({theirs})))"
    same_cut = " or ".join(
        f"({cut}({mine}, {scale}) = {cut}({theirs}, {scale}) and {cut}({mine}, {scale}) <> 0)"
        for cut in ("round", "trunc")
    )
    apart = f"abs({mine} - {theirs})"
    tolerance = f"(select min(l) from unnest(array[{_LADDER}]) l where l >= {apart})"  # noqa: S608 - constants
    cases = [
        (
            f"{theirs} is null and {value_of_text(figures, FieldType.NUMBER, pair.zone)} = {mine}",
            literal(Hint.NUMBER_AS_TEXT),
        ),
        (f"({same_cut})", _detailed(Hint.ROUNDED, f"{tolerance}::text")),
    ]
    for factor, hint in ((100, Hint.FACTOR_100), (1000, Hint.FACTOR_1000)):
        times = " or ".join(
            f"abs({one} * {factor} - {other}) <= abs({other}) * 0.000001"
            for one, other in ((mine, theirs), (theirs, mine))
        )
        cases.append((f"{mine} <> 0 and {theirs} <> 0 and ({times})", literal(hint)))
    return cases


def _times(pair: _Pair) -> list[tuple[str, str]]:
    mine, theirs = pair.converted(FieldType.TIMESTAMP)
    zone = literal(pair.zone)
    cases = [
        (
            f"date_trunc('{unit}', {mine}) = date_trunc('{unit}', {theirs})",
            literal(f"{Hint.ROUNDED}:{unit}"),
        )
        for unit in ("second", "minute")
    ]
    days = [f"({moment} at time zone {zone})" for moment in (mine, theirs)]
    begins = " or ".join(f"date_trunc('day', {day}) = {day}" for day in days)
    cases.append((f"({days[0]})::date = ({days[1]})::date and ({begins})", literal(Hint.DAY_ONLY)))
    minutes = (
        f"extract(epoch from date_trunc('minute', {theirs}) - date_trunc('minute', {mine}))::bigint / 60"
    )
    seconds = f"extract(second from {theirs})::int = extract(second from {mine})::int"
    cases.append(
        (
            f"abs({minutes}) between 15 and 14 * 60 and mod({minutes}, 15) = 0 and {seconds}",
            _detailed(Hint.CONSTANT_OFFSET, f"({minutes})::text"),
        )
    )
    return cases


def _days(pair: _Pair) -> list[tuple[str, str]]:
    mine, theirs = pair.converted(FieldType.DATE)
    return [
        (
            f"abs({theirs} - {mine}) = 1",
            _detailed(Hint.CONSTANT_OFFSET, f"(({theirs} - {mine}) * 1440)::text"),
        )
    ]


def difference_hint(tables: Mapping[str, TableMapping], row: str) -> str:
    """Return the hint of a row of ``sync.differences``, with its detail; null where no hint fits.

    What is equal as declared needs none, and a record that one side lacks has none.

    :param tables: the mappings, by the tables' names, of which the rows are.
    :param row: the alias of the row.
    """
    cases = []
    for name, mapping in tables.items():
        mine, theirs = (f"({row}.{side} #>> '{{}}')" for side in ("enerflo_value", "crm_value"))
        fields = " ".join(
            f"when {literal(column)} then {field_hint_sql(mapping.kind(name), mapping, column, mine, theirs)}"
            for column in mapping.fields
        )
        cases.append(f"when {literal(name)} then (case {row}.field {fields} end)")
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
