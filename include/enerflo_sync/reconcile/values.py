"""One mapped field as SQL: both sides' values in one domain, their comparison, and their form in reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind, LiveColumn
from enerflo_sync.crm.keys import as_text
from enerflo_sync.crm.mapping import NOT_NULL, FieldMapping, FieldType, NullRule, Precision
from enerflo_sync.crm.names import literal

_DAY = (
    r"(?:(?!0000)[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    r"|(?!0000)(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
)
_TIME = r"[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
# A text of this form can be cast without an error; pg_input_is_valid exists only from PostgreSQL 16 on.
NUMBER_TEXT = r"^[-+]?(?:[0-9]{1,100}(?:\.[0-9]{0,100})?|\.[0-9]{1,100})(?:[eE][-+]?[0-9]{1,3})?$"
ZONED_TEXT = rf"^{_DAY}{_TIME} ?(?:Z|[-+](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)$"
NAIVE_TEXT = rf"^{_DAY}(?:{_TIME})?$"
WHOLE_TEXT = "^-?[0-9]{1,18}$"
BLANK = "E' \\t\\r\\n'"
# In the text of a json: an escaped backslash, the begin of an escape, a pair of surrogates, and what is no
# character of a text.
_BACKSLASH = r"'\\\\'"
_ESCAPE = r"'\u'"
_PAIR = r"'\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'"
_NO_CHARACTER = r"'\\u(0000|[dD][89a-fA-F])'"


@dataclass(frozen=True)
class Operand:
    """One side's value: in the domain, as the text that cannot be converted to it, and as JSON."""

    value: str
    rest: str
    shown: str


@dataclass(frozen=True)
class Field:
    """A field's SQL. ``equal`` is the declared comparison, needed only where the operands differ.

    :param number: its place in the mapping, from 1, which the columns of its values are named by (``e1``).
    :param mirror_column: the column of the mirror's relation with Enerflo's raw value.
    :param ambiguous: the condition that Enerflo has more than one value; then no CRM value is equal.
    """

    name: str
    mapping: FieldMapping
    enerflo: Operand
    crm: Operand
    equal: str
    zone: str = "UTC"
    fold: str = ""
    domain: FieldType = FieldType.TEXT
    mirror_column: str = ""
    ambiguous: str = ""
    number: int = 0

    def same_shown(self, left: str, right: str, *, in_crm: bool = False) -> str:
        """Return whether two JSON values of one side, in their form in reports, are equal as declared.

        Never null. A null equals only a null or a value that the mapping declares to be one.
        ``null_overwrites`` and other rules that ignore a value beside a null do not make the two equal.
        """
        exactly = f"{left} is not distinct from {right}"
        if self.domain is FieldType.JSON:
            return f"({exactly})"
        null = NullRule.DISTINCT if self.mapping.null is NullRule.IGNORE else self.mapping.null
        mapping = self.mapping.model_copy(update={"values": {}, "null": null})
        texts = [f"({value} #>> '{{}}')" for value in (left, right)]
        if not in_crm:
            texts = [translated(text, self.mapping, self.fold) for text in texts]
        sides = ((texts[0], Kind.TEXT), (texts[1], Kind.TEXT))
        return f"({exactly} or {_equal(mapping, self.domain, *sides, self.zone, self.fold)})"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return the expressions to compare row-wise."""
        pairs = [(self.enerflo.value, self.crm.value)]
        if (self.enerflo.rest, self.crm.rest) != (_NOTHING, _NOTHING):
            pairs.append((self.enerflo.rest, self.crm.rest))
        return pairs

    @property
    def differs(self) -> str:
        """Return the condition that the two sides are not identical in the domain."""
        several = [self.ambiguous] if self.ambiguous else []
        return " or ".join([*(f"{mine} is distinct from {theirs}" for mine, theirs in self.pairs), *several])


_NOTHING = "null::text"


def mirror_kind(column: sa.types.TypeEngine[Any]) -> Kind:
    """Return how a mirror column's values compare."""
    kinds: list[tuple[type[Any], Kind]] = [
        (sa.Integer, Kind.INTEGER),
        (sa.Numeric, Kind.DECIMAL),
        (sa.DateTime, Kind.TIMESTAMPTZ),
        (sa.Date, Kind.DATE),
        (sa.Boolean, Kind.BOOLEAN),
        (sa.JSON, Kind.JSONB),
    ]
    return next((kind for base, kind in kinds if isinstance(column, base)), Kind.TEXT)


