"""How a drafted table is compared: its key and its fields with the options that the doctor would propose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.catalog import LiveTable
from enerflo_sync.crm.mapping import Mode, TableMapping
from enerflo_sync.reconcile.compare import Comparison, plan_comparison
from enerflo_sync.reconcile.fit.advice import FieldAdvice
from enerflo_sync.reconcile.fit.keys import KeyFit, KeyProposal, key_fit, key_proposal
from enerflo_sync.reconcile.fit.preview import advice_of
from enerflo_sync.reconcile.fit.sample import sample_of
from enerflo_sync.reconcile.fit.values import FieldFit, field_fits

# One option may reveal the need for the next: labels show only after texts are trimmed.
_ROUNDS = 3


@dataclass(frozen=True)
class FieldStory:
    """What all matched rows show about one field.

    :param compared: rows in which a side has a value.
    :param before: the differences without options, in words; empty if no option was proposed.
    :param left: how many of ``compared`` rows still differ with the options.
    :param further: what else to do, and what to know about the options.
    """

    compared: int
    left: int
    before: str = ""
    further: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refined:
    """A table's options with the proposed ones, and the findings on its key and on each field."""

    options: dict[str, Any]
    keys: KeyFit
    stories: Mapping[str, FieldStory] = field(default_factory=dict)


def refined(
    connection: sa.Connection, account: str, name: str, options: dict[str, Any], live: LiveTable, fold: str
) -> Refined:
    """Return a table's options with those that make its keys match and remove differences of format.

    :param options: a table of ``sync.yaml`` with crm_table, key and columns, without further options.
    :param live: the table that the options name.
    """
    section = "columns" if options.get("layout") == "wide" else "fields"
    comparison = _planned(name, options, live, fold)
    sample = sample_of(connection, comparison)
    keys = key_fit(connection, comparison, account, sample)
    if keys.only_enerflo and (keys.only_crm or keys.without_key):
        proposal = key_proposal(connection, comparison, account, sample)
        if proposal is not None:
            options = _keyed(options, proposal)
            comparison = _planned(name, options, live, fold)
            keys = key_fit(connection, comparison, account, sample)
    first: dict[str, FieldAdvice] = {}
    choices: dict[str, dict[str, None]] = {}
    for _ in range(_ROUNDS):
        fits = field_fits(connection, comparison, account, sample.of_values)
        advice = advice_of(connection, comparison, account, sample.of_values, fits)
        better = {one.field: dict(one.options) for one in advice.values() if one.options}
        first = advice | first
        for one in advice.values():
            choices.setdefault(one.field, {}).update(dict.fromkeys(one.choices))
        if not better:
            break
        options = {**options, section: {**options[section], **better}}
        comparison = _planned(name, options, live, fold)
    stories = {
        name: _story(fit, first.get(name), advice.get(name), choices.get(name, {}))
        for name, fit in fits.items()
    }
    return Refined(options, keys, stories)


def _planned(name: str, options: Mapping[str, Any], live: LiveTable, fold: str) -> Comparison:
    mapping = TableMapping.model_validate(options)
    return plan_comparison(name, mapping, live, fold=fold, mode=Mode.REPORT)


def _keyed(options: dict[str, Any], proposal: KeyProposal) -> dict[str, Any]:
    place = "join" if "join" in options else "key"
    columns = {
        column: {"enerflo": mirror, **proposal.options[column]} if proposal.options.get(column) else mirror
        for column, mirror in options[place].items()
    }
    return {**options, place: columns}


def _story(
    fit: FieldFit, first: FieldAdvice | None, last: FieldAdvice | None, choices: Iterable[str]
) -> FieldStory:
    before = first.found if first is not None else ""
    further = (*choices, *(last.further if last is not None else ()))
    return FieldStory(fit.with_value, fit.differing, before, further)
