"""Lines of sync.yaml that make the same value compare as equal in both sides' spellings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import yaml

from enerflo_sync.counted import count_of
from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.mapping import FieldMapping, FieldType
from enerflo_sync.reconcile.fit.hints import HINT_TEXTS, Hint
from enerflo_sync.reconcile.fit.labels import LABEL_SHARE, LABELS
from enerflo_sync.reconcile.fit.values import FieldFit
from enerflo_sync.reconcile.values import Field

# Time zones of Enerflo's customers, then of offices elsewhere. The first zones that fit are named.
ZONES = (
    "America/Los_Angeles",
    "America/Denver",
    "America/Phoenix",
    "America/Chicago",
    "America/New_York",
    "America/Anchorage",
    "Pacific/Honolulu",
    "America/Puerto_Rico",
    "America/Boise",
    "America/Detroit",
    "America/Indiana/Indianapolis",
    "America/Mexico_City",
    "America/Toronto",
    "America/Vancouver",
    "Europe/London",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Manila",
    "Australia/Sydney",
    "UTC",
)
ZONES_SHOWN = 3
# The options that say which field of Enerflo a column is mapped to.
MAPPED_TO = ("milestone", "enerflo")
SHOWN_LABELS = 4

# Only another view or column can mend these: no option of a field accepts them.
_BY_VIEW: Mapping[Hint, str] = {
    Hint.PUNCTUATION: "map a view that takes the punctuation away",
    Hint.ENTITIES: "map a view that replaces the entities",
    Hint.TRUNCATED: "make the CRM's column longer, or map another one",
    Hint.NUMBER_AS_TEXT: "map a view that makes it a number",
    Hint.FACTOR_100: "map a view that multiplies or divides by 100",
    Hint.FACTOR_1000: "map a view that multiplies or divides by 1,000",
}


_OF_HINT: Mapping[Hint, dict[str, Any]] = {
    Hint.EMPTY: {"null": "empty_is_null"},
    Hint.CASE: {"fold_case": True},
    Hint.BLANKS: {},
}


class FieldAdvice(msgspec.Struct, frozen=True):
    """What the differences of one field look like, and the line that removes differences of mere spelling.

    :param found: numbers of rows by kind of difference.
    :param options: all options of the field with the helpful ones added; empty if no option helps.
    :param further: what to do besides or instead.
    :param accepted: how many of the rows that differ are those that the options are for.
    :param choices: what a person has to know who takes the options: zones that fit as well, labels of several
        values.
    """

    field: str
    found: str
    options: Mapping[str, Any]
    further: Sequence[str] = ()
    accepted: int = 0
    choices: Sequence[str] = ()

    @property
    def line(self) -> str | None:
        """Return the field's line of ``sync.yaml``; None if no option helps."""
        return yaml_line({self.field: self.options}) if self.options else None


def field_advice(
    one: Field,
    fit: FieldFit,
    mirror: Kind,
    zones: Callable[[], Sequence[str]],
    fields: Mapping[str, FieldMapping] = MappingProxyType({}),
) -> FieldAdvice | None:
    """Return the advice for a field; None if no hint and no label was found.

    :param zones: finds the zones in which the CRM's times equal Enerflo's; called only if the two sides
        differ by a constant offset.
    :param fields: how all fields of the table are mapped.
    """
    counts = fit.counts()
    options: dict[str, Any] = {}
    further: list[str] = []
    choices: list[str] = []
    accepted = 0
    labels = labels_of(fit)
    for hint, number in counts.items():
        if hint is Hint.BOOLEAN_SPELLING and labels:
            # With labels a flag is also written as the CRM spells it.
            continue
        if hint is Hint.CONSTANT_OFFSET:
            is_accepted = _zone(one, fit, number, zones, options, further, choices)
        elif hint is Hint.SWAPPED:
            is_accepted = _swapped(fit, number, fields, options, further)
        else:
            is_accepted = _option(one.mapping, fit, hint, mirror, options, further)
        accepted += number if is_accepted else 0
    accepted += sum(number for _, _, number, _ in labels)
    if labels:
        if one.mapping.type is FieldType.BOOLEAN:
            options["type"] = "text"
        options["values"] = {**one.mapping.values, **{mine: theirs for mine, theirs, _, _ in labels}}
        taken = [theirs for _, theirs, _, _ in labels] + list(one.mapping.values.values())
        twice = sorted({theirs for theirs in taken if taken.count(theirs) > 1})
        if twice:
            choices.append(
                f"{', '.join(twice)} would stand for several of Enerflo's values: add direction: to_crm."
            )
    if not counts and not labels:
        return None
    found = _found(one, fit, counts, labels)
    whole = _whole(one, options) if options else {}
    return FieldAdvice(one.name, found, whole, tuple(dict.fromkeys(further)), accepted, tuple(choices))