def field_sql(
    name: str,
    mapping: FieldMapping,
    enerflo: tuple[str, Kind],
    crm: tuple[str, LiveColumn],
    *,
    table_zone: str,
    fold: str,
    mirror_column: str = "",
    ambiguous: str = "",
    number: int = 0,
) -> Field:
    """Return the SQL of one field.

    :param enerflo: the expression of the mirror's raw value, and its kind.
    :param crm: the expression of the CRM's raw value, and its live column.
    :param table_zone: the zone of times without one, if the field declares none.
    :param fold: the name of the collation whose case rules apply, quoted, or ``""``.
    """
    zone = mapping.time_zone or table_zone
    domain = domain_of(mapping, crm[1])
    theirs_raw = crm_raw(*crm)
    mine = _of_enerflo(*enerflo, mapping, domain, zone, fold)
    theirs = _operand(theirs_raw, crm[1].kind, domain, zone)
    equal = _equal(mapping, domain, enerflo, (theirs_raw, crm[1].kind), zone, fold)
    if ambiguous:
        equal = f"(not {ambiguous} and {equal})"
    return Field(name, mapping, mine, theirs, equal, zone, fold, domain, mirror_column, ambiguous, number)


def shown_in_crm(mapping: FieldMapping, raw: str, live: LiveColumn, table_zone: str) -> str:
    """Return a CRM column's value as JSON, in the form that differences and plans use."""
    zone = mapping.time_zone or table_zone
    return _operand(crm_raw(raw, live), live.kind, domain_of(mapping, live), zone).shown


def domain_of(mapping: FieldMapping, live: LiveColumn) -> FieldType:
    """Return the domain in which a field's two values are compared."""
    # A CRM date holds only the day, so the time of day is not a difference.
    by_day = mapping.type is FieldType.TIMESTAMP and live.kind is Kind.DATE
    return FieldType.DATE if by_day else mapping.type


def crm_raw(raw: str, live: LiveColumn) -> str:
    """Return a CRM column's value; a text as :func:`as_text`, a float of four bytes as its text's number."""
    if live.base == "float4":
        # As a numeric it would have six digits alone.
        return f"{raw}::text::float8"
    return as_text(raw, live) if live.kind is Kind.TEXT else raw


def _of_enerflo(
    raw: str, kind: Kind, mapping: FieldMapping, domain: FieldType, zone: str, fold: str
) -> Operand:
    """Return Enerflo's value with the CRM's labels."""
    found = _operand(raw, kind, domain, zone)
    return replace(found, value=translated(found.value, mapping, fold))


def _operand(raw: str, kind: Kind, domain: FieldType, zone: str) -> Operand:
    match domain:
        case FieldType.NUMBER | FieldType.INTEGER:
            return _number(raw, kind, domain)
        case FieldType.TIMESTAMP | FieldType.DATE:
            return _moment(raw, kind, domain, zone)
        case FieldType.BOOLEAN:
            return _boolean(raw, kind)
        case FieldType.JSON:
            value = raw if kind is Kind.JSONB else _jsonb(raw)
            return Operand(value, _NOTHING, value)
        case _:
            value = _text(raw, kind)
            return Operand(value, _NOTHING, f"to_jsonb({value})")


def _jsonb(raw: str) -> str:
    r"""Return a value of type json as jsonb; as its own text if it has an escape that no jsonb can hold.

    A json keeps ``\u0000`` and halves of surrogate pairs as they are written, and jsonb refuses both.
    """
    text = f"{raw}::text"
    alone = f"regexp_replace(regexp_replace({text}, {_BACKSLASH}, '', 'g'), {_PAIR}, '', 'g')"
    kept = f"strpos({text}, {_ESCAPE}) > 0 and {alone} ~ {_NO_CHARACTER}"
    return f"(case when {kept} then to_jsonb({text}) else {raw}::jsonb end)"


def value_of_text(text: str, domain: FieldType, zone: str) -> str:
    """Return an SQL text as a value of the domain; null where it cannot be converted."""
    return _operand(text, Kind.TEXT, domain, zone).value


def _text(raw: str, kind: Kind) -> str:
    if kind is Kind.DECIMAL:
        return f"trim_scale({raw})::text"
    return raw if kind is Kind.TEXT else f"{raw}::text"


def translated(text: str, mapping: FieldMapping, fold: str) -> str:
    """Return the CRM's label for a text of Enerflo (``values``)."""
    return _relabelled(text, list(mapping.values.items()), mapping, fold)


def translated_back(text: str, mapping: FieldMapping, fold: str) -> str:
    """Return Enerflo's word for a text of the CRM; if two words have one label, the first."""
    return _relabelled(text, [(theirs, mine) for mine, theirs in mapping.values.items()], mapping, fold)


def _relabelled(text: str, labels: Sequence[tuple[str, str]], mapping: FieldMapping, fold: str) -> str:
    """Return the word for a text: by its exact spelling, or else by a label that is equal as declared."""
    if not labels:
        return text
    found = text
    if mapping.trim or mapping.fold_case:
        alike = " ".join(
            f"when {normal_text(literal(said), mapping, fold)} then {literal(word)}" for said, word in labels
        )
        found = f"case {normal_text(text, mapping, fold)} {alike} else {text} end"
    exact = " ".join(f"when {literal(said)} then {literal(word)}" for said, word in labels)
    return f"(case {text} {exact} else {found} end)"


def _number(raw: str, kind: Kind, domain: FieldType) -> Operand:
    shown = f"to_jsonb({raw}::text)" if domain is FieldType.NUMBER else f"to_jsonb({raw})"
    if kind is not Kind.TEXT:
        return Operand(f"{raw}::numeric" if kind is Kind.FLOAT else raw, _NOTHING, shown)
    text = f"btrim({raw}, {BLANK})"
    fits = f"{text} ~ {literal(NUMBER_TEXT)}"
    return Operand(f"(case when {fits} then {text}::numeric end)", _unless(fits, raw), shown)


def _unless(fits: str, raw: str) -> str:
    return f"(case when not ({fits}) then {raw} end)"


def moment(raw: str, kind: Kind, zone: str) -> str:
    """Return a value of a time type as timestamptz; a time without a zone is read in ``zone``."""
    if kind is Kind.TIMESTAMPTZ:
        return raw
    return f"({raw}{'::timestamp' if kind is Kind.DATE else ''} at time zone {literal(zone)})"


def _moment(raw: str, kind: Kind, domain: FieldType, zone: str) -> Operand:
    rest = _NOTHING
    if kind is Kind.TEXT:
        text = f"btrim({raw}, {BLANK})"
        zoned, naive = f"{text} ~ {literal(ZONED_TEXT)}", f"{text} ~ {literal(NAIVE_TEXT)}"
        value = (
            f"(case when {zoned} then {text}::timestamptz"
            f" when {naive} then {text}::timestamp at time zone {literal(zone)} end)"
        )
        rest = _unless(f"{zoned} or {naive}", raw)
    elif domain is FieldType.DATE and kind is not Kind.TIMESTAMPTZ:
        value = raw if kind is Kind.DATE else f"{raw}::date"
        return Operand(value, rest, f"to_jsonb({value})")
    else:
        value = moment(raw, kind, zone)
    if domain is FieldType.DATE:
        value = f"({value} at time zone {literal(zone)})::date"
    return Operand(value, rest, f"to_jsonb({raw if kind is Kind.TEXT else value})")