def labels_of(fit: FieldFit) -> list[tuple[str, str, int, int]]:
    """Return the labels to propose; none if there are too many different values to be labels."""
    best: dict[str, tuple[str, str, int, int]] = {}
    for label in fit.labels:
        if label[2] >= LABEL_SHARE * label[3]:
            best.setdefault(label[0], label)
    return list(best.values()) if len(best) <= LABELS else []


def _found(
    one: Field, fit: FieldFit, counts: Mapping[Hint, int], labels: Sequence[tuple[str, str, int, int]]
) -> str:
    parts = [f"{number:,} by {_text(one, fit, hint)}" for hint, number in counts.items()]
    told = [f"{n:,} of {total:,} {mine} are {theirs}" for mine, theirs, n, total in labels[:SHOWN_LABELS]]
    if len(labels) > SHOWN_LABELS:
        told.append(f"and {len(labels) - SHOWN_LABELS} labels more")
    return count_of(fit.differing, "row that differs", "rows that differ") + "".join(
        f", {text}" for text in ["; ".join(parts), "; ".join(told)] if text
    )


def _text(one: Field, fit: FieldFit, hint: Hint) -> str:
    if hint is Hint.SWAPPED:
        return f"{' and '.join(fit.details(hint))} having this column's value, and this column its own"
    if hint is Hint.TRUNCATED and len(fit.details(hint)) == 1:
        return f"{HINT_TEXTS[hint]} at {next(iter(fit.details(hint)))} letters"
    if hint is not Hint.CONSTANT_OFFSET:
        return HINT_TEXTS[hint]
    offsets = [int(detail) for detail in fit.details(hint)]
    if one.mapping.type is FieldType.DATE:
        return "one day, as two time zones do"
    if len(offsets) > 2:
        return f"whole quarters of an hour, {len(offsets)} different ones"
    return f"exactly {' or '.join(_hours(offset) for offset in sorted(offsets))} in the CRM"


def _hours(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    text = f"{hours} h" + (f" {rest} min" if rest else "")
    return f"{text} {'later' if minutes > 0 else 'earlier'}"


def _zone(
    one: Field,
    fit: FieldFit,
    number: int,
    zones: Callable[[], Sequence[str]],
    options: dict[str, Any],
    further: list[str],
    choices: list[str],
) -> bool:
    """Add the zone that makes the times equal; return whether there is one."""
    # If other rows are equal already, another zone would make them differ. Days of two zones differ only in
    # the hours around midnight; a zone fits only if it fits all rows.
    by_day = one.mapping.type is FieldType.DATE
    if not by_day and number < LABEL_SHARE * max(fit.compared, fit.differing):
        further.append("The offset is not that of all rows: look at those that differ.")
        return False
    fitting = list(zones())
    if fitting:
        options["time_zone"] = fitting[0]
        if len(fitting) > 1:
            choices.append(f"As well would fit {', '.join(fitting[1 : ZONES_SHOWN + 1])}.")
    else:
        further.append(
            "No time_zone makes them equal: map a view that converts the CRM's times, or correct its copy."
        )
    return bool(fitting)


def _swapped(
    fit: FieldFit,
    number: int,
    fields: Mapping[str, FieldMapping],
    options: dict[str, Any],
    further: list[str],
) -> bool:
    """Map the column to what the other one is mapped to, if all rows are so; return whether they are."""
    (other,) = fit.details(Hint.SWAPPED)
    if number < LABEL_SHARE * max(fit.compared, fit.differing):
        further.append(
            f"In {number:,} of them {other} has this column's value: correct those rows in the CRM."
        )
        return False
    of_other = fields[other].model_dump(mode="json", exclude_unset=True)
    options.update({name: of_other[name] for name in MAPPED_TO if name in of_other})
    further.append(f"Write the line of {other} with it: the two columns have each other's value.")
    return True


def _option(
    mapping: FieldMapping,
    fit: FieldFit,
    hint: Hint,
    mirror: Kind,
    options: dict[str, Any],
    further: list[str],
) -> bool:
    """Add the option that makes the differences of one hint equal; return whether there is one.

    Called with the most common hint first.
    """
    wanted: dict[str, Any] = {}
    if hint in (Hint.EMPTY, Hint.CASE, Hint.BLANKS):
        wanted = _OF_HINT[hint]
        if mapping.type is FieldType.TEXT and (hint is Hint.BLANKS or "trim" in fit.details(hint)):
            wanted = {"trim": True, **wanted}
    elif hint is Hint.ROUNDED and mapping.type is FieldType.TIMESTAMP:
        wanted = {"precision": "minute" if "minute" in fit.details(hint) else "second"}
    elif hint is Hint.ROUNDED:
        tolerance = max(float(detail) for detail in fit.details(hint) if detail)
        wanted = {"tolerance": max(tolerance, mapping.tolerance or 0)}
        if mapping.type is FieldType.INTEGER:
            wanted = {"type": "number", **wanted}
    elif mapping.type is FieldType.TEXT:
        if hint is Hint.BOOLEAN_SPELLING and mirror is Kind.BOOLEAN:
            wanted = {"type": "boolean"}
        elif hint is Hint.NUMBER_AS_TEXT and mirror in {Kind.TEXT, Kind.INTEGER, Kind.DECIMAL}:
            wanted = {"type": "number"}
        elif hint in (Hint.SAME_INSTANT, Hint.DAY_ONLY):
            wanted = {"type": "timestamp" if hint is Hint.SAME_INSTANT else "date"}
    elif hint is Hint.DAY_ONLY:
        wanted = {"type": "date"}
    if not wanted and hint in _BY_VIEW:
        further.append(f"For {fit.counts()[hint]:,} of them {_BY_VIEW[hint]}.")
    if "type" in wanted and "type" in options:
        # Values of one instant are of one day.
        same_day = (wanted["type"], options["type"]) == ("timestamp", "date")
        return same_day or bool(wanted["type"] == options["type"])
    options.update(wanted)
    return bool(wanted)


def _whole(one: Field, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the field's options with further ones added; options of another type are removed."""
    declared = one.mapping.model_dump(mode="json", exclude_unset=True)
    merged = {**declared, **options}
    of_type = {
        "trim": ("text",),
        "fold_case": ("text",),
        "values": ("text",),
        "tolerance": ("number",),
        "tolerance_percent": ("number",),
        "precision": ("timestamp",),
        "time_zone": ("timestamp", "date"),
    }
    return {
        name: value
        for name, value in merged.items()
        if name not in of_type or str(merged["type"]) in of_type[name]
    }


class _OneLine(yaml.SafeDumper):
    """Writes a text with a line break on one line, escaped in double quotes."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Return the node of a text."""
        style = None if data.isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_OneLine.add_representer(str, _OneLine.represent_str)


def yaml_line(value: Mapping[str, Any]) -> str:
    """Return a map with one entry as one line of YAML."""
    ((name, inner),) = value.items()
    return f"{_flow(name)}: {yaml_value(inner)}"


def yaml_value(value: Any) -> str:
    """Return a value as YAML on one line, which may stand anywhere in a file."""
    # Keys of sync.yaml are text, even if YAML would read them as something else.
    return _flow(value).replace("'null': empty_is_null", "null: empty_is_null")


def _flow(value: Any) -> str:
    text: str = yaml.dump(
        value, Dumper=_OneLine, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True
    )
    # PyYAML ends a plain value like this.
    return text.strip().removesuffix("...").strip()