def _boolean(raw: str, kind: Kind) -> Operand:
    if kind is Kind.INTEGER:
        return Operand(f"({raw} <> 0)", _NOTHING, f"to_jsonb({raw})")
    if kind is not Kind.TEXT:
        return Operand(raw, _NOTHING, f"to_jsonb({raw})")
    text = f"lower(btrim({raw}, {BLANK}))"
    yes, no = (
        f"{text} in ('t', 'true', 'y', 'yes', 'on', '1')",
        f"{text} in ('f', 'false', 'n', 'no', 'off', '0')",
    )
    value = f"(case when {yes} then true when {no} then false end)"
    return Operand(value, _unless(f"{yes} or {no}", raw), f"to_jsonb({raw})")


def is_marked(raw: str, live: LiveColumn, value: bool | int | str) -> str:
    """Return the condition that a CRM column holds the value that marks its row as deleted.

    :param value: the value in ``deleted_when``; ``not_null`` stands for any value.
    """
    if value == NOT_NULL:
        return f"{raw} is not null"
    if isinstance(value, bool):
        return f"{_boolean(crm_raw(raw, live), live.kind).value} = {str(value).lower()}"
    if live.kind is Kind.TEXT or isinstance(value, str):
        return f"{crm_raw(raw, live)}::text = {literal(str(value))}"
    return f"{raw} = {value}"


def _equal(
    mapping: FieldMapping,
    domain: FieldType,
    enerflo: tuple[str, Kind],
    crm: tuple[str, Kind],
    zone: str,
    fold: str,
) -> str:
    """Return the declared comparison as a condition that is never null."""
    raws = [_without_blank(raw, kind, mapping) for raw, kind in (enerflo, crm)]
    mine = _of_enerflo(raws[0], enerflo[1], mapping, domain, zone, fold)
    theirs = _operand(raws[1], crm[1], domain, zone)
    left, right = (_normalised(operand.value, mapping, domain, zone, fold) for operand in (mine, theirs))
    same = f"{left} is not distinct from {right}"
    if mapping.tolerance is not None or mapping.tolerance_percent is not None:
        limits = [f"{mapping.tolerance or 0!r}::numeric"]
        if mapping.tolerance_percent:
            # A share of NaN or Infinity would accept any number.
            share = f"abs({left}) * {mapping.tolerance_percent / 100!r}::numeric"
            limits.append(f"case when abs({left}) < 'Infinity' then {share} else 0 end")
        same = f"({same} or abs({left} - {right}) <= greatest({', '.join(limits)}))"
    if (mine.rest, theirs.rest) != (_NOTHING, _NOTHING):
        same = f"({mine.rest} is not distinct from {theirs.rest} and {same})"
    if mapping.null is NullRule.IGNORE:
        same = f"({raws[0]} is null or {raws[1]} is null or {same})"
    return f"coalesce({same}, false)"


def _without_blank(raw: str, kind: Kind, mapping: FieldMapping) -> str:
    if mapping.null is not NullRule.EMPTY_IS_NULL or kind is not Kind.TEXT:
        return raw
    trims = mapping.trim or mapping.type is not FieldType.TEXT
    return f"nullif(btrim({raw}, {BLANK}), '')" if trims else f"nullif({raw}, '')"


def _normalised(value: str, mapping: FieldMapping, domain: FieldType, zone: str, fold: str) -> str:
    if domain is FieldType.TIMESTAMP and mapping.precision is not Precision.MICROSECOND:
        if mapping.precision is Precision.DAY:
            return f"({value} at time zone {literal(zone)})::date"
        return f"date_trunc({literal(mapping.precision)}, {value})"
    if domain is FieldType.TEXT:
        return normal_text(value, mapping, fold)
    return value


def normal_text(value: str, mapping: FieldMapping, fold: str) -> str:
    """Return a text in the form in which it is compared: trimmed and case-folded where declared."""
    if mapping.trim:
        value = f"btrim({value}, {BLANK})"
    if mapping.fold_case:
        value = f"lower({value}{f' collate {fold}' if fold else ''})"
    return value
